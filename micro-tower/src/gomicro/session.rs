//! The calls of one peer: messages come in, gRPC requests go to the service, messages come out.

use std::{collections::HashMap, io};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{BoxStream, SelectAll, once},
};
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tower::BoxError;
use tower_service::Service;

use super::{
    Message,
    answer::refusal,
    detect::{self, Call},
    serve::serve,
};

/// How many calls one peer may have open at a time.
const MOST_CALLS: usize = 128;
/// How many messages of a stream wait for its handler.
const WAITING: usize = 16;

/// Where messages come from. Dropping the future of `next` loses none.
pub(super) trait Source: Send {
    /// `None` at the end. `idle` says that no call is open.
    fn next(&mut self, idle: bool) -> impl Future<Output = io::Result<Option<Message>>> + Send;

    /// Whether the peer has sent all it will, and waits for its answers.
    fn is_last(&self) -> bool;
}

/// Where messages go.
pub(super) trait Sink: Send {
    fn send(&mut self, message: Message) -> impl Future<Output = io::Result<()>> + Send;
}

/// What a call's answers end with.
enum Out {
    Answer(Message),
    Done(String),
}

/// The calls of one peer.
pub(super) struct Session<S> {
    service: S,
    open: HashMap<String, Open>,
    answers: SelectAll<BoxStream<'static, Out>>,
    /// A message that its handler is not ready for.
    held: Option<(mpsc::Sender<Bytes>, Bytes)>,
    /// A call that begins when those before it have been answered: answers carry no name that can be relied on.
    next: Option<(Call, Message)>,
}

/// A call that has not been answered to its end.
struct Open {
    feed: mpsc::Sender<Bytes>,
    /// Whether its messages are told apart from those of others.
    declared: bool,
}

impl<S, B> Session<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub(super) fn new(service: S) -> Self {
        Self { service, open: HashMap::new(), answers: SelectAll::new(), held: None, next: None }
    }

    /// Serves what `source` brings until it ends, or `closing` is true and nothing is open. Dropping the future
    /// cancels all calls.
    pub(super) async fn run(
        mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        mut closing: watch::Receiver<bool>,
    ) -> io::Result<()> {
        loop {
            let idle = self.answers.is_empty();
            let held = self.held.is_some() || self.next.is_some();
            let room = !held && self.open.len() < MOST_CALLS && !source.is_last();
            if idle && source.is_last() {
                return Ok(());
            }
            tokio::select! {
                biased;
                out = self.answers.next(), if !idle => match out {
                    Some(Out::Answer(message)) => sink.send(message).await?,
                    Some(Out::Done(id)) => self.done(&id),
                    // Only now is it known that there is no other answer to come: it is idle.
                    None => {}
                },
                () = release(&mut self.held), if self.held.is_some() => {}
                () = told(&mut closing), if idle => return Ok(()),
                message = source.next(idle), if room => match message? {
                    Some(message) => self.take(message),
                    None => return Ok(()),
                },
            }
        }
    }

    fn take(&mut self, message: Message) {
        let call = match detect::read(&message) {
            Ok(call) => call,
            Err(no) => return self.answer(refusal(&message, &no)),
        };
        if let Some(open) = self.open.get_mut(&call.id) {
            if call.error.is_none() {
                self.held = Some((open.feed.clone(), call.payload));
            } else {
                // The peer has said all it will, or gives up: either way the handler's stream ends.
                open.feed = mpsc::channel(1).0;
            }
        } else if call.error.is_none() {
            self.next = Some((call, message));
            self.begin();
        }
    }

    /// Begins the next call unless it has to wait for others.
    fn begin(&mut self) {
        if self.open.values().any(|open| !open.declared) {
            return;
        }
        let Some((call, message)) = self.next.take() else { return };
        let (feed, fed) = mpsc::channel(WAITING);
        self.open.insert(call.id.clone(), Open { feed, declared: call.stream });
        let id = call.id.clone();
        let answers = serve(self.service.clone(), &call, &message, fed).map(Out::Answer);
        self.answers.push(answers.chain(once(async { Out::Done(id) })).boxed());
    }

    fn done(&mut self, id: &str) {
        self.open.remove(id);
        self.begin();
    }

    fn answer(&mut self, message: Message) {
        self.answers.push(once(async { Out::Answer(message) }).boxed());
    }
}

/// Ends when the server is to stop.
pub(super) async fn told(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Hands a held message to its handler once that has room.
async fn release(held: &mut Option<(mpsc::Sender<Bytes>, Bytes)>) {
    if let Some((feed, payload)) = held {
        // A handler that is gone has answered, or will.
        if let Ok(permit) = feed.reserve().await {
            permit.send(std::mem::take(payload));
        }
        *held = None;
    }
}
