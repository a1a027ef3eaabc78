//! Names within this process, and the streams between those who listen there and those who call.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

/// What a stream holds at most in each direction, in bytes.
const BUFFER: usize = 256 << 10;
/// How many streams may wait to be accepted.
const BACKLOG: usize = 1024;

type Listeners = HashMap<String, mpsc::Sender<DuplexStream>>;

fn listeners() -> MutexGuard<'static, Listeners> {
    static LISTENERS: LazyLock<Mutex<Listeners>> = LazyLock::new(Mutex::default);
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds a name until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    accepted: mpsc::Receiver<DuplexStream>,
}

impl Listener {
    /// # Errors
    ///
    /// `AddrInUse` where somebody listens at `name`.
    pub(crate) fn bind(name: &str) -> io::Result<Self> {
        let (sender, accepted) = mpsc::channel(BACKLOG);
        match listeners().entry(name.to_owned()) {
            Entry::Occupied(_) => Err(io::ErrorKind::AddrInUse.into()),
            Entry::Vacant(vacant) => {
                vacant.insert(sender);
                Ok(Self { name: name.to_owned(), accepted })
            }
        }
    }

    pub(crate) async fn accept(&mut self) -> io::Result<DuplexStream> {
        // The sender is in the table as long as this lives.
        self.accepted.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        listeners().remove(&self.name);
    }
}

/// A stream to whoever listens at `name`.
///
/// # Errors
///
/// `ConnectionRefused` where nobody does, or too many wait to be accepted.
pub(crate) fn dial(name: &str) -> io::Result<DuplexStream> {
    let (here, there) = duplex(BUFFER);
    let listener = listeners().get(name).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
    listener.try_send(there).map_err(|_| io::ErrorKind::ConnectionRefused)?;
    Ok(here)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_name_is_called_as_long_as_its_listener_lives() {
        let kind = |result: io::Result<DuplexStream>| result.unwrap_err().kind();
        assert_eq!(kind(dial("a name")), io::ErrorKind::ConnectionRefused);
        let mut listener = Listener::bind("a name").unwrap();
        assert_eq!(Listener::bind("a name").unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut here = dial("a name").unwrap();
        let mut there = listener.accept().await.unwrap();
        here.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(listener);
        assert_eq!(kind(dial("a name")), io::ErrorKind::ConnectionRefused);
    }
}
