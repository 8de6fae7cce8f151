//! What happens around every call: is the library initialised, are the arguments there, what does the control
//! file say about this call, and only then the body.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::marker::PhantomData;

use sim::conditions::{Effect, End};
use sim::control::Garbage;
use sim::live::Moment;
use sim::{Live, Profile};

use crate::Machine;

/// A vendor's library: its return codes and its state.
pub trait Library: Copy + 'static {
    /// What a body returns in place of a value.
    type Code;
    /// The return value's type in C.
    type Return;

    /// Before initialisation, and after the driver it was made for was unloaded.
    const UNINITIALIZED: Self::Code;
    /// The environment does not name a machine that can be opened.
    const NO_MACHINE: Self::Code;
    /// The machine has no device of this vendor.
    const NO_DEVICE: Self::Code;
    /// An argument that names nothing.
    const INVALID_ARGUMENT: Self::Code;
    /// A null pointer.
    const NULL_POINTER: Self::Code;
    /// A buffer that is too short.
    const INSUFFICIENT_SIZE: Self::Code;
    /// A device that has fallen off the bus.
    const LOST: Self::Code;

    /// A code of the control file, by its number.
    fn code(number: u32) -> Self::Code;

    /// A result as C receives it.
    fn returned(result: Result<(), Self>) -> Self::Return;

    /// The machine that the library is opened on.
    fn machine() -> &'static Machine<Self>;

    /// The load of the driver that callers may rely on; `None` while the library is not initialised.
    fn epoch() -> Option<u32>;

    /// Whether a machine of this profile has devices of this vendor.
    fn has_devices(profile: &Profile) -> bool;

    /// The code that the driver returns for every call in the device's present state.
    fn refusal(_: &Call<'_, Self>) -> Option<Self::Code> {
        None
    }
}

/// What a body returns: a value or the vendor's code.
pub type Result<T, L> = std::result::Result<T, <L as Library>::Code>;

/// A call in progress.
pub struct Call<'a, L> {
    /// The function.
    pub name: &'static str,
    /// The open machine.
    pub live: &'a Live,
    /// The load of the driver that the library was initialised for.
    pub epoch: u32,
    /// The time of the call.
    pub moment: Moment<'a>,
    /// The device that the call is about; set by the argument that names it.
    pub device: Cell<Option<usize>>,
    /// The class of wrong value to report.
    pub garbage: Option<Garbage>,
    library: PhantomData<L>,
}

/// Runs `body` as the function `name`, on the open machine. Without a machine, or after the driver was
/// reloaded, the library is not initialised.
pub fn run<L: Library>(name: &'static str, body: impl FnOnce(Call<'_, L>) -> Result<(), L>) -> L::Return {
    let opened = L::machine().load();
    let call = opened.as_deref().zip(L::epoch()).and_then(|(opened, epoch)| {
        let live = &opened.live;
        let moment = live.now();
        let (device, garbage, library) = (Cell::new(None), None, PhantomData);
        let loaded = moment.driver_epoch() == Some(epoch);
        loaded.then_some(Call { name, live, epoch, moment, device, garbage, library })
    });
    L::returned(call.ok_or(L::UNINITIALIZED).and_then(body))
}

/// Initialises the library as the function `name`: opens the machine, lets the faults of the call happen, and
/// then `enter` makes the library usable.
pub fn initialise<L: Library>(
    name: &'static str,
    in_use: bool,
    enter: impl FnOnce(&Live) -> Result<(), L>,
) -> L::Return {
    let entered = L::machine().open(in_use).and_then(|opened| {
        meet_faults::<L>(&opened.live.now(), name, None)?;
        enter(&opened.live)
    });
    L::returned(entered)
}

/// Ends the use of the library as the function `name`: lets the faults of the call happen, and then `leave` makes it
/// unusable.
pub fn shut_down<L: Library>(name: &'static str, leave: impl FnOnce() -> Result<(), L>) -> L::Return {
    let opened = L::machine().load();
    let met = opened.as_deref().map_or(Ok(None), |opened| meet_faults::<L>(&opened.live.now(), name, None));
    L::returned(met.and_then(|_| leave()))
}

/// Lets what the control file says about a call happen: an error, a delay, or (returned) a wrong value to
/// report.
fn meet_faults<L: Library>(
    moment: &Moment<'_>,
    name: &str,
    device: Option<usize>,
) -> Result<Option<Effect>, L> {
    match moment.meet(name, device) {
        Some(Effect::Error(code)) => Err(L::code(code)),
        Some(Effect::Lost) => Err(L::LOST),
        Some(Effect::End(end)) => end_process(end),
        met => Ok(met),
    }
}

impl<L> Call<'_, L> {
    /// Counts the call as one that would have woken a sleeping device: `ACCELSIM_WAKES` names a file that grows
    /// by a line for each.
    pub fn count_wake(&self) {
        if let Some(path) = std::env::var_os("ACCELSIM_WAKES") {
            let file = File::options().create(true).append(true).open(path);
            // A count that cannot be written is missing where it is looked for.
            let _ = file.and_then(|mut file| writeln!(file, "{}", self.name));
        }
    }
}

/// Ends the process, as a library with a defect does.
fn end_process(end: End) -> ! {
    match end {
        End::Crash => {
            let nowhere = std::ptr::without_provenance_mut::<u8>(8);
            // SAFETY: none: a defect like this one is what the control file asks for. The kernel ends the process.
            unsafe { nowhere.write_volatile(0) };
            std::process::abort()
        }
        End::Abort => std::process::abort(),
        End::Exit(code) => std::process::exit(code.into()),
    }
}

impl<L: Library> Call<'_, L> {
    /// Lets the faults of this call happen. What the body then reads is of the time after them.
    ///
    /// # Errors
    /// As the control file says, or as the driver returns in the device's present state.
    pub fn after_faults(self) -> Result<Self, L> {
        let call = match meet_faults::<L>(&self.moment, self.name, self.device.get())? {
            None => self,
            Some(Effect::Garbage(class)) => Self { garbage: Some(class), ..self },
            Some(_) => Self { moment: self.live.now(), ..self },
        };
        L::refusal(&call).map_or(Ok(call), Err)
    }
}

/// Declares functions of a library.
///
/// `fn name(call, argument: Kind, ...) { body }`: each argument is taken by its
/// [`Argument`](crate::Argument), and the body runs with `call` after the faults.
#[macro_export]
macro_rules! entries {
    ($library:ty; $($vis:vis fn $name:ident($call:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` as the vendor's header declares it.")]
        #[unsafe(no_mangle)]
        $vis unsafe extern "C" fn $name(
            $($argument: <$kind as $crate::Argument<$library>>::Raw),*
        ) -> <$library as $crate::Library>::Return {
            $crate::run::<$library>(stringify!($name), |$call| {
                $(
                    let $argument = {
                        // SAFETY: the caller passes what the vendor's header declares for this parameter.
                        unsafe { <$kind as $crate::Argument<$library>>::take($argument, &$call) }?
                    };
                )*
                let $call = &$call.after_faults()?;
                $body
            })
        }
    )*};
}

/// Declares functions that take a device and return one value of it.
///
/// `Library, Device => find; name: type = |subject| result;`: `subject` is what `find` returns for the call
/// and the device's index.
#[macro_export]
macro_rules! readings {
    ($library:ty, $device:ty => $find:path; $($name:ident: $value:ty = |$subject:ident| $result:expr;)*) => {
        $crate::entries! { $library; $(
            fn $name(call, device: $device, value: $crate::Out<$value, $library>) {
                let $subject = $find(call, device.0)?;
                let result: $crate::Result<$value, $library> = $result;
                value.set(call, result?)
            }
        )*}
    };
}
