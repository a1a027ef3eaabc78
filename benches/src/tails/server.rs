//! One echo server as a process, which can be slow, fail, be killed and come back.

use std::{
    env,
    io::{BufRead, BufReader, Read, stdin},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{net::TcpListener, runtime};
use tonic::{
    Request, Response, Status,
    transport::server::{Server, TcpIncoming},
};
use tower::BoxError;

use crate::e2e::proto::{
    Payload,
    echo_server::{Echo, EchoServer},
};

/// The hidden word that makes this program such a server.
pub const SERVER: &str = "tails-server";
/// Tells it how to be.
const MANNER: &str = "MICRO_TAILS";
/// Names the server in its answers.
pub(super) const PORT: &str = "x-port";

/// How a server is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// How long each answer takes.
    pub(super) delay: Duration,
    /// Whether every answer is UNAVAILABLE.
    pub(super) fails: bool,
}

/// A server's process, which ends with this.
#[derive(Debug)]
pub(super) struct Running {
    process: Child,
    pub(super) address: SocketAddr,
    manner: Manner,
}

impl Running {
    pub(super) fn start(manner: Manner) -> Result<Self, BoxError> {
        Self::at(0, manner)
    }

    fn at(port: u16, manner: Manner) -> Result<Self, BoxError> {
        let mut process = Command::new(env::current_exe()?)
            .arg(SERVER)
            .env(MANNER, format!("{port} {} {}", manner.delay.as_millis(), manner.fails))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.as_mut().ok_or("the server has no output")?;
        let mut line = String::new();
        // It says nothing more before it is asked, so that nothing is lost with the buffer.
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { process, address: line.trim().parse()?, manner })
    }

    /// As the machine would: at once.
    pub(super) fn kill(&mut self) -> Result<(), BoxError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// A new process at the same port.
    pub(super) fn start_again(&mut self) -> Result<(), BoxError> {
        *self = Self::at(self.address.port(), self.manner)?;
        Ok(())
    }

    /// Stops it, and says how many calls it had.
    pub(super) fn calls(mut self) -> Result<u64, BoxError> {
        drop(self.process.stdin.take());
        let mut said = String::new();
        if let Some(mut stdout) = self.process.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        Ok(said.trim().parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that refuses connections.
pub(super) fn refused() -> Result<SocketAddr, BoxError> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A port that takes connections and never says a word, as long as the listener is kept.
pub(super) fn black_hole() -> Result<StdListener, BoxError> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

/// Listens, prints its address, serves until its input ends, and prints how many calls there were.
///
/// # Errors
///
/// When it is not told how to be, or the port cannot be had.
pub fn serve() -> Result<(), BoxError> {
    let manner = env::var(MANNER)?;
    let [port, delay, fails] = manner.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("{MANNER} is port, delay and whether to fail, not {manner:?}").into());
    };
    let (port, delay, fails) = (port.parse::<u16>()?, Duration::from_millis(delay.parse()?), fails.parse()?);
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        println!("{address}");
        let echo = EchoServer::new(Answer { port: address.port(), manner: Manner { delay, fails } });
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = tokio::spawn(Server::builder().add_service(echo).serve_with_incoming(incoming));
        tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
        serving.abort();
        println!("{}", CALLS.load(Relaxed));
        Ok(())
    })
}

static CALLS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Answer {
    port: u16,
    manner: Manner,
}

#[tonic::async_trait]
impl Echo for Answer {
    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        CALLS.fetch_add(1, Relaxed);
        if self.manner.fails {
            return Err(Status::unavailable("out of order"));
        }
        if !self.manner.delay.is_zero() {
            tokio::time::sleep(self.manner.delay).await;
        }
        let mut response = Response::new(request.into_inner());
        response.metadata_mut().insert(PORT, self.port.into());
        Ok(response)
    }
}
