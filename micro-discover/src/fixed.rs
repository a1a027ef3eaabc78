//! A list of endpoints that never changes, for every service name.

use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};

use crate::invalid::{Invalid, quoted};
use crate::record::{Endpoint, Service, check_service_name};
use crate::registry::{Error, Registry};

/// A registry that answers every service name with the same endpoints.
///
/// Nothing can be announced to it, and it cannot list names: it knows none.
#[derive(Clone, Debug)]
pub struct Fixed {
    endpoints: Vec<Endpoint>,
}

const BACKEND: &str = "fixed";

impl Fixed {
    /// The registry of `endpoints`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is none, or one breaks a rule.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, Error> {
        Self::checked(endpoints.into_iter().collect())
            .map_err(|what| Error::Invalid { backend: BACKEND, what })
    }

    /// Reads `a:1,https://b:2;weight=3;zone=eu;priority=1;id=b`: addresses, each with what is said about it.
    pub(crate) fn parse(list: &str) -> Result<Self, Error> {
        let endpoints = list.split(',').map(|text| {
            endpoint(text.trim()).map_err(|error| error.at(format_args!("entry {}", quoted(text.trim()))))
        });
        let checked = endpoints.collect::<Result<_, _>>().and_then(Self::checked);
        checked.map_err(|what| Error::Invalid { backend: BACKEND, what })
    }

    fn checked(endpoints: Vec<Endpoint>) -> Result<Self, Invalid> {
        if endpoints.is_empty() {
            return Err(Invalid::new("a list without an endpoint"));
        }
        let fixed = Self { endpoints };
        fixed.record("any").validate()?;
        Ok(fixed)
    }

    fn record(&self, name: &str) -> Service {
        let mut record = Service::new(name);
        record.endpoints.clone_from(&self.endpoints);
        record
    }

    fn answer(&self, name: &str) -> Result<Vec<Service>, Error> {
        check_service_name(name).map_err(|what| Error::Invalid { backend: BACKEND, what })?;
        Ok(vec![self.record(name)])
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Invalid> {
    let mut parts = text.split(';');
    let address = parts.next().unwrap_or_default();
    let mut endpoint = Endpoint::new(address, address.parse()?);
    endpoint.id = plain(&endpoint.address.to_string());
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let number = || {
            let wrong = || Invalid::new(format!("{key} {} is not a whole number", quoted(value)));
            value.parse::<u32>().map_err(|_| wrong())
        };
        endpoint = match key {
            "weight" => endpoint.weight(number()?),
            "priority" => endpoint.priority(number()?),
            "zone" => endpoint.zone(value),
            "id" => Endpoint { id: value.to_owned(), ..endpoint },
            _ => {
                let unknown = quoted(key);
                return Err(Invalid::new(format!("{unknown} is none of weight, priority, zone, id")));
            }
        };
    }
    Ok(endpoint)
}

/// An address as an id, which has no slashes: `https://b:2` is `https:b:2`, `unix:/run/a` is `unix:run:a`.
fn plain(address: &str) -> String {
    let words = address.split(['/', ':']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(":").replace("..", "._.")
}

impl Registry for Fixed {
    fn announce(&self, _: &Service, _: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be announced to" }) })
    }

    fn withdraw(&self, _: &Service) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::Unsupported { backend: BACKEND, what: "be withdrawn from" }) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        let answer = self.answer(name);
        Box::pin(async { answer })
    }

    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        let answer = self.answer(name);
        let for_ever = answer.is_ok();
        let rest = stream::pending().take(if for_ever { usize::MAX } else { 0 });
        stream::iter([answer]).chain(rest).boxed()
    }

    fn backend(&self) -> &'static str {
        BACKEND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_an_address_is_read() {
        let fixed =
            Fixed::parse("a:1, https://b:2;weight=0;zone=eu;priority=1 ,unix:/run/c.sock;id=c").unwrap();
        let a = Endpoint::new("a:1", "a:1".parse().unwrap());
        let b = Endpoint::new("https:b:2", "https://b:2".parse().unwrap());
        let c = Endpoint::new("c", "unix:/run/c.sock".parse().unwrap());
        assert_eq!(fixed.endpoints, [a, b.weight(0).zone("eu").priority(1), c]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused = [
            ("", "address \"\" of entry \"\""),
            ("a:1,,b:2", "entry \"\""),
            ("a:1,b:70000", "address \"b:70000\" of entry \"b:70000\": port 70000 is not in 1..=65535"),
            ("a:1;weight=70000", "weight 70000 is not in 0..=65535"),
            ("a:1;weight=-1", "weight \"-1\" is not a whole number"),
            ("a:1;color=red", "\"color\" is none of"),
            ("a:1,a:1", "its id is used twice"),
            ("a:1;id=../x", "it contains a slash"),
        ];
        for (list, why) in refused {
            let error = Fixed::parse(list).unwrap_err();
            assert!(error.to_string().contains(why) && !error.is_retryable(), "{list}: {error}");
        }
        assert!(Fixed::new([]).is_err());
    }
}
