//! The kernel log (`/dev/kmsg`, Documentation/ABI/testing/dev-kmsg): each read returns one record
//! `priority,sequence,microseconds,flags;text`, followed by lines of properties that begin with a blank. Only root
//! may read it where `kernel.dmesg_restrict` is 1.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// A record is shorter.
const RECORD: usize = 8192;

/// Records that are read at most; a large log has some ten thousand.
const RECORDS_MAX: usize = 200_000;

/// The text of the last record that names `subject`, such as a PCI address; `None` where there is none or the
/// log may not be read. Takes what is there and waits for nothing.
pub fn last_line_about(log: &Path, subject: &str) -> Option<String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut log = OpenOptions::new().read(true).custom_flags(flags).open(log).ok()?;
    let mut record = vec![0; RECORD];
    let mut last = None;
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let mut lines = text.lines().filter(|line| line.contains(subject) && !line.starts_with(' '));
                if let Some(line) = lines.next_back() {
                    last = Some(line.split_once(';').map_or(line, |(_, text)| text).to_owned());
                }
            }
            // The record that was next has been overwritten.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_record_about_a_device_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("kmsg");
        assert_eq!(last_line_about(&log, "0000:00:0b.0"), None, "there is no log");
        let text = "6,1,100,-;intel_vpu 0000:00:0b.0: enabling device\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:0b.0\n\
                    3,2,200,-;intel_vpu 0000:00:0b.0: probe failed with error -110\n\
                    6,3,300,-;xe 0000:03:00.0: ready\n";
        fs::write(&log, text).expect("written");
        let found = last_line_about(&log, "0000:00:0b.0");
        assert_eq!(found.as_deref(), Some("intel_vpu 0000:00:0b.0: probe failed with error -110"));
        assert_eq!(last_line_about(&log, "0000:04:00.0"), None);
    }

    #[test]
    fn a_log_that_nobody_writes_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("kmsg");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &log, mode).expect("made");
        assert_eq!(last_line_about(&log, "0000:00:0b.0"), None);
    }
}
