//! How a record is given: as JSON, ours or go-micro's, or by a name alone.

use micro_discover::Service;
use serde_json::Value;
use tower::BoxError;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::words::after;
use crate::remote;

/// What an argument that gives a record says.
#[derive(Debug)]
pub(super) enum Given {
    /// The name; other arguments say the rest.
    Name(String),
    /// Everything.
    Record(Box<Service>),
}

/// Reads a name, or a record in JSON, which starts with `{`, or with `[` as `get` writes it; the words of one may have come
/// apart.
pub(super) async fn read(context: &Context, words: &[String]) -> Result<Given, Failure> {
    let words = match after(words, "service") {
        Some(rest) if words.len() > 1 && rest.iter().all(|word| word.trim().is_empty()) => {
            return Err(Failure::new(Kind::Usage, "require service definition").hint(SHAPE));
        }
        Some(rest) if words.len() > 1 => rest,
        _ => words,
    };
    let argument = words.join(" ");
    let text = context.text(&argument, "the record").await?;
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        if text == argument.trim() && words.len() == 1 {
            return Ok(Given::Name(text.to_owned()));
        }
        let what = format!("{argument:?} does not hold a record: JSON that starts with {{");
        return Err(Failure::new(Kind::Usage, what).hint(SHAPE));
    }
    let wrong = |error: BoxError| {
        Failure::new(Kind::Usage, "the JSON is not a record of a service").source(error).hint(SHAPE)
    };
    let value = serde_json::from_str(text).map_err(|error| wrong(error.into()))?;
    let record = remote::record::read(single(value)?).map_err(wrong)?;
    record.validate().map_err(|error| Failure::new(Kind::Usage, error.to_string()).hint(SHAPE))?;
    if record.endpoints.is_empty() {
        let what = format!("the record of service {:?} has no endpoint", record.name);
        return Err(Failure::new(Kind::Usage, what).hint(SHAPE));
    }
    Ok(Given::Record(Box::new(record)))
}

/// The one record in what `get` writes: a list, with one for each version.
fn single(value: Value) -> Result<Value, Failure> {
    match value {
        Value::Array(mut records) if records.len() == 1 => Ok(records.remove(0)),
        Value::Array(records) => {
            let what = format!("there are {} records, and one at a time is taken", records.len());
            Err(Failure::new(Kind::Usage, what).hint("jq '.[0]', which takes the first out"))
        }
        one => Ok(one),
    }
}

const SHAPE: &str = r#"{"name":"greeter","version":"1.0.0","endpoints":[{"id":"greeter-1","address":"127.0.0.1:50051"}]}, as micro get --output json shows"#;
