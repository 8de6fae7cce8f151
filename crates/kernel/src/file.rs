//! Reading one kernel file.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use reading::{Absence, Errno, Fault, FaultCode, Measured, call_returned};

/// The most bytes of a sysfs attribute: the kernel fills one page.
const PAGE: usize = 4096;

/// Most CPUs that Linux can be built for (`NR_CPUS` on x86-64); a list with higher numbers is garbage.
const CPUS_MAX: u32 = 8192;

/// The fault that an I/O error means, by the table of [`Errno`].
pub fn fault(call: &'static str, error: &io::Error) -> Fault {
    let known = Errno::ALL.iter().find(|errno| error.raw_os_error() == Some(errno.number));
    let (absence, code) = known.map_or((Absence::Failed, "EOTHER"), |errno| (errno.absence, errno.name));
    Fault::returned(absence, call, code)
}

/// The fault of an interface that the kernel does not list here, such as a sensor without a driver.
pub const fn missing(call: &'static str) -> Fault {
    Fault::returned(Absence::Unsupported, call, "ENOENT")
}

/// A file that is read in every round, so its path is built once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: PathBuf,
    call: &'static str,
}

impl File {
    /// The file `name` in `folder`; its name is the call in faults.
    pub fn new(folder: &Path, name: &'static str) -> Self {
        Self::called(folder.join(name), name)
    }

    /// A file with another call in faults, because its name is not from a fixed set.
    pub const fn called(path: PathBuf, call: &'static str) -> Self {
        Self { path, call }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The call in faults.
    pub const fn call(&self) -> &'static str {
        self.call
    }

    /// Whether it exists, readable or not.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The whole content of a binary attribute.
    ///
    /// # Errors
    /// The errno's [`fault`]; `NoData` `too_long` when it has more than `limit` bytes.
    pub fn bytes(&self, limit: usize) -> Measured<Vec<u8>> {
        let failed = |error| fault(self.call, &error);
        let mut content = Vec::new();
        let beyond = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = fs::File::open(&self.path).and_then(|file| file.take(beyond).read_to_end(&mut content));
        call_returned();
        read.map_err(failed)?;
        if content.len() > limit { Err(Fault::new(self.call, FaultCode::TooLong)) } else { Ok(content) }
    }

    /// Little-endian 64-bit words of a binary attribute at these offsets, without reading the rest.
    ///
    /// # Errors
    /// The errno's [`fault`]; `NoData` `short` when the attribute ends within a word.
    pub fn words<const N: usize>(&self, offsets: [u64; N]) -> Measured<[u64; N]> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::new(self.call, FaultCode::Short),
            _ => fault(self.call, &error),
        };
        let file = fs::File::open(&self.path).map_err(failed)?;
        let mut words = [0; N];
        for (word, offset) in words.iter_mut().zip(offsets) {
            let mut bytes = [0; 8];
            let read = file.read_exact_at(&mut bytes, offset);
            call_returned();
            read.map_err(failed)?;
            *word = u64::from_le_bytes(bytes);
        }
        Ok(words)
    }

    /// The text without surrounding white space.
    ///
    /// # Errors
    /// Those of [`File::bytes`]; `NoData` `empty` or `garbage` (not UTF-8).
    pub fn text(&self) -> Measured<String> {
        let mut text =
            String::from_utf8(self.bytes(PAGE)?).map_err(|_| Fault::new(self.call, FaultCode::Garbage))?;
        text.truncate(text.trim_end().len());
        text.drain(..text.len() - text.trim_start().len());
        if text.is_empty() { Err(Fault::new(self.call, FaultCode::Empty)) } else { Ok(text) }
    }

    /// A decimal number.
    ///
    /// # Errors
    /// Those of [`File::text`]; `NoData` `garbage` when the text is anything else.
    pub fn number<T: std::str::FromStr>(&self) -> Measured<T> {
        self.parse(|text| text.parse().ok())
    }

    /// A hexadecimal number with or without `0x`.
    ///
    /// # Errors
    /// As [`File::number`].
    pub fn hex(&self) -> Measured<u64> {
        self.parse(|text| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok())
    }

    /// Numbers of a list such as `0-3,8`, as the kernel writes sets of CPUs.
    ///
    /// # Errors
    /// Those of [`File::text`]; `NoData` `garbage` when it is no such list.
    pub fn list(&self) -> Measured<Vec<u32>> {
        self.parse(parse_list)
    }

    /// The text, converted by `parse`.
    ///
    /// # Errors
    /// Those of [`File::text`]; `NoData` `garbage` when `parse` returns `None`.
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Measured<T> {
        parse(&self.text()?).ok_or_else(|| Fault::new(self.call, FaultCode::Garbage))
    }
}

fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last >= CPUS_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Names in a folder, sorted by length and then by text, so that `card2` comes before `card10`; empty when
/// the folder cannot be listed.
pub fn entries(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = listed.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Absence, File, Measured, entries};

    fn code<T: std::fmt::Debug>(measured: Measured<T>) -> (Absence, &'static str) {
        let fault = measured.expect_err("no value");
        (fault.absence, fault.code.name())
    }

    #[test]
    fn numbers_are_what_the_kernel_writes_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File::new(folder.path(), "energy1_input");
        assert_eq!(code(file.number::<u64>()), (Absence::Unsupported, "ENOENT"));
        for (text, value) in
            [("123456789012\n", Ok(123_456_789_012)), (" 7", Ok(7)), ("\n", Err("empty")), ("", Err("empty"))]
        {
            fs::write(file.path(), text).expect("written");
            assert_eq!(file.number::<u64>().map_err(|fault| fault.code.name()), value, "{text:?}");
        }
        for text in ["12 W", "-1", "1e9", "99999999999999999999", "\u{fffd}", "0x10"] {
            fs::write(file.path(), text).expect("written");
            assert_eq!(code(file.number::<u64>()), (Absence::NoData, "garbage"), "{text:?}");
        }
        fs::write(file.path(), [0xff, 0xfe]).expect("written");
        assert_eq!(code(file.text()), (Absence::NoData, "garbage"));
        fs::write(file.path(), "9".repeat(5000)).expect("written");
        assert_eq!(code(file.number::<u64>()), (Absence::NoData, "too_long"));
        fs::write(file.path(), "-40000\n").expect("written");
        assert_eq!(file.number::<i64>(), Ok(-40000));
        fs::write(file.path(), "0x130670b2\n").expect("written");
        assert_eq!(file.hex(), Ok(0x1306_70b2));
    }

    #[test]
    fn lists_are_the_kernels() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File::new(folder.path(), "online");
        for (text, numbers) in [("0-3,8,10-11\n", vec![0, 1, 2, 3, 8, 10, 11]), ("0\n", vec![0])] {
            fs::write(file.path(), text).expect("written");
            assert_eq!(file.list(), Ok(numbers), "{text:?}");
        }
        for bad in ["3-1", "a", "0-", "0-99999999", "0,,1"] {
            fs::write(file.path(), bad).expect("written");
            assert_eq!(code(file.list()), (Absence::NoData, "garbage"), "{bad:?}");
        }
    }

    #[test]
    fn words_are_read_where_they_lie() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File::new(folder.path(), "telem");
        assert_eq!(code(file.words([0])), (Absence::Unsupported, "ENOENT"));
        fs::write(file.path(), (0..20).collect::<Vec<u8>>()).expect("written");
        assert_eq!(file.words([8, 0]), Ok([0x0f0e_0d0c_0b0a_0908, 0x0706_0504_0302_0100]));
        assert_eq!(code(file.words([8, 16])), (Absence::NoData, "short"));
    }

    #[test]
    fn a_folder_is_no_value() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("power")).expect("created");
        assert_eq!(code(File::new(folder.path(), "power").text()), (Absence::Failed, "EISDIR"));
    }

    #[test]
    fn names_come_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["card10", "card2", "card1"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        assert_eq!(entries(folder.path()), ["card1", "card2", "card10"]);
        assert_eq!(entries(&folder.path().join("none")), Vec::<String>::new());
    }
}
