//! One call, from its request to its answer.

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::Full;
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    Calls,
    rest::{Gathered, Rest},
};
use crate::pipe::call::{Whole, Word, encode_answer, head_length};

/// A call until it is answered; where it is not, the client is told so.
pub(super) struct UnderWay {
    pub(super) calls: Calls,
    pub(super) id: u64,
}

impl UnderWay {
    pub(super) async fn answer<S>(self, request: Request<Whole>, mut service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
    {
        if head_length(request.headers()) > self.calls.0.longest_head {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return self.give(response);
        }
        let request = request.map(|whole| match whole.data {
            Some(data) => Body::new(Full::new(data)),
            None => Body::empty(),
        });
        let answered = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(mut response) => {
                let body = response.body();
                if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
                    response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
                }
                self.settle(response).await;
            }
            Err(error) => tracing::debug!(error, "a call was broken off"),
        }
    }

    /// Gives the answer as one message if all of it is there and fits; keeps it to be fetched if not.
    async fn settle(self, response: Response<Body>) {
        let (parts, body) = response.into_parts();
        let mut rest = Rest::new(body);
        // Its handler need not be done with it: no waker is kept, for whoever fetches it polls again.
        let gathered = poll_fn(|cx| Poll::Ready(rest.gather(cx))).await;
        match gathered {
            Gathered::All => {
                let message = encode_answer(self.id, &parts, &rest.whole());
                if let Some(message) = message {
                    return self.say(message);
                }
            }
            Gathered::Part => {}
            Gathered::Failed => return,
        }
        self.give(Response::from_parts(parts, Body::new(rest)));
    }

    fn say(self, message: Bytes) {
        let mut table = self.calls.table();
        if table.running.remove(&self.id).is_some() {
            self.calls.0.asides.say(message);
            self.calls.tell_idle(&table);
        }
        drop(table);
    }

    /// Keeps `response` until it is fetched, unless nobody waits for it any more.
    fn give(self, response: Response<Body>) {
        let mut table = self.calls.table();
        if table.running.remove(&self.id).is_some() {
            table.kept.insert(self.id, response);
            self.calls.say(&Word::Fetch { id: self.id });
        }
        drop(table);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut table = self.calls.table();
        if table.running.remove(&self.id).is_some() {
            self.calls.say(&Word::Broken { id: self.id });
            self.calls.tell_idle(&table);
        }
        drop(table);
    }
}
