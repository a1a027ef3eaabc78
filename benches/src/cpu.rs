//! CPU time: what a request costs, whatever else the machine is busy with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this process has used so far on all its threads, in user and kernel mode.
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
