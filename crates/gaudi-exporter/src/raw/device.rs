//! A Gaudi's handle and its identity.

use std::ffi::{c_char, c_uint};

use hlml_sys::{
    Device,
    constants::{FIELD_BYTES, VERSION_BYTES},
    layout::{BUS_ID, PCB_INFO},
};
use reading::{Absence, Fault, FaultCode, Measured};

use super::{Library, call, out_buffer::OutBuffer, plausible::BLANKS};

/// HLML's opaque device handle.
#[derive(Clone, Copy)]
struct Handle(Device);

// SAFETY: a handle is a token that HLML looks up; calls with it are made one at a time.
unsafe impl Send for Handle {}

/// A Gaudi.
#[derive(Clone)]
pub struct Hpu {
    library: Library,
    handle: Handle,
}

impl Hpu {
    /// The device at an index below [`Library::device_count`].
    pub fn by_index(library: &Library, index: u32) -> Measured<Self> {
        let mut handle = std::ptr::null_mut();
        call!(library, hlml_device_get_handle_by_index(index, &raw mut handle))?;
        Ok(Self { library: library.clone(), handle: Handle(handle) })
    }

    /// The library that the handle belongs to.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// HLML's handle, for calls.
    pub(super) fn handle(&self) -> Device {
        self.handle.0
    }

    /// What says whether the handle still is that of the same card: its UUID, or its PCI address where the
    /// library has no UUIDs.
    pub fn mark(&self) -> Measured<String> {
        self.uuid().or_else(|fault| match fault.absence {
            Absence::Unsupported => self.pci_bus_id(),
            _ => Err(fault),
        })
    }

    /// N of `/dev/accel/accelN`.
    pub fn minor_number(&self) -> Measured<u32> {
        let mut minor = c_uint::MAX;
        call!(&self.library, hlml_device_get_minor_number(self.handle(), &raw mut minor))?;
        BLANKS.number32("hlml_device_get_minor_number", minor)
    }

    /// Slot on the baseboard.
    pub fn module_id(&self) -> Measured<u32> {
        let mut module = c_uint::MAX;
        call!(&self.library, hlml_device_get_module_id(self.handle(), &raw mut module))?;
        BLANKS.number32("hlml_device_get_module_id", module)
    }

    /// PCI address as the library writes it.
    pub fn pci_bus_id(&self) -> Measured<String> {
        const CALL: &str = "hlml_device_get_pci_info";
        let mut out = OutBuffer::zeroed();
        call!(&self.library, hlml_device_get_pci_info(self.handle(), out.as_mut_ptr()))?;
        out.checked(CALL)?.text(BUS_ID).ok_or(empty(CALL))
    }

    /// Speed and width of the PCIe link as the library writes them (`32 GT/s`, `x16`), where its release is
    /// known.
    pub fn pci_link(&self) -> Measured<(String, String)> {
        const CALL: &str = "hlml_device_get_pci_info";
        let unknown = Fault::new(CALL, FaultCode::ReleaseUnknown);
        let layout = self.library.generation().ok_or(unknown)?.pci_info();
        let mut out = OutBuffer::zeroed();
        call!(&self.library, hlml_device_get_pci_info(self.handle(), out.as_mut_ptr()))?;
        let out = out.checked(CALL)?;
        let member = |name| out.text(layout.span(name)?);
        member("caps.link_speed").zip(member("caps.link_width")).ok_or(empty(CALL))
    }

    /// Versions of the board and of its assembly.
    pub fn pcb_versions(&self) -> Measured<[Option<String>; 2]> {
        let mut out = OutBuffer::zeroed();
        call!(&self.library, hlml_device_get_pcb_info(self.handle(), out.as_mut_ptr()))?;
        let out = out.checked("hlml_device_get_pcb_info")?;
        Ok(["pcb_ver", "pcb_assembly_ver"].map(|name| out.text(PCB_INFO.span(name)?)))
    }
}

/// Declares calls that return a text: method, function of HLML, and how long the text may be.
macro_rules! texts {
    ($($(#[$doc:meta])* $method:ident = $function:ident($bytes:ident);)*) => {
        impl Hpu {$(
            $(#[$doc])*
            pub fn $method(&self) -> Measured<String> {
                text::<$bytes>(stringify!($function), |buffer, length| {
                    call!(&self.library, $function(self.handle(), buffer, length))
                })
            }
        )*}
    };
}

texts! {
    /// UUID; also the call that fails once the device is lost.
    uuid = hlml_device_get_uuid(VERSION_BYTES);
    /// Board name, such as `HL-325L`.
    name = hlml_device_get_name(FIELD_BYTES);
    /// Serial number of the board; clients of Intel's pass 64 bytes and more, whatever the header's constant.
    serial = hlml_device_get_serial(VERSION_BYTES);
    /// Version of the boot firmware image.
    fit_version = hlml_get_firmware_fit_version(VERSION_BYTES);
    /// Version of the firmware in flash.
    spi_version = hlml_get_firmware_spi_version(VERSION_BYTES);
    /// Version of the board's logic.
    cpld_version = hlml_get_cpld_version(VERSION_BYTES);
}

const fn empty(call: &'static str) -> Fault {
    Fault::new(call, FaultCode::Empty)
}

/// A text of at most `N` bytes that is not empty: HLML returns an empty one for some of what a board does not
/// have.
///
/// The buffer is larger than the length that is passed, in case a release writes a longer text.
pub(super) fn text<const N: usize>(
    name: &'static str,
    read: impl FnOnce(*mut c_char, c_uint) -> Measured<()>,
) -> Measured<String> {
    let mut out = OutBuffer::zeroed();
    read(out.as_mut_ptr().cast(), c_uint::try_from(N).unwrap_or(0))?;
    out.checked(name)?.text(hlml_sys::Span { offset: 0, length: N }).ok_or(empty(name))
}
