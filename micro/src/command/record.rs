//! How a record is given: as JSON, or by a name alone.

use micro_discover::Service;

use super::failure::{Failure, Kind};

/// What an argument that gives a record says.
#[derive(Debug)]
pub(super) enum Given {
    /// The name; other arguments say the rest.
    Name(String),
    /// Everything.
    Record(Box<Service>),
}

/// Reads a name, or a record in JSON, which starts with `{`.
pub(super) fn read(text: &str) -> Result<Given, Failure> {
    let text = text.trim();
    if !text.starts_with('{') {
        return Ok(Given::Name(text.to_owned()));
    }
    let record: Service = serde_json::from_str(text).map_err(|error| {
        Failure::new(Kind::Usage, "the JSON is not a record of a service").source(error).hint(SHAPE)
    })?;
    record.validate().map_err(|error| Failure::new(Kind::Usage, error.to_string()).hint(SHAPE))?;
    if record.endpoints.is_empty() {
        let what = format!("the record of service {:?} has no endpoint", record.name);
        return Err(Failure::new(Kind::Usage, what).hint(SHAPE));
    }
    Ok(Given::Record(Box::new(record)))
}

const SHAPE: &str = r#"{"name":"greeter","version":"1.0.0","endpoints":[{"id":"greeter-1","address":"127.0.0.1:50051"}]}, as micro get --output json shows"#;
