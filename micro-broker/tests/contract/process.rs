//! The example `sub` as a process that can be killed and frozen.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::suite::PATIENCE;

/// A subscriber in a process of its own.
#[derive(Debug)]
pub(crate) struct Subscriber {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Subscriber {
    /// Starts the example `sub`, which cargo builds beside the tests, and waits for its READY.
    pub(crate) fn start(url: &str, topic: &str, milliseconds: u32) -> Self {
        let here = std::env::current_exe().unwrap();
        let sub = here.parent().unwrap().parent().unwrap().join("examples/sub");
        assert!(sub.is_file(), "cargo builds examples only when it tests the whole package");
        let mut command = Command::new(sub);
        command.args([url, topic, "workers", &milliseconds.to_string()]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let this = Self { child, lines };
        assert_eq!(this.line(PATIENCE).as_deref(), Some("READY"));
        this
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, or `None` when there is none in time.
    pub(crate) fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// The ids of `word` lines until there are so many different ones among these and `known`.
    pub(crate) fn collect(&self, word: &str, known: &mut std::collections::BTreeSet<String>, count: usize) {
        let start = Instant::now();
        while known.len() < count {
            let left = (PATIENCE * 2).saturating_sub(start.elapsed());
            let line =
                self.line(left).unwrap_or_else(|| panic!("{word} of {} of {count} events", known.len()));
            known.extend(line.strip_prefix(word).map(|id| id.trim().to_owned()));
        }
    }

    /// How much memory the process has, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.kill();
    }
}
