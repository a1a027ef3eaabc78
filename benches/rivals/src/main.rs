//! Picks and changes of pingora-load-balancing and volo, beside ours in the same process.
//!
//! Called with a number of rounds; prints a JSON array with a row for each case: its name, the number of
//! endpoints, what was measured, and CPU nanoseconds by round.

mod ours;
mod pingora;
mod volo;

#[path = "../../src/cpu.rs"]
#[allow(dead_code, reason = "these cases have one thread")]
mod cpu;
#[path = "../../src/pick/mock.rs"]
#[allow(dead_code, reason = "endpoints come and go here")]
mod mock;
#[path = "../../src/rotation.rs"]
mod rotation;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use self::rotation::rotate;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Numbers of endpoints.
const COUNTS: [usize; 3] = [10, 1_000, 10_000];
/// For how long one measurement of picks is to use a CPU.
const LONG_ENOUGH: Duration = Duration::from_millis(10);

/// One thing to measure, and how often it is done before the time is looked at.
struct Case {
    name: &'static str,
    what: &'static str,
    batch: u64,
    run: Box<dyn FnMut(&Runtime, u64) -> Result<Duration, BoxError>>,
}

impl Case {
    /// Picks, done so often: what they use is measured from outside.
    fn picks(name: &'static str, what: &'static str, mut pick: impl FnMut(u64) + 'static) -> Self {
        let run = move |_: &Runtime, times: u64| {
            let used = cpu::used_by_thread();
            (0..times).for_each(&mut pick);
            Ok(cpu::used_by_thread() - used)
        };
        Self { name, what, batch: 1_000, run: Box::new(run) }
    }
}

fn main() -> Result<(), BoxError> {
    let rounds = std::env::args().nth(1).map_or(Ok(9), |rounds| rounds.parse())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for count in COUNTS {
        let mut cases = runtime.block_on(pingora::cases(count))?;
        cases.extend(runtime.block_on(volo::cases(count))?);
        cases.extend(runtime.block_on(ours::cases(count))?);
        for case in &mut cases {
            // Warms up.
            measure(&runtime, case)?;
        }
        let measured = rotate(cases.len(), rounds, |at| measure(&runtime, &mut cases[at]));
        for (case, nanos) in cases.iter().zip(measured) {
            let nanos: Vec<f64> = nanos.into_iter().collect::<Result<_, _>>()?;
            rows.push(
                serde_json::json!({ "name": case.name, "what": case.what, "count": count, "nanos": nanos }),
            );
        }
    }
    println!("{}", serde_json::Value::from(rows));
    Ok(())
}

/// CPU nanoseconds of one of it.
fn measure(runtime: &Runtime, case: &mut Case) -> Result<f64, BoxError> {
    let (mut used, mut done) = (Duration::ZERO, 0);
    while used < LONG_ENOUGH {
        used += (case.run)(runtime, case.batch)?;
        done += case.batch;
    }
    Ok(used.as_nanos() as f64 / done as f64)
}

/// The address of an endpoint by its number.
fn address(number: usize) -> String {
    format!("10.{}.{}.{}:80", number >> 16 & 255, number >> 8 & 255, number & 255)
}

/// A key that is another each time.
fn key(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
