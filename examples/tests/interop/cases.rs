//! The cases, for any client that tonic's generated code takes.

use std::time::Duration;

use bytes::Bytes;
use examples::{
    testing::{
        BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
        StreamingOutputCallRequest, TestOrcaReport, test_service_client::TestServiceClient,
        unimplemented_service_client::UnimplementedServiceClient,
    },
    xds::data::orca::v3::OrcaLoadReport,
};
use futures_util::stream;
use http_body::Body as HttpBody;
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request,
    body::Body,
    codec::CompressionEncoding::Gzip,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{BoxError, Service, ServiceExt as _, util::BoxCloneSyncService};

const REQUESTS: [i32; 4] = [27182, 8, 1828, 45904];
const RESPONSES: [i32; 4] = [31415, 9, 2653, 58979];

/// A channel of any kind.
type Channel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>;
type Client = TestServiceClient<Channel>;

/// Runs them all on `channel`.
pub(crate) async fn all<S, B>(channel: S)
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let channel = channel.map_response(|response: http::Response<B>| response.map(Body::new));
    let channel = Channel::new(channel.map_err(Into::into));
    let cases = async {
        let mut client = TestServiceClient::new(channel.clone()).accept_compressed(Gzip);
        unary(&mut client).await;
        compressed(channel.clone()).await;
        streaming(&mut client).await;
        ping_pong(&mut client).await;
        cancelled(&mut client).await;
        timed_out(&mut client).await;
        metadata(&mut client).await;
        orca(&mut client).await;
        statuses(&mut client).await;
        unimplemented(&mut client, channel.clone()).await;
        health(channel).await;
    };
    timeout(Duration::from_secs(60), cases).await.expect("the cases take seconds");
}

fn simple(request: usize, response: i32) -> SimpleRequest {
    SimpleRequest { response_size: response, payload: payload(request), ..Default::default() }
}

fn payload(size: usize) -> Option<Payload> {
    Some(Payload { r#type: 0, body: vec![0; size] })
}

fn parameters(size: i32, compressed: bool) -> ResponseParameters {
    ResponseParameters { size, interval_us: 0, compressed: Some(BoolValue { value: compressed }) }
}

fn output(sizes: &[i32]) -> StreamingOutputCallRequest {
    let response_parameters = sizes.iter().map(|size| parameters(*size, false)).collect();
    StreamingOutputCallRequest { response_parameters, payload: payload(8), ..Default::default() }
}

fn sizes_of(payloads: &[Option<Payload>]) -> Vec<i32> {
    payloads.iter().map(|payload| payload.as_ref().map_or(0, |payload| payload.body.len() as i32)).collect()
}

async fn unary(client: &mut Client) {
    assert_eq!(client.empty_call(Empty {}).await.expect("empty_unary").into_inner(), Empty {});
    let named = SimpleRequest { fill_server_id: true, ..simple(0, 0) };
    let answer = client.unary_call(named).await.expect("pick_first_unary").into_inner();
    assert!(!answer.server_id.is_empty(), "nobody knows who answered");
    let answer = client.unary_call(simple(271_828, 314_159)).await.expect("large_unary").into_inner();
    assert_eq!(sizes_of(&[answer.payload]), [314_159]);
    let cacheable = client.cacheable_unary_call(simple(8, 8)).await.expect("cacheable_unary");
    assert_eq!(cacheable.metadata().get("cache-control").expect("it may be kept"), "max-age=60, public");
}

async fn streaming(client: &mut Client) {
    let input =
        |size: &i32| StreamingInputCallRequest { payload: payload(*size as usize), expect_compressed: None };
    let inputs = stream::iter(REQUESTS.iter().map(input).collect::<Vec<_>>());
    let total = client.streaming_input_call(inputs).await.expect("client_streaming").into_inner();
    assert_eq!(total.aggregated_payload_size, REQUESTS.iter().sum::<i32>());

    let answers = client.streaming_output_call(output(&RESPONSES)).await.expect("server_streaming");
    assert_eq!(drain(answers.into_inner()).await, RESPONSES);

    let requests = stream::iter(RESPONSES.map(|size| output(&[size])));
    let answers = client.half_duplex_call(requests).await.expect("half_duplex");
    assert_eq!(drain(answers.into_inner()).await, RESPONSES);

    let answers = client.full_duplex_call(stream::empty()).await.expect("empty_stream");
    assert_eq!(drain(answers.into_inner()).await, [0; 0]);
}

async fn ping_pong(client: &mut Client) {
    let (requests, taken) = mpsc::channel(1);
    let answers = client.full_duplex_call(ReceiverStream::new(taken)).await.expect("ping_pong");
    let mut answers = answers.into_inner();
    for size in RESPONSES {
        requests.send(output(&[size])).await.expect("the call is open");
        let answer = answers.message().await.expect("no error").expect("an answer");
        assert_eq!(sizes_of(&[answer.payload]), [size]);
    }
    drop(requests);
    assert!(answers.message().await.expect("status OK").is_none());
}

async fn cancelled(client: &mut Client) {
    let (_open, taken) = mpsc::channel::<StreamingInputCallRequest>(1);
    let begun = timeout(Duration::from_millis(50), client.streaming_input_call(ReceiverStream::new(taken)));
    assert!(begun.await.is_err(), "nobody answers before the requests end");

    let (requests, taken) = mpsc::channel(1);
    requests.send(output(&[31415])).await.expect("there is room");
    let answers =
        client.full_duplex_call(ReceiverStream::new(taken)).await.expect("cancel_after_first_response");
    let mut answers = answers.into_inner();
    assert!(answers.message().await.expect("no error").is_some());
    drop(answers);
    client.empty_call(Empty {}).await.expect("the connection has lost one call only");
}

async fn timed_out(client: &mut Client) {
    let sleeping = ResponseParameters { size: 31415, interval_us: 20_000_000, compressed: None };
    let output = StreamingOutputCallRequest { response_parameters: vec![sleeping], ..Default::default() };
    let mut request = Request::new(stream::iter([output]));
    request.set_timeout(Duration::from_millis(200));
    let status = match client.full_duplex_call(request).await {
        Ok(answers) => answers.into_inner().message().await.expect_err("timeout_on_sleeping_server"),
        Err(status) => status,
    };
    // tonic's own channel says CANCELLED of a timeout that it notices before the server.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
}

async fn metadata(client: &mut Client) {
    let binary = MetadataValue::from_bytes(b"\xab\xab\xab");
    let mut request = Request::new(simple(8, 8));
    request.metadata_mut().insert(INITIAL, MetadataValue::from_static("test_initial_metadata_value"));
    request.metadata_mut().insert_bin(TRAILING, binary.clone());
    let echo = request.metadata().clone();
    let response = client.unary_call(request).await.expect("custom_metadata");
    // tonic puts the trailers of a unary call among its metadata.
    echoed(response.metadata(), response.metadata());

    let request = Request::from_parts(echo, Default::default(), stream::iter([output(&[8])]));
    let response = client.full_duplex_call(request).await.expect("custom_metadata");
    let initial = response.metadata().clone();
    let mut answers = response.into_inner();
    while answers.message().await.expect("status OK").is_some() {}
    let trailing = answers.trailers().await.expect("status OK").expect("trailers on OK");
    echoed(&initial, &trailing);
}

async fn orca(client: &mut Client) {
    let mut asked =
        TestOrcaReport { cpu_utilization: 0.8210, memory_utilization: 0.5847, ..Default::default() };
    asked.request_cost.insert("cost".to_owned(), 3456.32);
    let request = SimpleRequest { orca_per_query_report: Some(asked.clone()), ..Default::default() };
    let response = client.unary_call(request).await.expect("orca_per_rpc");
    let bytes = response.metadata().get_bin("endpoint-load-metrics-bin").expect("a report in the trailers");
    let report = OrcaLoadReport::decode(bytes.to_bytes().expect("it is base64")).expect("it is a report");
    assert_eq!((report.cpu_utilization, report.mem_utilization), (0.8210, 0.5847));
    assert_eq!(report.request_cost, asked.request_cost);
}

async fn statuses(client: &mut Client) {
    for message in [
        "test status message",
        "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n",
    ] {
        let asked = Some(EchoStatus { code: 2, message: message.to_owned() });
        let request = SimpleRequest { response_status: asked.clone(), ..Default::default() };
        let status = client.unary_call(request).await.expect_err("status_code_and_message");
        assert_eq!((status.code(), status.message()), (Code::Unknown, message));
        let request = StreamingOutputCallRequest { response_status: asked, ..Default::default() };
        let answers = client.full_duplex_call(stream::iter([request])).await.expect("headers come first");
        let status = answers.into_inner().message().await.expect_err("status_code_and_message");
        assert_eq!((status.code(), status.message()), (Code::Unknown, message));
    }
}

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

fn echoed(initial: &MetadataMap, trailing: &MetadataMap) {
    assert_eq!(initial.get(INITIAL).expect("initial metadata"), "test_initial_metadata_value");
    let bytes = trailing.get_bin(TRAILING).expect("trailing metadata").to_bytes().expect("it is base64");
    assert_eq!(bytes, b"\xab\xab\xab"[..]);
}

async fn drain(mut answers: tonic::Streaming<examples::testing::StreamingOutputCallResponse>) -> Vec<i32> {
    let mut payloads = Vec::new();
    while let Some(answer) = answers.message().await.expect("status OK") {
        payloads.push(answer.payload);
    }
    sizes_of(&payloads)
}

async fn compressed(channel: Channel) {
    let mut plain = TestServiceClient::new(channel.clone()).accept_compressed(Gzip);
    let mut gzip = plain.clone().send_compressed(Gzip);
    let yes = Some(BoolValue { value: true });
    let probe =
        SimpleRequest { expect_compressed: yes, response_compressed: yes, ..simple(271_828, 314_159) };
    let status = plain.unary_call(probe.clone()).await.expect_err("client_compressed_unary");
    assert_eq!(status.code(), Code::InvalidArgument);
    let answer = gzip.unary_call(probe).await.expect("client_compressed_unary");
    assert_eq!(answer.metadata().get("grpc-encoding").expect("server_compressed_unary"), "gzip");
    assert_eq!(sizes_of(&[answer.into_inner().payload]), [314_159]);

    let inputs = [27182, 45904]
        .map(|size| StreamingInputCallRequest { payload: payload(size), expect_compressed: yes });
    let status = plain.streaming_input_call(stream::iter(inputs.clone())).await;
    assert_eq!(status.expect_err("client_compressed_streaming").code(), Code::InvalidArgument);
    let total = gzip.streaming_input_call(stream::iter(inputs)).await.expect("client_compressed_streaming");
    assert_eq!(total.into_inner().aggregated_payload_size, 73086);

    let response_parameters = vec![parameters(31415, true), parameters(92653, false)];
    let request = StreamingOutputCallRequest { response_parameters, ..Default::default() };
    let answers = plain.streaming_output_call(request).await.expect("server_compressed_streaming");
    assert_eq!(drain(answers.into_inner()).await, [31415, 92653]);
}

async fn unimplemented(client: &mut Client, channel: Channel) {
    let status = client.unimplemented_call(Empty {}).await.expect_err("unimplemented_method");
    assert_eq!(status.code(), Code::Unimplemented);
    let status = UnimplementedServiceClient::new(channel).unimplemented_call(Empty {}).await;
    assert_eq!(status.expect_err("unimplemented_service").code(), Code::Unimplemented);
}

async fn health(channel: Channel) {
    let mut health = HealthClient::new(channel);
    let about = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let answer = health.check(about("")).await.expect("health").into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    assert_eq!(health.check(about("nobody")).await.expect_err("health").code(), Code::NotFound);
    let mut watch = health.watch(about("nobody")).await.expect("a watch of an unknown service").into_inner();
    let first = watch.message().await.expect("no error").expect("a status");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}
