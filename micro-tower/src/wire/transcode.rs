//! JSON in front of protobuf, by descriptors.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Request, Response, Uri, header};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tonic::{Status, body::Body};
use tower::{BoxError, ServiceExt as _};
use tower_service::Service;

use super::{grpc, method};
use crate::{
    codec::frame,
    gomicro::{Opening, Streams},
};

/// Descriptors that are none.
#[derive(Debug, thiserror::Error)]
#[error("these are no file descriptors")]
pub struct InvalidDescriptors(#[from] prost_reflect::DescriptorError);

/// Methods that are known by their descriptors.
#[derive(Clone, Debug)]
pub(super) struct Transcoder {
    /// By `Greeter.Hello`.
    methods: Arc<HashMap<String, MethodDescriptor>>,
}

impl Transcoder {
    pub(super) fn new(descriptors: &[u8]) -> Result<Self, InvalidDescriptors> {
        Ok(Self::of(&DescriptorPool::decode(descriptors)?))
    }

    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let methods = pool.services().flat_map(|service| {
            let named =
                |it: MethodDescriptor| (method::short(it.parent_service().full_name(), it.name()), it);
            service.methods().map(named).collect::<Vec<_>>()
        });
        Self { methods: Arc::new(methods.collect()) }
    }

    /// Whether there is a method called `Greeter.Hello`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.methods.contains_key(name)
    }

    /// Whether `path` is the whole path of a method.
    pub(super) fn knows(&self, path: &str) -> bool {
        let Some((service, name)) = method::split(path) else { return false };
        let known = self.methods.get(&method::short(service, name));
        known.is_some_and(|known| known.parent_service().full_name() == service)
    }

    pub(super) fn has_service(&self, service: &str) -> bool {
        self.methods.values().any(|method| method.parent_service().name() == service)
    }

    pub(super) fn method(&self, name: &str) -> Option<&MethodDescriptor> {
        self.methods.get(name)
    }

    /// Calls `name` of `service`, in protobuf.
    pub(super) async fn call<S>(
        &self,
        service: S,
        name: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
    {
        let Some(method) = self.methods.get(name) else { return service.oneshot(request).await };
        let json = grpc::format(request.headers()) == "json";
        let opening = request.extensions().get::<Opening>().is_some();
        let gzip = grpc::accepts_gzip(request.headers());
        let streams = method.is_client_streaming() || method.is_server_streaming();
        *request.uri_mut() = path(method);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if opening || json {
            request = adapted(method, request, opening, json);
        }
        let mut response = service.oneshot(request).await?;
        if json && response.headers().get("grpc-status").is_none() {
            response = to_json(method, response, gzip);
        }
        if streams {
            response.extensions_mut().insert(Streams);
        }
        Ok(response)
    }
}

/// `/greeter.Greeter/Hello`.
pub(super) fn path(method: &MethodDescriptor) -> Uri {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Uri::try_from(path).unwrap_or_default()
}

/// The messages of `request` as a tonic service wants them.
fn adapted(method: &MethodDescriptor, request: Request<Body>, opening: bool, json: bool) -> Request<Body> {
    let input = method.input();
    let streams = method.is_client_streaming() || method.is_server_streaming();
    let mut request = request.map(|body| {
        let mut messages = grpc::messages(body);
        if opening && streams {
            messages = messages.skip(1).boxed();
        }
        if opening && !method.is_client_streaming() {
            // go-micro's client does not say that this was all.
            messages = messages.take(1).boxed();
        }
        if json {
            messages = messages.map(move |message| encode(&input, &message?)).boxed();
        }
        grpc::request_body(messages)
    });
    request.headers_mut().remove("grpc-encoding");
    if json {
        request.headers_mut().remove("grpc-accept-encoding");
    }
    request
}

fn to_json(method: &MethodDescriptor, response: Response<Body>, gzip: bool) -> Response<Body> {
    let output = method.output();
    let (head, body) = response.into_parts();
    // A status in the head is a response without messages, and has been handed on.
    let messages = frame::answers(Response::new(body), grpc::LONGEST);
    let messages = messages.map(move |message| decode(&output, message?)).boxed();
    let mut response = grpc::response("json", gzip, messages);
    for (name, value) in &head.headers {
        let own = *name == header::CONTENT_TYPE || name.as_str().starts_with("grpc-");
        if !own {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response.extensions_mut().extend(head.extensions);
    response
}

/// JSON to protobuf.
pub(super) fn encode(descriptor: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    let json = if json.trim_ascii().is_empty() { b"{}" } else { json };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(descriptor.clone(), &mut reader);
    let message = message.and_then(|message| reader.end().map(|()| message));
    let cannot = |error| Status::invalid_argument(format!("rpc: router cannot decode request: {error}"));
    Ok(message.map_err(cannot)?.encode_to_vec().into())
}

/// Protobuf to JSON.
pub(super) fn decode(descriptor: &MessageDescriptor, message: Bytes) -> Result<Bytes, Status> {
    let internal =
        |error: &dyn std::fmt::Display| Status::internal(format!("rpc: cannot encode response: {error}"));
    let message = DynamicMessage::decode(descriptor.clone(), message).map_err(|error| internal(&error))?;
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut json);
    let options = SerializeOptions::new();
    message.serialize_with_options(&mut writer, &options).map_err(|error| internal(&error))?;
    Ok(json.into())
}
