//! A source that runs in a helper process, as its supervisor and workers see it.

use std::{
    ffi::OsString,
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use naming::Family;
use reading::{
    Backend, Batch, Fault, Found, Identity, Lost, Notify, Prior, Remembered, Sampler, Session, Source,
    Unavailable, Wanted,
};

use super::{
    frame::Call,
    helper_arguments,
    link::{self, Link},
    process,
};

/// A source whose library is called in a helper process.
pub struct Isolated {
    family: Family,
    args: Vec<OsString>,
    helper: Option<Arc<Link>>,
    notify: Option<Notify>,
}

impl Isolated {
    /// The source of a family, with the flags of this process.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            args: helper_arguments(family.name(), std::env::args_os()),
            helper: None,
            notify: None,
        }
    }

    /// The link to the helper, which is started where there is none.
    fn helper(&mut self) -> Result<Arc<Link>, String> {
        if let Some(link) = &self.helper {
            match link.ended() {
                None => return Ok(Arc::clone(link)),
                Some(end) if !link.is_gone() => {
                    return Err(format!("{}, and its process cannot be ended; see the kernel log", end.text));
                }
                Some(_) => {}
            }
        }
        let started = self.start().map_err(|error| {
            format!("cannot start a process for the library: {error}; --isolate=off does without")
        })?;
        self.helper = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Starts a helper on the thread that attends it: see [`process::start`].
    fn start(&self) -> io::Result<Arc<Link>> {
        let (sender, started) = mpsc::channel();
        let (family, args, notify) = (self.family, self.args.clone(), self.notify.clone());
        let attend = move || {
            let started = process::start(&args).and_then(|(child, connection)| {
                link::tick(&connection)?;
                Ok((child, Arc::new(Link::new(connection, notify))))
            });
            // Who starts it waits for it.
            match started {
                Ok((child, link)) => {
                    let _ = sender.send(Ok(Arc::clone(&link)));
                    link.attend(family, child);
                }
                Err(error) => drop(sender.send(Err(error))),
            }
        };
        thread::Builder::new().name(format!("helper-{family}")).spawn(attend)?;
        started.recv().map_err(io::Error::other)?
    }
}

impl Source for Isolated {
    fn family(&self) -> Family {
        self.family
    }

    fn notify_with(&mut self, notify: Notify) {
        self.notify = Some(notify);
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let link = self.helper().map_err(Unavailable)?;
        match link.call::<Result<Backend, Unavailable>>(Call::Connect) {
            Ok(connected) => Ok(Box::new(RemoteSession { link, backend: connected? })),
            Err(fault) => {
                let why = link.ended().map_or_else(|| fault.to_string(), |end| end.text);
                Err(Unavailable(format!("{why} while it was opened; update the driver or library")))
            }
        }
    }
}

/// How long to wait for what a helper remembers: the device's state is locked meanwhile.
const RECALL: Duration = Duration::from_millis(500);

/// How long to wait for a helper to end that is asked to.
const CLOSING: Duration = Duration::from_secs(1);

struct RemoteSession {
    link: Arc<Link>,
    backend: Backend,
}

/// What a helper lists: the number of each device, and what [`Found`] has of it.
pub type Listed = Vec<(u32, Remembered)>;

impl Session for RemoteSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost> {
        let called = self.link.call::<Result<(Backend, Listed), Lost>>(Call::Devices(prior.clone()));
        let (backend, listed) = called.map_err(Lost::Session)??;
        self.backend = backend;
        let found = listed.into_iter().map(|(number, Remembered { key, address, identity, .. })| {
            let device = RemoteDevice { link: Arc::clone(&self.link), number };
            Found { key, address, identity, open: Box::new(move || device.open()) }
        });
        Ok(found.collect())
    }

    fn recall(&self, key: &str, identity: &Identity, batch: &mut Batch) {
        let call = Call::Recall((key.to_owned(), identity.clone()));
        // What a helper remembers ends with it.
        let Ok(Batch { groups, .. }) = self.link.call_within(call, RECALL) else { return };
        if let Some(group) = batch.groups.last_mut() {
            group.readings.extend(groups.into_iter().flat_map(|recalled| recalled.readings));
        }
    }

    fn let_go(&mut self) -> bool {
        // Some libraries keep devices open until their process ends.
        self.link.call::<bool>(Call::LetGo) == Ok(true) || self.link.finish(CLOSING)
    }
}

impl Drop for RemoteSession {
    fn drop(&mut self) {
        // A library whose helper ended is closed.
        let _ = self.link.call::<()>(Call::Disconnect);
    }
}

/// A device that a helper has listed and keeps until this is dropped.
struct RemoteDevice {
    link: Arc<Link>,
    number: u32,
}

impl RemoteDevice {
    fn open(self) -> Result<Box<dyn Sampler>, Fault> {
        self.link.call::<Result<(), Fault>>(Call::Open(self.number))??;
        Ok(Box::new(self))
    }

    /// What else reads the device, as the helper's sampler makes it.
    fn reader(&self, call: Call) -> Option<Box<dyn Sampler>> {
        let number = self.link.call::<Option<u32>>(call).ok()??;
        Self { link: Arc::clone(&self.link), number }.open().ok()
    }
}

impl Sampler for RemoteDevice {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let sampled = self.link.call::<Result<Batch, Lost>>(Call::Sample(self.number));
        let Batch { groups, absences, .. } = sampled.map_err(Lost::Session)??;
        batch.groups.extend(groups);
        batch.absences.extend(absences);
        Ok(())
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        self.reader(Call::Mandatory(self.number))
    }

    fn fine(&self, wanted: &Wanted) -> Option<Box<dyn Sampler>> {
        self.reader(Call::Fine((self.number, wanted.clone())))
    }
}

impl Drop for RemoteDevice {
    fn drop(&mut self) {
        self.link.notify(Call::Close(self.number));
    }
}
