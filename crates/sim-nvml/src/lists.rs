//! Lists in NVML's way: the caller passes how many there is room for, and gets back how many there are.

use std::ffi::c_uint;

pub(crate) use sim_abi::Items;

use crate::args::Out;
use crate::call::{Result, code};

/// Gives the caller the values: their number into `count`, and themselves into `items`, if `count` said that
/// there is room. A null `items` asks for the number alone.
pub(crate) fn list<T>(
    count: Out<c_uint>,
    items: Items<T>,
    values: impl Iterator<Item = T> + Clone,
) -> Result {
    let room = if items.is_null() { 0 } else { count.get() as usize };
    let number = values.clone().count();
    count.put(number as c_uint)?;
    if number > room {
        return Err(code::INSUFFICIENT_SIZE);
    }
    items.write(values);
    Ok(())
}
