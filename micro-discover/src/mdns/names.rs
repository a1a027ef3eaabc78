//! What services and endpoints are called in DNS, as in go-micro: `<id>.<service>.<domain>.`.
//!
//! What does not fit into a DNS name is called after its hash: the record itself says its name in full.

use hickory_proto::rr::Name;

use crate::invalid::{Invalid, quoted};

/// The domains that go-micro uses since v1.10, and used before.
const KNOWN: [&str; 2] = ["micro", "local"];
/// Where every service has an instance of its name.
const SERVICES: &[u8] = b"_services";
/// Bytes of a service or an id, so that both and the domain stay within the 255 of a DNS name.
const LONGEST: usize = 105;
const LONGEST_DOMAIN: usize = 32;
const LONGEST_LABEL: usize = 63;
const FITS: &str = "labels and their sum were checked, or are as long as a hash";

/// A domain in which services are told, or asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Domain {
    labels: Vec<Vec<u8>>,
}

impl Domain {
    /// The domain to tell services in, and all to hear of them in: both of go-micro's if it is one of them.
    pub(super) fn told_and_heard(text: &str) -> Result<(Self, Vec<Self>), Invalid> {
        let told = Self::new(text)?;
        let heard = match KNOWN.contains(&text) {
            true => KNOWN.iter().map(|known| Self::new(known)).collect::<Result<_, _>>()?,
            false => vec![told.clone()],
        };
        Ok((told, heard))
    }

    fn new(text: &str) -> Result<Self, Invalid> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match split(text).filter(|_| text.len() <= LONGEST_DOMAIN && text.chars().all(plain)) {
            Some(labels) => Ok(Self { labels }),
            None => Err(Invalid::new(format!("domain {}: it is no short, plain domain", quoted(text)))),
        }
    }

    /// Where a service's instances are.
    pub(super) fn service(&self, service: &str) -> Name {
        self.name(&[labels(service)])
    }

    /// Where an endpoint is.
    pub(super) fn instance(&self, service: &str, id: &str) -> Name {
        self.name(&[labels(id), labels(service)])
    }

    /// Where all services are.
    pub(super) fn services(&self) -> Name {
        self.name(&[vec![SERVICES.to_vec()]])
    }

    /// Where this service is among them.
    pub(super) fn listed(&self, service: &str) -> Name {
        self.name(&[labels(service), vec![SERVICES.to_vec()]])
    }

    fn name(&self, parts: &[Vec<Vec<u8>>]) -> Name {
        let labels = parts.iter().flatten().chain(&self.labels);
        Name::from_labels(labels.map(Vec::as_slice)).expect(FITS)
    }

    /// The id of the endpoint of `service` that is called this.
    pub(super) fn id(&self, service: &str, instance: &Name) -> Option<String> {
        before(instance, &self.service(service))
    }

    /// The service that is called this among all.
    pub(super) fn listed_service(&self, name: &Name) -> Option<String> {
        before(name, &self.services())
    }
}

/// Whether DNS can call a service or an id by its name.
pub(super) fn is_spelled_out(name: &str) -> bool {
    split(name).is_some_and(|labels| labels[0] != SERVICES)
}

fn labels(name: &str) -> Vec<Vec<u8>> {
    match split(name) {
        Some(labels) if is_spelled_out(name) => labels,
        _ => vec![format!("={:016x}", hash(name)).into_bytes()],
    }
}

fn split(name: &str) -> Option<Vec<Vec<u8>>> {
    let labels: Vec<_> = name.split('.').map(|label| label.as_bytes().to_vec()).collect();
    let fit = labels.iter().all(|label| (1..=LONGEST_LABEL).contains(&label.len()));
    (fit && name.len() <= LONGEST).then_some(labels)
}

/// FNV-1a: the same in every process and version.
fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The labels of `name` that stand before `end`, as text.
fn before(name: &Name, end: &Name) -> Option<String> {
    let (all, end): (Vec<_>, Vec<_>) = (name.iter().collect(), end.iter().collect());
    let front = all.strip_suffix(end.as_slice()).filter(|front| !front.is_empty())?;
    String::from_utf8(front.join(&b'.')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_go_micro() {
        let (told, heard) = Domain::told_and_heard("micro").unwrap();
        assert_eq!(told.service("go.micro.srv.greeter").to_ascii(), "go.micro.srv.greeter.micro.");
        assert_eq!(told.listed("greeter").to_ascii(), "greeter._services.micro.");
        let instance = told.instance("greeter", "greeter-1.2");
        assert_eq!(instance.to_ascii(), "greeter-1.2.greeter.micro.");
        assert_eq!(told.id("greeter", &instance).as_deref(), Some("greeter-1.2"));
        assert_eq!(heard[1].id("greeter", &instance), None);
        assert_eq!(told.listed_service(&told.listed("a.b")).as_deref(), Some("a.b"));
        assert_eq!(Domain::told_and_heard("shop").unwrap().1, [Domain::new("shop").unwrap()]);
    }

    #[test]
    fn what_does_not_fit_is_hashed_and_kept_apart() {
        let (domain, _) = Domain::told_and_heard(&"d".repeat(32)).unwrap();
        let odd =
            [&"x".repeat(255), &"y".repeat(64), ".hidden", "_services", "_services.a", &"a.".repeat(60)];
        for name in odd {
            assert_eq!(domain.instance(name, name).num_labels(), 3, "{name}");
        }
        let longest = "x.".repeat(52) + "x";
        assert!(domain.instance(&longest, &longest).len() <= 255);
        assert_ne!(domain.service(&"x".repeat(255)), domain.service(&"x".repeat(254)));
    }
}
