//! Level Zero around every call: its return codes, its handles, and what its bodies need of a call. The rest
//! is in `sim-abi`.

use std::{
    ffi::c_void,
    sync::atomic::{AtomicBool, Ordering},
};

use level_zero_sys::code::{self, Code};
use sim::{Live, Profile, family::xpu::Gpu};
use sim_abi::{Argument, Items, Library, Machine};

/// Level Zero, as `sim-abi` sees it.
#[derive(Clone, Copy)]
pub struct LevelZero;

static MACHINE: Machine<LevelZero> = Machine::closed();
/// Whether the last initialisation found a driver and an Intel GPU.
static INITIALISED: AtomicBool = AtomicBool::new(false);

impl Library for LevelZero {
    type Code = Code;
    type Return = Code;

    const UNINITIALIZED: Code = code::UNINITIALIZED;
    const NO_MACHINE: Code = code::UNINITIALIZED;
    const NO_DEVICE: Code = code::UNINITIALIZED;
    const INVALID_ARGUMENT: Code = code::INVALID_ARGUMENT;
    const NULL_POINTER: Code = code::INVALID_NULL_POINTER;
    const INSUFFICIENT_SIZE: Code = code::INVALID_SIZE;
    const LOST: Code = code::DEVICE_LOST;

    fn code(number: u32) -> Code {
        number
    }

    fn returned(result: Result) -> Code {
        result.err().unwrap_or(code::SUCCESS)
    }

    fn machine() -> &'static Machine<Self> {
        &MACHINE
    }

    /// A reload of the driver does not end the initialisation.
    fn epoch() -> Option<u32> {
        let opened = INITIALISED.load(Ordering::Acquire).then(|| MACHINE.load())?;
        opened.as_ref()?.live.now().driver_epoch()
    }

    fn has_devices(profile: &Profile) -> bool {
        profile.device.xpu.is_some()
    }
}

/// What a body returns: a value or Level Zero's code.
pub type Result<T = ()> = sim_abi::Result<T, LevelZero>;

/// A call in progress.
pub type Call<'a> = sim_abi::Call<'a, LevelZero>;

/// A place for a value.
pub type Out<T> = sim_abi::Out<T, LevelZero>;

/// Initialises the library as the function `name`; without a kernel driver there is no device.
pub fn init(name: &'static str) -> Code {
    let enter = |live: &Live| live.now().driver_epoch().map(|_| ()).ok_or(code::UNINITIALIZED);
    let result = sim_abi::initialise::<LevelZero>(name, false, enter);
    INITIALISED.store(result == code::SUCCESS, Ordering::Release);
    result
}

/// An opaque handle: a number that names what it stands for.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Handle(*mut c_void);

impl Handle {
    /// The handle of a part of a device.
    pub fn new(kind: usize, device: usize, part: usize) -> Self {
        Self(std::ptr::without_provenance_mut(kind << 16 | (device & 0xff) << 8 | part & 0xff))
    }
}

/// A handle that the function ignores.
impl Argument<LevelZero> for Handle {
    type Raw = Self;

    unsafe fn take(raw: Self, _: &Call<'_>) -> Result<Self> {
        Ok(raw)
    }
}

/// A part of a device, or the whole of it as part 0, by its handle; `KIND` is in the handle's top bits.
#[derive(Clone, Copy)]
pub struct Part<const KIND: usize> {
    device: usize,
    /// Its place among the parts of its kind.
    pub index: usize,
}

impl<const KIND: usize> Argument<LevelZero> for Part<KIND> {
    type Raw = Handle;

    unsafe fn take(raw: Handle, call: &Call<'_>) -> Result<Self> {
        match raw.0.addr() {
            0 => Err(code::INVALID_NULL_HANDLE),
            number if number >> 16 == KIND => {
                let part = Self { device: number >> 8 & 0xff, index: number & 0xff };
                call.device.set(Some(part.device));
                Ok(part)
            }
            _ => Err(code::INVALID_ARGUMENT),
        }
    }
}

impl<const KIND: usize> Part<KIND> {
    /// Handles of the parts of `device`.
    pub fn handles(device: usize, count: usize) -> impl Iterator<Item = Handle> {
        (0..count).map(move |part| Handle::new(KIND, device, part))
    }

    /// The GPU, at the time of the call. A GPU that sleeps is counted as woken.
    pub fn gpu<'a>(self, call: &'a Call<'_>) -> Result<Gpu<'a>> {
        let gpu = Gpu::of(&call.moment, self.device).ok_or(code::INVALID_ARGUMENT)?;
        if gpu.device.standing().hidden {
            return Err(code::DEVICE_LOST);
        }
        if gpu.asleep {
            call.count_wake();
        }
        Ok(gpu)
    }
}

/// The kinds of handle.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        $($(#[$doc])* pub type $name = Part<$number>;)*
    };
}

kinds! {
    /// The only driver.
    Driver = 0x5a00;
    /// A device.
    Device = 0x5a01;
    /// An engine group.
    Engine = 0x5a02;
    /// A memory module.
    Memory = 0x5a03;
    /// A power domain.
    Power = 0x5a04;
    /// A temperature sensor.
    Temperature = 0x5a05;
    /// A clock domain.
    Frequency = 0x5a06;
    /// A fan.
    Fan = 0x5a07;
    /// An error set.
    Ras = 0x5a08;
    /// A fabric port.
    Port = 0x5a09;
}

/// Whether the process is root: the driver lists engines to root alone. `ACCELSIM_EUID` overrides the user.
pub fn is_root() -> bool {
    if let Some(user) = std::env::var_os("ACCELSIM_EUID") {
        return user == "0";
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

/// Writes a list by Level Zero's protocol: the count alone when it is 0 or there is no list, else as many as
/// fit.
pub fn list<T>(count: Out<u32>, list: Items<T>, all: impl IntoIterator<Item = T>) -> Result {
    let mut items = all.into_iter().collect::<Vec<_>>();
    let room = count.get() as usize;
    if room == 0 || list.is_null() {
        return count.put(items.len() as u32);
    }
    items.truncate(room);
    count.put(items.len() as u32)?;
    list.write(items);
    Ok(())
}

/// Declares Level Zero functions, as [`sim_abi::entries`] says.
macro_rules! entries {
    ($($entry:tt)*) => { sim_abi::entries! { $crate::call::LevelZero; $($entry)* } };
}

/// Declares functions that fill one struct or number of a part: `name(Kind, Type) = |gpu, part, out, garbage|
/// body;`.
macro_rules! values {
    ($($name:ident($kind:ident, $type:ty) = |$gpu:ident, $part:ident, $out:ident, $garbage:ident| $body:expr;)*) => {
        $crate::call::entries! {$(
            pub(crate) fn $name(call, part: $crate::call::$kind, value: $crate::call::Out<$type>) {
                let ($gpu, $part, $garbage) = (&part.gpu(call)?, part.index, call.garbage);
                let _ = ($gpu, $part, $garbage);
                value.update(|$out| $body)
            }
        )*}
    };
}

/// Declares functions that list the parts of a device: `name = |gpu| Kind x count;`.
macro_rules! lists {
    ($($name:ident = |$gpu:ident| $kind:ident x $count:expr;)*) => {
        $crate::call::entries! {$(
            pub(crate) fn $name(
                call, device: $crate::call::Device, count: $crate::call::Out<u32>,
                handles: ::sim_abi::Items<$crate::call::Handle>,
            ) {
                let $gpu = &device.gpu(call)?;
                let parts: usize = $count;
                $crate::call::list(count, handles, $crate::call::$kind::handles($gpu.device.index(), parts))
            }
        )*}
    };
}

pub(crate) use {entries, lists, values};
