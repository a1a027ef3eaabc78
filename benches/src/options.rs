//! How thorough a bench is to be, and on what machine it runs.

use std::fmt::Write;

/// How thorough a bench is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often each case is measured; each bench has its own default.
    pub rounds: Option<usize>,
    /// A first impression in a few seconds, too noisy to claim anything by.
    pub quick: bool,
    /// Calls at the same time, where there are calls.
    pub tasks: usize,
    /// Bytes of a call, where there are calls.
    pub payload: usize,
    /// Threads of the client's runtime, where there are calls; 0 is the current thread.
    pub workers: usize,
}

impl Options {
    /// The rounds asked for, or else `few` when it is to be quick, or else `usual`.
    pub fn rounds(&self, few: usize, usual: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { few } else { usual }).max(1)
    }
}

/// What the machine is, in a line: figures mean little without it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut line = format!("{cores} cores");
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let _ = write!(line, ", load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    }
    line
}
