//! An answer that is kept until it is whole.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use http_body::Body;
use tokio::time::{Sleep, sleep};

use super::peek::{PeekBody, Polled};

/// A response and what has come of its body.
pub(crate) struct Held<R: Body> {
    response: Option<Response<R>>,
    kept: VecDeque<Polled<R>>,
    patience: Option<Pin<Box<Sleep>>>,
}

/// What has become of it.
pub(crate) enum Progress {
    /// All of it is here.
    Whole,
    /// The rest will not come.
    Broken,
    /// It takes too long.
    Late,
}

impl<R: Body + Unpin> Held<R> {
    /// The answer, if all of it is here in one piece already, as short ones mostly are; or else what is to be kept.
    pub(crate) fn at_once(
        mut response: Response<R>,
        cx: &mut Context<'_>,
    ) -> Result<Response<PeekBody<R>>, Box<Self>> {
        let mut kept = VecDeque::new();
        if let Poll::Ready(first) = Pin::new(response.body_mut()).poll_frame(cx) {
            if first.is_none() || response.body().is_end_stream() && !is_broken::<R>(&first) {
                return Ok(response.map(|body| PeekBody::put_back(first, body)));
            }
            kept.push_back(first);
        }
        Err(Box::new(Self { response: Some(response), kept, patience: None }))
    }

    /// Ready once it is whole, or cannot be, or has taken as long as `limit` since this was first asked.
    pub(crate) fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<Progress> {
        let Some(response) = &mut self.response else { return Poll::Ready(Progress::Broken) };
        while !self.kept.back().is_some_and(is_broken::<R>) {
            match Pin::new(response.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(polled)) => {
                    self.kept.push_back(Some(polled));
                    if response.body().is_end_stream() {
                        break;
                    }
                }
                Poll::Ready(None) => {
                    self.kept.push_back(None);
                    break;
                }
                Poll::Pending => {
                    let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limit)));
                    return patience.as_mut().poll(cx).map(|()| Progress::Late);
                }
            }
        }
        let broken = self.kept.back().is_some_and(is_broken::<R>);
        Poll::Ready(if broken { Progress::Broken } else { Progress::Whole })
    }

    /// The response, with what was kept of its body in front again.
    pub(crate) fn take(&mut self) -> Option<Response<PeekBody<R>>> {
        let kept = std::mem::take(&mut self.kept);
        self.response.take().map(|response| response.map(|body| PeekBody::put_all_back(kept, body)))
    }
}

fn is_broken<R: Body>(polled: &Polled<R>) -> bool {
    matches!(polled, Some(Err(_)))
}
