//! CPU time: what a request costs, whatever else the machine is busy with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this process has used so far on all its threads, in user and kernel mode.
pub fn used() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// The same of this thread alone.
pub fn used_by_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
