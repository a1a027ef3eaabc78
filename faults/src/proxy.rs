//! A TCP proxy before a node: late, silent, or talking nonsense, as it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// They go on at once.
    Open,
    /// They go on this much later, give or take half of it; and this part of them as if a packet had been lost.
    Late(Duration, f64),
    /// They are lost, and the connections that lose them stay silent.
    Hole,
    /// What a node says is replaced by noise.
    Noise,
}

/// How long TCP waits at least before it sends again what was lost.
const RESEND: Duration = Duration::from_millis(200);

/// A proxy that runs as long as this lives.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
    accepted: Arc<AtomicUsize>,
    instants: Arc<Mutex<Vec<Instant>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Takes connections on to `node`.
    pub(crate) async fn start(node: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let way = watch::Sender::new(Way::Open);
        let (accepted, instants) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Instant>>>::default());
        let (seen, counted, times) = (way.subscribe(), accepted.clone(), instants.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Relaxed);
                times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                tokio::spawn(carry(stream, node, seen.clone()));
            }
        });
        Ok(Self { address, way, accepted, instants, accepting })
    }

    /// What becomes of bytes from now on.
    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many connections it took.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }

    /// When it took those that came after `from`.
    pub(crate) fn accepted_since(&self, from: Instant) -> Vec<Instant> {
        let instants = self.instants.lock().unwrap_or_else(PoisonError::into_inner);
        instants.iter().filter(|at| **at >= from).copied().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(near: TcpStream, node: SocketAddr, way: watch::Receiver<Way>) {
    let Ok(far) = TcpStream::connect(node).await else { return };
    // It only makes small packets go out at once.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::join!(one_way(near_in, far_out, way.clone(), false), one_way(far_in, near_out, way, true));
}

async fn one_way(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    way: watch::Receiver<Way>,
    back: bool,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let now = *way.borrow();
        match now {
            Way::Open => {}
            Way::Late(delay, lost) => {
                let again = if fastrand::f64() < lost { RESEND } else { Duration::ZERO };
                sleep(delay.mul_f64(0.5 + fastrand::f64()) + again).await;
            }
            Way::Hole => std::future::pending().await,
            Way::Noise if back => fastrand::fill(&mut buffer[..length]),
            Way::Noise => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown().await;
}
