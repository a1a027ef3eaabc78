//! A process, its lines, and its end.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{self, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A process that runs; killed when it is dropped.
pub(super) struct Child {
    process: process::Child,
    lines: mpsc::Receiver<(&'static str, String)>,
}

/// How a process ended.
pub(super) struct Ended {
    pub(super) well: bool,
    /// As `exit status: 1`.
    pub(super) how: String,
}

/// How long a process may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(35);
/// A line is 64 KiB at most; what is longer comes apart.
const LONGEST_LINE: usize = 64 << 10;

impl Child {
    pub(super) fn start(command: &[String], dir: &Path, variables: &[(String, String)]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut process = Command::new(program)
            .args(arguments)
            .current_dir(dir)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (sender, lines) = mpsc::channel(64);
        if let Some(out) = process.stdout.take() {
            tokio::spawn(pass(out, "stdout", sender.clone()));
        }
        if let Some(err) = process.stderr.take() {
            tokio::spawn(pass(err, "stderr", sender));
        }
        Ok(Self { process, lines })
    }

    /// The next line and where it was written, or else how the process ended.
    pub(super) async fn line(&mut self) -> Result<(&'static str, String), Ended> {
        if let Some(line) = self.lines.recv().await {
            return Ok(line);
        }
        // Nobody can write any more: it has ended, or will.
        match self.process.wait().await {
            Ok(status) => Err(Ended { well: status.success(), how: status.to_string() }),
            Err(error) => Err(Ended { well: false, how: error.to_string() }),
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(super) async fn stop(mut self) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).ok();
        }
        let ended = async {
            // What it still says is not waited for, but must not hold it up.
            while self.lines.recv().await.is_some() {}
            self.process.wait().await.ok();
        };
        if timeout(GRACE, ended).await.is_err() {
            self.process.kill().await.ok();
        }
    }
}

/// Ends with the process, or with the reader.
async fn pass(from: impl AsyncRead + Unpin, stream: &'static str, to: mpsc::Sender<(&'static str, String)>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        let Ok(buffer) = from.fill_buf().await else { return };
        let (taken, whole) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        let ended = buffer.is_empty();
        line.extend_from_slice(&buffer[..taken]);
        from.consume(taken);
        if whole || line.len() >= LONGEST_LINE || ended && !line.is_empty() {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if to.send((stream, text)).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}
