//! Prints where a service is: one JSON array of addresses a line, as soon as they are known and whenever they change.
//!
//! ```text
//! cargo run -p examples --bin watch -- etcd://127.0.0.1:2379 greeter
//! ```

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};

use clap::Parser;
use futures_util::StreamExt;
use micro_discover::{Service, Watch, open};

/// Prints the addresses of a service, now and whenever they change, for ever.
#[derive(Debug, Parser)]
struct Arguments {
    /// The registry, such as etcd://127.0.0.1:2379.
    url: String,
    /// The service's name.
    service: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    examples::log();
    let Arguments { url, service } = Arguments::parse();
    // A name that no registry takes would be waited for in vain.
    Service::new(&*service).validate()?;
    // Trouble of the registry goes to the log: the set that was known stays true until another one is.
    let mut sets = Watch::new(open(&url)?, service);
    let mut last = None;
    while let Some(set) = sets.next().await {
        let line = addresses(&set)?;
        if last.as_ref() == Some(&line) {
            continue;
        }
        match writeln!(std::io::stdout(), "{line}") {
            // Whoever read has gone.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written?,
        }
        last = Some(line);
    }
    Ok(())
}

/// Every address once, in order.
fn addresses(set: &[Service]) -> serde_json::Result<String> {
    let endpoints = set.iter().flat_map(|service| &service.endpoints);
    serde_json::to_string(&endpoints.map(|endpoint| endpoint.address.to_string()).collect::<BTreeSet<_>>())
}
