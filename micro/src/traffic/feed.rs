//! Serves what a recorder tells, as a stream of events.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use ring::digest::{SHA256, digest};
use tokio::time::{MissedTickBehavior, interval};

use super::recorder::Recorder;
use crate::this_machine::is_this_machine;

/// The path of the stream, which records announce under [`KEY`](super::KEY).
pub const PATH: &str = "/traffic";

/// How often there is an event, if there is anything to tell.
const EVERY: Duration = Duration::from_millis(250);
/// How often a stream without events says that it is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Who may follow: whoever brings the token; without one, programs of this machine that say so by its name.
#[derive(Clone)]
pub struct Access(Option<Vec<u8>>);

impl Access {
    /// Those who bring `token` as `authorization: Bearer TOKEN`.
    pub fn token(token: &str) -> Self {
        Self(Some(hash(token)))
    }

    /// Programs of this machine. What listens has to be on loopback.
    pub fn this_machine() -> Self {
        Self(None)
    }

    /// Whether `headers` are those of somebody who may.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match &self.0 {
            // Digests are compared, so what the time it takes tells is of no use.
            Some(token) => text(header::AUTHORIZATION)
                .and_then(|value| value.strip_prefix("Bearer "))
                .is_some_and(|given| hash(given) == *token),
            // A page elsewhere may have a name of its own for this machine, and a proxy may stand here for others.
            None => {
                let forwarded = headers
                    .keys()
                    .any(|name| name.as_str() == "forwarded" || name.as_str().starts_with("x-forwarded-"));
                !forwarded
                    && !headers.contains_key(header::ORIGIN)
                    && text(header::HOST).is_some_and(is_this_machine)
            }
        }
    }
}

/// A router that answers [`PATH`] with what `recorder` tells, as `text/event-stream`: a [`Batch`](super::Batch) as
/// JSON four times a second, if there is anything to tell.
pub fn router(recorder: Recorder, access: Access) -> Router {
    Router::new().route(PATH, get(follow)).with_state((recorder, access))
}

async fn follow(State((recorder, access)): State<(Recorder, Access)>, headers: HeaderMap) -> Response {
    if !access.admits(&headers) {
        let why = "this is for programs of this machine, or for those that bring the token\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let Some(follower) = recorder.follow() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many follow already\n").into_response();
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold((follower, ticks), |(follower, mut ticks)| async {
        loop {
            ticks.tick().await;
            let batch = follower.take();
            if batch.is_empty() {
                continue;
            }
            let json = serde_json::to_string(&batch).ok()?;
            return Some((Ok::<_, Infallible>(Event::default().data(json)), (follower, ticks)));
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response()
}

fn hash(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Access(token)" } else { "Access(this machine)" })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn strangers_learn_nothing() {
        let admits = |access: &Access, pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter();
            let headers = pairs.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            access.admits(&headers.collect())
        };
        let local = ("host", "127.0.0.1:9000");
        let here = Access::this_machine();
        assert!(admits(&here, &[local]));
        assert!(!admits(&here, &[("host", "evil.example")]), "a rebound name");
        assert!(!admits(&here, &[local, ("origin", "http://127.0.0.1:9000")]), "a page");
        assert!(!admits(&here, &[local, ("x-forwarded-proto", "http")]), "a proxy");
        let token = Access::token("open sesame");
        assert!(admits(&token, &[("authorization", "Bearer open sesame")]));
        assert!(!admits(&token, &[local]) && !admits(&token, &[("authorization", "Bearer open")]));
        assert!(!format!("{token:?}").contains("sesame"));
    }
}
