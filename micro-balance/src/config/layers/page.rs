//! A page that says how an endpoint is, and what its answers mean.

use std::{fmt, ops::RangeInclusive};

use http::{
    HeaderName, HeaderValue,
    uri::{InvalidUri, PathAndQuery},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use crate::{config::checked, health::HttpCheck};

/// A page that endpoints are asked for, and what its statuses mean: 200 that one is well, unless given, and any other that it
/// is not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Page {
    /// Such as `/healthz`.
    #[serde(deserialize_with = "path")]
    pub path: String,
    /// The `Host` that is asked, if it is not the endpoint's own.
    #[serde(default, deserialize_with = "value")]
    pub host: Option<HeaderValue>,
    /// Statuses of who is well: numbers, or ranges as text, `"200-299"`.
    #[serde(default = "ok", deserialize_with = "some_statuses")]
    pub expected: Vec<RangeInclusive<u16>>,
    /// Those that may be chance: see [`HttpCheck::retriable`].
    #[serde(default, deserialize_with = "statuses")]
    pub retriable: Vec<RangeInclusive<u16>>,
    /// The header of who is degraded: see [`HttpCheck::degraded`].
    #[serde(default, deserialize_with = "name")]
    pub degraded: Option<HeaderName>,
}

impl Page {
    /// Asks for this page.
    ///
    /// # Errors
    ///
    /// When its path, which can be changed, is not the path of a URI.
    pub fn check<B>(&self) -> Result<HttpCheck<B>, InvalidUri> {
        let mut check = HttpCheck::new(&self.path)?.expect(self.expected.iter().cloned());
        check = check.retriable(self.retriable.iter().cloned());
        if let Some(host) = &self.host {
            check = check.host(host.clone());
        }
        Ok(match &self.degraded {
            Some(header) => check.degraded(header.clone()),
            None => check,
        })
    }
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(from, |path: &String| match path.parse::<PathAndQuery>() {
        Ok(_) if path.starts_with('/') => Ok(()),
        _ => Err("no path such as \"/healthz\""),
    })
}

fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HeaderValue>, D::Error> {
    String::deserialize(from)?.try_into().map(Some).map_err(D::Error::custom)
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HeaderName>, D::Error> {
    String::deserialize(from)?.try_into().map(Some).map_err(D::Error::custom)
}

fn ok() -> Vec<RangeInclusive<u16>> {
    vec![200..=200]
}

fn statuses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RangeInclusive<u16>>, D::Error> {
    Ok(Vec::<Statuses>::deserialize(from)?.into_iter().map(|Statuses(range)| range).collect())
}

/// At least one: nobody would ever be well.
fn some_statuses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RangeInclusive<u16>>, D::Error> {
    let ranges = statuses(from)?;
    if ranges.is_empty() { Err(D::Error::custom("at least one status")) } else { Ok(ranges) }
}

/// One status or several.
struct Statuses(RangeInclusive<u16>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl Reader {
    fn range(first: &str, last: &str) -> Option<Statuses> {
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (100 <= first && first <= last && last < 600).then_some(Statuses(first..=last))
    }
}

impl Visitor<'_> for Reader {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an HTTP status, or several such as \"200-299\"")
    }

    fn visit_u64<E: Error>(self, status: u64) -> Result<Statuses, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_i64<E: Error>(self, status: i64) -> Result<Statuses, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::range(first, last).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
