//! Requests that fit one message of a pipe, and what becomes of them, beside the connection's HTTP/2.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri, request};
use tokio::sync::oneshot;

use crate::pipe::{
    aside::{Asides, Hear},
    call::{FETCH, Whole, Word, encode_call, head_length, number},
};

/// Of how many paths it is remembered that their answers are streams.
const STREAMS: usize = 256;

/// How many messages may wait to be sent: what comes then waits as a stream does.
const WAITING: usize = 256;

/// The calls of one connection. Clones share them.
#[derive(Clone)]
pub(super) struct Calls(Arc<Shared>);

struct Shared {
    asides: Asides,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// Whether the server takes no more.
    closed: bool,
    waiting: HashMap<u64, oneshot::Sender<Heard>>,
    /// Paths whose answers had to be fetched: a request to them does better as a stream from the beginning.
    streams: HashSet<String>,
}

/// What becomes of a call.
pub(super) enum Heard {
    Answer(Response<Whole>),
    /// The answer is a stream, which the server gives to whoever sends this.
    Fetch(Request<()>),
    /// Nothing was done about it.
    Refused,
    /// The server gave it up.
    Broken,
    /// The pipe has ended, for this reason.
    Over(&'static str),
}

impl Calls {
    /// Calls through `asides`, and whoever is to hear of them. `reads` grows whenever something is heard.
    pub(super) fn new(asides: Asides, reads: Arc<AtomicUsize>, max_head: usize) -> (Self, impl Hear + use<>) {
        let calls = Self(Arc::new(Shared { asides, table: Mutex::default() }));
        let listener = Listener { calls: calls.clone(), reads, max_head };
        (calls, listener)
    }

    /// Sends a request, unless it is too long, or nobody takes it here, or its answer will be a stream.
    pub(super) fn send(&self, parts: &request::Parts, data: Option<&Bytes>) -> Option<Waiting> {
        let (sender, answer) = oneshot::channel();
        let mut table = self.table();
        let is_stream = !table.streams.is_empty() && table.streams.contains(parts.uri.path());
        if table.closed || is_stream || self.0.asides.waiting() >= WAITING {
            return None;
        }
        let id = table.last + 1;
        let message = encode_call(id, parts, data)?;
        table.last = id;
        table.waiting.insert(id, sender);
        // Under the lock: numbers go up in the order in which they are sent.
        self.0.asides.say(message);
        drop(table);
        Some(Waiting { id, answer, calls: self.clone(), path: parts.uri.clone() })
    }

    fn end(&self, id: u64, heard: Heard) {
        let waiting = self.table().waiting.remove(&id);
        if let Some(waiting) = waiting {
            // Nobody waits any more where that fails.
            let _ = waiting.send(heard);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for what becomes of a call, which is told that nobody does when this is dropped before.
pub(super) struct Waiting {
    id: u64,
    answer: oneshot::Receiver<Heard>,
    calls: Calls,
    path: Uri,
}

impl Future for Waiting {
    type Output = Heard;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Heard> {
        let heard = ready!(Pin::new(&mut self.answer).poll(cx));
        let heard = heard.unwrap_or_else(|_| Heard::Over(self.calls.0.asides.why()));
        if matches!(heard, Heard::Fetch(_)) {
            let mut table = self.calls.table();
            if table.streams.len() < STREAMS {
                table.streams.insert(self.path.path().to_owned());
            }
        }
        Poll::Ready(heard)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.calls.table().waiting.remove(&self.id).is_some();
        if waited && let Some(message) = (Word::Cancel { id: self.id }).encode() {
            self.calls.0.asides.say(message);
        }
    }
}

/// Hears what the server says, in the task that reads the pipe.
struct Listener {
    calls: Calls,
    reads: Arc<AtomicUsize>,
    max_head: usize,
}

impl Hear for Listener {
    fn hear(&mut self, message: Bytes) {
        self.reads.fetch_add(1, Relaxed);
        match Word::decode(message.clone()) {
            Some(Word::Answer { id, response }) => {
                let trailers = response.body().trailers.as_ref();
                let fits = |headers| head_length(headers) <= self.max_head;
                let fit = fits(response.headers()) && trailers.is_none_or(fits);
                self.calls.end(id, if fit { Heard::Answer(response) } else { Heard::Broken });
            }
            Some(Word::Fetch { id }) => {
                self.calls.end(id, fetch(id).map_or(Heard::Broken, Heard::Fetch));
            }
            Some(Word::Refused { id }) => self.calls.end(id, Heard::Refused),
            Some(Word::Broken { id }) => self.calls.end(id, Heard::Broken),
            Some(Word::Last { id }) => {
                let mut table = self.calls.table();
                table.closed = true;
                let refused = table.waiting.extract_if(|call, _| *call > id).collect::<Vec<_>>();
                drop(table);
                for (_, waiting) in refused {
                    let _ = waiting.send(Heard::Refused);
                }
            }
            Some(Word::Call { .. } | Word::Cancel { .. }) | None => {
                tracing::debug!("a server says what no server does");
                if let Some(id) = number(&message) {
                    self.calls.end(id, Heard::Broken);
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever waits learns of it by what is dropped here.
        let waiting = {
            let mut table = self.calls.table();
            table.closed = true;
            std::mem::take(&mut table.waiting)
        };
        drop(waiting);
    }
}

/// What brings the answer of call `id` as a stream.
fn fetch(id: u64) -> Option<Request<()>> {
    let method = Method::from_bytes(FETCH).ok()?;
    Request::builder().method(method).uri(format!("http://pipe/{id}")).body(()).ok()
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("last", &self.table().last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn calls() -> (Calls, impl Hear, Asides) {
        let asides = Asides::default();
        let (calls, listener) = Calls::new(asides.clone(), Arc::default(), 1000);
        (calls, listener, asides)
    }

    fn send(calls: &Calls, path: &str) -> Option<Waiting> {
        let request = Request::post(format!("http://a{path}")).body(()).unwrap();
        calls.send(&request.into_parts().0, Some(&Bytes::from_static(b"hello")))
    }

    fn said(asides: &Asides) -> Option<Word> {
        asides.next().map(|message| Word::decode(message).unwrap())
    }

    fn answer(id: u64) -> Bytes {
        Word::Answer { id, response: Response::new(Whole::default()) }.encode().unwrap()
    }

    #[test]
    fn an_answer_reaches_who_waits_for_it_in_any_order() {
        let (calls, mut listener, asides) = calls();
        let waiting = [1, 2, 3].map(|id| {
            let waiting = send(&calls, "/").unwrap();
            assert!(matches!(said(&asides), Some(Word::Call { id: said, .. }) if said == id));
            waiting
        });
        for id in [3, 1, 9] {
            listener.hear(answer(id));
        }
        let [one, two, three] = waiting.map(|waiting| waiting.now_or_never());
        assert!(matches!((one, three), (Some(Heard::Answer(_)), Some(Heard::Answer(_)))));
        assert!(two.is_none() && matches!(said(&asides), Some(Word::Cancel { id: 2 })), "it was dropped");
        assert!(said(&asides).is_none(), "nobody cancels what was answered");
    }

    #[test]
    fn a_server_that_stops_refuses_what_it_has_not_heard() {
        let (calls, mut listener, _asides) = calls();
        let [one, two] = [(); 2].map(|()| send(&calls, "/").unwrap());
        listener.hear(Word::Last { id: 1 }.encode().unwrap());
        assert!(matches!(two.now_or_never(), Some(Heard::Refused)));
        assert!(send(&calls, "/").is_none(), "no more go this way");
        listener.hear(answer(1));
        assert!(matches!(one.now_or_never(), Some(Heard::Answer(_))), "what it has heard it answers");
    }

    #[test]
    fn what_was_fetched_once_is_a_stream_from_then_on() {
        let (calls, mut listener, _asides) = calls();
        let waiting = send(&calls, "/parts").unwrap();
        listener.hear(Word::Fetch { id: 1 }.encode().unwrap());
        let Some(Heard::Fetch(request)) = waiting.now_or_never() else { panic!() };
        assert_eq!(request.uri().path(), "/1");
        assert!(send(&calls, "/parts").is_none() && send(&calls, "/others").is_some());
    }

    #[test]
    fn who_waits_when_the_pipe_ends_is_told_why() {
        let (calls, listener, asides) = calls();
        let waiting = send(&calls, "/").unwrap();
        drop(listener);
        assert!(matches!(waiting.now_or_never(), Some(Heard::Over("the connection was closed"))));
        assert!(send(&calls, "/").is_none());
        drop((calls, asides));
    }

    #[test]
    fn a_head_that_is_too_long_is_no_answer() {
        let (calls, mut listener, _asides) = calls();
        let waiting = send(&calls, "/").unwrap();
        let response = Response::builder().header("a", "b".repeat(1000)).body(Whole::default()).unwrap();
        listener.hear(Word::Answer { id: 1, response }.encode().unwrap());
        assert!(matches!(waiting.now_or_never(), Some(Heard::Broken)));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_none() {
        let (calls, mut listener, _asides) = calls();
        let waiting = send(&calls, "/").unwrap();
        listener.hear(answer(1).slice(..10));
        assert!(matches!(waiting.now_or_never(), Some(Heard::Broken)));
    }
}
