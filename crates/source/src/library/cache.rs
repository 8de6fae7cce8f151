//! The dynamic loader's list of libraries, `/etc/ld.so.cache`, in the format of glibc 2.2 and later.
//!
//! Source: glibc, `sysdeps/generic/dl-cache.h`. Numbers are in the byte order of the machine.

/// Before the version with names at 24 bytes for each library, in `struct cache_file_new`.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of that struct before the entries.
const HEAD: usize = 48;
/// Bytes of an entry, `struct file_entry_new`: flags, name, path, version of the system, capabilities.
const ENTRY: usize = 24;
/// Where the places of name and path are in an entry.
const NAME: usize = 4;
const PATH: usize = 8;

/// The paths that the list has for a library, in the loader's order. One of them may be for another
/// architecture; nothing of a list in another format.
pub fn paths<'a>(cache: &'a [u8], library: &str) -> Vec<&'a str> {
    // An older format may come before this one.
    let start = cache.windows(MAGIC.len()).position(|window| window == MAGIC);
    let Some(list) = start.and_then(|start| cache.get(start..)) else { return Vec::new() };
    let count = number(list, MAGIC.len()).unwrap_or(0);
    let entries = list.get(HEAD..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    let named = entries.filter(|entry| text(list, entry, NAME) == Some(library));
    named.filter_map(|entry| text(list, entry, PATH)).collect()
}

fn number(bytes: &[u8], place: usize) -> Option<usize> {
    let number = bytes.get(place..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*number)).ok()
}

/// The text whose place in the list is at `place` in an entry; it ends in a NUL.
fn text<'a>(list: &'a [u8], entry: &[u8], place: usize) -> Option<&'a str> {
    let text = list.get(number(entry, place)?..)?;
    let end = text.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&text[..end]).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn this_systems_list_has_the_c_library() {
        let cache = fs::read(super::super::CACHE).expect("every glibc system has it");
        let found = paths(&cache, "libc.so.6");
        assert!(found.iter().any(|path| Path::new(path).exists()), "{found:?}");
        assert!(found.iter().all(|path| path.ends_with("/libc.so.6")), "{found:?}");
        assert!(paths(&cache, "libc.so").is_empty(), "whole names only");
    }

    #[test]
    fn a_list_that_is_cut_or_garbage_has_nothing_that_is_wrong() {
        let cache = fs::read(super::super::CACHE).expect("every glibc system has it");
        for end in (0..cache.len()).step_by(97) {
            assert!(paths(&cache[..end], "libc.so.6").iter().all(|path| path.ends_with("/libc.so.6")));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0xff; 200]);
        assert!(paths(&bytes, "libc.so.6").is_empty());
    }
}
