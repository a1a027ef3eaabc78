//! Every figure this repository claims, measured beside its peers in one run.
//!
//! `cargo run --release -p benches -- pick` prints a table and then, for each claim, a line
//! `bar <name> <value> <limit> ok|miss|void`; the exit status is 0 when all are `ok`. Cases take turns, ratios are
//! taken within a round, and CPU time counts rather than wall time: the machine may be busy with other things.
//! See [`word::WORDS`] for what can be measured; `all` measures it all and writes `REPORT.md` with charts.
//!
//! ```
//! let bar = benches::bar::Bar::at_most("pick/least-request", 0.06, 1.0 / 12.0);
//! assert_eq!(bar.to_string(), "bar pick/least-request 0.0600 0.0833 ok");
//! ```

pub mod word;

pub mod broker;
pub mod tails;
pub mod e2e;
pub mod churn;
pub mod contend;
pub mod discovery;
pub mod instructions;
pub mod pick;
pub mod rivals;
pub mod transport;
pub mod mucp;
pub mod gateway;

pub mod all;
pub mod report;
pub mod bar;
mod causes;
mod figure;
pub mod options;
pub mod machine;
pub mod cpu;
pub mod rotation;
mod server;
pub mod statistics;
pub mod versions;
