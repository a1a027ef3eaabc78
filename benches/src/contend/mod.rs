//! What a pick costs while other threads pick from the same balancer, and what it costs at the least.

mod case;
mod floor;
mod threads;

use tower::BoxError;

use self::{case::Case, threads::nanos};
use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    rotation::rotate,
    statistics::{median, paired_ratio},
    versions,
};

/// Numbers of endpoints.
const COUNTS: [usize; 4] = [2, 10, 100, 10_000];

/// Measures every case with one thread and with two.
///
/// # Errors
///
/// When a runtime cannot be built.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let rounds = options.rounds(3, 15);
    report.say(versions::of(&["tower", "tokio", "arc-swap", "micro-balance"]));
    report.say(format!("CPU ns of each thread per operation, {rounds} rounds, medians; threads are pinned"));
    report.say(
        "floor: what counting exactly in one word for each endpoint takes on this machine, whoever does it; \
        more: what the other thread adds",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut bars = Vec::new();
    for count in COUNTS {
        let cases = runtime.block_on(case::cases(count))?;
        let measured = rotate(cases.len(), rounds, |at| (nanos(&cases[at], 1), nanos(&cases[at], 2)));
        let figures = |at: usize, two: bool| -> Vec<f64> {
            measured[at].iter().map(|&(one, both)| if two { both } else { one }).collect()
        };
        let table = Table::new(format!("N={count}"))
            .column("1 thread", 1)
            .column("2 threads", 1)
            .column("x", 2)
            .column("more", 1);
        let row = |table: Table, (at, case): (usize, &Case)| {
            let (one, two) = (figures(at, false), figures(at, true));
            let more: Vec<_> = one.iter().zip(&two).map(|(one, two)| two - one).collect();
            table.row(case.name(), [median(&one), median(&two), paired_ratio(&two, &one), median(&more)])
        };
        report.table(cases.iter().enumerate().fold(table, row).charted("2 threads"));
        bars.extend(claims(count, &figures));
    }
    Ok(bars)
}

fn claims(count: usize, figures: &impl Fn(usize, bool) -> Vec<f64>) -> Vec<Bar> {
    if count == 10_000 {
        let of_ten = |many, ten| paired_ratio(&figures(many, false), &figures(ten, false));
        return vec![
            Bar::at_most("contend/pick/10000-of-10", of_ten(Case::PICK, Case::PICK_OF_TEN), 1.25),
            Bar::at_most("contend/request/10000-of-10", of_ten(Case::REQUEST, Case::REQUEST_OF_TEN), 1.25),
        ];
    }
    if count != 10 {
        return Vec::new();
    }
    let two_of_one = |case| paired_ratio(&figures(case, true), &figures(case, false));
    vec![
        Bar::at_most(
            "contend/pick-of-fetch-add",
            paired_ratio(&figures(Case::PICK, false), &figures(Case::ADD, false)),
            2.0,
        ),
        Bar::at_most("contend/pick/two-of-one", two_of_one(Case::PICK), 1.5),
        Bar::at_most("contend/least-request/two-of-one", two_of_one(Case::REQUEST), 1.5),
        Bar::at_most("contend/round-robin/two-of-one", two_of_one(Case::ROUND), 1.5),
        Bar::at_most(
            "contend/least-request/of-mutex",
            paired_ratio(&figures(Case::REQUEST, true), &figures(Case::MUTEX, true)),
            1.0 / 6.0,
        ),
    ]
}
