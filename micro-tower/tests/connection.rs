//! One endpoint over HTTP/2: connecting, sending, and every way it can go away.

mod peer;

use micro_balance::NotSent;
use micro_tower::{Error, Phase, Sent, transport::Connector};
use peer::{call, echo, endpoint, nobody, request, serve, text};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let address = serve(echo).await;
    let mut connection = Connector::new().connect(&endpoint(address));
    let response = call(&mut connection, request("/greet?who=you", "hello")).await.unwrap();
    assert_eq!(response.headers()["x-version"], "HTTP/2.0");
    assert_eq!(response.headers()["x-uri"], format!("http://{address}/greet?who=you"));
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(text(response).await, "hello");
}

#[tokio::test]
async fn a_refused_connection_is_an_error_of_that_attempt() {
    let address = nobody().await;
    let mut connection = Connector::new().connect(&endpoint(address));
    for _ in 0..2 {
        let error = connection.ready().await.err().unwrap();
        assert!(NotSent::is(error.as_ref()));
        let error = error.downcast::<Error>().unwrap();
        assert_eq!((error.phase(), error.sent()), (Phase::Connect, Sent::NotSent));
        assert!(error.to_string().starts_with(&format!("{address} could not be connected to after ")));
    }
}
