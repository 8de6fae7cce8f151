//! An older driver: a copy of a shared library with symbols taken out.
//!
//! The names are spoiled in the string table of the dynamic symbols, so that `dlsym` really does not find
//! them, as with a library that never had them.

use std::path::Path;

use object::{Object as _, ObjectSection as _};

/// Copies the library at `source` to `target` without the symbols `names`.
///
/// # Errors
/// When a file cannot be read or written, is not an ELF library, or does not have one of the names.
pub fn strip_symbols(source: &Path, target: &Path, names: &[&str]) -> std::io::Result<()> {
    let wrong = |what: String| std::io::Error::other(format!("{}: {what}", source.display()));
    let mut bytes = std::fs::read(source)?;
    let (start, length) = object::File::parse(bytes.as_slice())
        .map_err(|error| wrong(error.to_string()))?
        .section_by_name(".dynstr")
        .and_then(|section| section.file_range())
        .ok_or_else(|| wrong("no dynamic symbol names".to_owned()))?;
    let strings = usize::try_from(start).ok().zip(usize::try_from(length).ok());
    let strings = strings
        .and_then(|(start, length)| bytes.get_mut(start..start + length))
        .ok_or_else(|| wrong("truncated".to_owned()))?;
    for name in names {
        let entry = format!("\0{name}\0");
        let at = strings
            .windows(entry.len())
            .position(|window| window == entry.as_bytes())
            .ok_or_else(|| wrong(format!("no symbol {name}")))?;
        strings[at + 1] = b'x';
    }
    std::fs::write(target, bytes)
}
