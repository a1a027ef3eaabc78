//! One replica: a process that serves the greeter and can be told to be slow.

use std::{io::stdin, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context;
use examples::{Hello, proto::greeter_server::GreeterServer};
use micro_tower::Service;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
};
use tonic::service::Routes;

/// Serves the greeter as `id`; a number on standard input is the delay of answers in milliseconds.
pub(crate) async fn serve(id: String) -> anyhow::Result<()> {
    let hello = Hello::new(&*id);
    let delayed = hello.clone();
    // A thread of its own, as reading standard input cannot be interrupted: it must not keep the runtime.
    std::thread::spawn(move || listen_for_delays(&delayed));
    let service = Service::builder("greeter")
        .version("1.0.0")
        .id(id)
        .server(|server| server.propagation(Duration::from_millis(300)))
        .build()?;
    service.run(Routes::new(GreeterServer::new(hello)).prepare()).await?;
    Ok(())
}

fn listen_for_delays(hello: &Hello) {
    let delays = stdin().lines().map_while(Result::ok).filter_map(|line| line.trim().parse().ok());
    delays.for_each(|delay| hello.set_delay(Duration::from_millis(delay)));
}

/// A replica as its parent sees it. It dies with its parent's handle.
#[derive(Debug)]
pub(crate) struct Replica {
    child: Child,
    stdin: ChildStdin,
}

impl Replica {
    /// Starts a process that announces itself in `registry`.
    pub(crate) fn start(id: &str, registry: &str) -> anyhow::Result<Self> {
        let program: PathBuf = std::env::current_exe().context("this program cannot find itself")?;
        let mut child = Command::new(program)
            .args(["replica", id])
            .env("MICRO_REGISTRY", registry)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{id} cannot be started"))?;
        let stdin = child.stdin.take().context("the replica has no standard input")?;
        Ok(Self { child, stdin })
    }

    /// Makes its answers take this long.
    pub(crate) async fn slow_down(&mut self, delay: Duration) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{}\n", delay.as_millis()).as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    /// Kills it with SIGKILL: no good-bye of any kind.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the replica cannot be killed")
    }

    /// Asks it to stop with SIGTERM and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let id =
            self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("the replica is gone")?;
        kill_process(id, Signal::TERM).context("the replica cannot be told to stop")?;
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = status.context("the replica did not stop in 30 s")??;
        anyhow::ensure!(status.success(), "the replica ended with {status}");
        Ok(())
    }
}
