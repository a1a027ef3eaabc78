//! From a URL to a broker.

use std::sync::Arc;

use crate::broker::Broker;
use crate::error::Error;
use crate::memory::Memory;

/// Opens the broker a URL names. Nothing is connected yet: the first publication or subscription does that.
///
/// | URL | broker | feature |
/// | --- | --- | --- |
/// | `memory:` | a [`Memory`] of its own | |
/// | `http:`, `http://listen:port` | `Http`; `?registry=URL`, `file:` unless told | `http` |
/// | `nats://host:4222,…` | `JetStream`; with `?core` `Nats`; `?stream=name` | `nats` |
/// | `amqp://user:password@host:5672/vhost` | `RabbitMq`; `?quorum` | `rabbitmq` |
///
/// All but memory take `?envelope=native`, `go-micro` or `go-micro-v0`.
///
/// # Errors
///
/// [`Error::Invalid`] when the URL names no backend, or one whose feature is not built in.
pub fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "memory" => Ok(Arc::new(Memory::new())),
        #[cfg(feature = "http")]
        "http" => crate::http::open(url),
        #[cfg(feature = "nats")]
        "nats" | "tls" => crate::nats::open(url),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => crate::rabbitmq::open(url),
        _ => {
            let build = match feature(scheme) {
                Some(feature) => format!("this build lacks the feature {feature}, and knows"),
                None => "this build knows".to_owned(),
            };
            Err(Error::Invalid { backend: "", what: format!("URL scheme {scheme:?}: {build} {}", known()) })
        }
    }
}

/// What a build needs to know `scheme`.
fn feature(scheme: &str) -> Option<&'static str> {
    Some(match scheme {
        "http" => "http",
        "nats" | "tls" => "nats",
        "amqp" | "amqps" => "rabbitmq",
        _ => return None,
    })
}

/// How URLs begin that [`open`] takes in this build, such as `memory:`, in the order in which they are told.
pub fn schemes() -> &'static [&'static str] {
    &[
        "memory:",
        #[cfg(feature = "http")]
        "http:",
        #[cfg(feature = "nats")]
        "nats:",
        #[cfg(feature = "nats")]
        "tls:",
        #[cfg(feature = "rabbitmq")]
        "amqp:",
        #[cfg(feature = "rabbitmq")]
        "amqps:",
    ]
}

fn known() -> String {
    schemes().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_that_is_not_known_is_refused_and_what_is_known_is_said() {
        let refused = |url| open(url).err().map(|error| error.to_string()).unwrap_or_default();
        for url in ["", "redis://h", "kafka:"] {
            assert!(refused(url).contains(": this build knows memory:"), "{}", refused(url));
        }
        for scheme in known().split(", ").map(|scheme| scheme.trim_end_matches(':')) {
            assert_eq!(feature(scheme).is_none(), scheme == "memory", "{scheme}");
        }
        #[cfg(not(feature = "nats"))]
        assert!(
            refused("nats://h").contains("lacks the feature nats, and knows memory:"),
            "{}",
            refused("nats://h")
        );
    }
}
