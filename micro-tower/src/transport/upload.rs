//! Sends the body of a request into an HTTP/2 stream.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Frame;
use tokio::task::AbortHandle;
use tower::BoxError;

use super::{
    begun::{Begun, Next, poll_frame},
    request::RequestBody,
};

/// The task that sends what remains of a body; dropping this ends it, and so the call.
#[derive(Debug, Default)]
pub(super) struct Upload(Option<AbortHandle>);

impl<B: RequestBody> Begun<B> {
    /// Sends it into `stream`: at once what was taken, by a task what follows or comes later. An error is the body's own.
    pub(super) fn send(self, mut stream: SendStream<Bytes>) -> Result<Upload, BoxError> {
        let Self { body, first, next } = self;
        if let Some(frame) = first {
            let last = matches!(next, Poll::Ready(None));
            match send(&mut stream, frame, last) {
                Ok(ended) if !ended && !last => {}
                Ok(_) => return Ok(Upload::default()),
                Err(_) => return Ok(Upload::closed(stream)),
            }
        }
        match next {
            Poll::Pending => return Ok(Upload::spawn(Pipe { body, stream, next: None })),
            Poll::Ready(None) => {
                if stream.send_data(Bytes::new(), true).is_err() {
                    return Ok(Upload::closed(stream));
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                return Ok(Upload::spawn(Pipe { body, stream, next: Some(frame) }));
            }
            Poll::Ready(Some(Err(error))) => {
                stream.send_reset(Reason::CANCEL);
                return Err(error);
            }
        }
        Ok(Upload::default())
    }
}

impl Upload {
    fn spawn<B: RequestBody>(pipe: Pipe<B>) -> Self {
        Self(Some(tokio::spawn(pipe.run()).abort_handle()))
    }

    /// Nothing can be sent into `stream`. Where the peer has closed it in the moment since it was opened, as by a GOAWAY,
    /// the response says so, and with it whether the request may go elsewhere.
    fn closed(mut stream: SendStream<Bytes>) -> Self {
        stream.send_reset(Reason::CANCEL); // has no effect on one that is closed
        Self::default()
    }

    /// Whether there is a task.
    pub(super) fn goes_on(&self) -> bool {
        self.0.is_some()
    }

    /// Lets the task finish by itself: the response is complete, and the peer may still want the request.
    pub(super) fn detach(&mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

struct Pipe<B> {
    body: B,
    stream: SendStream<Bytes>,
    next: Option<Frame<Bytes>>,
}

impl<B: RequestBody> Pipe<B> {
    async fn run(mut self) {
        // The peer's reset reaches the caller through the response; a failing body must reach the peer.
        if let Err(error) = self.send_all().await {
            tracing::debug!(error, "the body of a request was broken off");
            self.stream.send_reset(Reason::CANCEL);
        }
    }

    async fn send_all(&mut self) -> Result<(), BoxError> {
        loop {
            let frame = match self.next.take() {
                Some(frame) => frame,
                None => match poll_fn(|cx| self.poll_next(cx)).await? {
                    Some(frame) => frame?,
                    None => return Ok(self.stream.send_data(Bytes::new(), true)?),
                },
            };
            if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                self.stream.reserve_capacity(1);
                poll_fn(|cx| self.poll_capacity(cx)).await?;
            }
            let last = self.body.is_end_stream();
            if send(&mut self.stream, frame, last)? || last {
                return Ok(());
            }
        }
    }

    /// The body's next frame, unless the peer resets the stream first.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, h2::Error>> {
        if let Poll::Ready(reason) = self.stream.poll_reset(cx) {
            return Poll::Ready(Err(reason?.into()));
        }
        poll_frame(&mut self.body, cx).map(Ok)
    }

    /// Waits until the peer takes more: nothing piles up here.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.stream.capacity() > 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(capacity) => drop(capacity?),
                None => return Poll::Ready(Err(Reason::CANCEL.into())),
            }
        }
    }
}

/// Sends one frame, and says whether it ended the stream as trailers do.
fn send(stream: &mut SendStream<Bytes>, frame: Frame<Bytes>, last: bool) -> Result<bool, h2::Error> {
    match frame.into_data() {
        Ok(data) => stream.send_data(data, last).map(|()| false),
        Err(frame) => match frame.into_trailers() {
            Ok(trailers) => stream.send_trailers(trailers).map(|()| true),
            Err(_unknown) => Ok(false),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, task::Waker};

    use http::{Request, Response};

    use super::*;

    #[tokio::test]
    async fn a_server_that_leaves_between_head_and_body_says_so_in_the_response() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (client, server) = tokio::join!(h2::client::handshake(near), h2::server::handshake(far));
        let ((mut sender, client), mut server): (_, h2::server::Connection<_, Bytes>) =
            (client.unwrap(), server.unwrap());
        let mut client = std::pin::pin!(client);
        server.abrupt_shutdown(Reason::NO_ERROR);
        let mut cx = Context::from_waker(Waker::noop());
        let _ = server.poll_accept(&mut cx);

        let (response, stream) = sender.send_request(Request::new(()), false).unwrap();
        let _ = client.as_mut().poll(&mut cx);
        let sent = Begun::new(String::from("body")).send(stream);
        assert!(sent.is_ok_and(|upload| !upload.goes_on()));

        let answer: Result<Response<_>, h2::Error> = response.await;
        assert!(answer.unwrap_err().is_go_away());
    }
}
