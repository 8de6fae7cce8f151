//! What happens around every call: is the library initialised, are the arguments there, what does the control
//! file say about this call, and only then the body.
//!
//! The contract of every entry point is nvml.h's: each pointer is null or points to what its declared type
//! says, strings end in a NUL, and buffers are as long as the length beside them.

use std::cell::Cell;
use std::thread::sleep;
use std::time::Duration;

use sim::conditions::Effect;
use sim::control::Garbage;
use sim::live::Moment;
use sim::{Device, Live};

use crate::abi::sys::nvmlReturn_t;
use crate::handle::{Kind, Target};
use crate::session;

/// `nvmlReturn_t`, by the names that the bodies use.
pub(crate) mod code {
    use crate::abi::sys::{self, nvmlReturn_t};

    pub(crate) const SUCCESS: nvmlReturn_t = sys::nvmlReturn_enum_NVML_SUCCESS;
    pub(crate) const UNINITIALIZED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
    pub(crate) const INVALID_ARGUMENT: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
    pub(crate) const NOT_SUPPORTED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
    pub(crate) const NOT_FOUND: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
    pub(crate) const INSUFFICIENT_SIZE: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    pub(crate) const DRIVER_NOT_LOADED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED;
    pub(crate) const TIMEOUT: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_TIMEOUT;
    pub(crate) const GPU_IS_LOST: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
    pub(crate) const NO_DATA: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NO_DATA;
    pub(crate) const VERSION_MISMATCH: nvmlReturn_t =
        sys::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    pub(crate) const UNKNOWN: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
}

/// What a body returns: a value or NVML's code.
pub(crate) type Answer<T = ()> = Result<T, nvmlReturn_t>;

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

/// Runs `body` as the NVML function `name`.
pub(crate) fn run(name: &'static str, body: impl FnOnce(Call<'_>) -> Answer) -> nvmlReturn_t {
    let session = session::load();
    let (Some(session), Some(epoch)) = (session.as_deref(), session::epoch()) else {
        return code::UNINITIALIZED;
    };
    let moment = session.live.now();
    if moment.driver_epoch() != Some(epoch) {
        return code::UNINITIALIZED;
    }
    let call = Call { name, live: &session.live, epoch, moment, device: Cell::new(None), garbage: None };
    match body(call) {
        Ok(()) => code::SUCCESS,
        Err(code) => code,
    }
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
        Some(Effect::Error(code)) => return Err(code),
        Some(Effect::Lost) => return Err(code::GPU_IS_LOST),
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
        match meet_faults(self.live, &self.moment, self.name, self.device.get())? {
            None => Ok(self),
            Some(Effect::Garbage(class)) => Ok(Self { garbage: Some(class), ..self }),
            Some(_) => Ok(Self { moment: self.live.now(), ..self }),
        }
    }

    /// A device that an argument named.
    pub(crate) fn gpu(&self, device: usize) -> Answer<Device<'_>> {
        self.moment.device(device).ok_or(code::INVALID_ARGUMENT)
    }

    /// The handle of a device or instance, valid until the driver is reloaded or the instance is gone.
    pub(crate) fn handle<T>(&self, kind: Kind, target: Target) -> *mut T {
        let standing = self.moment.conditions().device(target.device);
        target.encode(kind, self.epoch, standing.map_or(0, |standing| standing.mig_generation))
    }

    /// Whole degrees, or 255 when the control file asks for it.
    pub(crate) fn celsius(&self, degrees: f64) -> u32 {
        if self.garbage == Some(Garbage::Hot) { 255 } else { degrees.round() as u32 }
    }
}

/// Declares NVML functions.
///
/// `fn name(call, argument: Kind, ...) { body }`: each argument is taken by its [`crate::args::Argument`],
/// and the body runs with `call` after the faults.
macro_rules! entries {
    ($(fn $name:ident($call:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` as nvml.h declares it.")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            $($argument: <$kind as $crate::args::Argument>::Raw),*
        ) -> $crate::abi::sys::nvmlReturn_t {
            $crate::call::run(stringify!($name), |$call| {
                $(
                    let $argument = {
                        // SAFETY: the caller passes what nvml.h declares for this parameter.
                        unsafe { <$kind as $crate::args::Argument>::take($argument, &$call) }?
                    };
                )*
                let $call = &$call.after_faults()?;
                $body
            })
        }
    )*};
}

/// Declares NVML functions that take a GPU and give one value: `name: type = |device| answer;`.
macro_rules! readings {
    ($($name:ident: $value:ty = |$device:ident| $answer:expr;)*) => {
        $crate::call::entries! {$(
            fn $name(call, gpu: $crate::args::Gpu, value: $crate::args::Out<$value>) {
                let $device = call.gpu(gpu.0)?;
                let answer: $crate::call::Answer<$value> = $answer;
                value.set(call, answer?)
            }
        )*}
    };
}

pub(crate) use {entries, readings};
