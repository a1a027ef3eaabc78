//! One URL, one registry: how a program's configuration names the place where its records are.

use std::sync::Arc;

use crate::fixed::Fixed;
use crate::invalid::{Invalid, quoted};
use crate::memory::Memory;
use crate::registry::{Error, Registry};

/// Opens the registry that `url` names. Nothing is connected yet: that happens when it is first used.
///
/// | URL | Registry |
/// |---|---|
/// | `memory:`, `memory:name` | [`Memory`], shared by everyone in this process who says the same |
/// | `file:` | the directory of this user, see `File::of_user` |
/// | `file:/dir`, `file:///dir` | that directory; one with a question mark in its name by `File::new` |
/// | `fixed://a:1,https://b:2;weight=3;zone=eu` | [`Fixed`]: these endpoints, whatever the name |
/// | `etcd://h1:2379,h2?grace=20`, `etcd://user:password@h` | an etcd cluster (feature `etcd`), where `compat=v0` puts records as go-micro did before v1.12; `etcds:` over TLS, with `?ca=/ca.pem&cert=/me.pem&key=/me.key` |
/// | `consul://h1:8500,h2?token=…&dc=…&ns=…&passing` | Consul by its agents (feature `consul`); `consuls:` over TLS as with etcd; `check=tcp` or `check=http&path=/health`, with `interval=5`, lets the agent look instead of wait for renewals |
/// | `nats://h1:4222,h2`, `nats://user:password@h`, `nats://token@h` | services that answer for themselves over NATS, as go-micro's (feature `nats`); `?prefix=micro.registry.nats` speaks to its older ones, `?tls&ca=/ca.pem` encrypts |
/// | `nats+kv://h1:4222,h2/bucket?replicas=3` | a JetStream bucket, `micro-registry` when nothing is said (feature `nats`) |
/// | `dns://10.0.0.10:53/greeter.shop?port=80` | what a name server knows, as SRV records where no port is said: every part may be left out, see `Dns` |
/// | `mdns:`, `mdns://?domain=local&interface=eth0` | whoever answers on the local network, as go-micro's (feature `mdns`), see `Mdns` |
/// | `kubernetes://namespace/service?port=grpc` | the Services of a namespace, or this one: every part may be left out, see `Kubernetes` |
/// | `kubernetes-pods://namespace` | records that pods carry as annotations, as go-micro keeps them, see `PodAnnotations` |
///
/// Certificates and keys that a URL names by their files are read anew for each connection, so they may be replaced.
///
/// # Errors
///
/// [`Error::Invalid`] when the URL is malformed or names no registry of this build.
pub fn open(url: &str) -> Result<Arc<dyn Registry>, Error> {
    let Some((scheme, rest)) = url.split_once(':') else {
        // What has no scheme may be anything, even a secret: it is not repeated.
        let what = Invalid::new(format!("a URL without a scheme: it starts with one of {}", known()));
        return Err(Error::Invalid { backend: "", what });
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    match scheme {
        "memory" => Ok(Arc::new(memory(rest)?)),
        "fixed" => Ok(Arc::new(Fixed::parse(rest)?)),
        #[cfg(feature = "file")]
        "file" => Ok(Arc::new(file(rest)?)),
        #[cfg(feature = "etcd")]
        "etcd" => Ok(Arc::new(crate::etcd::Etcd::parse(rest, false)?)),
        #[cfg(feature = "etcd")]
        "etcds" => Ok(Arc::new(crate::etcd::Etcd::parse(rest, true)?)),
        #[cfg(feature = "dns")]
        "dns" => Ok(Arc::new(crate::dns::Dns::parse(rest)?)),
        #[cfg(feature = "mdns")]
        "mdns" => Ok(Arc::new(crate::mdns::Mdns::parse(rest)?)),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Ok(Arc::new(crate::kubernetes::Kubernetes::parse(rest)?)),
        #[cfg(feature = "consul")]
        "consul" => Ok(Arc::new(crate::consul::Consul::parse(rest, false)?)),
        #[cfg(feature = "consul")]
        "consuls" => Ok(Arc::new(crate::consul::Consul::parse(rest, true)?)),
        #[cfg(feature = "nats")]
        "nats" => Ok(Arc::new(crate::nats::Nats::parse(rest)?)),
        #[cfg(feature = "nats")]
        "nats+kv" => Ok(Arc::new(crate::nats::NatsBucket::parse(rest)?)),
        #[cfg(feature = "kubernetes")]
        "kubernetes-pods" => Ok(Arc::new(crate::kubernetes::PodAnnotations::parse(rest)?)),
        _ => {
            let build = match feature(scheme) {
                Some(feature) => format!("this build lacks the feature {feature}, and knows"),
                None => "this build knows".to_owned(),
            };
            let what = Invalid::new(format!("scheme {}: {build} {}", quoted(scheme), known()));
            Err(Error::Invalid { backend: "", what })
        }
    }
}

/// What a build needs to know `scheme`.
fn feature(scheme: &str) -> Option<&'static str> {
    Some(match scheme {
        "file" => "file",
        "etcd" | "etcds" => "etcd",
        "consul" | "consuls" => "consul",
        "nats" | "nats+kv" => "nats",
        "dns" => "dns",
        "mdns" => "mdns",
        "kubernetes" | "kubernetes-pods" => "kubernetes",
        _ => return None,
    })
}

/// How URLs begin that [`open`] takes in this build, such as `memory:`, in the order in which they are told.
pub fn schemes() -> &'static [&'static str] {
    &[
        "memory:",
        "fixed:",
        #[cfg(feature = "file")]
        "file:",
        #[cfg(feature = "etcd")]
        "etcd:",
        #[cfg(feature = "etcd")]
        "etcds:",
        #[cfg(feature = "consul")]
        "consul:",
        #[cfg(feature = "consul")]
        "consuls:",
        #[cfg(feature = "nats")]
        "nats:",
        #[cfg(feature = "nats")]
        "nats+kv:",
        #[cfg(feature = "dns")]
        "dns:",
        #[cfg(feature = "mdns")]
        "mdns:",
        #[cfg(feature = "kubernetes")]
        "kubernetes:",
        #[cfg(feature = "kubernetes")]
        "kubernetes-pods:",
    ]
}

fn known() -> String {
    schemes().join(", ")
}

/// Refuses what looks like an option of a registry that has none: it would become a part of the name.
fn no_options(backend: &'static str, rest: &str) -> Result<(), Error> {
    match rest.split_once('?') {
        None => Ok(()),
        Some((_, options)) => {
            let what = Invalid::new(format!("option {}: it has none", quoted(options)));
            Err(Error::Invalid { backend, what })
        }
    }
}

fn memory(name: &str) -> Result<Memory, Error> {
    no_options("memory", name)?;
    if name.len() > 255 || name.chars().any(char::is_control) {
        let what = Invalid::new(format!("name {}: it is long or has control characters", quoted(name)));
        return Err(Error::Invalid { backend: "memory", what });
    }
    Ok(Memory::shared(name))
}

#[cfg(feature = "file")]
fn file(path: &str) -> Result<crate::file::File, Error> {
    no_options("file", path)?;
    if path.is_empty() {
        return Ok(crate::file::File::of_user());
    }
    let wrong = |why: &str| {
        let what = Invalid::new(why).at(format_args!("directory {}", quoted(path)));
        Error::Invalid { backend: "file", what }
    };
    if path.chars().any(char::is_control) {
        return Err(wrong("it has control characters"));
    }
    if !path.starts_with('/') {
        return Err(wrong("it is not absolute, as in file:/run/registry"));
    }
    Ok(crate::file::File::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(url: &str) -> &'static str {
        open(url).unwrap().backend()
    }

    #[tokio::test]
    async fn each_scheme_opens_its_registry() {
        assert_eq!(backend("memory:"), "memory");
        assert_eq!(backend("memory://orders"), "memory");
        assert_eq!(backend("fixed://a:1,b:2"), "fixed");
        assert_eq!(backend("fixed:a:1"), "fixed");
        #[cfg(feature = "file")]
        for url in ["file:", "file:/run/registry", "file:///run/registry"] {
            assert_eq!(backend(url), "file");
        }
    }

    #[tokio::test]
    async fn a_memory_registry_is_shared_by_its_name() {
        let (one, two) = (open("memory:shared").unwrap(), open("memory://shared").unwrap());
        let record =
            crate::Service::new("greeter").endpoint(crate::Endpoint::new("a", "h:1".parse().unwrap()));
        one.announce(&record, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(two.get("greeter").await.unwrap(), [record]);
    }

    #[test]
    fn what_a_build_knows_or_could_know_has_a_feature() {
        let gated = known();
        for scheme in gated.split(", ").map(|scheme| scheme.trim_end_matches(':')) {
            assert_eq!(feature(scheme).is_none(), ["memory", "fixed"].contains(&scheme), "{scheme}");
        }
        #[cfg(not(feature = "etcd"))]
        assert!(
            open("etcd://h").err().unwrap().to_string().contains("lacks the feature etcd, and knows memory:")
        );
    }

    #[test]
    fn a_url_that_names_nothing_is_refused_and_says_what_would_do() {
        let refused = [
            ("", "a URL without a scheme"),
            ("greeter", "a URL without a scheme"),
            ("redis://user:hunter2@h:1", "scheme \"redis\": this build knows memory:, fixed:"),
            ("memory:a\0b", "control characters"),
            ("memory:orders?ttl=3", "the memory registry rejects option \"ttl=3\": it has none"),
            #[cfg(feature = "file")]
            ("file:/run/registry?ttl=3", "the file registry rejects option \"ttl=3\": it has none"),
            #[cfg(feature = "file")]
            ("file:?ttl=3", "the file registry rejects option"),
            #[cfg(feature = "file")]
            ("file:relative/dir", "it is not absolute"),
            #[cfg(feature = "file")]
            ("file:/a\0b", "control characters"),
            ("fixed://a:0", "port 0 is not in 1..=65535"),
        ];
        for (url, why) in refused {
            let error = open(url).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hunter2"), "{url:?}: {error}");
        }
    }
}
