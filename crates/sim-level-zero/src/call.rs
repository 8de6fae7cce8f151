//! What happens around every call: is a driver loaded, is the handle one of ours, does the device sleep, what does
//! the control file say about the call, and only then the body.
//!
//! The contract of every entry point is `zes_api.h`'s: each pointer is null or points to what its declared type
//! says, a count says how long the list beside it is, and structs carry their type tag.

use std::{
    ffi::c_void,
    fs::File,
    io::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use level_zero_sys::code::{self, Code};
use sim::{Live, Options, conditions::Effect, control::Garbage, xpu::Gpu};

/// A body's answer: a value or Level Zero's code.
pub type Answer<T = ()> = Result<T, Code>;

/// An opaque handle: a number that names what it stands for.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Handle(*mut c_void);

/// What a handle stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// The only driver.
    Driver = 0x5a00,
    /// A device.
    Device,
    /// An engine group.
    Engine,
    /// A memory module.
    Memory,
    /// A power domain.
    Power,
    /// A temperature sensor.
    Temperature,
    /// A clock domain.
    Frequency,
    /// A fan.
    Fan,
    /// An error set.
    Ras,
    /// A fabric port.
    Port,
}

impl Handle {
    /// The handle of a part of a device.
    pub fn new(kind: Kind, device: usize, part: usize) -> Self {
        Self(std::ptr::without_provenance_mut((kind as usize) << 16 | (device & 0xff) << 8 | part & 0xff))
    }

    /// Device and part, if it is of this kind.
    fn target(self, kind: Kind) -> Answer<(usize, usize)> {
        match self.0.addr() {
            0 => Err(code::INVALID_NULL_HANDLE),
            number if number >> 16 == kind as usize => Ok((number >> 8 & 0xff, number & 0xff)),
            _ => Err(code::INVALID_ARGUMENT),
        }
    }
}

static LIVE: OnceLock<Option<Live>> = OnceLock::new();
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Opens the machine at the first initialisation; without one, or without a kernel driver, there is no device.
pub fn init() -> Code {
    let open = || {
        let live = Options::from_env().and_then(|options| Live::open(&options));
        live.inspect_err(|error| eprintln!("accelsim: {error}")).ok()
    };
    let loaded = LIVE.get_or_init(open).as_ref().is_some_and(|live| {
        live.now().driver_epoch().is_some() && live.machine().profile().device.xpu.is_some()
    });
    INITIALISED.store(loaded, Ordering::Release);
    if loaded { code::SUCCESS } else { code::UNINITIALIZED }
}

/// The machine, while its driver is loaded.
pub fn live() -> Answer<&'static Live> {
    let live = LIVE.get().and_then(Option::as_ref).filter(|_| INITIALISED.load(Ordering::Acquire));
    let live = live.ok_or(code::UNINITIALIZED)?;
    if live.now().driver_epoch().is_some() { Ok(live) } else { Err(code::UNINITIALIZED) }
}

/// Runs `body` with the device that `handle` names; `body` is told which part, and what nonsense to answer.
pub fn about<T>(
    name: &str,
    handle: Handle,
    kind: Kind,
    body: impl FnOnce(&Gpu<'_>, usize, Option<Garbage>) -> Answer<T>,
) -> Answer<T> {
    let live = live()?;
    let (device, part) = handle.target(kind)?;
    let garbage = match live.now().meet(name, Some(device)) {
        Some(Effect::Error(code)) => return Err(code),
        Some(Effect::Lost) => return Err(code::DEVICE_LOST),
        Some(Effect::Garbage(garbage)) => Some(garbage),
        Some(Effect::Slow(_) | Effect::Hang(_)) | None => None,
    };
    // What the body reads is of the time after them.
    let moment = live.now();
    let gpu = Gpu::of(&moment, device).ok_or(code::INVALID_ARGUMENT)?;
    if gpu.device.standing().hidden {
        return Err(code::DEVICE_LOST);
    }
    if gpu.asleep {
        count_wake(name);
    }
    body(&gpu, part, garbage)
}

fn count_wake(name: &str) {
    if let Some(path) = std::env::var_os("ACCELSIM_WAKES") {
        let file = File::options().create(true).append(true).open(path);
        // A count that cannot be kept is missing where it is looked for.
        let _ = file.and_then(|mut file| writeln!(file, "{name}"));
    }
}

/// Whether the process is root, to whom alone the driver lists engines. `ACCELSIM_EUID` says who it is taken for.
pub fn is_root() -> bool {
    if let Some(user) = std::env::var_os("ACCELSIM_EUID") {
        return user == "0";
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

/// The code of an answer.
pub fn code_of(answer: Answer) -> Code {
    answer.err().unwrap_or(code::SUCCESS)
}

/// Fills a C value through `body`, where the pointer is there.
///
/// # Safety
/// `value` is null or points to a `T` that nobody else uses during the call.
pub unsafe fn fill<T>(value: *mut T, body: impl FnOnce(&mut T) -> Answer) -> Answer {
    // SAFETY: the caller's promise.
    let value = unsafe { value.as_mut() };
    body(value.ok_or(code::INVALID_NULL_POINTER)?)
}

/// Answers a list by C's protocol: the count alone when it is 0 or there is no list, else as many as fit.
///
/// # Safety
/// `count` is null or points to a number; `list` is null or points to as many `T` as `count` says.
pub unsafe fn list<T>(count: *mut u32, list: *mut T, all: impl IntoIterator<Item = T>) -> Answer {
    let mut items = all.into_iter().collect::<Vec<_>>();
    // SAFETY: the caller's promise.
    let count = unsafe { count.as_mut() }.ok_or(code::INVALID_NULL_POINTER)?;
    if *count == 0 || list.is_null() {
        *count = items.len() as u32;
        return Ok(());
    }
    items.truncate(*count as usize);
    *count = items.len() as u32;
    for (place, item) in items.into_iter().enumerate() {
        // SAFETY: `place` is below the count, so inside the list.
        let slot = unsafe { list.add(place) };
        // SAFETY: as above; the slot is aligned for `T` and needs no drop.
        unsafe { slot.write(item) };
    }
    Ok(())
}

/// Declares Sysman functions: `values` fill one struct or number of a part of a device, `lists` list parts.
macro_rules! entries {
    (
        values { $($value:ident($kind:ident, $type:ty) = |$gpu:ident, $part:ident, $out:ident, $garbage:ident| $body:expr;)* }
        lists { $($list:ident = |$owner:ident| $child:ident x $count:expr;)* }
    ) => {
        $(
            #[doc = concat!("`", stringify!($value), "` as zes_api.h declares it.")]
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $value(
                handle: $crate::call::Handle,
                value: *mut $type,
            ) -> level_zero_sys::code::Code {
                $crate::call::code_of($crate::call::about(
                    stringify!($value),
                    handle,
                    $crate::call::Kind::$kind,
                    |$gpu, $part, $garbage| {
                        let _ = ($part, $garbage);
                        let body = |$out: &mut $type| $body;
                        // SAFETY: the caller passes what the header declares for this parameter.
                        unsafe { $crate::call::fill(value, body) }
                    },
                ))
            }
        )*
        $(
            #[doc = concat!("`", stringify!($list), "` as zes_api.h declares it.")]
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $list(
                handle: $crate::call::Handle,
                count: *mut u32,
                list: *mut $crate::call::Handle,
            ) -> level_zero_sys::code::Code {
                $crate::call::code_of($crate::call::about(
                    stringify!($list),
                    handle,
                    $crate::call::Kind::Device,
                    |$owner, _, _| {
                        let device = $owner.device.index();
                        let count_of: usize = $count;
                        let parts = (0..count_of)
                            .map(|part| $crate::call::Handle::new($crate::call::Kind::$child, device, part));
                        // SAFETY: the caller passes what the header declares for these parameters.
                        unsafe { $crate::call::list(count, list, parts) }
                    },
                ))
            }
        )*
    };
}
pub(crate) use entries;
