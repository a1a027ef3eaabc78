//! The words of the command line: one for each bench.

use std::time::{SystemTime, UNIX_EPOCH};

use tower::BoxError;

use crate::{
    bar::Bar,
    broker,
    causes::with_causes,
    churn, contend, discovery, e2e, gateway, instructions, machine, mucp,
    options::Options,
    pick,
    report::{Kept, Report},
    rivals, tails, transport,
};

/// A bench and how it is called.
#[derive(Debug)]
pub struct Word {
    /// What is typed.
    pub name: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// Measures, tells tables, and says which claims hold.
    pub run: fn(&Options, &mut Report) -> Result<Vec<Bar>, BoxError>,
}

/// Every bench.
pub const WORDS: &[Word] = &[
    Word { name: "pick", about: "CPU and allocations of a balanced request, without I/O", run: pick::run },
    Word {
        name: "instructions",
        about: "instructions of a balanced request, by valgrind",
        run: instructions::run,
    },
    Word { name: "contend", about: "CPU of a pick while other threads pick as well", run: contend::run },
    Word {
        name: "churn",
        about: "what a change among many endpoints costs, and an endpoint's memory",
        run: churn::run,
    },
    Word { name: "rivals", about: "picks and changes beside pingora and volo", run: rivals::run },
    Word { name: "e2e", about: "client CPU of a unary gRPC call over loopback", run: e2e::run },
    Word {
        name: "tails",
        about: "failures and latencies while one of ten servers is in trouble",
        run: tails::run,
    },
    Word { name: "broker", about: "events beside tokio broadcast, async-nats and lapin", run: broker::run },
    Word {
        name: "discovery",
        about: "from etcd and Kubernetes to the balancer, beside their raw clients",
        run: discovery::run,
    },
    Word { name: "transport", about: "latency of a unary gRPC call over NATS", run: transport::run },
    Word { name: "mucp", about: "a call in go-micro's RPC to our server and to go-micro's", run: mucp::run },
    Word {
        name: "gateway",
        about: "CPU and p99 of a request through the gateway and through other proxies, and idle memory",
        run: gateway::run,
    },
];

impl Word {
    /// Runs it, prints what it tells, and keeps that for the page; says whether every claim holds.
    ///
    /// # Errors
    ///
    /// When what it told cannot be kept.
    pub fn measure(&self, options: &Options) -> Result<bool, BoxError> {
        let before = machine::state();
        println!("{}: {}; {before}", self.name, self.about);
        let mut report = Report::default();
        let result = (self.run)(options, &mut report);
        let after = machine::state();
        println!("\nafterwards: {after}");
        let (bars, error) = match result {
            Ok(bars) => (bars, None),
            Err(error) => (Vec::new(), Some(with_causes(&*error))),
        };
        bars.iter().for_each(|bar| println!("{bar}"));
        error.iter().for_each(|error| println!("{} broke off: {error}", self.name));
        let kept = Kept {
            word: self.name.to_owned(),
            about: self.about.to_owned(),
            machine: [before, after],
            at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            report,
            bars,
            error,
        };
        kept.keep()?;
        Ok(kept.holds())
    }
}
