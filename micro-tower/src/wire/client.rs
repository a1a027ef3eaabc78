//! Calls by name, in JSON.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, once},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use micro_balance::{
    SentTo, View,
    policy::{PeakEwma, Policy},
};
use serde_json::Value;
use tokio::sync::OnceCell;
use tonic::body::Body;

use super::{
    answers::Answers,
    grpc::{self, Messages},
    method, reflection,
    transcode::{self, Transcoder},
};
use crate::{
    client::{Client as Balanced, ResponseBody},
    codec::frame,
    fault::Fault,
    gomicro::ask,
    status,
};

/// Who says what this client finds wrong, as in go-micro.
pub(super) const ID: &str = "go.micro.client";

/// Calls a service's methods by name, JSON in and JSON out, whatever its endpoints speak.
///
/// Our own servers and go-micro's are called in JSON. A plain gRPC server is asked once, by reflection, what its
/// messages look like. Deadlines, retries and balancing are those of the [`crate::Client`] it is made of. Clones
/// share everything.
pub struct Client<P: Policy = PeakEwma> {
    client: Balanced<P>,
    sent_to: Option<SentTo>,
    reflected: Arc<OnceCell<Option<Transcoder>>>,
}

/// How the messages of a call are written.
enum Way {
    Json,
    Proto(prost_reflect::MethodDescriptor),
}

impl<P: Policy> Client<P> {
    /// Calls over `client`.
    pub fn new(client: Balanced<P>) -> Self {
        Self { client, sent_to: None, reflected: Arc::default() }
    }

    /// Has it said in `sent_to` to which endpoint a call went.
    #[must_use]
    pub fn sent_to(mut self, sent_to: SentTo) -> Self {
        self.sent_to = Some(sent_to);
        self
    }

    /// Calls `method`, as `Greeter.Hello` or `/greeter.Greeter/Hello`.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that the method answers with; 404 or 501 where there is none, 408 when time runs out, 503
    /// when nobody is there to be called.
    pub async fn call_json(&self, method: &str, request: Value) -> Result<Value, Fault> {
        let answer = self.call_text(method, HeaderMap::new(), Bytes::from(request.to_string())).await?;
        serde_json::from_slice(&answer).map_err(|error| not_json(&error))
    }

    /// The same with the JSON as it is, in which numbers keep all their digits, and with `headers` for the method.
    ///
    /// # Errors
    ///
    /// As [`call_json`](Self::call_json).
    pub async fn call_text(&self, method: &str, headers: HeaderMap, request: Bytes) -> Result<Bytes, Fault> {
        let mut answers = self.open(method, headers, once(async { request }), false).await?;
        let answer = answers.next().await;
        let first =
            answer.ok_or_else(|| Fault::internal(ID, format!("{method} ended without an answer")))??;
        // What stands behind the message decides.
        match answers.next().await {
            None => Ok(first),
            Some(Err(fault)) => Err(fault),
            Some(Ok(_)) => {
                Err(Fault::bad_request(ID, format!("{method} streams its answers: open a stream")))
            }
        }
    }

    /// Opens a stream to `method`, whichever side of it streams.
    ///
    /// # Errors
    ///
    /// As [`call_json`](Self::call_json); what happens later is an item of the stream.
    pub async fn stream_json<S>(
        &self,
        method: &str,
        headers: HeaderMap,
        requests: S,
    ) -> Result<Answers<Value>, Fault>
    where
        S: Stream<Item = Value> + Send + 'static,
    {
        let requests = requests.map(|request| Bytes::from(request.to_string()));
        let answers = self.open(method, headers, requests, true).await?;
        let answers =
            answers.map(|answer| serde_json::from_slice(&answer?).map_err(|error| not_json(&error)));
        Ok(Answers(answers.boxed()))
    }

    /// Calls `method`, by its whole path `/greeter.Greeter/Hello`, with a message of prost: what the clients that
    /// micro-build generates do.
    ///
    /// # Errors
    ///
    /// As [`call_json`](Self::call_json).
    pub async fn call<Q, A>(&self, method: &str, request: &Q) -> Result<A, Fault>
    where
        Q: prost::Message,
        A: prost::Message + Default,
    {
        let request = Bytes::from(request.encode_to_vec());
        let requests: Messages = once(async { Ok(request) }).boxed();
        let response = self.send("proto", path(method)?, HeaderMap::new(), requests, false).await?;
        let mut answers = answers(response, Way::Json);
        let answer = answers.next().await;
        let answer =
            answer.ok_or_else(|| Fault::internal(ID, format!("{method} ended without an answer")))??;
        // What stands behind the message decides.
        match answers.next().await {
            Some(Err(fault)) => Err(fault),
            _ => A::decode(answer).map_err(|error| not_protobuf(&error)),
        }
    }

    /// The same for a stream, whichever side of it streams.
    ///
    /// # Errors
    ///
    /// As [`call_json`](Self::call_json); what happens later is an item of the stream.
    pub async fn stream<Q, A>(
        &self,
        method: &str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Answers<A>, Fault>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let requests: Messages = requests.map(|request| Ok(Bytes::from(request.encode_to_vec()))).boxed();
        let response = self.send("proto", path(method)?, HeaderMap::new(), requests, true).await?;
        let answers = answers(response, Way::Json);
        let answers = answers.map(|answer| A::decode(answer?).map_err(|error| not_protobuf(&error)));
        Ok(Answers(answers.boxed()))
    }

    async fn open(
        &self,
        method: &str,
        headers: HeaderMap,
        requests: impl Stream<Item = Bytes> + Send + 'static,
        streams: bool,
    ) -> Result<BoxStream<'static, Result<Bytes, Fault>>, Fault> {
        let no_method = || Fault::bad_request(ID, format!("{method} names no method: Greeter.Hello would"));
        let (service, name) = method::split(method).ok_or_else(no_method)?;
        let way = self.way(service, name).await?;
        let requests: Messages = requests.map(Ok).boxed();
        let (format, uri, requests) = match &way {
            Way::Json => {
                let uri = Uri::try_from(format!("/{service}/{name}")).map_err(|_| no_method())?;
                ("json", uri, requests)
            }
            Way::Proto(descriptor) => {
                let input = descriptor.input();
                let requests = requests.map(move |json| transcode::encode(&input, &json?)).boxed();
                ("proto", transcode::path(descriptor), requests)
            }
        };
        let response = self.send(format, uri, headers, requests, streams).await?;
        Ok(answers(response, way))
    }

    async fn send(
        &self,
        format: &str,
        uri: Uri,
        headers: HeaderMap,
        mut requests: Messages,
        streams: bool,
    ) -> Result<Response<ResponseBody>, Fault> {
        // A single request that cannot be written fails before anything is sent, and can be sent again.
        let body = if streams {
            grpc::request_body(requests)
        } else {
            let one = requests.next().await.unwrap_or_else(|| Ok(Bytes::new())).map_err(Fault::from)?;
            Body::new(http_body_util::Full::new(frame::encode(&one)))
        };
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = headers;
        let content_type = HeaderValue::from_str(match format {
            "json" => "application/grpc+json",
            _ => "application/grpc",
        });
        if let Ok(content_type) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        grpc::offer_gzip(&mut request);
        if let Some(sent_to) = &self.sent_to {
            request.extensions_mut().insert(sent_to.clone());
        }
        if streams {
            ask::declare_stream(request.headers_mut());
        }
        self.client.send(request).await.map_err(|error| Fault::from(status::grpc(error)))
    }

    /// How a method is to be called.
    async fn way(&self, service: &str, name: &str) -> Result<Way, Fault> {
        if self.client.endpoints().iter().any(speaks_json) {
            return Ok(Way::Json);
        }
        let reflected = self.reflected.get_or_try_init(|| async {
            match reflection::ask(&self.client).await {
                Ok(transcoder) => Ok(Some(transcoder)),
                // It has none: go-micro's gRPC, or a router of ours, both of which read JSON.
                Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
                // This was the first call, before which nobody was known; what stands in front of methods may say anything.
                Err(_) if self.client.endpoints().iter().any(speaks_json) => Ok(None),
                Err(status) => Err(status),
            }
        });
        let Some(transcoder) = reflected.await.map_err(Fault::from)? else { return Ok(Way::Json) };
        let short = method::short(service, name);
        let missing = || Fault::not_found(ID, format!("rpc: can't find method {short}"));
        transcoder.method(&short).cloned().map(Way::Proto).ok_or_else(missing)
    }
}

/// Whether an endpoint reads JSON: it is go-micro's, or says so.
fn speaks_json(endpoint: &View) -> bool {
    let labels = &endpoint.attributes.metadata;
    ask::Dialect::of(labels).is_some() || labels.get(ask::SPEAKS).is_some_and(|all| all.contains("json"))
}

fn path(method: &str) -> Result<Uri, Fault> {
    Uri::try_from(method).map_err(|_| Fault::bad_request(ID, format!("{method} is no path of a method")))
}

fn answers(response: Response<ResponseBody>, way: Way) -> BoxStream<'static, Result<Bytes, Fault>> {
    let messages = frame::answers(response, grpc::LONGEST);
    messages
        .map(move |message| match (&way, message?) {
            (Way::Json, message) => Ok(message),
            (Way::Proto(method), message) => Ok(transcode::decode(&method.output(), message)?),
        })
        .boxed()
}

fn not_json(error: &serde_json::Error) -> Fault {
    Fault::internal(ID, format!("the answer is no JSON: {error}"))
}

fn not_protobuf(error: &prost::DecodeError) -> Fault {
    Fault::internal(ID, format!("the answer is not the message it should be: {error}"))
}

impl<P: Policy> Clone for Client<P> {
    fn clone(&self) -> Self {
        let Self { client, sent_to, reflected } = self;
        Self { client: client.clone(), sent_to: sent_to.clone(), reflected: reflected.clone() }
    }
}

impl<P: Policy> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("client", &self.client).finish_non_exhaustive()
    }
}
