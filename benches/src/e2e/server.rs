//! The other side: an echo server in a process of its own, so that its CPU time is not the client's.

use std::{
    env,
    io::{BufRead, BufReader, Read, stdin},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use tokio::{net::TcpListener, runtime, task::JoinSet};
use tonic::{
    Request, Response, Status,
    transport::server::{Server, TcpIncoming},
};
use tower::BoxError;

use super::proto::{
    Payload,
    echo_server::{Echo, EchoServer},
};

/// The hidden word that makes this program the server.
pub const SERVER: &str = "echo-server";
/// On how many ports it listens.
pub(super) const PORTS: usize = 10;

/// The server's process, which ends with this.
#[derive(Debug)]
pub(super) struct Running {
    process: Child,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts this program again, as the server.
    pub(super) fn start() -> Result<Self, BoxError> {
        let mut process = Command::new(env::current_exe()?)
            .arg(SERVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the server has no output")?;
        let mut running = Self { process, addresses: Vec::new() };
        for line in BufReader::new(stdout).lines().take(PORTS) {
            running.addresses.push(line?.parse()?);
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The server stops when its input ends; that it stopped already is fine too.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Listens on free ports of loopback, prints their addresses, and serves until the input ends.
///
/// # Errors
///
/// When no port can be had.
pub fn serve() -> Result<(), BoxError> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut serving = JoinSet::new();
        for _ in 0..PORTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("{}", listener.local_addr()?);
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            serving
                .spawn(Server::builder().add_service(EchoServer::new(Answer)).serve_with_incoming(incoming));
        }
        tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
        Ok(())
    })
}

#[derive(Debug)]
struct Answer;

#[tonic::async_trait]
impl Echo for Answer {
    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}
