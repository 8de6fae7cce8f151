//! Files that a user names: read whole, but only where that ends.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// The most bytes of a file that a person writes.
pub const WRITTEN_MAX: u64 = 1 << 20;

/// The text of a file of at most `limit` bytes.
///
/// # Errors
/// Those of [`bytes`], or that it is not UTF-8.
pub fn read(path: &Path, limit: u64) -> io::Result<String> {
    let not_utf8 = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(bytes(path, limit)?).map_err(not_utf8)
}

/// The content of a file of at most `limit` bytes. Opening a pipe could wait for ever, and a device may have
/// no end, so only a regular file is opened.
///
/// # Errors
/// Those of the file, or that it is not regular or is larger.
pub fn bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let invalid = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if !fs::metadata(path)?.is_file() {
        return invalid("not a regular file".to_owned());
    }
    let mut content = Vec::new();
    // A file of procfs or one that grows has more than its size says.
    File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return invalid(format!("larger than {limit} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, process::Command};

    use super::*;

    #[test]
    fn only_a_regular_file_of_limited_size_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("text"), "12345678").expect("written");
        std::os::unix::fs::symlink(at("text"), at("link")).expect("linked");
        for name in ["text", "link"] {
            assert_eq!(read(&at(name), 8).expect("read"), "12345678");
            assert!(read(&at(name), 7).expect_err("too large").to_string().contains("larger than 7 bytes"));
        }
        fs::write(at("binary"), [0xff; 8]).expect("written");
        assert!(read(&at("binary"), 8).is_err());
        assert!(read(&at("missing"), 8).is_err());
        assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("coreutils").success());
        let _socket = UnixListener::bind(at("socket")).expect("bound");
        for special in [at("pipe"), at("socket"), folder.path().to_owned(), "/dev/zero".into()] {
            let error = read(&special, 8).expect_err("special");
            assert_eq!(error.to_string(), "not a regular file", "{}", special.display());
        }
    }
}
