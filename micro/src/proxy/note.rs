//! What will be told of a request once it is over.

use std::time::Instant;

use http::{Extensions, HeaderMap, HeaderName, StatusCode};
use micro_balance::SentTo;
use micro_balance::classify::{grpc_status, is_grpc};
use tonic::Code;

use super::peer::REQUEST_ID;
use crate::codes::name;
use crate::traffic::{Exchange, Recorder};

/// The header by which a caller names itself.
const FROM: HeaderName = HeaderName::from_static("micro-from-service");
/// Longer names and paths are cut.
const LONGEST: usize = 200;
/// How a request ends whose caller does not wait for it.
const GIVEN_UP: &str = "CANCELLED";

/// A request under way that somebody follows; told when this is dropped.
#[derive(Debug)]
pub(super) struct Note {
    recorder: Recorder,
    exchange: Exchange,
    sent_to: SentTo,
    began: Instant,
}

impl Note {
    /// Notes a request to `method` of `service`, and has the balancer say in `extensions` where it goes.
    pub(super) fn new(
        recorder: &Recorder,
        service: &str,
        method: &str,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(cut);
        // That its caller gave it up is not its failure.
        let mut exchange = Exchange::new(service, cut(method), GIVEN_UP, true);
        exchange.from = text(&FROM).filter(|name| !name.is_empty()).unwrap_or(recorder.name()).to_owned();
        exchange.id = text(&REQUEST_ID).unwrap_or_default().to_owned();
        let sent_to = SentTo::default();
        extensions.insert(sent_to.clone());
        Self { recorder: recorder.clone(), exchange, sent_to, began: Instant::now() }
    }

    /// The answer has begun; that of gRPC may say at its end how it went.
    pub(super) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if grpc_status(headers).is_some() {
            self.ended(headers);
        } else if status != StatusCode::OK || !is_grpc(headers) {
            (self.exchange.status, self.exchange.ok) =
                (status.as_str().to_owned(), !status.is_server_error());
        }
    }

    /// The answer of gRPC ends with `trailers`.
    pub(super) fn ended(&mut self, trailers: &HeaderMap) {
        // Without a status they are a failure, as the balancer says too.
        self.over(grpc_status(trailers).map_or(Code::Unknown, |code| Code::from(i32::from(code))));
    }

    /// The call is over, with `code`.
    pub(super) fn over(&mut self, code: Code) {
        self.exchange.ok = !matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        );
        name(code).clone_into(&mut self.exchange.status);
    }

    /// The answer broke off.
    pub(super) fn broke(&mut self) {
        "BROKEN".clone_into(&mut self.exchange.status);
        self.exchange.ok = false;
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.exchange.endpoint = self.sent_to.id().map(|id| id.to_string()).unwrap_or_default();
        self.exchange.millis = self.began.elapsed().as_secs_f64() * 1000.0;
        self.exchange.ended_now();
        self.recorder.record(&self.exchange);
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}
