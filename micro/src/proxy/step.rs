//! A request on its way: the beginning of its body is read, or its service has it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use micro_tower::client;
use micro_tower::transport::Rate;
use pin_project::pin_project;
use tokio::time::Instant;
use tower::BoxError;

use super::ahead::{Ahead, Begun};
use super::answered::late;
use super::forwarding::Way;
use super::meter::Active;
use super::whole::Unread;

#[pin_project(project = StepProject)]
#[allow(
    clippy::large_enum_variant,
    reason = "a request that is passed on, which most are, costs no allocation"
)]
pub(super) enum Step {
    /// No service has it before the beginning of its body is here.
    Read { ahead: Ahead, then: Option<(Parts, Way)> },
    Sent {
        #[pin]
        response: client::ResponseFuture,
        /// How its body comes, where that may take its time.
        rate: Option<Rate>,
    },
}

impl Step {
    pub(super) fn sent(response: client::ResponseFuture) -> Self {
        Self::Sent { response, rate: None }
    }

    /// A request whose body may take its time goes its `way`.
    pub(super) fn rated<B>(way: Way, request: Request<B>) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let (response, rate) = way.send_rated(request);
        Self::Sent { response, rate: Some(rate) }
    }

    /// Ends once the service has answered. An error may be the client's own.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<client::ResponseBody>, BoxError>> {
        if let StepProject::Read { ahead, then } = self.as_mut().project() {
            let begun = ready!(ahead.poll(cx))?;
            let Some((parts, way)) = then.take() else { return Poll::Pending };
            self.set(match begun {
                Begun::Whole(body) => Self::sent(way.send(Request::from_parts(parts, body))),
                Begun::Part(rest) => Self::rated(way, Request::from_parts(parts, rest)),
            });
        }
        match self.project() {
            StepProject::Sent { response, rate } => {
                let gave_way = |error| rate.as_ref().and_then(Rate::gave_way).unwrap_or(error);
                response.poll(cx).map_err(gave_way)
            }
            StepProject::Read { .. } => Poll::Pending,
        }
    }

    /// How the body of the request comes, where that may take its time.
    pub(super) fn rate(self: Pin<&mut Self>) -> Option<Rate> {
        match self.project() {
            StepProject::Sent { rate, .. } => rate.take(),
            StepProject::Read { .. } => None,
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Since when its service could have answered, or its client gone on: with each piece of a body that takes its time, but
    /// is not slow, that begins again.
    pub(super) fn moved_at(&self) -> Option<Instant> {
        match self {
            Self::Sent { rate, .. } => rate.as_ref().filter(|rate| !rate.is_slow()).map(Rate::moved_at),
            Self::Read { .. } => None,
        }
    }

    /// Why there is no answer of `service` after such a time.
    pub(super) fn late(&self, active: &Active, within: Duration) -> BoxError {
        match self {
            Self::Sent { rate, .. } if !rate.as_ref().is_some_and(Rate::is_awaited) => late(active, within),
            Self::Read { .. } | Self::Sent { .. } => Unread::Late(within).into(),
        }
    }
}
