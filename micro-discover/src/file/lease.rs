//! What one file of the registry holds: one endpoint, how long it counts, and when that was said.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, quoted};
use crate::record::Service;

/// The JSON of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    format: u32,
    /// Says that the endpoint is gone on purpose: unlike a missing file, which may be an accident.
    #[serde(default)]
    pub(super) withdrawn: bool,
    ttl_ms: u64,
    pub(super) stamp: Stamp,
    /// With exactly one endpoint.
    pub(super) service: Service,
}

const FORMAT: u32 = 1;
/// The largest file that is written or read.
pub(super) const LARGEST: u64 = 1 << 20;
/// How long the file of a withdrawn endpoint stays to be noticed.
pub(super) const FAREWELL: Duration = Duration::from_secs(60);

impl Lease {
    pub(super) fn live(service: Service, ttl: Duration, stamp: Stamp) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        // A ttl below a millisecond is short, not for ever.
        let ttl_ms = if ttl.is_zero() { 0 } else { ttl_ms.max(1) };
        Self { format: FORMAT, withdrawn: false, ttl_ms, stamp, service }
    }

    pub(super) fn withdrawn(service: Service, stamp: Stamp) -> Self {
        Self { withdrawn: true, ..Self::live(service, FAREWELL, stamp) }
    }

    /// How long the record counts after its stamp; none is for ever.
    pub(super) fn ttl(&self) -> Option<Duration> {
        (self.ttl_ms > 0).then(|| Duration::from_millis(self.ttl_ms))
    }

    /// The name of its file: readable, the same in every process, and never longer than 120 bytes.
    pub(super) fn file_name(&self) -> String {
        file_name(&self.service.name, &self.service.endpoints[0].id)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Invalid> {
        let place = || format!("service {}", quoted(&self.service.name));
        let json = serde_json::to_vec(self).map_err(|e| Invalid::new(e.to_string()).at(place()))?;
        if json.len() as u64 > LARGEST {
            let size = json.len();
            return Err(
                Invalid::new(format!("its record has {size} bytes, the limit is {LARGEST}")).at(place())
            );
        }
        Ok(json)
    }

    /// Reads the content of the file `name`, trusting nothing.
    pub(super) fn decode(json: &[u8], name: &str) -> Result<Self, Invalid> {
        let lease: Self = serde_json::from_slice(json).map_err(|e| Invalid::new(e.to_string()))?;
        if lease.format != FORMAT {
            return Err(Invalid::new(format!("its format is {}, not {FORMAT}", lease.format)));
        }
        lease.service.validate()?;
        if lease.service.endpoints.len() != 1 {
            return Err(Invalid::new("it does not hold exactly one endpoint"));
        }
        if lease.file_name() != name {
            return Err(Invalid::new("its name is not that of its content"));
        }
        Ok(lease)
    }
}

/// `greeter.greeter-1-<hash>.json`. The hash alone makes it unique; all of it is lower case, so file systems that
/// do not tell `A` from `a` do no harm, and no byte of a name is a separator.
fn file_name(service: &str, id: &str) -> String {
    let plain = |text: &str| -> String {
        let letter =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
        text.chars().take(38).map(letter).collect()
    };
    let hash = fnv1a(&[service.as_bytes(), &[0], id.as_bytes()]);
    format!("{}.{}-{hash:032x}.json", plain(service), plain(id))
}

/// FNV-1a, 128 bits, <https://www.rfc-editor.org/rfc/rfc9923>: the same in every version of every program.
fn fnv1a(parts: &[&[u8]]) -> u128 {
    const BASIS: u128 = 0x6c62272e07bb014262b821756295c58d;
    const PRIME: u128 = 0x0000000001000000000000000000013b;
    let bytes = parts.iter().copied().flatten();
    bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// A moment, on a clock that every process of this machine shares until it boots again, and on the wall clock.
///
/// The first cannot jump: a wall clock set forward or back, or a laptop that slept, ends no lease. The second
/// is for records that another machine or an earlier boot wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) boot: String,
    pub(super) monotonic_ms: u64,
    pub(super) wall_ms: u64,
}

impl Stamp {
    pub(super) fn now(boot: &str) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            boot: boot.to_owned(),
            monotonic_ms: monotonic_ms(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long before `now` this was; what seems to lie in the future is now.
    pub(super) fn age(&self, now: &Self) -> Duration {
        let same_boot = !self.boot.is_empty() && self.boot == now.boot;
        Duration::from_millis(match same_boot {
            true => now.monotonic_ms.saturating_sub(self.monotonic_ms),
            false => now.wall_ms.saturating_sub(self.wall_ms),
        })
    }
}

/// Names this boot of this machine; empty where the system does not tell.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(unix)]
fn monotonic_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(unix))]
fn monotonic_ms() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Endpoint;

    fn lease(name: &str, id: &str) -> Lease {
        let service = Service::new(name).endpoint(Endpoint::new(id, "h:1".parse().unwrap()));
        Lease::live(service, Duration::from_secs(15), Stamp::now("b"))
    }

    #[test]
    fn a_lease_reads_as_it_was_written() {
        let lease = lease("greeter", "a");
        assert_eq!(Lease::decode(&lease.encode().unwrap(), &lease.file_name()).unwrap(), lease);
        assert_eq!(lease.ttl(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(&[b"a"]), 0xd228cb696f1a8caf78912b704e4a8964);
        assert_eq!(fnv1a(&[b"foo", b"bar"]), 0x343e1662793c64bf6f0d3597ba446f18);
    }

    #[test]
    fn any_name_makes_a_short_plain_file_name_and_no_two_share_one() {
        let long = "x".repeat(10_000);
        let names = ["greeter", "Greeter", "../../etc", "a/b", "a\0b", "topic:a", "Grüße", "con", ".", &long];
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            for id in names {
                let file = file_name(name, id);
                assert!(file.len() <= 120 && !file.starts_with('.'), "{file}");
                assert!(
                    file.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
                );
                assert!(seen.insert(file.clone()), "{file} twice");
            }
        }
        assert_ne!(file_name("ab", "c"), file_name("a", "bc"));
        assert_eq!(file_name("greeter", "a"), "greeter.a-05ae394419060bb7fa638b40865433ea.json");
    }

    #[test]
    fn the_wall_clock_is_asked_only_when_the_other_one_is_not_shared() {
        let stamp = |boot: &str, monotonic_ms, wall_ms| Stamp { boot: boot.into(), monotonic_ms, wall_ms };
        let wrote = stamp("b", 1_000, 900_000);
        // Set forward by a year, back by an hour: three seconds all the same.
        assert_eq!(wrote.age(&stamp("b", 4_000, 40_000_000_000)), Duration::from_secs(3));
        assert_eq!(wrote.age(&stamp("b", 4_000, 10)), Duration::from_secs(3));
        assert_eq!(wrote.age(&stamp("other", 4_000, 907_000)), Duration::from_secs(7));
        assert_eq!(wrote.age(&stamp("other", 4_000, 10)), Duration::ZERO);
        assert_eq!(stamp("", 1, 5_000).age(&stamp("", 9_000, 6_000)), Duration::from_secs(1));
    }

    #[test]
    fn what_is_no_lease_is_refused_with_the_reason() {
        let good = lease("greeter", "a");
        let json = String::from_utf8(good.encode().unwrap()).unwrap();
        let file = good.file_name();
        let shapes = "{\"values\":[".repeat(100_000);
        let deep = format!("\"methods\":[{{\"name\":\"m\",\"request\":{shapes}");
        let refused = [
            (json[..json.len() / 2].to_owned(), "EOF"),
            (String::new(), "EOF"),
            ("\0\u{1}".to_owned(), "expected value"),
            (json.replace("\"endpoints\"", &deep), "recursion limit"),
            (json.replace("\"format\":1", "\"format\":2"), "its format is 2, not 1"),
            (json.replace("h:1", "h:70000"), "port 70000"),
            (json.replace("greeter", "../greeter"), "it contains a slash"),
            (json.replace("\"id\":\"a\"", "\"id\":\"b\""), "not that of its content"),
            (json.replace("\"h:1\"", "\"h:1\",\"weight\":70000"), "weight 70000 is not in 0..=65535"),
            (json.replace("\"h:1\"", "\"h:1\",\"weight\":-1"), "invalid value"),
        ];
        for (json, why) in refused {
            let error = Lease::decode(json.as_bytes(), &file).unwrap_err().to_string();
            assert!(error.contains(why), "{error}, not {why}");
        }
    }

    #[test]
    fn a_record_too_large_to_be_read_again_is_not_written() {
        let mut lease = lease("greeter", "a");
        lease.service = lease.service.metadata("k", "x".repeat(2 << 20));
        assert!(lease.encode().unwrap_err().to_string().contains("the limit is 1048576"));
    }
}
