//! A buffer that HLML may write a struct of any release into, and what it wrote.

use std::ffi::c_void;

use hlml_sys::{Layout, Span};
use reading::{Fault, FaultCode, Measured};

/// Three times the largest struct of any known release (84 bytes).
const ROOM: usize = 256;
/// Bytes behind it that no release is known to touch.
const GUARD: usize = 256;
/// What the guard holds, so that a byte that was written to shows.
const UNTOUCHED: u8 = 0xa5;

/// Room with a guard behind it. A release that has grown its struct beyond our knowledge writes into
/// the room or into the guard, never over something of ours; in the guard it shows, and the value is refused.
#[repr(C, align(16))]
pub struct OutBuffer {
    room: [u8; ROOM],
    guard: [u8; GUARD],
}

impl OutBuffer {
    /// For texts: zeroed, so that each has an end.
    pub const fn zeroed() -> Self {
        Self { room: [0; ROOM], guard: [UNTOUCHED; GUARD] }
    }

    /// For numbers: all ones, a blank that remains where a call succeeds and writes nothing.
    pub const fn blank() -> Self {
        Self { room: [0xff; ROOM], guard: [UNTOUCHED; GUARD] }
    }

    /// The pointer for the call, which may write to all of it.
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    /// The buffer, when the call wrote no more than any known release does.
    ///
    /// # Errors
    /// `struct_larger_than_known`.
    pub fn checked(self, call: &'static str) -> Measured<Self> {
        if self.guard == [UNTOUCHED; GUARD] {
            return Ok(self);
        }
        Err(Fault::new(call, FaultCode::StructLargerThanKnown))
    }

    fn bytes<const N: usize>(&self, layout: &Layout, member: &str) -> Option<[u8; N]> {
        let Span { offset, length } = layout.span(member)?;
        (length == N).then_some(())?;
        self.room.get(offset..offset + N)?.try_into().ok()
    }

    /// A 32-bit member; `None` where the layout has none.
    pub fn u32(&self, layout: &Layout, member: &str) -> Option<u32> {
        self.bytes(layout, member).map(u32::from_ne_bytes)
    }

    /// A 64-bit member; `None` where the layout has none.
    pub fn u64(&self, layout: &Layout, member: &str) -> Option<u64> {
        self.bytes(layout, member).map(u64::from_ne_bytes)
    }

    /// Text up to its NUL or to the end of its place; `None` when it is empty or not UTF-8.
    pub fn text(&self, span: Span) -> Option<String> {
        let bytes = self.room.get(span.offset..span.offset + span.length)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let text = std::str::from_utf8(&bytes[..end]).ok()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use hlml_sys::{Generation, layout};

    use super::{GUARD, OutBuffer, ROOM};

    fn written(bytes: &[u8]) -> OutBuffer {
        let mut out = OutBuffer::zeroed();
        out.room[..bytes.len().min(ROOM)].copy_from_slice(&bytes[..bytes.len().min(ROOM)]);
        let beyond = bytes.get(ROOM..).unwrap_or_default();
        out.guard[..beyond.len()].copy_from_slice(beyond);
        out
    }

    #[test]
    fn a_longer_struct_is_accepted_within_the_room_and_refused_beyond() {
        let memory = |extra: usize| {
            let mut bytes: Vec<u8> = [1u64, 3, 2].iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.resize(bytes.len() + extra, 7);
            written(&bytes).checked("call")
        };
        for extra in [0, 100, ROOM - 24] {
            let out = memory(extra).unwrap_or_else(|fault| panic!("{extra}: {fault}"));
            assert_eq!(out.u64(&layout::MEMORY, "total"), Some(3));
        }
        for extra in [ROOM - 23, ROOM - 24 + GUARD] {
            assert_eq!(memory(extra).err().map(|fault| fault.code.name()), Some("struct_larger_than_known"));
        }
    }

    #[test]
    fn members_are_read_where_the_release_has_them() {
        let mut bytes = vec![0; 84];
        bytes[4..23].copy_from_slice(b"00000000:19:00.0\0\0\0");
        bytes[36..46].copy_from_slice(b"32 GT/s\0\0\0");
        let out = written(&bytes);
        let speed = |generation: Generation| {
            out.text(generation.pci_info().span("caps.link_speed").expect("every release has it"))
        };
        assert_eq!(speed(Generation::V1_19).as_deref(), Some("32 GT/s"));
        assert_ne!(speed(Generation::V1_18).as_deref(), Some("32 GT/s"));
        assert_eq!(out.text(layout::BUS_ID).as_deref(), Some("00000000:19:00.0"));
        assert_eq!(out.u32(Generation::V1_10.utilization(), "memory"), None, "not before 1.19");
        assert_eq!(out.u32(Generation::V1_19.utilization(), "memory"), Some(u32::from_ne_bytes(*b"0000")));
        assert_eq!(out.u64(Generation::V1_19.utilization(), "aip"), None, "not of this length");
    }
}
