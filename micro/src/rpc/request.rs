//! What is asked.

use serde_json::value::RawValue;

/// A call by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpcRequest {
    /// The service's name in the registry.
    pub service: String,
    /// One of its methods, such as `Greeter.Hello`.
    pub method: String,
    /// The id or address of one of its endpoints; any where it is empty.
    pub address: String,
    /// The message, as JSON; several for a method that takes a stream, one behind the other.
    pub request: String,
}

impl RpcRequest {
    /// Reads a body of type `kind`: JSON, or else a form.
    ///
    /// # Errors
    ///
    /// What go-micro says of it.
    pub fn read(kind: &str, body: &[u8]) -> Result<Self, String> {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let request = match kind.eq_ignore_ascii_case("application/json") {
            true => Self::of_json(body)?,
            false => Self::of_form(body)?,
        };
        if request.service.is_empty() {
            return Err("invalid service".to_owned());
        }
        if request.method.is_empty() {
            return Err("invalid method".to_owned());
        }
        Ok(request)
    }

    fn of_json(body: &[u8]) -> Result<Self, String> {
        // As it stands: numbers keep every digit.
        let fields: Vec<(String, Box<RawValue>)> =
            serde_json::from_slice::<Fields>(body).map_err(|e| e.to_string())?.0;
        let mut request = Self::default();
        for (name, value) in fields {
            let text = || serde_json::from_str::<Option<String>>(value.get()).map(Option::unwrap_or_default);
            let text = || text().map_err(|error| format!("{name}: {error}"));
            match name.to_ascii_lowercase().as_str() {
                "service" => request.service = text()?,
                "method" | "endpoint" => {
                    let method = text()?;
                    if !method.is_empty() {
                        request.method = method;
                    }
                }
                "address" => request.address = text()?,
                "request" => request.request = unwrapped(value.get())?,
                "requests" => request.request = several(value.get())?,
                _ => {}
            }
        }
        Ok(request)
    }

    fn of_form(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the form is not UTF-8".to_owned())?;
        let pairs = crate::transcode::pairs(text).ok_or("the form has a broken percent-encoding")?;
        let value =
            |name: &str| pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let request = value("request").unwrap_or_default();
        if !request.trim().is_empty() {
            valid(&request)?;
        }
        Ok(Self {
            service: value("service").unwrap_or_default(),
            method: value("method").or_else(|| value("endpoint")).unwrap_or_default(),
            address: value("address").unwrap_or_default(),
            request,
        })
    }
}

/// A request may be JSON, or a string of it.
fn unwrapped(json: &str) -> Result<String, String> {
    match json.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(json).map_err(|error| error.to_string())?;
            if !text.trim().is_empty() {
                valid(&text)?;
            }
            Ok(text)
        }
        _ if json == "null" => Ok(String::new()),
        _ => Ok(json.to_owned()),
    }
}

/// The elements of an array, one behind the other.
fn several(json: &str) -> Result<String, String> {
    let all: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| format!("requests is no array: {error}"))?;
    Ok(all.iter().map(|one| one.get()).collect::<Vec<_>>().join("\n"))
}

fn valid(json: &str) -> Result<(), String> {
    let checked: Result<&RawValue, _> = serde_json::from_str(json);
    checked.map(drop).map_err(|error| format!("error decoding request string: {error}"))
}

/// The members of an object in order.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &str) -> RpcRequest {
        let (service, method) = ("foo".to_owned(), "Foo.Bar".to_owned());
        RpcRequest { service, method, address: String::new(), request: request.to_owned() }
    }

    #[test]
    fn json_and_forms_say_the_same() {
        let json = |text: &str| RpcRequest::read("application/json; charset=utf-8", text.as_bytes());
        assert_eq!(
            json(r#"{"service":"foo","method":"Foo.Bar","request":{"n":12345678901234567890.10}}"#),
            Ok(asked(r#"{"n":12345678901234567890.10}"#))
        );
        assert_eq!(
            json(r#"{"Service":"foo","ENDPOINT":"Foo.Bar","request":"{\"a\":1}"}"#),
            Ok(asked(r#"{"a":1}"#))
        );
        assert_eq!(json(r#"{"service":"foo","method":"Foo.Bar"}"#), Ok(asked("")));
        let form = "service=foo&method=Foo.Bar&request=%7B%22a%22%3A1%7D&address=127.0.0.1%3A1";
        let form = RpcRequest::read("application/x-www-form-urlencoded", form.as_bytes());
        assert_eq!(form, Ok(RpcRequest { address: "127.0.0.1:1".to_owned(), ..asked(r#"{"a":1}"#) }));
    }

    #[test]
    fn what_is_missing_or_broken_is_said_as_go_micro_says_it() {
        let json = |text: &str| RpcRequest::read("application/json", text.as_bytes()).unwrap_err();
        assert_eq!(json(r#"{"method":"Foo.Bar"}"#), "invalid service");
        assert_eq!(json(r#"{"service":"foo"}"#), "invalid method");
        assert!(
            json(r#"{"service":"foo","method":"a","request":"{"}"#)
                .starts_with("error decoding request string: ")
        );
        assert!(json("{").contains("EOF"));
        assert!(
            RpcRequest::read("", b"service=foo&method=a&request={")
                .unwrap_err()
                .starts_with("error decoding request string: ")
        );
    }
}
