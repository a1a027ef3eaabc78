//! Answers requests that come as one message on a pipe, beside its HTTP/2.

mod fetching;
mod rest;
mod under_way;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::{sync::Notify, task::AbortHandle};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

pub(super) use self::fetching::Fetching;
use self::under_way::UnderWay;
use super::settings::Limits;
use crate::pipe::{
    aside::{Asides, Hear},
    call::{Whole, Word, number},
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
        // A client that takes no answers gets no more of them.
        let busy = table.running.len() + table.kept.len() >= self.0.most;
        if busy || self.0.asides.waiting() >= self.0.most {
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
        match Word::decode(message.clone()) {
            Some(Word::Call { id, request }) => self.calls.begin(id, request, self.service.clone()),
            Some(Word::Cancel { id }) => self.calls.cancel(id),
            _ => {
                tracing::debug!("a client says what no client does");
                if let Some(id) = number(&message) {
                    self.calls.say(&Word::Broken { id });
                }
            }
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending, time::Duration};

    use futures_util::future::BoxFuture;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::timeout;
    use tower::{ServiceExt as _, service_fn, util::BoxCloneService};

    use super::*;
    use crate::pipe::call::{FETCH, LONGEST, encode_call};

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
