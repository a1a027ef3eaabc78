//! Whatever is listened at, as a source of byte streams.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::FutureExt as _;
use micro_discover::{Address, Endpoint};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use super::{ServeError, place::Place};
use crate::pipe::{BROKER, memory};
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
use crate::pipe::{Incoming, Pipe};

/// How long a TCP connection is silent before the system asks whether its client is still there …
const SILENCE: Duration = Duration::from_secs(60);
/// … how long it waits for an answer before it asks again …
const AGAIN: Duration = Duration::from_secs(15);
/// … and how many questions may stay unanswered before it closes the connection.
const QUESTIONS: u32 = 4;
/// How much the system takes of what is not on its way to a client yet.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// What is listened at.
pub(super) struct Listener {
    place: Place,
    source: Source,
}

enum Source {
    Tcp(TcpListener, SocketAddr),
    Unix {
        listener: UnixListener,
        _file: Socket,
    },
    Memory(memory::Listener),
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    Broker(Incoming),
}

/// A client's stream.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
    Memory(DuplexStream),
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    Broker(Box<Pipe>),
}

impl Accepted {
    /// Where it is from, if that is an address.
    pub(super) fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, remote) => Some(remote.ip()),
            _ => None,
        }
    }
}

/// The file of a socket, removed with it.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens at `place`, as the service called `name` where it takes a name to be called.
    #[cfg_attr(
        not(any(feature = "nats", feature = "rabbitmq")),
        allow(unused_variables, reason = "names are for brokers, which come by feature")
    )]
    pub(super) async fn bind(place: Place, name: &str) -> Result<Self, ServeError> {
        let source = match &place {
            Place::Tcp(address) => {
                let listen = |source| ServeError::Listen { address: *address, source };
                let listener = TcpListener::bind(address).await.map_err(listen)?;
                ask_after_clients(&listener);
                #[cfg(target_os = "linux")]
                take_little(&listener);
                let local = listener.local_addr().map_err(listen)?;
                Source::Tcp(listener, local)
            }
            Place::Unix(path) => {
                let listener = bind_socket(path).await.map_err(|error| place.refused(error))?;
                Source::Unix { listener, _file: Socket(path.clone()) }
            }
            Place::Memory(name) => {
                Source::Memory(memory::Listener::bind(name).map_err(|error| place.refused(error))?)
            }
            #[cfg(feature = "nats")]
            Place::Nats(url) => Source::Broker(
                crate::pipe::nats::Nats::listen(url, &subject(name))
                    .await
                    .map_err(|error| place.refused(error))?,
            ),
            #[cfg(not(feature = "nats"))]
            Place::Nats(_) => return Err(place.refused("this program was built without the feature `nats`")),
            #[cfg(feature = "rabbitmq")]
            Place::RabbitMq(url) => Source::Broker(
                crate::pipe::rabbitmq::RabbitMq::listen(url, &subject(name))
                    .await
                    .map_err(|error| place.refused(error))?,
            ),
            #[cfg(not(feature = "rabbitmq"))]
            Place::RabbitMq(_) => {
                return Err(place.refused("this program was built without the feature `rabbitmq`"));
            }
        };
        Ok(Self { place, source })
    }

    /// The TCP address, where it is one.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match &self.source {
            Source::Tcp(_, local) => Some(*local),
            _ => None,
        }
    }

    /// The endpoint that clients find this by: at a broker, it says which.
    pub(super) fn endpoint(&self, id: String) -> Result<Endpoint, ServeError> {
        let address = self.to_string().parse::<Address>().map_err(|error| self.place.refused(error))?;
        let endpoint = Endpoint::new(id, address);
        Ok(match &self.place {
            Place::Nats(_) | Place::RabbitMq(_) => endpoint.metadata(BROKER, self.place.to_string()),
            Place::Tcp(_) | Place::Unix(_) | Place::Memory(_) => endpoint,
        })
    }

    pub(super) async fn accept(&mut self) -> io::Result<Accepted> {
        match &mut self.source {
            Source::Tcp(listener, _) => {
                listener.accept().await.map(|(stream, remote)| Accepted::Tcp(stream, remote))
            }
            Source::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| Accepted::Unix(stream))
            }
            Source::Memory(listener) => listener.accept().await.map(Accepted::Memory),
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Source::Broker(incoming) => {
                let pipe = incoming.accept().await.ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(Accepted::Broker(Box::new(pipe)))
            }
        }
    }

    /// Accepts no more, and gives what was accepted before.
    pub(super) fn close(mut self) -> (Vec<Accepted>, Closed) {
        #[cfg(any(feature = "nats", feature = "rabbitmq"))]
        if let Source::Broker(mut incoming) = self.source {
            let pipes = incoming.close().into_iter().map(|pipe| Accepted::Broker(Box::new(pipe))).collect();
            return (pipes, Closed { incoming: Some(incoming) });
        }
        let accepted = std::iter::from_fn(|| self.accept().now_or_never()?.ok()).collect();
        (accepted, Closed::default())
    }
}

/// What carries the last streams of a listener that was closed.
#[derive(Default)]
pub(super) struct Closed {
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    incoming: Option<Incoming>,
}

impl Closed {
    /// Waits until all that was sent has left.
    pub(super) async fn flush(self) {
        #[cfg(any(feature = "nats", feature = "rabbitmq"))]
        if let Some(incoming) = self.incoming {
            incoming.flush().await;
        }
    }
}

/// Has the system find out about clients that have vanished without a word: WebSockets and streams of events, among
/// others, may be silent for long, and have no pings of their own. Connections are asked after as their listener says.
fn ask_after_clients(listener: &TcpListener) {
    let asking = TcpKeepalive::new().with_time(SILENCE).with_interval(AGAIN).with_retries(QUESTIONS);
    // Where a system cannot ask, the next write finds out.
    let _ = SockRef::from(listener).set_tcp_keepalive(&asking);
}

/// Has the system take little for a client that it cannot send. It would take megabytes, and have room for more only once a
/// third of them are gone: who reads slowly would be given up like one who reads nothing.
#[cfg(target_os = "linux")]
fn take_little(listener: &TcpListener) {
    // Where a system cannot do that, only those are served who read fast.
    let _ = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT);
}

/// Binds `path`, and takes it over where a server that is gone has left its socket.
async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let error = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        result => return result,
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket || UnixStream::connect(path).await.is_ok() {
        return Err(error);
    }
    std::fs::remove_file(path)?;
    UnixListener::bind(path)
}

/// What a service is called by at a broker.
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
fn subject(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let word = |word: &str| word.chars().map(|c| if plain(c) { c } else { '_' }).collect::<String>();
    let words = name.split('.').filter(|part| !part.is_empty()).map(word).collect::<Vec<_>>().join(".");
    format!("micro.rpc.{words}")
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Tcp(_, local) => write!(f, "{local}"),
            #[cfg(any(feature = "nats", feature = "rabbitmq"))]
            Source::Broker(incoming) => {
                let scheme = if matches!(self.place, Place::Nats(_)) { "nats" } else { "rabbitmq" };
                write!(f, "{scheme}://{}", incoming.name())
            }
            _ => write!(f, "{}", self.place),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
