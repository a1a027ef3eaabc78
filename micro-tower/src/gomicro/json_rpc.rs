//! JSON-RPC 1.0 as go-micro writes it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower::BoxError;

/// A call. The id is a number in v0 and a string later; it is handed back as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) id: Box<RawValue>,
    pub(crate) params: Bytes,
}

/// An answer: a result, or an error.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) result: Bytes,
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct AnyRequest<'a> {
    #[serde(default)]
    method: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

pub(crate) fn read_request(body: &[u8]) -> Result<Request, BoxError> {
    let AnyRequest { method, params, id } = serde_json::from_slice(body)?;
    let params = params.map_or("", RawValue::get);
    // One in a list, or else the thing itself.
    let params = match serde_json::from_str::<Vec<&RawValue>>(params) {
        Ok(list) => list.first().map_or("", |one| one.get()),
        Err(_) => params,
    };
    let id = id.map_or_else(null, ToOwned::to_owned);
    Ok(Request { method, id, params: Bytes::copy_from_slice(params.as_bytes()) })
}

pub(crate) fn write_request(method: &str, id: &RawValue, params: &[u8]) -> Result<Bytes, BoxError> {
    #[derive(Serialize)]
    struct Written<'a> {
        method: &'a str,
        params: [&'a RawValue; 1],
        id: &'a RawValue,
    }
    let params = [raw(params)?];
    Ok(line(serde_json::to_vec(&Written { method, params, id })?))
}

pub(crate) fn read_response(body: &[u8]) -> Result<Response, BoxError> {
    #[derive(Deserialize)]
    struct AnyResponse<'a> {
        #[serde(borrow, default)]
        result: Option<&'a RawValue>,
        #[serde(default)]
        error: Option<serde_json::Value>,
    }
    let AnyResponse { result, error } = serde_json::from_slice(body)?;
    let error = match error {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) if text.is_empty() => None,
        Some(serde_json::Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    };
    let result = result.map_or("null", RawValue::get);
    Ok(Response { result: Bytes::copy_from_slice(result.as_bytes()), error })
}

pub(crate) fn write_result(id: &RawValue, result: &[u8]) -> Result<Bytes, BoxError> {
    #[derive(Serialize)]
    struct Written<'a> {
        id: &'a RawValue,
        result: &'a RawValue,
        error: (),
    }
    Ok(line(serde_json::to_vec(&Written { id, result: raw(result)?, error: () })?))
}

/// `nothing` stands where the result would: `{}` up to v0, `null` later.
pub(crate) fn write_error(id: &RawValue, nothing: &str, error: &str) -> Result<Bytes, BoxError> {
    #[derive(Serialize)]
    struct Written<'a> {
        id: &'a RawValue,
        result: &'a RawValue,
        error: &'a str,
    }
    Ok(line(serde_json::to_vec(&Written { id, result: raw(nothing.as_bytes())?, error })?))
}

pub(crate) fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// A JSON string.
pub(crate) fn string(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap_or_else(|_| null())
}

fn raw(json: &[u8]) -> Result<&RawValue, BoxError> {
    let json = json.trim_ascii();
    Ok(serde_json::from_slice(if json.is_empty() { b"{}" } else { json })?)
}

/// Go's encoder ends each value with a newline.
fn line(mut json: Vec<u8>) -> Bytes {
    json.push(b'\n');
    json.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_the_same_in_any_order_and_with_any_id() {
        for (json, id) in [
            (r#"{"method":"Greeter.Hello","params":[{"name":"John"}],"id":0}"#, "0"),
            (r#"{"params":[{"name":"John"}],"id":"7","method":"Greeter.Hello"}"#, "\"7\""),
            (r#"{"params":{"name":"John"},"method":"Greeter.Hello","jsonrpc":"2.0"}"#, "null"),
        ] {
            let request = read_request(json.as_bytes()).unwrap();
            assert_eq!((request.method.as_str(), request.id.get()), ("Greeter.Hello", id));
            assert_eq!(request.params, r#"{"name":"John"}"#);
        }
        for json in ["", "{", "[]", "7", r#"{"method":7}"#] {
            assert!(read_request(json.as_bytes()).is_err() || json == "[]", "{json}");
        }
    }

    #[test]
    fn answers_read_as_they_were_written() {
        let id: Box<RawValue> = RawValue::from_string("7".into()).unwrap();
        let written = write_result(&id, b"{\"a\":1.50}\n").unwrap();
        assert_eq!(written, "{\"id\":7,\"result\":{\"a\":1.50},\"error\":null}\n");
        let read = read_response(&written).unwrap();
        assert_eq!((&read.result[..], read.error), (&b"{\"a\":1.50}"[..], None));
        let written = write_error(&string(""), "null", "EOS").unwrap();
        assert_eq!(written, "{\"id\":\"\",\"result\":null,\"error\":\"EOS\"}\n");
        assert_eq!(read_response(&written).unwrap().error.as_deref(), Some("EOS"));
    }
}
