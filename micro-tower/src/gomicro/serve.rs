//! One call: the gRPC request that it is, and the response as messages.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{BoxStream, once, unfold},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::StreamBody;
use micro_balance::grpc_timeout;
use tokio::sync::mpsc;
use tonic::{Status, body::Body};
use tower::BoxError;
use tower_service::Service;

use super::{
    LONGEST, Message, Opening, Streams,
    answer::{Answers, refusal},
    detect::{self, Call},
    message::text,
};
use crate::{
    codec::frame,
    fault::{self, Fault},
    metadata::is_of_connection,
    status,
};

/// The one answer to a message that is all of a call.
pub(crate) async fn answer_once<S, B>(service: S, message: Message) -> Message
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send> + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match detect::read(&message) {
        Ok(call) => {
            let (_, fed) = mpsc::channel(1);
            let mut answers = serve(service, &call, &message, fed);
            answers.next().await.unwrap_or_default()
        }
        Err(no) => refusal(&message, &no),
    }
}

/// The answers to one call, `fed` with what follows its first message.
pub(super) fn serve<S, B>(
    mut service: S,
    call: &Call,
    message: &Message,
    fed: mpsc::Receiver<Bytes>,
) -> BoxStream<'static, Message>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send> + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let answers = Answers::new(call.clone(), message);
    let declared = call.stream;
    let request = match request(call, &message.headers, fed) {
        Ok(request) => request,
        Err(fault) => {
            let refused = answers.fault(&fault);
            return once(async { refused }).boxed();
        }
    };
    let calling = async move {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
        service.call(request).await.map_err(Into::into)
    };
    let calling = async move {
        let response = AssertUnwindSafe(calling).catch_unwind().await;
        let failed = |fault: Fault| once(async move { Err(fault) }).boxed();
        let (streams, messages) = match response {
            Ok(Ok(response)) => {
                let streams = declared || response.extensions().get::<Streams>().is_some();
                (streams, messages(response))
            }
            Ok(Err(error)) => (declared, failed(fault_of(status::grpc(error)))),
            Err(panic) => (declared, failed(fault::of_panic(&*panic))),
        };
        written(answers, streams, messages)
    };
    once(calling).flatten().boxed()
}

/// The request that a call is in gRPC.
fn request(call: &Call, headers: &HeaderMap, fed: mpsc::Receiver<Bytes>) -> Result<Request<Body>, Fault> {
    let Some(path) = call.path() else {
        let what = if call.era == detect::Era::V0 { "method" } else { "endpoint" };
        return Err(Fault::plain(format!("rpc: service/{what} request ill-formed: {}", call.method)));
    };
    let uri = Uri::try_from(path);
    let uri = uri.map_err(|error| Fault::plain(format!("rpc: {}: {error}", call.method)))?;
    let first = once(std::future::ready(call.payload.clone()));
    let rest = unfold(fed, |mut fed| async { Some((fed.recv().await?, fed)) });
    let frames = first.chain(rest).map(|payload| Ok::<_, Status>(Frame::data(frame::encode(&payload))));
    let mut request = Request::new(Body::new(StreamBody::new(frames)));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = grpc_headers(headers, &call.format);
    request.extensions_mut().insert(Opening(call.era));
    Ok(request)
}

/// The headers of a message as those of a gRPC request, without what belongs to its connection.
fn grpc_headers(headers: &HeaderMap, format: &str) -> HeaderMap {
    let mut all: HeaderMap = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        let kept = !is_of_connection(name);
        let own = matches!(name.as_str(), "accept" | "accept-encoding" | "content-encoding" | "timeout");
        if kept && !own && !name.as_str().starts_with("grpc-") {
            all.append(name.clone(), value.clone());
        }
    }
    let content_type = HeaderValue::try_from(format!("application/grpc+{format}"));
    let content_type = content_type.unwrap_or_else(|_| HeaderValue::from_static("application/grpc"));
    all.insert(header::CONTENT_TYPE, content_type);
    all.insert(header::TE, HeaderValue::from_static("trailers"));
    let nanos = headers.get("timeout").and_then(text).and_then(|text| text.trim().parse().ok());
    if let Some(nanos) = nanos.filter(|nanos| *nanos > 0) {
        let timeout = grpc_timeout::encode(std::time::Duration::from_nanos(nanos));
        all.insert(HeaderName::from_static("grpc-timeout"), timeout);
    }
    all
}

/// The messages of a gRPC response; its status, unless that is OK, is the last.
fn messages<B>(response: Response<B>) -> BoxStream<'static, Result<Bytes, Fault>>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let answers = frame::answers(response.map(Body::new), LONGEST);
    unfold(Some(answers), |answers| async {
        let mut answers = answers?;
        match AssertUnwindSafe(answers.next()).catch_unwind().await {
            Ok(answer) => Some((answer?.map_err(fault_of), Some(answers))),
            Err(panic) => Some((Err(fault::of_panic(&*panic)), None)),
        }
    })
    .boxed()
}

/// The messages as answers, in the words of the caller's version.
fn written(
    answers: Answers,
    streams: bool,
    messages: BoxStream<'static, Result<Bytes, Fault>>,
) -> impl Stream<Item = Message> + Send {
    unfold(Some((answers, messages)), move |state| async move {
        let (answers, mut messages) = state?;
        match messages.next().await {
            Some(Ok(first)) if !streams => {
                // What a unary call says last decides.
                let last = messages.next().await;
                let answer = match last {
                    Some(Err(fault)) => answers.fault(&fault),
                    _ => answers.message(&first, false),
                };
                Some((answer, None))
            }
            Some(Ok(message)) => Some((answers.message(&message, true), Some((answers, messages)))),
            Some(Err(fault)) => Some((answers.fault(&fault), None)),
            None if streams => Some((answers.end(), None)),
            None => {
                let fault = Fault::internal("go.micro.server", "the method ended without an answer");
                Some((answers.fault(&fault), None))
            }
        }
    })
}

/// What our own router says of a request stands as plain text on go-micro's wire.
fn fault_of(status: Status) -> Fault {
    if status.message().starts_with("rpc: ") { Fault::plain(status.message()) } else { Fault::from(status) }
}
