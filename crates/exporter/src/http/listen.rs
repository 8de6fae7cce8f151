//! Listening sockets: TCP on both IP families, unix sockets, and those that systemd passes.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs},
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
};

use listenfd::ListenFd;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::server::TlsStream;

use crate::commands::values::ListenAddress;

/// Connections that the kernel queues until they are accepted.
const BACKLOG: i32 = 1024;

/// A bound socket that is not yet served.
pub enum BoundSocket {
    /// TCP.
    Tcp(StdTcpListener),
    /// A unix socket, and its file where this process created it.
    Unix(StdUnixListener, Option<SocketFile>),
}

/// The file of a unix socket; removed when this value is dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

/// Binds one address.
///
/// # Errors
/// One line: which address, why, and what to do.
pub fn bind(address: &ListenAddress) -> Result<BoundSocket, String> {
    let bound = match address {
        ListenAddress::Tcp { host, port } => bind_tcp(host, *port).map(BoundSocket::Tcp),
        ListenAddress::Unix(path) => bind_unix(path),
    };
    bound.map_err(|error| format!("cannot listen on {address}: {error}; choose another --web.listen-address"))
}

/// The sockets that systemd passes.
///
/// # Errors
/// When it passes none, or one that is not a stream socket.
pub fn from_systemd() -> Result<Vec<BoundSocket>, String> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Err(
            "--web.systemd-socket: systemd passed no socket; start this from a .socket unit".to_owned()
        );
    }
    (0..passed.len())
        .map(|index| {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                return listener.set_nonblocking(true).map(|()| BoundSocket::Tcp(listener));
            }
            let listener = passed.take_unix_listener(index)?.ok_or(io::ErrorKind::NotFound)?;
            listener.set_nonblocking(true).map(|()| BoundSocket::Unix(listener, None))
        })
        .collect::<io::Result<_>>()
        .map_err(|error| format!("--web.systemd-socket: {error}; use ListenStream= in the .socket unit"))
}

fn bind_tcp(host: &str, port: u16) -> io::Result<StdTcpListener> {
    if host.is_empty() {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        // Fails on a kernel without IPv6.
        return bind_address(both).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => bind_address((Ipv4Addr::UNSPECIFIED, port).into()),
        });
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    // `localhost` has both; clients that support only one of them support IPv4.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    for address in addresses {
        match bind_address(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if let IpAddr::V6(ip) = address.ip() {
        // `[::]` accepts IPv4 too, whatever the default of the system.
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a unix socket, also where a process that was killed left its file behind.
///
/// # Errors
/// Those of the operating system; `AddrInUse` where somebody serves it.
pub fn bind_unix(path: &Path) -> io::Result<BoundSocket> {
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            // Left behind by a process that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(BoundSocket::Unix(listener, Some(SocketFile(path.to_owned()))))
}

/// A socket that the runtime accepts from.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, and its file where this process created it.
    Unix(UnixListener, #[expect(dead_code, reason = "held for its Drop")] Option<SocketFile>),
}

/// Who is at the other end of a connection: an address, or a process of this host on a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl Peer {
    /// Whether it is on this host.
    pub fn is_local(self) -> bool {
        self.0.is_none_or(|address| address.to_canonical().is_loopback())
    }

    /// What one client can choose its addresses from: its address, or the /64 of an IPv6 address.
    pub fn network(self) -> Option<IpAddr> {
        Some(match self.0?.to_canonical() {
            IpAddr::V6(address) => {
                let prefix = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(prefix))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// A connection over any kind of socket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The first byte that the client sends, which stays to be read; `None` where the kernel cannot show it.
    ///
    /// # Errors
    /// `UnexpectedEof` when the client closes before it has sent anything.
    fn poll_first_byte(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        Poll::Ready(Ok(None))
    }
}

impl Stream for TcpStream {
    fn poll_first_byte(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        ready!(self.poll_peek(context, &mut buffer))?;
        Poll::Ready(
            buffer.filled().first().map_or(Err(io::ErrorKind::UnexpectedEof.into()), |byte| Ok(Some(*byte))),
        )
    }
}

impl Stream for UnixStream {}
impl Stream for TlsStream<Box<dyn Stream>> {}

impl Listener {
    /// Hands a bound socket to the runtime that is running.
    pub fn new(bound: BoundSocket) -> io::Result<Self> {
        Ok(match bound {
            BoundSocket::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            BoundSocket::Unix(listener, file) => Self::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A response is written at once, so waiting for more data would only delay it. Where this
                // fails, the client is gone, and the next read fails too.
                let _ = stream.set_nodelay(true);
                (Box::new(stream), Peer(Some(peer.ip())))
            }
            Self::Unix(listener, _) => (Box::new(listener.accept().await?.0), Peer(None)),
        })
    }

    /// The address as `--web.listen-address` takes it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string())
            }
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| "unix:".to_owned(), |path| format!("unix:{}", path.display()))
            }
        }
    }
}
