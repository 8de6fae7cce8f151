//! Frames: messages with their length before them.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read, Write},
};

use reading::{Identity, Prior, Wanted};

use super::wire::{Wire, variants};

/// The longest message: a round of the largest device takes a thirtieth of it.
const BYTES_MAX: usize = 1 << 20;

/// The bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// What a helper is asked to do. Devices have numbers, which the helper gives.
#[derive(Clone, Debug)]
pub enum Call {
    /// [`reading::Source::leave_alone`] with these, then [`reading::Source::connect`]; returns the backend.
    Connect(BTreeSet<String>),
    /// [`reading::Session::devices`]; returns the backend and the devices.
    Devices(Prior),
    /// [`reading::Session::recall`] of a key and an identity; returns the batch.
    Recall((String, Identity)),
    /// Drops the session.
    Disconnect,
    /// [`reading::Session::let_go`], then drops the session; returns whether nothing stays open.
    LetGo,
    /// [`reading::Found::open`] of a listed device.
    Open(u32),
    /// [`reading::Sampler::sample`] of an opened device; returns the batch.
    Sample(u32),
    /// [`reading::Sampler::mandatory`] of an opened device; returns the number of what reads it, to be opened
    /// like a device.
    Mandatory(u32),
    /// [`reading::Sampler::fine`] of an opened device, for what is wanted; as [`Call::Mandatory`].
    Fine((u32, Wanted)),
    /// Drops a device, listed or opened. Returns nothing.
    Close(u32),
}

impl Call {
    /// The name that faults have.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Devices(_) => "devices",
            Self::Recall(_) => "recall",
            Self::Disconnect | Self::LetGo | Self::Close(_) => "close",
            Self::Open(_) => "open",
            Self::Sample(_) => "sample",
            Self::Mandatory(_) => "mandatory",
            Self::Fine(_) => "fine",
        }
    }
}

variants! {
    Call {
        0u8 = Connect(detached), 1u8 = Devices(prior), 2u8 = Recall(wanted), 3u8 = Disconnect, 4u8 = Open(number),
        5u8 = Sample(number), 6u8 = Mandatory(number), 7u8 = Close(number), 8u8 = LetGo,
        9u8 = Fine(wanted)
    }
}

/// Sends a message as one frame.
///
/// # Errors
/// Those of the connection, or a message that is too long for any reader.
pub fn send(mut to: impl Write, message: &impl Wire) -> io::Result<()> {
    let mut frame = vec![0; 4];
    message.append(&mut frame);
    let length = frame.len() - 4;
    if length > BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidInput, "a message that is too long"));
    }
    let written = u32::try_from(length).expect("below the limit");
    frame[..4].copy_from_slice(&written.to_le_bytes());
    to.write_all(&frame)
}

/// Why nothing more can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other end is closed, or the connection failed.
    Closed,
    /// What arrived is no message.
    Garbled,
}

/// What has arrived and not been taken yet.
#[derive(Default)]
pub struct Inbox(Vec<u8>);

impl Inbox {
    /// The next message; `None` when none arrives within the time limit of the connection, if it has one.
    ///
    /// # Errors
    /// When there can be no next one.
    pub fn receive<T: Wire>(&mut self, mut from: impl Read) -> Result<Option<T>, Broken> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let mut chunk = [0; CHUNK];
            match from.read(&mut chunk) {
                Ok(0) => return Err(Broken::Closed),
                Ok(length) => self.0.extend(&chunk[..length]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(None),
                    _ => return Err(Broken::Closed),
                },
            }
        }
    }

    fn take<T: Wire>(&mut self) -> Result<Option<T>, Broken> {
        let Some((length, rest)) = self.0.split_first_chunk() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > BYTES_MAX {
            return Err(Broken::Garbled);
        }
        let Some(mut message) = rest.get(..length) else { return Ok(None) };
        let taken = T::take(&mut message).filter(|_| message.is_empty()).ok_or(Broken::Garbled)?;
        self.0.drain(..4 + length);
        Ok(Some(taken))
    }
}

/// A message whose content is read later, by whoever knows its type.
pub struct Body(pub Vec<u8>);

impl Wire for Body {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend(&self.0);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(Self(std::mem::take(input).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    #[test]
    fn messages_arrive_whole_in_whatever_pieces() {
        let prior = Prior { bus: Some(["0000:03:00.0".to_owned()].into()), ..Prior::default() };
        let wanted = ("0000:03:00.0".to_owned(), Identity::new(naming::Family::Xpu, "0000:03:00.0"));
        let calls = [
            Call::Connect(["0000:03:00.0".to_owned()].into()),
            Call::Devices(prior),
            Call::Recall(wanted),
            Call::Disconnect,
            Call::Open(1),
            Call::Sample(2),
            Call::Mandatory(2),
            Call::Fine((2, Wanted::default().only(&[naming::catalogue::POWER.id]))),
            Call::Close(3),
        ];
        let calls: Vec<_> = (7u32..).zip(calls).collect();
        let mut sent = Vec::new();
        for call in &calls {
            send(&mut sent, call).expect("sent");
        }
        for size in [1, 3, 1000] {
            let (mut inbox, mut pieces) = (Inbox::default(), Pieces(&sent, size));
            for expected in &calls {
                let (number, call) = inbox.receive::<(u32, Call)>(&mut pieces).expect("whole").expect("sent");
                assert_eq!((number, format!("{call:?}")), (expected.0, format!("{:?}", expected.1)));
            }
            assert_eq!(inbox.receive::<()>(&mut pieces), Err(Broken::Closed));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_before_it_is_stored() {
        let refused = |bytes: &[u8]| Inbox::default().receive::<(u32, Call)>(bytes).expect_err("refused");
        assert_eq!(refused(b"Segmentation fault (core dumped)\n"), Broken::Garbled);
        assert_eq!(refused(&[5, 0, 0, 0, 1, 0, 0, 0, 99]), Broken::Garbled, "no such call");
        assert_eq!(refused(&[6, 0, 0, 0, 1, 0, 0, 0, 0, 0]), Broken::Garbled, "more than the call");
        assert_eq!(refused(&[5, 0, 0]), Broken::Closed, "cut");
        let long = Body(vec![0; BYTES_MAX + 1]);
        assert!(send(&mut Vec::new(), &long).is_err());
    }
}
