//! Answers requests that come as one message on a pipe, beside its HTTP/2.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use tokio::{sync::Notify, task::AbortHandle};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::settings::Limits;
use crate::pipe::{
    aside::{Asides, Hear},
    call::{FETCH, LONGEST, Whole, Word, encode_answer, head_length},
};

/// The calls of one connection. Clones share them.
#[derive(Clone)]
pub(super) struct Calls(Arc<Shared>);

struct Shared {
    asides: Asides,
    /// How many there may be at a time.
    most: usize,
    longest_head: usize,
    table: Mutex<Table>,
    /// Told when the last has ended.
    idle: Notify,
}

#[derive(Default)]
struct Table {
    last: u64,
    closed: bool,
    running: HashMap<u64, AbortHandle>,
    /// Answers that are no single message, until they are fetched.
    kept: HashMap<u64, Response<Body>>,
}

impl Table {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.kept.is_empty()
    }
}

impl Calls {
    /// Calls that are answered by `service` through `asides`, and whoever is to hear of them.
    pub(super) fn new<S>(asides: Asides, service: S, limits: &Limits) -> (Self, impl Hear + use<S>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
        S: Clone + Send + 'static,
    {
        let (most, longest_head) = (limits.streams as usize, limits.header_bytes as usize);
        let (table, idle) = Default::default();
        let calls = Self(Arc::new(Shared { asides, most, longest_head, table, idle }));
        (calls.clone(), Listener { calls, service })
    }

    /// Takes no more, and tells the client which was the last.
    pub(super) fn close(&self) {
        let mut table = self.table();
        if !std::mem::replace(&mut table.closed, true) {
            self.say(&Word::Last { id: table.last });
        }
    }

    /// Waits until all that were taken have ended.
    pub(super) async fn ended(&self) {
        loop {
            let told = self.0.idle.notified();
            if self.table().is_idle() {
                return;
            }
            told.await;
        }
    }

    fn say(&self, word: &Word) {
        if let Some(message) = word.encode() {
            self.0.asides.say(message);
        }
    }

    fn begin<S>(&self, id: u64, request: Request<Whole>, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
        S: Send + 'static,
    {
        let mut table = self.table();
        if table.closed || id <= table.last {
            return;
        }
        table.last = id;
        if table.running.len() + table.kept.len() >= self.0.most {
            return self.say(&Word::Refused { id });
        }
        let under_way = UnderWay { calls: self.clone(), id };
        // It is in the table before it can leave it.
        let task = tokio::spawn(under_way.answer(request, service));
        table.running.insert(id, task.abort_handle());
    }

    fn cancel(&self, id: u64) {
        let mut table = self.table();
        let (running, kept) = (table.running.remove(&id), table.kept.remove(&id));
        self.tell_idle(&table);
        drop(table);
        if let Some(task) = running {
            task.abort();
        }
        drop(kept);
    }

    fn tell_idle(&self, table: &Table) {
        if table.is_idle() {
            self.0.idle.notify_waiters();
        }
    }

    fn fetch(&self, id: u64) -> Option<Response<Body>> {
        let mut table = self.table();
        let kept = table.kept.remove(&id);
        self.tell_idle(&table);
        kept
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what the client says. When the pipe goes, this does, and so do the calls.
struct Listener<S> {
    calls: Calls,
    service: S,
}

impl<S> Hear for Listener<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>,
    S: Clone + Send + 'static,
{
    fn hear(&mut self, message: Bytes) {
        match Word::decode(message) {
            Some(Word::Call { id, request }) => self.calls.begin(id, request, self.service.clone()),
            Some(Word::Cancel { id }) => self.calls.cancel(id),
            _ => tracing::debug!("a client says what no client does"),
        }
    }
}

impl<S> Drop for Listener<S> {
    fn drop(&mut self) {
        let (running, kept) = {
            let mut table = self.calls.table();
            table.closed = true;
            let all = (std::mem::take(&mut table.running), std::mem::take(&mut table.kept));
            self.calls.tell_idle(&table);
            all
        };
        running.into_values().for_each(|task| task.abort());
        drop(kept);
    }
}

/// A call until it is answered; where it is not, the client is told so.
struct UnderWay {
    calls: Calls,
    id: u64,
}

impl UnderWay {
    async fn answer<S>(self, request: Request<Whole>, mut service: S)
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
        let mut rest = Rest { chunks: VecDeque::new(), trailers: None, body: Some(body) };
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

/// What is left of a body of which something was taken.
struct Rest {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// `None` once it has ended.
    body: Option<Body>,
}

/// How much of a body there is.
enum Gathered {
    All,
    Part,
    Failed,
}

impl Rest {
    /// Takes what is there, up to more than goes into a message.
    fn gather(&mut self, cx: &mut Context<'_>) -> Gathered {
        let mut length = 0;
        while let Some(body) = &mut self.body {
            if body.is_end_stream() {
                self.body = None;
                break;
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Gathered::Part,
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Err(_))) => return Gathered::Failed,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        length += data.len();
                        self.chunks.push_back(data);
                        if length > LONGEST {
                            return Gathered::Part;
                        }
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.body = None;
                    }
                },
            }
        }
        Gathered::All
    }

    /// All of it.
    fn whole(&self) -> Whole {
        let data = match self.chunks.len() {
            0 | 1 => self.chunks.front().cloned(),
            _ => {
                let mut data = BytesMut::new();
                self.chunks.iter().for_each(|chunk| data.extend_from_slice(chunk));
                Some(data.freeze())
            }
        };
        Whole { data, trailers: self.trailers.clone() }
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(self.trailers.take().map(Frame::trailers).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.body.as_ref().is_none_or(HttpBody::is_end_stream);
        ended && self.chunks.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// Gives answers that were kept to whoever fetches them, and leaves all else to the served service.
#[derive(Clone)]
pub(super) struct Fetching<S> {
    inner: S,
    calls: Option<Calls>,
}

impl<S> Fetching<S> {
    pub(super) fn new(inner: S, calls: Option<Calls>) -> Self {
        Self { inner, calls }
    }
}

impl<S, B> Service<Request<B>> for Fetching<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<Ready<Result<Response<Body>, BoxError>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match &self.calls {
            Some(calls) if request.method().as_str().as_bytes() == FETCH => {
                let id = request.uri().path().trim_start_matches('/').parse().ok();
                let kept = id.and_then(|id| calls.fetch(id));
                Either::Left(ready(kept.ok_or_else(|| "there is no such answer".into())))
            }
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, time::Duration};

    use futures_util::future::BoxFuture;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::timeout;
    use tower::{ServiceExt as _, service_fn, util::BoxCloneService};

    use super::*;
    use crate::pipe::call::encode_call;

    /// Answers `/whole` with what it is asked, `/parts` with as much as comes; panics, or never answers.
    fn handle(request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        Box::pin(async move {
            match request.uri().path() {
                "/whole" => Ok(Response::new(request.into_body())),
                "/parts" => {
                    let parts = futures_util::stream::repeat_with(|| {
                        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![1; LONGEST / 2])))
                    });
                    Ok(Response::new(Body::new(StreamBody::new(futures_util::StreamExt::take(parts, 5)))))
                }
                "/panic" => panic!("as the test wants"),
                _ => pending().await,
            }
        })
    }

    struct Client {
        asides: Asides,
        calls: Calls,
        listener: Box<dyn Hear>,
    }

    impl Client {
        fn new(streams: u32) -> Self {
            let service = BoxCloneService::new(service_fn(handle));
            let asides = Asides::default();
            let limits = Limits { streams, ..Limits::default() };
            let (calls, listener) = Calls::new(asides.clone(), service, &limits);
            Self { asides, calls, listener: Box::new(listener) }
        }

        fn call(&mut self, id: u64, path: &str) {
            let request = Request::post(format!("http://a{path}")).body(()).unwrap();
            let data = Bytes::from_static(b"hello");
            self.listener.hear(encode_call(id, &request.into_parts().0, Some(&data)).unwrap());
        }

        async fn told(&self) -> Word {
            let told = async {
                loop {
                    if let Some(message) = self.asides.next() {
                        return Word::decode(message).unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), told).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_fits_is_answered_and_what_does_not_is_kept_until_it_is_fetched() {
        let mut client = Client::new(10);
        client.call(1, "/whole");
        let Word::Answer { id: 1, response } = client.told().await else { panic!() };
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(response.body().data.as_deref(), Some(&b"hello"[..]));
        client.call(2, "/parts");
        assert!(matches!(client.told().await, Word::Fetch { id: 2 }));
        let fetching = Fetching::new(service_fn(handle), Some(client.calls.clone()));
        let method = http::Method::from_bytes(FETCH).unwrap();
        let fetch = || Request::builder().method(&method).uri("http://pipe/2").body(Body::empty()).unwrap();
        let response = fetching.clone().oneshot(fetch()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 5 * LONGEST / 2);
        assert!(fetching.oneshot(fetch()).await.is_err(), "nobody gets it twice");
        timeout(Duration::from_secs(10), client.calls.ended()).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_an_answer_that_will_not_come() {
        let mut client = Client::new(2);
        client.call(1, "/panic");
        assert!(matches!(client.told().await, Word::Broken { id: 1 }));
        client.call(2, "/never");
        client.call(3, "/never");
        client.call(4, "/whole");
        assert!(matches!(client.told().await, Word::Refused { id: 4 }), "there are two already");
        client.listener.hear(Word::Cancel { id: 2 }.encode().unwrap());
        client.call(5, "/whole");
        assert!(matches!(client.told().await, Word::Answer { id: 5, .. }), "one is cancelled");
    }

    #[tokio::test]
    async fn what_was_taken_ends_before_the_connection_and_nothing_more_is_taken() {
        let mut client = Client::new(10);
        client.call(1, "/never");
        client.calls.close();
        client.call(2, "/whole");
        assert!(matches!(client.told().await, Word::Last { id: 1 }));
        let calls = client.calls.clone();
        let ended = tokio::spawn(async move { calls.ended().await });
        tokio::task::yield_now().await;
        assert!(!ended.is_finished() && client.asides.next().is_none(), "the second is not heard");
        client.listener.hear(Word::Cancel { id: 1 }.encode().unwrap());
        timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
    }
}
