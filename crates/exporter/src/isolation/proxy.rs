//! A source that runs in a helper process, as its supervisor and workers see it.

use std::{
    collections::BTreeSet,
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
    detached: BTreeSet<String>,
}

impl Isolated {
    /// The source of a family, with the flags of this process.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            args: helper_arguments(family.name(), std::env::args_os()),
            helper: None,
            notify: None,
            detached: BTreeSet::new(),
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

    fn leave_alone(&mut self, detached: &BTreeSet<String>) {
        self.detached.clone_from(detached);
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let link = self.helper().map_err(Unavailable)?;
        match link.call::<Result<Backend, Unavailable>>(Call::Connect(self.detached.clone())) {
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
        // Each member by its name, so that none that is added later is left behind.
        let Batch { groups, absences, clients, capacity: _ } = sampled.map_err(Lost::Session)??;
        batch.groups.extend(groups);
        batch.absences.extend(absences);
        batch.clients.extend(clients);
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::{
        super::{frame::Inbox, helper},
        *,
    };

    /// Connects unless something must be left alone; its one device has a process on it.
    #[derive(Default)]
    struct OneDevice(BTreeSet<String>);

    fn identity() -> Arc<Identity> {
        Arc::new(Identity::new(Family::Xpu, "card0"))
    }

    impl Source for OneDevice {
        fn family(&self) -> Family {
            Family::Xpu
        }

        fn leave_alone(&mut self, detached: &BTreeSet<String>) {
            self.0.clone_from(detached);
        }

        fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
            match self.0.first() {
                Some(address) => Err(Unavailable(format!("{address} is detached"))),
                None => Ok(Box::new(Connected(Backend::default()))),
            }
        }
    }

    struct Connected(Backend);

    impl Session for Connected {
        fn backend(&self) -> &Backend {
            &self.0
        }

        fn devices(&mut self, _: &Prior) -> Result<Vec<Found>, Lost> {
            let open = Box::new(|| Ok(Box::new(Busy) as _));
            Ok(vec![Found { key: "card0".to_owned(), address: None, identity: identity(), open }])
        }
    }

    struct Busy;

    impl Sampler for Busy {
        fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
            batch.begin(&identity());
            batch.put_client(4711, Some(1 << 30), vec![("sm", 0.5)]);
            Ok(())
        }
    }

    /// A source behind a connection, with a thread in place of the process.
    fn isolated(source: OneDevice) -> Isolated {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let received = ours.try_clone().expect("a descriptor");
        thread::spawn(move || helper::respond(Box::new(source), &theirs));
        let link = Arc::new(Link::new(ours, None));
        thread::spawn({
            let link = Arc::clone(&link);
            move || {
                let mut inbox = Inbox::default();
                while let Ok(Some((number, result))) = inbox.receive(&received) {
                    link.deliver(number, result);
                }
            }
        });
        Isolated { helper: Some(link), ..Isolated::new(Family::Xpu) }
    }

    #[test]
    fn processes_on_a_device_arrive_with_its_round() {
        let mut session = isolated(OneDevice::default()).connect().expect("connected");
        let found = session.devices(&Prior::default()).expect("listed").remove(0);
        let mut batch = Batch::default();
        (found.open)().expect("opened").sample(&mut batch).expect("read");
        let clients: Vec<_> = batch.clients.iter().map(|client| (client.pid, client.memory_bytes)).collect();
        assert_eq!((batch.groups.len(), clients), (1, vec![(4711, Some(1 << 30))]));
    }

    #[test]
    fn what_must_be_left_alone_is_known_before_the_library_is_opened() {
        let mut source = isolated(OneDevice::default());
        let why = |source: &mut Isolated| source.connect().err().map(|Unavailable(why)| why);
        source.leave_alone(&["0000:03:00.0".to_owned()].into());
        assert_eq!(why(&mut source).as_deref(), Some("0000:03:00.0 is detached"));
        source.leave_alone(&BTreeSet::new());
        assert_eq!(why(&mut source), None, "it is attached");
    }
}
