//! A node as its parent sees it: told what to do, stopped, killed, and listened to.

use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::node::Mood;

/// How long a node may take to start or to stop.
const LONG: Duration = Duration::from_secs(20);

/// What nodes said they did, by the number of the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deeds(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    did: HashMap<u64, usize>,
    refused: usize,
    dropped: usize,
}

impl Deeds {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, line: &str) {
        let mut told = self.told();
        match line.split_once(' ') {
            Some(("did", number)) => {
                *told.did.entry(number.parse().unwrap_or(u64::MAX)).or_default() += 1;
            }
            Some(("refused", _)) => told.refused += 1,
            Some(("dropped", _)) => told.dropped += 1,
            _ => {}
        }
    }

    /// How many requests reached a node.
    pub(crate) fn all(&self) -> usize {
        let told = self.told();
        told.did.values().sum::<usize>() + told.refused + told.dropped
    }

    /// How many were carried out to their end.
    pub(crate) fn done(&self) -> usize {
        self.told().did.values().sum()
    }

    /// How many were answered with 503.
    pub(crate) fn refused(&self) -> usize {
        self.told().refused
    }

    /// How many were given up by their caller, and stopped.
    pub(crate) fn dropped(&self) -> usize {
        self.told().dropped
    }

    /// How many were carried out more than once, by these nodes together.
    pub(crate) fn twice<'a>(all: impl IntoIterator<Item = &'a Self>) -> usize {
        let mut sum: HashMap<u64, usize> = HashMap::new();
        for deeds in all {
            for (number, times) in &deeds.told().did {
                *sum.entry(*number).or_default() += times;
            }
        }
        sum.values().filter(|times| **times > 1).count()
    }
}

/// A node that runs, and dies with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it did.
    pub(crate) deeds: Deeds,
}

impl Process {
    /// Starts a node, announced in `registry` where one is given, with `environment` added to ours.
    pub(crate) async fn start(
        registry: Option<&str>,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let mut child = Command::new(program)
            .arg("node")
            .args(registry.map(|url| ["--registry", url]).iter().flatten())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("a node cannot be started")?;
        let stdin = child.stdin.take().context("a node has no standard input")?;
        let stdout = child.stdout.take().context("a node has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(LONG, lines.next_line()).await.context("a node does not start")??;
        let address = first.as_deref().and_then(|line| line.strip_prefix("at ")?.parse().ok());
        let address = address.with_context(|| format!("a node says {first:?} instead of where it is"))?;
        let deeds = Deeds::default();
        tokio::spawn(listen(lines, deeds.clone()));
        Ok(Self { child, stdin, address, deeds })
    }

    /// Tells it how to treat requests from now on.
    pub(crate) async fn mood(&mut self, mood: Mood) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{mood}\n").as_bytes()).await.context("a node does not listen")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("a node is gone")?;
        kill_process(id, signal).context("a node cannot be signalled")
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("a node cannot be killed")
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = timeout(LONG, self.child.wait()).await.context("a node does not stop")??;
        anyhow::ensure!(status.success(), "a node ended with {status}");
        Ok(())
    }
}

/// Notes what a node says, until it is gone.
async fn listen(mut lines: Lines<BufReader<ChildStdout>>, deeds: Deeds) {
    while let Ok(Some(line)) = lines.next_line().await {
        deeds.note(&line);
    }
}
