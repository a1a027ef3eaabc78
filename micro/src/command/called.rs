//! What is called, as it is written, and why a call failed, as it is said.

use micro_discover::Address;
use serde_json::{Map, Value};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::words::word;
use crate::call::{Error, Target, what};
use crate::schema;
use crate::transcode::Problem;

/// The words of a call: whom, what, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) target: Target,
    pub(super) method: String,
    /// JSON, `@FILE` or `-`.
    pub(super) json: Option<String>,
}

impl Parts {
    /// Reads `SERVICE METHOD [JSON]`, or `SERVICE/METHOD [JSON]`. The request may be `key=value` and
    /// `key:=json`, with dots in keys for messages in messages.
    pub(super) fn read(words: &[String]) -> Result<Self, Failure> {
        let wrong = || {
            let hint = match words.first() {
                Some(service) => format!("micro describe {}, which shows its methods", word(service)),
                None => "micro call greeter Greeter.Hello '{\"name\":\"John\"}'".to_owned(),
            };
            Failure::new(Kind::Usage, "require service and method").hint(hint)
        };
        let (first, rest) = words.split_first().ok_or_else(wrong)?;
        let (target, method, rest) = match split(first) {
            Some((target, method)) => (target.to_owned(), method.to_owned(), rest),
            None => {
                let (method, rest) = rest.split_first().ok_or_else(wrong)?;
                (first.clone(), method.clone(), rest)
            }
        };
        let json = match rest {
            [] => None,
            pairs if pairs.iter().all(|word| is_pair(word)) => Some(object(pairs)?.to_string()),
            words => Some(words.join(" ")),
        };
        let Ok(target) = target.parse();
        Ok(Self { target, method, json })
    }

    /// The same, asked of the server at `address`.
    pub(super) fn at(self, address: Address) -> Self {
        Self { target: Target::Address(address), ..self }
    }
}

/// `greeter/Greeter.Hello` and `http://host:80/greeter.Greeter/Hello` in their two parts.
fn split(word: &str) -> Option<(&str, &str)> {
    let authority = word.find("://").map_or(0, |at| at + 3);
    if word.starts_with("unix:") {
        return None;
    }
    let slash = authority + word[authority..].find('/')?;
    let (target, method) = (&word[..slash], &word[slash + 1..]);
    let sound = authority == 0 || target.parse::<Address>().is_ok();
    (sound && !method.is_empty()).then_some((target, method))
}

fn is_pair(word: &str) -> bool {
    let key = word.split_once('=').map(|(key, _)| key.trim_end_matches(':'));
    key.is_some_and(|key| {
        key.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
    })
}

fn object(pairs: &[String]) -> Result<Value, Failure> {
    let mut object = Map::new();
    for pair in pairs {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = match key.strip_suffix(':') {
            Some(key) => {
                let wrong = |error| {
                    Failure::new(Kind::Usage, format!("{pair:?} is not JSON behind :=")).source(error)
                };
                (key, serde_json::from_str(text).map_err(wrong)?)
            }
            None => (key, Value::String(text.to_owned())),
        };
        let mut place = &mut object;
        let mut path: Vec<_> = key.split('.').collect();
        let last = path.pop().unwrap_or_default();
        for part in path {
            let inner = place.entry(part).or_insert_with(|| Value::Object(Map::new()));
            place = inner.as_object_mut().ok_or_else(|| {
                Failure::new(Kind::Usage, format!("{part:?} of {pair:?} is given as something else already"))
            })?;
        }
        place.insert(last.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// Says whom and what the call was for, and what to try.
pub(super) fn failure(error: &Error, parts: &Parts, context: &Context) -> Failure {
    let Parts { target, method, .. } = parts;
    let tried = match target {
        Target::Service(name) => {
            format!("to call {method} of the service {name:?}, found in the registry {}", context.url())
        }
        Target::Address(address) => format!("to call {method} at {address}"),
    };
    let whom = word(&target.to_string());
    let (kind, hint) = match error {
        Error::Schema(schema::Error::NoMethod { like, methods, .. }) => {
            let hint = match like {
                Some(like) => format!("micro call {whom} {like}"),
                None if methods.is_empty() => format!("micro describe {whom}"),
                None => format!("one of {}", methods.join(", ")),
            };
            (Kind::NotFound, Some(hint))
        }
        Error::Schema(schema::Error::Ambiguous { methods, .. }) => {
            (Kind::Usage, methods.first().map(|first| format!("micro call {whom} {first}")))
        }
        Error::Schema(schema::Error::NoReflection(status)) => (
            Kind::Status(status.code()),
            Some("--proto FILE or --protoset FILE, which say what the server does not".to_owned()),
        ),
        Error::Schema(schema::Error::Reflection(status)) => {
            (Kind::Status(status.code()), Some(health(target)))
        }
        Error::Schema(_) | Error::Output(_) => (Kind::Other, None),
        Error::Input(_) => (Kind::Usage, Some(format!("micro describe {whom} {}", word(method)))),
        Error::Status(status) => (
            Kind::Status(status.code()),
            match status.code() {
                tonic::Code::Unavailable => Some(health(target)),
                tonic::Code::DeadlineExceeded => Some("a longer --timeout".to_owned()),
                tonic::Code::Unauthenticated => Some("-H 'authorization: Bearer …', or -H @FILE".to_owned()),
                _ => None,
            },
        ),
    };
    let failure = Failure::new(kind, what(error)).tried(tried).details(details(error));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What a server says in `google.rpc.Status` beside code and message.
fn details(error: &Error) -> Vec<String> {
    let Error::Status(status) = error else { return Vec::new() };
    let problem = Problem::new(status, None);
    let details = problem.json()["details"].as_array();
    details.into_iter().flatten().map(Value::to_string).collect()
}

/// What says more of one that was not reached.
fn health(target: &Target) -> String {
    match target {
        Target::Service(name) => format!("micro health {}", word(name)),
        Target::Address(address) => format!("another address, or have a server of gRPC listen on {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Parts, Failure> {
        Parts::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_call_is_written_in_the_originals_words_or_as_a_path() {
        let cases: [(&[&str], &str, &str, Option<&str>); 7] = [
            (&["greeter", "Greeter.Hello"], "greeter", "Greeter.Hello", None),
            (&["greeter", "Greeter.Hello", "{\"a\":", "1}"], "greeter", "Greeter.Hello", Some("{\"a\": 1}")),
            (&["greeter/greeter.Greeter/Hello", "{}"], "greeter", "greeter.Greeter/Hello", Some("{}")),
            (&["127.0.0.1:80/g.G/H"], "127.0.0.1:80", "g.G/H", None),
            (&["https://h:443/g.G/H", "@f"], "https://h:443", "g.G/H", Some("@f")),
            (&["https://h", "g.G/H", "-"], "https://h", "g.G/H", Some("-")),
            (&["unix:/run/a.sock", "G.H"], "unix:/run/a.sock", "G.H", None),
        ];
        for (words, target, method, json) in cases {
            let parts = read(words).unwrap();
            assert_eq!(
                (parts.target.to_string().as_str(), parts.method.as_str(), parts.json.as_deref()),
                (target, method, json)
            );
        }
        assert_eq!(read(&["greeter"]).unwrap_err().to_string(), "require service and method");
    }

    #[test]
    fn pairs_make_an_object() {
        let parts = read(&["s", "m", "name=John Doe", "at.zone=eu", "at.n:=[1,2]", "yes:=true"]).unwrap();
        let expected = r#"{"at":{"n":[1,2],"zone":"eu"},"name":"John Doe","yes":true}"#;
        assert_eq!(parts.json.as_deref(), Some(expected));
        assert!(read(&["s", "m", "a=1", "a.b=2"]).is_err());
        assert!(read(&["s", "m", "a:=x"]).is_err());
    }
}
