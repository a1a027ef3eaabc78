//! Requests that become events: go-micro's handler `event`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use micro_broker::{Broker, Error, Event};
use prost::Message;
use serde_json::{Value, json};
use tonic::body::Body;

use super::message::{Pair, gather};
use crate::causes::chain;
use crate::proxy::{Fault, whole};
use crate::transcode::{Transcoding, metadata, pairs};

/// How long a broker may take to confirm an event.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// What is published of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventForm {
    /// go-micro's message `go.api.Event`, in protobuf: the action, an id, the time, headers, and the body as its data.
    #[default]
    Message,
    /// The same message in JSON.
    Json,
    /// The body as it is, with the request's headers.
    Body,
}

impl FromStr for EventForm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "message" => Ok(Self::Message),
            "json" => Ok(Self::Json),
            "body" => Ok(Self::Body),
            _ => Err("an event is a message, json or the body"),
        }
    }
}

/// `go.api.Event`.
#[derive(Clone, PartialEq, Message)]
struct ApiEvent {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(int64, tag = "3")]
    timestamp: i64,
    #[prost(btree_map = "string, message", tag = "4")]
    header: BTreeMap<String, Pair>,
    #[prost(string, tag = "5")]
    data: String,
}

/// What an event is about: a topic, and what happened there.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) topic: String,
    pub(super) action: String,
}

/// How a request becomes an event.
#[derive(Clone, Debug)]
pub(super) struct How {
    /// What errors come from.
    pub(super) id: &'static str,
    pub(super) form: EventForm,
    /// How its body is read.
    pub(super) transcoding: Transcoding,
}

/// Publishes `request` and answers 200 once the broker has it.
pub(super) async fn publish(
    broker: Arc<dyn Broker>,
    about: About,
    how: How,
    request: Request<Body>,
) -> Response<Body> {
    let How { id, form, transcoding } = how;
    let (parts, body) = request.into_parts();
    let body = match whole(body, transcoding.most_bytes, transcoding.timeout).await {
        Ok(body) => body,
        Err(unread) => return unread.fault(id).response(),
    };
    let event = match event(&about, form, &parts, body) {
        Ok(event) => event,
        Err(why) => return Fault::new(id, StatusCode::BAD_REQUEST, why).response(),
    };
    match broker.publish(event, CONFIRM_WITHIN).await {
        Ok(()) => Response::new(Body::empty()),
        Err(error) => refused(id, &about.topic, &error).response(),
    }
}

fn event(about: &About, form: EventForm, parts: &Parts, body: Bytes) -> Result<Event, &'static str> {
    let body = match parts.method {
        // It has no body that means anything; what it has to say is in its query, as go-micro has it.
        Method::GET | Method::HEAD => query(parts)?,
        _ => body,
    };
    let said = parts.headers.get("micro-id").and_then(|id| id.to_str().ok());
    let id = said.map_or_else(
        || format!("{}-{}-{:032x}", about.topic, about.action, fastrand::u128(..)),
        str::to_owned,
    );
    let (kind, body) = match form {
        EventForm::Body => (parts.headers.get(header::CONTENT_TYPE).cloned(), body),
        EventForm::Message => {
            let message = message(about, &id, parts, &body)?;
            (Some(HeaderValue::from_static("application/protobuf")), message.encode_to_vec().into())
        }
        EventForm::Json => {
            let json = written(&message(about, &id, parts, &body)?);
            (Some(HeaderValue::from_static("application/json")), json.to_string().into())
        }
    };
    let mut event = Event::new(about.topic.as_str(), body).id(id);
    event.headers = metadata(&parts.headers);
    event.headers.remove("micro-id");
    event.headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    Ok(event)
}

fn message(about: &About, id: &str, parts: &Parts, body: &[u8]) -> Result<ApiEvent, &'static str> {
    let data = std::str::from_utf8(body).map_err(|_| "the event is not UTF-8")?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lines = metadata(&parts.headers);
    let lines = lines.iter().map(|(name, value)| {
        (super::message::canonical(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(ApiEvent {
        name: about.action.clone(),
        id: id.to_owned(),
        timestamp: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        header: gather(lines).into_iter().collect(),
        data: data.to_owned(),
    })
}

fn written(event: &ApiEvent) -> Value {
    let header = event.header.iter().map(|(name, pair)| (name.clone(), pair.json()));
    let header: serde_json::Map<_, _> = header.collect();
    json!({
        "name": event.name,
        "id": event.id,
        "timestamp": event.timestamp,
        "header": header,
        "data": event.data,
    })
}

/// The fields of a query, each with all its values, as JSON.
fn query(parts: &Parts) -> Result<Bytes, &'static str> {
    let pairs =
        pairs(parts.uri.query().unwrap_or_default()).ok_or("the query has a broken percent-encoding")?;
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        fields.entry(name).or_default().push(value);
    }
    Ok(json!(fields).to_string().into())
}

fn refused(id: &str, topic: &str, error: &Error) -> Fault {
    let status = match error {
        Error::Invalid { .. } => StatusCode::BAD_REQUEST,
        Error::Unconfirmed { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Fault::new(id, status, format!("{topic:?} was not published: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(form: EventForm, request: http::request::Builder, body: &'static str) -> Event {
        let about = About { topic: "go.micro.api.user".to_owned(), action: "login".to_owned() };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        event(&about, form, &parts, Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_post_becomes_go_micros_message() {
        let request = Request::post("/user/login").header("x-tenant", "a").header("host", "h");
        let event = made(EventForm::Message, request, "{\"id\":7}");
        assert_eq!(
            (&*event.topic, &event.headers["content-type"]),
            ("go.micro.api.user", &"application/protobuf".parse().unwrap())
        );
        let message = ApiEvent::decode(event.body).unwrap();
        assert_eq!((message.name.as_str(), message.data.as_str()), ("login", "{\"id\":7}"));
        assert!(message.id.starts_with("go.micro.api.user-login-") && message.timestamp > 1_700_000_000);
        assert_eq!(message.header["X-Tenant"].json(), json!({"key": "X-Tenant", "values": ["a"]}));
        assert!(!message.header.contains_key("Host"));
    }

    #[test]
    fn a_get_says_its_query_and_an_id_that_is_given_stays() {
        let request = Request::get("/user/login?a=1&a=2&b=x%20y").header("micro-id", "one");
        let event = made(EventForm::Json, request, "");
        assert_eq!(event.id.to_string(), "one");
        let json: Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(
            (&json["id"], &json["data"]),
            (&"one".into(), &"{\"a\":[\"1\",\"2\"],\"b\":[\"x y\"]}".into())
        );
    }

    #[test]
    fn a_body_can_be_the_event_as_it_is() {
        let request = Request::post("/user/login").header("content-type", "text/csv").header("x-tenant", "a");
        let event = made(EventForm::Body, request, "a,b");
        assert_eq!(
            (&event.body[..], &event.headers["content-type"]),
            (&b"a,b"[..], &"text/csv".parse().unwrap())
        );
        assert_eq!(event.headers["x-tenant"], "a");
    }
}
