//! The traits that a vendor crate implements.
//!
//! The exporter calls [`Source::connect`] and [`Session::devices`] on one supervising thread per source,
//! and each [`Found::open`] and [`Sampler::sample`] on the device's own worker thread. Any of them may
//! block for ever in a driver: the exporter then withdraws the series and leaves the thread alone.

use std::{collections::BTreeSet, sync::Arc};

use naming::Family;

use crate::{Batch, Fault, Identity, LabelValue, Wanted};

/// A kind of silicon that may be on this node.
pub trait Source: Send {
    /// Which family; its name is the source's name.
    fn family(&self) -> Family;

    /// Opens the library and initialises it. Called again, with back-off, until it succeeds, and after
    /// the session is lost.
    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable>;

    /// Takes the way to say what its driver announces between two lists; called once, before the first
    /// [`Source::connect`].
    fn notify_with(&mut self, _notify: Notify) {}

    /// Takes the PCI addresses of devices that must not be opened, because the exporter has let go of them; called
    /// before each [`Source::connect`]. A library that opens every device at once must not be opened meanwhile.
    fn leave_alone(&mut self, _detached: &BTreeSet<String>) {}
}

/// What a driver announces about its hold on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The driver is to give up the device at this PCI address, and waits until nobody has it open.
    Unbinding(String),
    /// The driver has taken the device at this PCI address.
    Bound(String),
}

/// How a source says what its driver announces. May be called by any thread.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// Why a source cannot be used now: what failed, where, and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// A connected source. Dropping it lets the driver go, once the samplers are gone too.
pub trait Session: Send {
    /// The backend of the session.
    fn backend(&self) -> &Backend;

    /// The devices that are present now, each under the key and the name that it has in `prior`, if it is
    /// there. Called every few seconds.
    ///
    /// # Errors
    /// [`Lost::Session`] when the session as a whole is gone: the exporter reconnects. [`Lost::Device`] when
    /// the list cannot be read now: devices that are being sampled go on.
    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost>;

    /// Puts what this process remembers of a device that cannot be read now, or of a partition of it: the
    /// events of its driver, which announces each once. Calls no driver.
    fn recall(&self, _key: &str, _identity: &Identity, _batch: &mut Batch) {}

    /// Prepares to be dropped so that no device stays open, after the samplers are gone. Returns whether that will be
    /// so: a library may be in use by a thread that hangs in it, or close nothing before its process ends.
    fn let_go(&mut self) -> bool {
        true
    }
}

/// What is known of a family's devices before its driver lists them.
#[derive(Clone, Debug, Default)]
pub struct Prior {
    /// Devices that were listed before and are not forgotten.
    pub remembered: Vec<Remembered>,
    /// PCI addresses of the devices on the bus, as sysfs writes them; `None` where no bus is visible.
    pub bus: Option<BTreeSet<String>>,
    /// PCI addresses of devices that must not be opened, as in [`Source::leave_alone`].
    pub detached: BTreeSet<String>,
}

/// A device that was listed before.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// See [`Found::key`].
    pub key: String,
    /// See [`Found::address`].
    pub address: Option<String>,
    /// See [`Found::identity`].
    pub identity: Arc<Identity>,
    /// The events of its driver so far.
    pub announced: Vec<Announced>,
}

/// Events of one code that a driver announced, each once: a source that begins anew, in another process, goes on from
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct Announced {
    /// Where they are a partition's, its name.
    pub partition: Option<String>,
    /// The label `code`.
    pub code: LabelValue,
    /// How many there were.
    pub count: u64,
    /// When the last was, unix seconds.
    pub last: f64,
}

/// The library or interface behind a session, for `probe`, the landing page and the build information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// The library or path that was opened.
    pub library: String,
    /// Driver and library versions, for people.
    pub version: String,
    /// The simulated machine's name, when the library says that it is one.
    pub simulated: Option<String>,
}

/// A device that enumeration found.
pub struct Found {
    /// What identifies the silicon across enumerations: UUID, serial or bus address.
    pub key: String,
    /// Its PCI address, as sysfs writes it; `None` for a device that is not on the bus, or does not say where.
    pub address: Option<String>,
    /// The labels that `accel_device_up` carries, also while the device is down.
    pub identity: Arc<Identity>,
    /// Opens the device; runs on its worker thread.
    pub open: Box<dyn FnOnce() -> Result<Box<dyn Sampler>, Fault> + Send>,
}

/// An opened device.
pub trait Sampler: Send {
    /// Reads everything once. Single failing calls are absences in the batch, not errors.
    ///
    /// # Errors
    /// [`Lost::Device`] when the device cannot be read at all or is no longer the same silicon;
    /// [`Lost::Session`] when the driver went away under every device.
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost>;

    /// What is mandatory of the device, to be read by another thread while a round takes long: a driver that is
    /// slow or hangs in an optional call then costs no more than that. `None` where nothing can be read beside a
    /// round.
    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        None
    }

    /// What reads the device more often between its rounds, on the same thread: with rates of its own, so that those
    /// of the rounds stay over their interval. It makes no call that reads nothing of what is `wanted`. Without one of
    /// its own, a device is read so by what is mandatory.
    fn fine(&self, _wanted: &Wanted) -> Option<Box<dyn Sampler>> {
        self.mandatory()
    }
}

/// Something larger than one value is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// This device: fell off the bus, was replaced, needs a reset.
    Device(Fault),
    /// The whole session: driver unloaded, library uninitialised.
    Session(Fault),
}
