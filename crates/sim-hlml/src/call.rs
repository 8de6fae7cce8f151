//! What happens around every call: is the library initialised, are the arguments there, what does the control
//! file say about this call, and only then the body.
//!
//! The contract of every entry point is hlml.h's: each pointer is null or points to what its declared type
//! says, strings end in a NUL, and buffers are as long as the length beside them.

use std::cell::Cell;
use std::ffi::c_int;
use std::thread::sleep;
use std::time::Duration;

use hlml_sys::{Generation, Return};
use sim::Live;
use sim::conditions::Effect;
use sim::control::Garbage;
use sim::gaudi::Hpu;
use sim::live::Moment;
use sim::profile::Gaudi;

use crate::session;

/// What a body returns: a value or HLML's code.
pub(crate) type Answer<T = ()> = Result<T, Return>;

/// How often a hanging call looks whether its fault is gone.
const HANG_LOOK_INTERVAL: Duration = Duration::from_millis(60);

/// A call in progress.
pub(crate) struct Call<'a> {
    pub(crate) name: &'static str,
    pub(crate) live: &'a Live,
    pub(crate) epoch: u32,
    pub(crate) moment: Moment<'a>,
    /// The device that the call is about; set by the argument that names it.
    pub(crate) device: Cell<Option<usize>>,
    pub(crate) garbage: Option<Garbage>,
}

/// Runs `body` as the HLML function `name`.
pub(crate) fn run(name: &'static str, body: impl FnOnce(Call<'_>) -> Answer) -> c_int {
    let session = session::load();
    let (Some(session), Some(epoch)) = (session.as_deref(), session::epoch()) else {
        return Return::Uninitialized.code();
    };
    let moment = session.live.now();
    if moment.driver_epoch() != Some(epoch) {
        return Return::Uninitialized.code();
    }
    let call = Call { name, live: &session.live, epoch, moment, device: Cell::new(None), garbage: None };
    body(call).err().unwrap_or(Return::Success).code()
}

/// Lets what the control file says about a call happen: an error, a delay, or (told) nonsense to answer.
pub(crate) fn meet_faults(
    live: &Live,
    moment: &Moment<'_>,
    name: &str,
    device: Option<usize>,
) -> Answer<Option<Effect>> {
    let effect = moment.conditions().effect(name, device, moment.seconds());
    match effect {
        Some(Effect::Error(code)) => return Err(Return::from(code.cast_signed())),
        Some(Effect::Lost) => return Err(Return::AipIsLost),
        Some(Effect::Slow(time) | Effect::Hang(Some(time))) => sleep(time),
        Some(Effect::Hang(None)) => {
            // Nothing is locked here: a hanging call hangs itself alone.
            let hangs = || {
                let moment = live.now();
                moment.conditions().effect(name, device, moment.seconds()) == Some(Effect::Hang(None))
            };
            while hangs() {
                sleep(HANG_LOOK_INTERVAL);
            }
        }
        Some(Effect::Garbage(_)) | None => {}
    }
    Ok(effect)
}

impl Call<'_> {
    /// Lets the faults of this call happen. What the body then reads is of the time after them.
    pub(crate) fn after_faults(self) -> Answer<Self> {
        let device = self.device.get();
        let call = match meet_faults(self.live, &self.moment, self.name, device)? {
            None => self,
            Some(Effect::Garbage(class)) => Self { garbage: Some(class), ..self },
            Some(_) => Self { moment: self.live.now(), ..self },
        };
        let standing = device.and_then(|device| call.moment.conditions().device(device));
        // The driver answers nothing about a device that it resets.
        if standing.is_some_and(|standing| standing.reset.running) {
            return Err(Return::Unknown);
        }
        Ok(call)
    }

    /// A device that an argument named.
    pub(crate) fn hpu(&self, device: usize) -> Answer<Hpu<'_>> {
        self.moment.device(device).and_then(Hpu::new).ok_or(Return::InvalidArgument)
    }

    /// What the machine's library is.
    pub(crate) fn hlml(&self) -> Answer<&Gaudi> {
        self.moment.machine().profile().device.gaudi.as_ref().ok_or(Return::DriverNotLoaded)
    }

    /// Which structs it writes.
    pub(crate) fn generation(&self) -> Answer<Generation> {
        Ok(Generation::of_version(&self.hlml()?.hlml_version).unwrap_or(Generation::V1_19))
    }
}

/// Declares HLML functions.
///
/// `fn name(call, argument: Kind, ...) { body }`: each argument is taken by its [`crate::args::Argument`], and
/// the body runs with `call` after the faults.
macro_rules! entries {
    ($(fn $name:ident($call:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` as hlml.h declares it.")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            $($argument: <$kind as $crate::args::Argument>::Raw),*
        ) -> ::std::ffi::c_int {
            $crate::call::run(stringify!($name), |$call| {
                $(
                    let $argument = {
                        // SAFETY: the caller passes what hlml.h declares for this parameter.
                        unsafe { <$kind as $crate::args::Argument>::take($argument, &$call) }?
                    };
                )*
                let $call = &$call.after_faults()?;
                $body
            })
        }
    )*};
}

/// Declares HLML functions that take a device and give one value: `name: type = |hpu| answer;`.
macro_rules! readings {
    ($($name:ident: $value:ty = |$hpu:ident| $answer:expr;)*) => {
        $crate::call::entries! {$(
            fn $name(call, device: $crate::args::Device, value: $crate::args::Out<$value>) {
                let $hpu = call.hpu(device.0)?;
                let answer: $crate::call::Answer<$value> = $answer;
                value.set(call, answer?)
            }
        )*}
    };
}

/// Declares HLML functions that take a device and give one text: `name = |hpu| text;`.
macro_rules! texts {
    ($($name:ident = |$hpu:ident| $text:expr;)*) => {
        $crate::call::entries! {$(
            fn $name(call, device: $crate::args::Device, text: $crate::args::Buffer, length: ::std::ffi::c_uint) {
                let $hpu = call.hpu(device.0)?;
                text.set(length, &$text)
            }
        )*}
    };
}

pub(crate) use {entries, readings, texts};
