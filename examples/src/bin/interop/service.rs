//! What each call of the tests does.

use std::time::Duration;

use examples::testing::{
    BoolValue, EchoStatus, Empty, Payload, PayloadType, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse, test_service_server::TestService,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{HeaderName, HeaderValue};
use micro_tower::metadata::Trailers;
use tonic::{Extensions, Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    compression::{Arrived, Outgoing},
    orca::{self, Reports},
};

const ECHO_INITIAL: HeaderName = HeaderName::from_static("x-grpc-test-echo-initial");
const ECHO_TRAILING: HeaderName = HeaderName::from_static("x-grpc-test-echo-trailing-bin");
/// No answer of the tests is larger; a client cannot make the server allocate more.
const LARGEST: i32 = 64 << 20;

/// The service under test.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    reports: Reports,
}

/// What a response says beside its messages.
#[derive(Clone)]
struct Frame {
    initial: Option<HeaderValue>,
    trailers: Trailers,
    outgoing: Outgoing,
}

type Outputs = BoxStream<'static, Result<StreamingOutputCallResponse, Status>>;

impl Test {
    pub(crate) fn new(reports: Reports) -> Self {
        Self { reports }
    }
}

impl Frame {
    /// Echoes the metadata that the tests ask to be echoed.
    fn of(metadata: &MetadataMap) -> Self {
        let headers = metadata.as_ref();
        let trailers = Trailers::new();
        for value in headers.get_all(ECHO_TRAILING) {
            trailers.append(ECHO_TRAILING, value.clone());
        }
        let initial = headers.get(ECHO_INITIAL).cloned();
        Self { initial, trailers, outgoing: Outgoing::default() }
    }

    fn around<T>(self, message: T) -> Response<T> {
        let mut headers = http::HeaderMap::new();
        if let Some(value) = self.initial {
            headers.insert(ECHO_INITIAL, value);
        }
        let mut extensions = Extensions::default();
        extensions.insert(self.trailers);
        extensions.insert(self.outgoing);
        Response::from_parts(MetadataMap::from_headers(headers), message, extensions)
    }
}

#[tonic::async_trait]
impl TestService for Test {
    async fn empty_call(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Frame::of(request.metadata()).around(Empty {}))
    }

    async fn unary_call(&self, request: Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let frame = Frame::of(&metadata);
        arrived_as_expected(message.expect_compressed, Arrived::of(&extensions).next())?;
        asked_for(message.response_status.as_ref())?;
        if let Some(report) = message.orca_per_query_report {
            frame.trailers.append(orca::HEADER, orca::header(&orca::report(report)));
        }
        frame.outgoing.next(message.response_compressed.is_some_and(|it| it.value));
        let payload = Some(payload(message.response_size)?);
        // Tests of pick_first see by it whether one server answers all calls.
        let server_id = if message.fill_server_id { server_id() } else { String::new() };
        Ok(frame.around(SimpleResponse { payload, server_id, ..Default::default() }))
    }

    async fn cacheable_unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let mut response = self.unary_call(request).await?;
        let minute = tonic::metadata::MetadataValue::from_static("max-age=60, public");
        response.metadata_mut().insert("cache-control", minute);
        Ok(response)
    }

    type StreamingOutputCallStream = Outputs;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Outputs>, Status> {
        let frame = Frame::of(request.metadata());
        let message = request.into_inner();
        asked_for(message.response_status.as_ref())?;
        let outputs = outputs(message.response_parameters, frame.outgoing.clone());
        Ok(frame.around(outputs))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let arrived = Arrived::of(&extensions);
        let mut total: usize = 0;
        while let Some(message) = messages.message().await? {
            arrived_as_expected(message.expect_compressed, arrived.next())?;
            total += message.payload.map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(total).unwrap_or(i32::MAX);
        Ok(Frame::of(&metadata).around(StreamingInputCallResponse { aggregated_payload_size }))
    }

    type FullDuplexCallStream = Outputs;

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        let frame = Frame::of(request.metadata());
        let (reports, outgoing) = (self.reports.clone(), frame.outgoing.clone());
        let answers = request.into_inner().map(move |message| {
            let message = message?;
            asked_for(message.response_status.as_ref())?;
            if let Some(report) = message.orca_oob_report {
                reports.set(orca::report(report));
            }
            Ok(outputs(message.response_parameters, outgoing.clone()))
        });
        Ok(frame.around(flatten(answers)))
    }

    type HalfDuplexCallStream = Outputs;

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        let frame = Frame::of(request.metadata());
        let mut messages = request.into_inner();
        let mut wanted = Vec::new();
        while let Some(message) = messages.message().await? {
            asked_for(message.response_status.as_ref())?;
            wanted.extend(message.response_parameters);
        }
        let outputs = outputs(wanted, frame.outgoing.clone());
        Ok(frame.around(outputs))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("the tests want this method to be unimplemented"))
    }
}

/// What no other server of this machine is called.
fn server_id() -> String {
    format!("interop-{}", std::process::id())
}

/// One answer for each of `wanted`, after its interval.
fn outputs(wanted: Vec<ResponseParameters>, outgoing: Outgoing) -> Outputs {
    let answer = move |parameters: ResponseParameters| {
        let outgoing = outgoing.clone();
        async move {
            let micros = u64::try_from(parameters.interval_us).unwrap_or(0);
            if micros > 0 {
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
            let payload = Some(payload(parameters.size)?);
            outgoing.next(parameters.compressed.is_some_and(|it| it.value));
            Ok(StreamingOutputCallResponse { payload })
        }
    };
    stream::iter(wanted).then(answer).boxed()
}

/// All answers of each in turn; an error is the last.
fn flatten(answers: impl futures_util::Stream<Item = Result<Outputs, Status>> + Send + 'static) -> Outputs {
    answers.flat_map(|answers| answers.unwrap_or_else(|status| stream::iter([Err(status)]).boxed())).boxed()
}

fn payload(size: i32) -> Result<Payload, Status> {
    match usize::try_from(size) {
        Ok(length) if size <= LARGEST => {
            Ok(Payload { r#type: PayloadType::Compressable.into(), body: vec![0; length] })
        }
        _ => Err(Status::invalid_argument(format!("a payload has 0..={LARGEST} bytes, not {size}"))),
    }
}

fn asked_for(status: Option<&EchoStatus>) -> Result<(), Status> {
    match status {
        Some(status) if status.code != 0 => Err(Status::new(status.code.into(), status.message.clone())),
        _ => Ok(()),
    }
}

fn arrived_as_expected(expected: Option<BoolValue>, compressed: Option<bool>) -> Result<(), Status> {
    match (expected, compressed) {
        (Some(BoolValue { value: true }), Some(false) | None) => {
            Err(Status::invalid_argument("the message was expected to be compressed, and is not"))
        }
        (Some(BoolValue { value: false }), Some(true)) => {
            Err(Status::invalid_argument("the message was expected not to be compressed, and is"))
        }
        _ => Ok(()),
    }
}
