//! The runtimes that are measured.

use std::{fmt, io};

use tokio::runtime::{Builder, Runtime};

/// A runtime to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    CurrentThread,
    TwoWorkers,
}

impl On {
    pub(super) fn runtime(self) -> io::Result<Runtime> {
        match self {
            Self::CurrentThread => Builder::new_current_thread().enable_all().build(),
            Self::TwoWorkers => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CurrentThread => "ct",
            Self::TwoWorkers => "mt2",
        })
    }
}
