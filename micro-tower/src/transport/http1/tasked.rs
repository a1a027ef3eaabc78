//! A connection that has a task: a long body goes to the peer in it while the answer comes, whoever reads that.
//!
//! It is hyper's.

use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::client::conn::{
    TrySendError,
    http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use micro_balance::Unsent;
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};
use tower::BoxError;

use super::{
    Http1,
    head::{Unreadable, unanswered},
    incoming::{Borrowed, Incoming},
    pool::Connection,
};
use crate::{
    error::{Error, Phase},
    transport::{begun::Begun, connect::Connector, io::Io, request::RequestBody, target::Target},
};

/// Gives `io` a task. An error where there is no runtime that could run it: a request is asked for outside of one.
pub(super) fn start<B: RequestBody>(io: Io, settings: &Connector) -> Result<SendRequest<Begun<B>>, BoxError> {
    let runtime = Handle::try_current()?;
    let mut builder = Builder::new();
    builder.max_buf_size(settings.most_head());
    // There is nothing in HTTP/1 that it could wait for.
    let made = builder.handshake(TokioIo::new(io)).now_or_never();
    let (sender, connection) = made.ok_or("hyper waits for something")??;
    runtime.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an HTTP/1 connection was closed");
        }
    });
    Ok(sender)
}

/// The request that nobody took, where it may be sent once more: on a connection that was `reused`, which its peer closed
/// just now. There may be another; in the end a new one.
pub(super) fn unsent<B: RequestBody>(
    mut failed: TrySendError<Request<Begun<B>>>,
    reused: bool,
    target: &Target,
) -> Result<Request<Begun<B>>, BoxError> {
    match failed.take_message() {
        Some(again) if reused => Ok(again),
        Some(back) => Err(hand_back(back, Phase::Send, failed.into_error(), target)),
        None => Err(target.name().blame(no_answer(failed.into_error())).into()),
    }
}

/// Says that `request` was not sent, and gives it back if all of it is here.
pub(super) fn hand_back<B: RequestBody>(
    request: Request<Begun<B>>,
    phase: Phase,
    error: impl Into<BoxError>,
    target: &Target,
) -> BoxError {
    let error = target.name().blame(Error::not_sent(phase, error));
    let (head, body) = request.into_parts();
    match body.back() {
        Some(body) => Unsent::new(Request::from_parts(head, body), error).into(),
        None => error.into(),
    }
}

fn no_answer(error: hyper::Error) -> Error {
    match error {
        error if error.is_parse_too_large() => unanswered(Unreadable::TooLong(error.into())),
        error if error.is_parse() => unanswered(Unreadable::invalid(error)),
        error => unanswered(error),
    }
}

/// The body of an answer, which the connection is left to.
pub(super) struct Lent<B: RequestBody> {
    body: hyper::body::Incoming,
    home: Arc<Http1<B>>,
    sender: Option<SendRequest<Begun<B>>>,
    /// Whether the request had need of a task.
    needed: bool,
    _permit: OwnedSemaphorePermit,
}

impl<B: RequestBody> Lent<B> {
    pub(super) fn to(
        home: Arc<Http1<B>>,
        (sender, needed): (SendRequest<Begun<B>>, bool),
        permit: OwnedSemaphorePermit,
        response: Response<hyper::body::Incoming>,
    ) -> Response<Incoming> {
        let lent = |body| Self { body, home, sender: Some(sender), needed, _permit: permit };
        response.map(|body| Incoming::Lent(Box::new(lent(body))))
    }
}

impl<B: RequestBody> Borrowed for Lent<B> {
    fn body(&self) -> &hyper::body::Incoming {
        &self.body
    }

    fn body_mut(&mut self) -> &mut hyper::body::Incoming {
        &mut self.body
    }
}

impl<B: RequestBody> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_closed()) {
            self.home.pool.put(Connection::Tasked(sender), self.needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use micro_balance::NotSent;
    use micro_discover::Endpoint;

    use super::*;

    #[test]
    fn what_is_not_all_here_any_more_is_known_not_to_have_been_sent() {
        let target = Target::new(&Endpoint::new("a", "127.0.0.1:80".parse().unwrap()), None, None);
        for touched in [false, true] {
            let mut body = Begun::untouched(String::from("body"));
            if touched {
                body.begin();
            }
            let error = hand_back(Request::new(body), Phase::Send, "it is closed", &target);
            assert!(NotSent::is(error.as_ref()), "{error}");
            let back = Unsent::<Request<String>>::take(error).ok();
            assert_eq!(back.map(|(request, _)| request.into_body()), (!touched).then(|| "body".to_owned()));
        }
    }
}
