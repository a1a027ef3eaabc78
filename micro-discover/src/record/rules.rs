//! The rules of a record: what may be announced, and what is believed of others.

use std::collections::BTreeSet;

use super::{Endpoint, Method, Service};
use crate::invalid::{Invalid, check_name, quoted};
use crate::labels::Labels;

const LONGEST_NAME: usize = 255;
const LONGEST_VERSION: usize = 128;
const LONGEST_METHOD: usize = 1024;
const HEAVIEST: u32 = 65_535;

impl Service {
    /// Checks every rule of a record.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, and where.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_service_name(&self.name)?;
        self.check_parts().map_err(|error| error.at(format_args!("service {}", quoted(&self.name))))?;
        check_endpoints(&self.name, &self.endpoints)
    }

    fn check_parts(&self) -> Result<(), Invalid> {
        check_name(&self.version, LONGEST_VERSION)
            .map_err(|error| error.at(format_args!("version {}", quoted(&self.version))))?;
        check_metadata(&self.metadata)?;
        for method in &self.methods {
            method.check().map_err(|error| error.at(format_args!("method {}", quoted(&method.name))))?;
        }
        Ok(())
    }
}

/// Checks the endpoints that a record of `service` has.
pub(crate) fn check_endpoints(service: &str, endpoints: &[Endpoint]) -> Result<(), Invalid> {
    let checked = || {
        let mut ids = BTreeSet::new();
        let several = endpoints.len() > 1;
        for endpoint in endpoints {
            let place = || format!("endpoint {}", quoted(&endpoint.id));
            endpoint.check().map_err(|error| error.at(place()))?;
            if several && !ids.insert(&endpoint.id) {
                return Err(Invalid::new("its id is used twice").at(place()));
            }
        }
        Ok(())
    };
    checked().map_err(|error: Invalid| error.at(format_args!("service {}", quoted(service))))
}

/// Checks the id of an endpoint.
pub(crate) fn check_id(id: &str) -> Result<(), Invalid> {
    check_name(id, LONGEST_NAME).map_err(|error| error.at("id"))
}

/// Checks a name that a registry is asked for.
pub(crate) fn check_service_name(name: &str) -> Result<(), Invalid> {
    check_name(name, LONGEST_NAME).map_err(|error| error.at(format_args!("service name {}", quoted(name))))
}

impl Endpoint {
    fn check(&self) -> Result<(), Invalid> {
        check_id(&self.id)?;
        if self.weight > HEAVIEST {
            return Err(Invalid::new(format!("weight {} is not in 0..={HEAVIEST}", self.weight)));
        }
        if let Some(zone) = &self.zone {
            check_name(zone, LONGEST_NAME)
                .map_err(|error| error.at(format_args!("zone {}", quoted(zone))))?;
        }
        check_metadata(&self.metadata)
    }
}

impl Method {
    fn check(&self) -> Result<(), Invalid> {
        check_text(&self.name, LONGEST_METHOD)?;
        check_metadata(&self.metadata)
    }
}

fn check_metadata(metadata: &Labels) -> Result<(), Invalid> {
    metadata.keys().try_for_each(|key| {
        check_text(key, LONGEST_NAME).map_err(|error| error.at(format_args!("metadata key {}", quoted(key))))
    })
}

/// A method may be `/greeter.Greeter/Hello` and a label `a/b`: they never become paths.
fn check_text(text: &str, most: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > most {
        return Err(Invalid::new(format!("it has {} bytes, not 1..={most}", text.len())));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Invalid::new(format!("it contains the control character U+{:04X}", u32::from(bad)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str) -> Endpoint {
        Endpoint::new(id, "127.0.0.1:80".parse().unwrap())
    }

    fn refusal(service: &Service) -> String {
        service.validate().unwrap_err().to_string()
    }

    #[test]
    fn weights_from_drained_to_heaviest_are_fine_and_absurd_ones_are_named() {
        for weight in [0, 1, 65_535] {
            assert_eq!(Service::new("greeter").endpoint(endpoint("a").weight(weight)).validate(), Ok(()));
        }
        let error = refusal(&Service::new("greeter").endpoint(endpoint("a").weight(65_536)));
        assert_eq!(error, "endpoint \"a\" of service \"greeter\": weight 65536 is not in 0..=65535");
    }

    #[test]
    fn two_endpoints_of_one_id_are_refused() {
        let record = Service::new("greeter").endpoint(endpoint("a")).endpoint(endpoint("a"));
        assert_eq!(refusal(&record), "endpoint \"a\" of service \"greeter\": its id is used twice");
    }

    #[test]
    fn a_bad_name_anywhere_is_refused_with_its_place() {
        let long = "x".repeat(10_000);
        for bad in ["", "..", "../etc/passwd", "a/b", "a\0b", "a\nb", &long] {
            assert!(refusal(&Service::new(bad)).starts_with("service name \""), "{bad:?}");
            assert!(refusal(&Service::new("s").version(bad)).starts_with("version \""), "{bad:?}");
            assert!(refusal(&Service::new("s").endpoint(endpoint(bad))).starts_with("id of endpoint \""));
            assert!(refusal(&Service::new("s").endpoint(endpoint("a").zone(bad))).starts_with("zone \""));
        }
        for bad in ["", "a\0b", &long] {
            assert!(refusal(&Service::new("s").metadata(bad, "v")).starts_with("metadata key \""));
            assert!(refusal(&Service::new("s").method(Method::new(bad))).starts_with("method \""));
        }
        assert!(refusal(&Service::new(long)).len() < 300);
    }
}
