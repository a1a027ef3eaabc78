//! How far a request has come, by which the limit on an attempt goes.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::saturating::end;

type Since = dyn Fn() -> Option<Instant> + Send + Sync;

/// Since when its endpoint could have answered a request, which goes into its extensions: each attempt has its limit, or
/// its share of the call's time, after that.
///
/// For requests whose bodies take their time on the way to us, which is not the endpoint's. It is asked when the time of an
/// attempt is up: `None`, and what is not later than the beginning of the attempt, give it no more.
/// [`SharedTimeout`](super::SharedTimeout) heeds it.
///
/// ```
/// use micro_balance::timeout::Progress;
/// use tokio::time::Instant;
///
/// let mut request = http::Request::new(());
/// let came = Instant::now();
/// request.extensions_mut().insert(Progress::new(move || Some(came)));
/// ```
#[derive(Clone)]
pub struct Progress(Arc<Since>);

impl Progress {
    /// Asks `since` when it was that the request last came on.
    pub fn new(since: impl Fn() -> Option<Instant> + Send + Sync + 'static) -> Self {
        Self(Arc::new(since))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Ends when a limit has passed since something began, or came on.
#[pin_project]
#[derive(Debug)]
pub(super) struct Lapse {
    #[pin]
    sleep: Sleep,
    limit: Duration,
    progress: Option<Progress>,
}

impl Lapse {
    pub(super) fn new(began: Instant, limit: Duration, progress: Option<Progress>) -> Self {
        Self { sleep: sleep_until(end(began, limit)), limit, progress }
    }
}

impl Future for Lapse {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        ready!(this.sleep.as_mut().poll(cx));
        let since = this.progress.as_ref().and_then(|Progress(since)| since());
        match since.map(|since| end(since, *this.limit)).filter(|later| *later > this.sleep.deadline()) {
            Some(later) => {
                this.sleep.as_mut().reset(later);
                this.sleep.poll(cx)
            }
            None => Poll::Ready(()),
        }
    }
}
