//! Spans of attempts, for whoever listens.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use micro_balance::{Balance, Http, Tried, Unsent, policy::RoundRobin};
use support::{FAST, Fake, discovery, pages, settle};
use tokio::{runtime, time::sleep};
use tower::{BoxError, ServiceExt, discover::ServiceList, service_fn};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Writes down what is said, and within which span.
#[derive(Clone)]
struct Listener {
    level: Level,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    spans: Vec<String>,
    /// Those that are entered, the last within the others.
    within: Vec<u64>,
    said: Vec<String>,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => write!(self.0, "{value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        let mut heard = self.heard.lock().unwrap();
        heard.spans.push(text.0);
        span::Id::from_u64(heard.spans.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        // Not what the driver says.
        if event.metadata().target() != module_path!() {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut heard = self.heard.lock().unwrap();
        let within = heard.within.last().map_or("nothing", |&id| &heard.spans[id as usize - 1]);
        let said = format!("{} in {within}", text.0);
        heard.said.push(said);
    }

    fn enter(&self, id: &span::Id) {
        self.heard.lock().unwrap().within.push(id.into_u64());
    }

    fn exit(&self, id: &span::Id) {
        assert_eq!(self.heard.lock().unwrap().within.pop(), Some(id.into_u64()));
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
}

/// Whether anybody listens at a level is known once for all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// What a listener at `level` hears of what is done.
fn heard(level: Level, done: impl AsyncFnOnce()) -> Heard {
    let _alone = ALONE.lock();
    let heard = Arc::default();
    let listener = Listener { level, heard: Arc::clone(&heard) };
    let paused = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(listener, || paused.block_on(done()));
    std::mem::take(&mut heard.lock().unwrap())
}

/// The first that is called hands the request back.
async fn two_endpoints() {
    let first = Arc::new(Mutex::new(true));
    let endpoint = service_fn(move |(): ()| {
        let hands_back = std::mem::take(&mut *first.lock().unwrap());
        tracing::info!("called");
        async move {
            if hands_back {
                return Err(BoxError::from(Unsent::new((), "another, please")));
            }
            sleep(Duration::from_millis(1)).await;
            tracing::info!("answers");
            Ok(())
        }
    });
    let endpoints = ServiceList::new::<()>(vec![endpoint.clone(), endpoint]);
    let balance = Balance::builder(endpoints).policy(RoundRobin::starting_at(0)).build();
    settle().await;
    let answer = balance.clone().oneshot(());
    tracing::info!("sent");
    answer.await.unwrap();
    tracing::info!("answered");
    balance.oneshot(()).await.unwrap();
}

#[test]
fn what_an_endpoint_says_of_a_request_is_within_its_attempt_and_nothing_else_is() {
    let [first, second] = ["0", "1"].map(|id| format!("attempt endpoint={id:?} attempt=1"));
    let all = heard(Level::DEBUG, two_endpoints);
    assert_eq!(all.spans, [&first, &second, &first].map(String::as_str));
    let said = [
        "sent in nothing".to_owned(),
        format!("called in {first}"),
        format!("called in {second}"),
        format!("answers in {second}"),
        "answered in nothing".to_owned(),
        format!("called in {first}"),
        format!("answers in {first}"),
    ];
    assert_eq!(all.said, said);
    let important = heard(Level::INFO, two_endpoints);
    assert_eq!((important.spans.len(), important.said.len()), (0, 7));
}

#[test]
fn attempts_are_counted_by_where_a_request_has_been() {
    let all = heard(Level::DEBUG, async || {
        let (hand, changes) = discovery();
        let fakes = ["a", "b", "c"].map(|name| (name, Fake::new(name, FAST)));
        fakes.iter().for_each(|(name, fake)| hand.insert(name, fake));
        let balance =
            Balance::builder(pages(changes)).protocol(Http).policy(RoundRobin::starting_at(0)).build();
        settle().await;
        let tried = Tried::default();
        for _ in 0..3 {
            let mut request = Request::new(());
            request.extensions_mut().insert(tried.clone());
            balance.clone().oneshot(request).await.unwrap();
        }
        balance.oneshot(Request::new(())).await.unwrap();
    });
    let attempts: Vec<_> = all.spans.iter().map(|span| span.rsplit('=').next().unwrap()).collect();
    assert_eq!(attempts, ["1", "2", "3", "1"]);
}
