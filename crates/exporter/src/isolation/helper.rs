//! The helper process: runs a vendor's source for the exporter, from its start to its end.
//!
//! One thread receives calls and never enters the library, one has the session, and each opened device has
//! its own, so a call that hangs costs no more than in the exporter itself.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use reading::{
    Batch, Fault, FaultCode, Found, Identity, Lost, Prior, Remembered, Sampler, Session, Source, Unavailable,
};
use source::lock;

use super::{
    frame::{Body, Call, Inbox, send},
    process,
    proxy::Listed,
    wire::Wire,
};
use crate::sampling::worker::{Open, STACK_BYTES};

/// The exit code of a helper that can no longer respond.
const UNABLE: i32 = 70;

/// What was listed and not opened or closed yet, by numbers.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<(u32, HashMap<u32, Open>)>>);

impl Waiting {
    /// Gives a device its number.
    fn add(&self, open: Open) -> u32 {
        let (last, devices) = &mut *lock(&self.0);
        *last += 1;
        devices.insert(*last, open);
        *last
    }

    fn remove(&self, device: u32) -> Option<Open> {
        lock(&self.0).1.remove(&device)
    }
}

/// Responds to the exporter's calls until it closes the connection.
///
/// # Errors
/// When the process was not started by the exporter, or gets no thread.
pub fn serve(source: Box<dyn Source>) -> io::Result<()> {
    respond(source, &process::connection()?)
}

/// The same over this connection.
///
/// # Errors
/// When there is no thread.
pub(super) fn respond(mut source: Box<dyn Source>, connection: &UnixStream) -> io::Result<()> {
    let results = Results(Arc::new(Mutex::new(connection.try_clone()?)));
    source.notify_with({
        let results = results.clone();
        Arc::new(move |notice| results.send(0, &notice))
    });
    let waiting = Waiting::default();
    let (session, jobs) = mpsc::channel();
    let keeper = SessionKeeper { source, session: None, waiting: waiting.clone() };
    spawn("session", {
        let results = results.clone();
        move || keeper.run(&jobs, &results)
    })?;
    let mut devices: HashMap<u32, Sender<(u32, Call)>> = HashMap::new();
    let mut inbox = Inbox::default();
    while let Ok(Some((number, call))) = inbox.receive(connection) {
        match call {
            // The thread ends with the process.
            Call::Connect(_) | Call::Devices(_) | Call::Recall(_) | Call::Disconnect | Call::LetGo => {
                drop(session.send((number, call)));
            }
            Call::Open(device) => {
                let (calls, jobs) = mpsc::channel();
                devices.insert(device, calls);
                let open = waiting.remove(device);
                let work = {
                    let (waiting, results) = (waiting.clone(), results.clone());
                    move || attend_device(open, number, &jobs, &waiting, &results)
                };
                if spawn("device", work).is_err() {
                    let fault = Fault::new("open", FaultCode::NoThread);
                    results.send(number, &Err::<(), _>(fault));
                }
            }
            Call::Sample(device) | Call::Mandatory(device) | Call::Fine((device, _)) => {
                let is_sample = matches!(call, Call::Sample(_));
                let is_open = devices.get(&device).is_some_and(|calls| calls.send((number, call)).is_ok());
                if !is_open && is_sample {
                    let gone = Lost::Device(Fault::new("sample", FaultCode::Unavailable));
                    results.send(number, &Err::<Batch, _>(gone));
                } else if !is_open {
                    results.send(number, &None::<u32>);
                }
            }
            Call::Close(device) => {
                devices.remove(&device);
                drop(waiting.remove(device));
            }
        }
    }
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work).map(drop)
}

/// The way back to the exporter.
#[derive(Clone)]
struct Results(Arc<Mutex<UnixStream>>);

impl Results {
    fn send(&self, number: u32, result: &impl Wire) {
        let mut bytes = Vec::new();
        result.append(&mut bytes);
        // Without its connection, which a library can close, a helper is of no use.
        if send(&*lock(&self.0), &(number, Body(bytes))).is_err() {
            signal_hook::low_level::exit(UNABLE);
        }
    }
}

/// Calls the source; a panic, which the log reports, is a fault.
fn guarded<T>(call: &'static str, work: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Fault::new(call, FaultCode::Panic))
}

/// Has the source and its session.
struct SessionKeeper {
    source: Box<dyn Source>,
    session: Option<Box<dyn Session>>,
    waiting: Waiting,
}

impl SessionKeeper {
    fn run(mut self, jobs: &Receiver<(u32, Call)>, results: &Results) {
        for (number, call) in jobs {
            let name = call.name();
            match call {
                Call::Connect(detached) => {
                    let connected = guarded(name, || self.connect(&detached));
                    let defect = |fault: Fault| Err(Unavailable(fault.to_string()));
                    results.send(number, &connected.unwrap_or_else(defect));
                }
                Call::Devices(prior) => {
                    let listed = guarded(name, || self.list(&prior));
                    results.send(number, &listed.unwrap_or_else(|fault| Err(Lost::Session(fault))));
                }
                Call::Recall((key, identity)) => {
                    let recalled = guarded(name, || self.recall(&key, &identity));
                    results.send(number, &recalled.unwrap_or_default());
                }
                Call::LetGo => {
                    let closed = guarded(name, || {
                        let is_closed = self.session.as_mut().is_none_or(|session| session.let_go());
                        self.session = None;
                        is_closed
                    });
                    results.send(number, &(closed == Ok(true)));
                }
                _ => {
                    // Closing may fail by a defect as well, and there is nothing left to do.
                    let _ = guarded(name, || self.session = None);
                    results.send(number, &());
                }
            }
        }
    }

    fn connect(&mut self, detached: &BTreeSet<String>) -> Result<reading::Backend, Unavailable> {
        self.session = None;
        self.source.leave_alone(detached);
        let session = self.session.insert(self.source.connect()?);
        Ok(session.backend().clone())
    }

    /// What the session remembers of a device, as a batch with one group.
    fn recall(&self, key: &str, identity: &Identity) -> Batch {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(identity.clone()));
        if let Some(session) = &self.session {
            session.recall(key, identity, &mut batch);
        }
        batch
    }

    fn list(&mut self, prior: &Prior) -> Result<(reading::Backend, Listed), Lost> {
        let none = Lost::Session(Fault::new("devices", FaultCode::Unavailable));
        let session = self.session.as_mut().ok_or(none)?;
        let found = session.devices(prior)?;
        let listed = found.into_iter().map(|Found { key, address, identity, open }| {
            (self.waiting.add(open), Remembered { key, address, identity, announced: Vec::new() })
        });
        let listed = listed.collect();
        Ok((session.backend().clone(), listed))
    }
}

/// Opens a device for call `number`, and serves further calls about it until it is closed.
fn attend_device(
    open: Option<Open>,
    number: u32,
    jobs: &Receiver<(u32, Call)>,
    waiting: &Waiting,
    results: &Results,
) {
    let not_listed = Fault::new("open", FaultCode::Unavailable);
    let opened = open.ok_or(not_listed).and_then(|open| guarded("open", open)?);
    let mut sampler = match opened {
        Ok(sampler) => {
            results.send(number, &Ok::<(), Fault>(()));
            sampler
        }
        Err(fault) => return results.send(number, &Err::<(), _>(fault)),
    };
    let mut capacity = 0;
    for (number, call) in jobs {
        let reader = match &call {
            Call::Mandatory(_) => Some(guarded(call.name(), || sampler.mandatory())),
            Call::Fine((_, wanted)) => Some(guarded(call.name(), || sampler.fine(wanted))),
            _ => None,
        };
        if let Some(reader) = reader {
            let reader = reader.ok().flatten().map(|reader| waiting.add(Box::new(|| Ok(reader))));
            results.send(number, &reader);
            continue;
        }
        let round = sample(&mut *sampler, capacity);
        if let Ok(batch) = &round {
            capacity = batch.groups.iter().map(|group| group.readings.len()).max().unwrap_or(0);
        }
        results.send(number, &round);
    }
}

fn sample(sampler: &mut dyn Sampler, capacity: usize) -> Result<Batch, Lost> {
    let mut batch = Batch { capacity, ..Batch::default() };
    let read = guarded("sample", || sampler.sample(&mut batch));
    read.unwrap_or_else(|fault| Err(Lost::Device(fault)))?;
    Ok(batch)
}
