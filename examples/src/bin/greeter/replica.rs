//! One replica: it serves the greeter, can be told to be slow, and dies with its handle.

use std::{future::Future, io::stdin, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context;
use examples::{Hello, proto::greeter_server::GreeterServer};
use micro_tower::Service;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tonic::service::Routes;

use crate::wire::Wire;

/// How long a replica may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// Serves the greeter as `id` at `url`; a number on standard input is the delay of answers in milliseconds. One that is
/// `attended` ends with that input.
pub(crate) async fn serve(id: &str, url: &str, attended: bool) -> anyhow::Result<()> {
    let hello = Hello::new(id);
    let delayed = hello.clone();
    // A thread of its own, as reading standard input cannot be interrupted: it must not keep the runtime.
    std::thread::spawn(move || {
        listen_for_delays(&delayed);
        if attended {
            std::process::exit(1);
        }
    });
    Ok(service(id, url).build()?.run(routes(hello)).await?)
}

fn service(id: &str, url: &str) -> micro_tower::service::Builder {
    let greeter = Service::builder("greeter").version("1.0.0").id(id).listen(url);
    greeter.server(|server| server.propagation(Duration::from_millis(300)))
}

fn routes(hello: Hello) -> Routes {
    Routes::new(GreeterServer::new(hello)).prepare()
}

fn listen_for_delays(hello: &Hello) {
    let delays = stdin().lines().map_while(Result::ok).filter_map(|line| line.trim().parse().ok());
    delays.for_each(|delay| hello.set_delay(Duration::from_millis(delay)));
}

/// A replica as its parent sees it.
#[derive(Debug)]
pub(crate) enum Replica {
    /// A process of its own, which dies with this.
    Process { child: Child, stdin: ChildStdin },
    /// A part of this one.
    Task { hello: Hello, stop: oneshot::Sender<()>, task: JoinHandle<anyhow::Result<()>> },
}

impl Replica {
    /// Starts one that announces itself in `registry`.
    pub(crate) fn start(id: &str, registry: &str, wire: &Wire) -> anyhow::Result<Self> {
        let url = wire.url(id);
        if wire.reaches_processes() {
            Self::process(id, registry, &url)
        } else {
            Self::task(id, registry, &url)
        }
    }

    fn process(id: &str, registry: &str, url: &str) -> anyhow::Result<Self> {
        let program: PathBuf = std::env::current_exe().context("this program cannot find itself")?;
        let mut child = Command::new(program)
            .args(["replica", id, "--listen", url, "--attended"])
            .env("MICRO_REGISTRY", registry)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{id} cannot be started"))?;
        let stdin = child.stdin.take().context("the replica has no standard input")?;
        Ok(Self::Process { child, stdin })
    }

    fn task(id: &str, registry: &str, url: &str) -> anyhow::Result<Self> {
        let hello = Hello::new(id);
        let service = service(id, url).registry(micro_discover::open(registry)?).build()?;
        let (stop, told) = oneshot::channel();
        let stopped = async {
            // It is told to stop, or its handle is gone.
            let _ = told.await;
        };
        let serving = service.run_until(routes(hello.clone()), stopped);
        let task = tokio::spawn(serve_task(serving));
        Ok(Self::Task { hello, stop, task })
    }

    /// Checks that it has not ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Process { child, .. } => match child.try_wait()? {
                Some(status) => anyhow::bail!("a replica ended by itself, with {status}"),
                None => Ok(()),
            },
            Self::Task { task, .. } => {
                anyhow::ensure!(!task.is_finished(), "a replica ended by itself");
                Ok(())
            }
        }
    }

    /// Makes its answers take this long.
    pub(crate) async fn slow_down(&mut self, delay: Duration) -> anyhow::Result<()> {
        match self {
            Self::Process { stdin, .. } => {
                stdin.write_all(format!("{}\n", delay.as_millis()).as_bytes()).await?;
                stdin.flush().await?;
            }
            Self::Task { hello, .. } => hello.set_delay(delay),
        }
        Ok(())
    }

    /// Kills it with SIGKILL, or as near as can be: no good-bye of any kind.
    pub(crate) async fn kill(self) -> anyhow::Result<()> {
        match self {
            Self::Process { mut child, .. } => child.kill().await.context("the replica cannot be killed"),
            Self::Task { task, .. } => {
                task.abort();
                // It has ended, by whatever.
                let _ = task.await;
                Ok(())
            }
        }
    }

    /// Asks it to stop, a process with SIGTERM, and waits until it has.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Process { mut child, stdin } => {
                let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
                let id = id.context("the replica is gone")?;
                kill_process(id, Signal::TERM).context("the replica cannot be told to stop")?;
                let status = timeout(STOP, child.wait()).await.context("the replica does not stop")??;
                drop(stdin);
                anyhow::ensure!(status.success(), "the replica ended with {status}");
                Ok(())
            }
            Self::Task { stop, task, .. } => {
                // Where it has ended by itself, it says why.
                let _ = stop.send(());
                timeout(STOP, task).await.context("the replica does not stop")??
            }
        }
    }
}

async fn serve_task(
    serving: impl Future<Output = Result<(), micro_tower::server::ServeError>>,
) -> anyhow::Result<()> {
    Ok(serving.await?)
}
