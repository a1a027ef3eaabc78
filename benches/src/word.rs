//! The words of the command line: one for each bench.

use tower::BoxError;

use crate::{bar::Bar, broker, churn, contend, e2e, options::Options, pick, tails, transport};

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

/// Every bench.
pub const WORDS: &[Word] = &[
    Word { name: "pick", about: "CPU and allocations of a balanced request, without I/O", run: pick::run },
    Word { name: "contend", about: "CPU of a pick while other threads pick as well", run: contend::run },
    Word {
        name: "churn",
        about: "what a change among many endpoints costs, and an endpoint's memory",
        run: churn::run,
    },
    Word { name: "e2e", about: "client CPU of a unary gRPC call over loopback", run: e2e::run },
    Word {
        name: "tails",
        about: "failures and latencies while one of ten servers is in trouble",
        run: tails::run,
    },
    Word { name: "broker", about: "events beside tokio broadcast, async-nats and lapin", run: broker::run },
    Word { name: "transport", about: "latency of a unary gRPC call over NATS", run: transport::run },
];
