//! Policies that keep a key on an endpoint.

use serde::Deserialize;

use super::values::{bound, cookie, header, points, size};
use crate::{
    policy::{Boxed, HashBy, Maglev, Modulo, Policy, Rendezvous, RingHash},
    setting::InvalidSetting,
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ring {
    mode: Mode,
    hash: Hash,
    #[serde(deserialize_with = "points")]
    points: Option<u32>,
    least: Option<u64>,
    most: Option<u64>,
    #[serde(deserialize_with = "bound")]
    bound: Option<f64>,
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
    query: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Stable,
    Envoy,
    Grpc,
    Ketama,
}

/// What endpoints are placed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
enum Hash {
    #[default]
    #[serde(rename = "xx_hash")]
    Xx,
    #[serde(rename = "murmur_hash_2")]
    Murmur,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Slots {
    #[serde(deserialize_with = "bound")]
    bound: Option<f64>,
    #[serde(deserialize_with = "size")]
    size: Option<u64>,
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
    query: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ByHeader {
    #[serde(deserialize_with = "header")]
    header: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keyed {
    #[serde(deserialize_with = "header")]
    header: Option<String>,
    #[serde(deserialize_with = "cookie")]
    cookie: Option<String>,
    query: Option<String>,
}

impl Ring {
    pub(super) fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        let ring = self.build()?;
        let [header, cookie, query] = [&self.header, &self.cookie, &self.query].map(Option::as_deref);
        match (header, cookie.or(query), self.mode) {
            (Some(name), None, Mode::Ketama) => {
                let hasher = ring.clone();
                Ok(Boxed::new(HashBy::header_with(name, move |key| hasher.hash(key), ring)?))
            }
            (_, Some(_), Mode::Ketama) => {
                let named = if cookie.is_some() { "cookie" } else { "query" };
                Err(InvalidSetting::new("what requests are hashed by", named, "but for ketama"))
            }
            _ => hashed(ring, [header, cookie, query]),
        }
    }

    fn build(&self) -> Result<RingHash, InvalidSetting> {
        let unused = match self.mode {
            Mode::Stable => [None, self.least.map(|_| "least"), self.most.map(|_| "most")],
            Mode::Envoy | Mode::Grpc => [self.points.map(|_| "points"), None, None],
            Mode::Ketama => {
                [self.points.map(|_| "points"), self.least.map(|_| "least"), self.most.map(|_| "most")]
            }
        };
        if let Some(key) = unused.into_iter().flatten().next() {
            let allowed =
                "`points` of a stable ring, `least` and `most` of Envoy's and gRPC's, neither of ketama";
            return Err(InvalidSetting::new("a setting of a ring", key, allowed));
        }
        if self.hash == Hash::Murmur && !matches!(self.mode, Mode::Envoy) {
            return Err(InvalidSetting::new(
                "the hash of a ring",
                "murmur_hash_2",
                "xx_hash but for Envoy's",
            ));
        }
        let size = |most| (self.least.unwrap_or(1_024), self.most.unwrap_or(most));
        let ring = match self.mode {
            Mode::Stable => RingHash::with_points(self.points.unwrap_or(160))?,
            Mode::Envoy => RingHash::envoy(size(8_388_608).0, size(8_388_608).1)?,
            Mode::Grpc => RingHash::grpc(size(4_096).0, size(4_096).1)?,
            Mode::Ketama => RingHash::ketama(),
        };
        let ring = if self.hash == Hash::Murmur { ring.murmur_hash_2() } else { ring };
        self.bound.map_or(Ok(ring.clone()), |bound| ring.bounded(bound))
    }
}

impl Slots {
    pub(super) fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        hashed(self.build()?, [&self.header, &self.cookie, &self.query].map(Option::as_deref))
    }

    fn build(&self) -> Result<Maglev, InvalidSetting> {
        let maglev = Maglev::with_size(self.size.unwrap_or(65_537))?;
        self.bound.map_or(Ok(maglev.clone()), |bound| maglev.bounded(bound))
    }
}

impl Keyed {
    pub(super) fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        hashed(Rendezvous, [&self.header, &self.cookie, &self.query].map(Option::as_deref))
    }
}

impl ByHeader {
    pub(super) fn boxed(&self) -> Result<Boxed, InvalidSetting> {
        Ok(match &self.header {
            Some(name) => Boxed::new(HashBy::header_with(name, Modulo::hash, Modulo)?),
            None => Boxed::new(Modulo),
        })
    }
}

/// By the header, the cookie or the parameter that is named; else by what requests have in their extensions.
fn hashed<P: Policy>(policy: P, by: [Option<&str>; 3]) -> Result<Boxed, InvalidSetting> {
    Ok(match by {
        [Some(name), None, None] => Boxed::new(HashBy::header(name, policy)?),
        [None, Some(name), None] => Boxed::new(HashBy::cookie(name, policy)),
        [None, None, Some(name)] => Boxed::new(HashBy::query(name, policy)),
        [None, None, None] => Boxed::new(policy),
        _ => {
            let one = "one of `header`, `cookie` and `query`";
            return Err(InvalidSetting::new("what requests are hashed by", "several", one));
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn every_setting_of_a_ring_and_of_maglev_is_heeded() {
        let ring = |said: Value| format!("{:?}", from_value::<Ring>(said).unwrap().build().unwrap());
        for (said, ours) in [
            (json!({}), RingHash::new()),
            (json!({ "points": 7, "bound": 1.5 }), RingHash::with_points(7).unwrap().bounded(1.5).unwrap()),
            (json!({ "mode": "envoy" }), RingHash::envoy(1_024, 8_388_608).unwrap()),
            (json!({ "mode": "envoy", "least": 7, "most": 9, "hash": "murmur_hash_2" }), {
                RingHash::envoy(7, 9).unwrap().murmur_hash_2()
            }),
            (json!({ "mode": "grpc" }), RingHash::grpc(1_024, 4_096).unwrap()),
            (json!({ "mode": "grpc", "least": 7, "most": 9 }), RingHash::grpc(7, 9).unwrap()),
            (json!({ "mode": "ketama" }), RingHash::ketama()),
        ] {
            assert_eq!(ring(said), format!("{ours:?}"));
        }
        let maglev = |said: Value| format!("{:?}", from_value::<Slots>(said).unwrap().build().unwrap());
        assert_eq!(maglev(json!({})), format!("{:?}", Maglev::new()));
        let ours = Maglev::with_size(251).unwrap().bounded(1.5).unwrap();
        assert_eq!(maglev(json!({ "size": 251, "bound": 1.5 })), format!("{ours:?}"));
    }
}
