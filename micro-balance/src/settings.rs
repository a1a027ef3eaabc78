//! What holds for every endpoint of a balancer, fixed when it is built.

use crate::{
    clock::Clock,
    eject::{Ejection, Tally},
    ewma::{Rate, Timing},
    load_report::LoadReports,
};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    /// How the policy wants latencies measured; `None` saves two readings of the clock a request.
    pub(crate) timing: Option<Timing>,
    /// How fast latencies are forgotten.
    pub(crate) rate: Rate,
    pub(crate) ejection: Ejection,
    pub(crate) tally: Tally,
    /// Whether it is kept how long answers took, for the figures.
    pub(crate) times: bool,
    /// How the policy wants reports of load read.
    pub(crate) load_reports: Option<LoadReports>,
}

impl Settings {
    pub(crate) fn new(timing: Option<Timing>, ejection: Ejection) -> Self {
        let rate = Rate::of(timing.as_ref().map_or(std::time::Duration::MAX, |timing| timing.decay));
        let (clock, tally) = (Clock::new(), Tally::default());
        Self { clock, timing, rate, ejection, tally, times: false, load_reports: None }
    }
}
