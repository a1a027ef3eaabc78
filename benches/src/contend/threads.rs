//! Runs a case on threads of their own, each pinned to a processor.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::case::Case;
use crate::cpu;

/// For how long one measurement is to use a CPU.
const LONG_ENOUGH: Duration = Duration::from_millis(20);
/// Operations between two looks at the clock.
const BATCH: u64 = 1_000;

/// CPU nanoseconds of an operation, the mean over `threads` that all do the same.
pub(super) fn nanos(case: &Case, threads: usize) -> f64 {
    let (barrier, over) = (Barrier::new(threads), AtomicBool::new(false));
    let measured: Vec<f64> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, over) = (&barrier, &over);
                scope.spawn(move || {
                    pin(number);
                    let mut operation = case.operation();
                    operation(BATCH);
                    barrier.wait();
                    measure(&mut *operation, over)
                })
            })
            .collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    measured.iter().sum::<f64>() / measured.len() as f64
}

/// Goes on until every thread has done enough: the first to finish must not leave the others alone.
fn measure(operation: &mut dyn FnMut(u64), over: &AtomicBool) -> f64 {
    let (start, mut done) = (cpu::used_by_thread(), 0);
    loop {
        operation(BATCH);
        done += BATCH;
        let used = cpu::used_by_thread() - start;
        if used >= LONG_ENOUGH || over.load(Relaxed) {
            over.store(true, Relaxed);
            return used.as_nanos() as f64 / done as f64;
        }
    }
}

/// Where the machine has too few processors, or does not allow it, threads run where they may.
fn pin(number: usize) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    set.set(number % processors);
    let _ = sched_setaffinity(None, &set);
}
