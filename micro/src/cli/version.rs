//! `version`: what this program was built of.

use futures_core::future::BoxFuture;

use crate::command::{Built, Command, Context, Failure, Replies, Reply};

/// Says what this program was built of.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Version {}

impl Command for Version {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { replies.send(Reply::Built(built())).await })
    }
}

fn built() -> Built {
    let features = [
        ("consul", cfg!(feature = "consul")),
        ("dns", cfg!(feature = "dns")),
        ("etcd", cfg!(feature = "etcd")),
        ("kubernetes", cfg!(feature = "kubernetes")),
        ("mdns", cfg!(feature = "mdns")),
        ("mimalloc", cfg!(feature = "mimalloc")),
        ("nats", cfg!(feature = "nats")),
        ("no-trace", cfg!(feature = "no-trace")),
        ("otel", cfg!(feature = "otel")),
        ("rabbitmq", cfg!(feature = "rabbitmq")),
        ("xmpp", cfg!(feature = "xmpp")),
    ];
    Built {
        name: "micro",
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("MICRO_COMMIT").filter(|commit| !commit.is_empty()),
        rustc: env!("MICRO_RUSTC"),
        features: features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
        registries: micro_discover::schemes().to_vec(),
        brokers: micro_broker::schemes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_manifest_is_told() {
        let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
        let features = manifest["features"].as_table().unwrap().keys().filter(|name| *name != "default");
        let mut features: Vec<_> = features.map(String::as_str).collect();
        features.sort_unstable();
        if cfg!(all(feature = "kubernetes", feature = "dns", feature = "mdns")) {
            assert_eq!(built().features, features);
        }
    }
}
