//! The kernel log (`/dev/kmsg`, Documentation/ABI/testing/dev-kmsg): each read returns one record
//! `priority,sequence,microseconds,flags;text`, followed by lines of properties that begin with a blank. Only root
//! or a process with `CAP_SYSLOG` may read it where `kernel.dmesg_restrict` is 1.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    mem,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// A record is shorter.
const RECORD: usize = 8192;

/// Text without the end of a line that is kept: longer, it is no log.
const LINE_MAX: usize = 8 * RECORD;

/// Records that are looked at for the last line about a device; a large log has some ten thousand.
const RECORDS_MAX: usize = 200_000;

/// A message of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its number since the kernel started; each has one more than the one before.
    pub sequence: u64,
    /// When, in microseconds since the kernel started, without time asleep.
    pub microseconds: u64,
    /// The message, in one or several lines.
    pub text: String,
    /// The device that the kernel names as its subject: `+pci:0000:03:00.0`, or `c195:0` for a character device.
    pub device: Option<String>,
}

/// What reading the log returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message.
    Record(Record),
    /// So many messages were overwritten before they were read.
    Lost(u64),
    /// There is no more for now.
    End,
}

/// The kernel log from its oldest message on. Reading it waits for nothing, and takes no message from other readers. A
/// FIFO or file with the same text can stand in for it.
#[derive(Debug)]
pub struct Log {
    file: File,
    text: Vec<u8>,
    ready: VecDeque<Next>,
    /// The record whose properties may follow.
    open: Option<Record>,
    /// The number of the newest record.
    newest: Option<u64>,
}

impl Log {
    /// Opens the log.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { file, text: Vec::new(), ready: VecDeque::new(), open: None, newest: None })
    }

    /// The next message.
    ///
    /// # Errors
    /// The log cannot be read, for another reason than that it was overwritten or has no more.
    pub fn read(&mut self) -> io::Result<Next> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Ok(next);
            }
            let mut chunk = [0; RECORD];
            match self.file.read(&mut chunk) {
                Ok(0) => return Ok(self.end()),
                Ok(length) => self.take(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(self.end()),
                // The record that was next has been overwritten; the numbers of those that follow say how many were.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is left when nothing follows: the properties of the last record have come with it.
    fn end(&mut self) -> Next {
        self.close();
        self.ready.pop_front().unwrap_or(Next::End)
    }

    fn take(&mut self, chunk: &[u8]) {
        self.text.extend_from_slice(chunk);
        let Some(whole) = self.text.iter().rposition(|byte| *byte == b'\n') else {
            if self.text.len() > LINE_MAX {
                self.text.clear();
            }
            return;
        };
        let rest = self.text.split_off(whole + 1);
        let text = mem::replace(&mut self.text, rest);
        String::from_utf8_lossy(&text).lines().for_each(|line| self.line(line));
    }

    fn line(&mut self, line: &str) {
        if let Some(property) = line.strip_prefix(' ') {
            if let Some((record, device)) = self.open.as_mut().zip(property.strip_prefix("DEVICE=")) {
                record.device = Some(device.to_owned());
            }
            return;
        }
        let known = parse(line);
        match (known, &mut self.open) {
            (Some(record), _) => {
                self.close();
                self.open = Some(record);
            }
            // A message of several lines in a file that stands in for the log; the kernel escapes the ends of its lines.
            (None, Some(record)) => {
                record.text.push('\n');
                record.text.push_str(line);
            }
            (None, None) => {}
        }
    }

    fn close(&mut self) {
        let Some(record) = self.open.take() else { return };
        // A file that was written anew begins with what was read before.
        let expected = self.newest.map_or(record.sequence, |newest| newest + 1);
        if record.sequence < expected {
            return;
        }
        if record.sequence > expected {
            self.ready.push_back(Next::Lost(record.sequence - expected));
        }
        self.newest = Some(record.sequence);
        self.ready.push_back(Next::Record(record));
    }
}

/// The first line of a record.
fn parse(line: &str) -> Option<Record> {
    let (head, text) = line.split_once(';')?;
    let mut fields = head.split(',').skip(1);
    let mut number = || fields.next()?.parse().ok();
    let (sequence, microseconds) = (number()?, number()?);
    Some(Record { sequence, microseconds, text: text.replace("\\x0a", "\n"), device: None })
}

/// The last line of a message that names `subject`, such as a PCI address; `None` where there is none or the log may not be
/// read. Takes what is there and waits for nothing.
pub fn last_line_about(log: &Path, subject: &str) -> Option<String> {
    let mut log = Log::open(log).ok()?;
    let mut last = None;
    for _ in 0..RECORDS_MAX {
        match log.read() {
            Ok(Next::Record(record)) => {
                let line = record.text.lines().rfind(|line| line.contains(subject));
                last = line.map(str::to_owned).or(last);
            }
            Ok(Next::Lost(_)) => {}
            Ok(Next::End) | Err(_) => break,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    const TEXT: &str = "6,1,100,-;intel_vpu 0000:00:0b.0: enabling device\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:0b.0\n\
                        3,2,200,-;intel_vpu 0000:00:0b.0: probe failed with error -110\n\
                        6,3,300,-,caller=T1;xe 0000:03:00.0: one\\x0atwo\n";

    /// A log with this text, and where it is.
    fn log(text: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf, Log) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kmsg");
        fs::write(&path, text).expect("written");
        let log = Log::open(&path).expect("opened");
        (folder, path, log)
    }

    fn records(log: &mut Log) -> Vec<Next> {
        std::iter::from_fn(|| Some(log.read().expect("readable")))
            .take_while(|next| *next != Next::End)
            .collect()
    }

    fn numbers(log: &mut Log) -> Vec<u64> {
        let number = |next| match next {
            Next::Record(record) => record.sequence,
            Next::Lost(count) => 1000 + count,
            Next::End => unreachable!("it is the end"),
        };
        records(log).into_iter().map(number).collect()
    }

    #[test]
    fn records_have_their_numbers_texts_and_devices() {
        let (_folder, _, mut log) = log(TEXT);
        let read = records(&mut log);
        let first = Record {
            sequence: 1,
            microseconds: 100,
            text: "intel_vpu 0000:00:0b.0: enabling device".to_owned(),
            device: Some("+pci:0000:00:0b.0".to_owned()),
        };
        assert_eq!(read[0], Next::Record(first));
        assert!(
            matches!(&read[2], Next::Record(Record { text, device: None, .. }) if text.ends_with("one\ntwo"))
        );
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn what_is_added_is_read_once_and_what_is_missing_is_counted() {
        let (_folder, path, mut log) = log(TEXT);
        assert_eq!(numbers(&mut log), [1, 2, 3]);
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        // Half a line is no record, one that was read is not read again, and garbage is none.
        file.write_all(b"6,2,200,-;again\ngarbage\n6,4,4").expect("written");
        assert_eq!(numbers(&mut log), []);
        file.write_all(b"00,-;four\n6,8,800,-;eight\n").expect("written");
        assert_eq!(numbers(&mut log), [4, 1003, 8]);
    }

    #[test]
    fn garbage_without_an_end_is_not_kept() {
        let (_folder, _, mut log) = log(vec![0xff; 10 * LINE_MAX]);
        assert_eq!(numbers(&mut log), []);
        assert!(log.text.capacity() <= 4 * LINE_MAX, "{}", log.text.capacity());
    }

    #[test]
    fn the_last_record_about_a_device_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("kmsg");
        assert_eq!(last_line_about(&log, "0000:00:0b.0"), None, "there is no log");
        fs::write(&log, TEXT).expect("written");
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
