//! The words of the command line: one for each bench.

use std::fmt::Write;

use tower::BoxError;

use crate::{bar::Bar, e2e, pick};

/// A bench and how it is called.
#[derive(Debug)]
pub struct Word {
    /// What is typed.
    pub name: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// Measures, prints tables, and says which claims hold.
    pub run: fn(&Options) -> Result<Vec<Bar>, BoxError>,
}

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

/// Every bench.
pub const WORDS: &[Word] = &[
    Word { name: "pick", about: "CPU and allocations of a balanced request, without I/O", run: pick::run },
    Word { name: "e2e", about: "client CPU of a unary gRPC call over loopback", run: e2e::run },
];

/// What the machine is, in a line: figures mean little without it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut line = format!("{cores} cores");
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let _ = write!(line, ", load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    }
    line
}
