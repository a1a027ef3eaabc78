//! How thorough a bench is to be.

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

    /// What is to be typed for them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let figures = [("tasks", self.tasks), ("payload", self.payload), ("workers", self.workers)];
        let rounds = self.rounds.map(|rounds| ("rounds", rounds));
        let figures = figures.into_iter().chain(rounds).map(|(name, figure)| format!("--{name}={figure}"));
        figures.chain(self.quick.then(|| "--quick".to_owned())).collect()
    }
}
