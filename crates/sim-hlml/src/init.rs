//! The library itself: initialisation, shutdown, versions, devices.

use std::ffi::{c_int, c_uint, c_void};

use hlml_sys::Return;

use crate::args::{Buffer, Out, Text, handle};
use crate::call::{Call, Hlml, HlmlCall as _, Result, entries};
use crate::session;

fn init(name: &'static str) -> c_int {
    // Each initialisation reads the environment anew.
    sim_abi::initialise::<Hlml>(name, false, session::enter)
}

sim_abi::machine_symbol!(Hlml);

/// `hlml_init` as hlml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn hlml_init() -> c_int {
    init("hlml_init")
}

/// `hlml_init_with_flags` as hlml.h declares it; no flag changes a simulated machine.
#[unsafe(no_mangle)]
extern "C" fn hlml_init_with_flags(_flags: c_uint) -> c_int {
    init("hlml_init_with_flags")
}

/// `hlml_shutdown` as hlml.h declares it.
#[unsafe(no_mangle)]
extern "C" fn hlml_shutdown() -> c_int {
    sim_abi::shut_down::<Hlml>("hlml_shutdown", session::leave)
}

entries! {
    fn hlml_get_hlml_version(call, version: Buffer, length: c_uint) {
        version.write(call, length, &call.hlml()?.hlml_version)
    }

    fn hlml_get_driver_version(call, version: Buffer, length: c_uint) {
        version.write(call, length, &call.moment.machine().profile().driver.version)
    }

    fn hlml_get_nic_driver_version(call, version: Buffer, length: c_uint) {
        version.write(call, length, &call.moment.machine().profile().driver.version)
    }

    fn hlml_device_get_count(call, count: Out<c_uint>) {
        count.set(call, call.moment.present().count() as c_uint)
    }

    fn hlml_device_get_handle_by_index(call, index: c_uint, device: Out<*mut c_void>) {
        device.put(nth(call, |place, _| place == index as usize)?)
    }

    fn hlml_device_get_handle_by_UUID(call, uuid: Text, device: Out<*mut c_void>) {
        device.put(nth(call, |_, index| call.hpu(index).is_ok_and(|hpu| hpu.uuid() == uuid.0))?)
    }

    fn hlml_device_get_handle_by_pci_bus_id(call, address: Text, device: Out<*mut c_void>) {
        let address = address.0.to_lowercase();
        device.put(nth(call, |_, index| {
            // One may leave the domain out.
            call.hpu(index).is_ok_and(|hpu| !address.is_empty() && hpu.address().ends_with(&address))
        })?)
    }
}

/// The handle of the present device that `wanted` selects by its place in the list and its index.
fn nth(call: &Call<'_>, wanted: impl Fn(usize, usize) -> bool) -> Result<*mut c_void> {
    let found = call.moment.present().enumerate().find(|(place, index)| wanted(*place, *index));
    found.map(|(_, index)| handle(index, call.epoch)).ok_or(Return::NotFound)
}
