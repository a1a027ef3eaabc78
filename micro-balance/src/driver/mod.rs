//! The task that owns everything slow: discovery, connecting, ejection, and the snapshots they lead to.
//!
//! It follows discovery also while no request comes, keeps every endpoint connected, and publishes what has
//! changed at most once a millisecond.

mod attempt;
mod census;
mod checks;
mod edit;
mod found;
mod members;
mod outliers;
mod publish;
mod race;
mod reconnect;
mod roster;
mod slot;
mod slots;
mod affairs;
mod step;

use std::{
    collections::BTreeMap,
    fmt,
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tower::{BoxError, discover::Discover};
use tower_service::Service;

pub(crate) use self::attempt::Places;
pub use self::reconnect::Reconnect;
use self::{
    attempt::connect,
    race::Race,
    roster::Roster,
    slot::Slot,
    slots::Slots,
    step::{Step, next_change, next_event},
};
use crate::{
    caught,
    chance::Chance,
    eligible::{Eligibility, Waits},
    endpoint::{About, Attributes},
    health::Supervisor,
    listen::Listener,
    meter::Meter,
    policy::Policy,
    settings::Settings,
    shared::Shared,
    stats::{Home, Report},
};

/// Tells the attributes of an endpoint.
pub(crate) type Describe<K, S> = Box<dyn Fn(&K, &S) -> Attributes + Send + Sync>;
/// Asks an endpoint whether it is well.
pub(crate) type Probe<S> = Arc<dyn Fn(S) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Changes that come within this time of each other become one snapshot.
const BATCH: Duration = Duration::from_millis(1);
/// How many times as long as a snapshot takes to make the next one waits: among very many endpoints that change all the
/// time, following them is to leave most of a processor to others.
const REST: u32 = 4;

pub(crate) struct Driver<K, S, P: Policy, T> {
    pub(crate) shared: Weak<Shared<S, P, T>>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) eligibility: Eligibility,
    pub(crate) reconnect: Reconnect,
    pub(crate) places: Places,
    /// How long endpoints that were removed go on with their sessions.
    pub(crate) drain: Option<Duration>,
    pub(crate) describe: Describe<K, S>,
    pub(crate) probe: Option<Probe<S>>,
    pub(crate) meter: Option<Meter>,
    pub(crate) supervisor: Option<Arc<Supervisor<S>>>,
    pub(crate) listener: Option<Listener<S>>,
    pub(crate) chance: Chance,
    pub(crate) name: Option<Arc<str>>,
}

/// What the driver waits for beside discovery and reports.
enum Event {
    /// An attempt to connect the endpoint with this serial number has ended.
    Connected { serial: u64, attempt: u32, result: Result<(), BoxError> },
    /// An ejection has lasted its time; the second number tells which ejection.
    EjectionOver(u64, u64),
    /// An endpoint that was removed has had its time for its sessions.
    Drained(u64),
    /// Nobody came to try a half-open endpoint.
    Untried(u64, u64),
    /// The first of the endpoints that are tried in turn takes long; the number tells which turn.
    Slow(u64),
    /// A probe has ended.
    Probed(u64, Result<(), BoxError>),
    /// Requests have had their time to let go of a snapshot that was replaced.
    LetGo,
    /// It is time to compare endpoints.
    Interval,
    /// It is time to tell figures.
    Figures,
}

type Reports = (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Report>);
type Connect<S> = fn(S, Duration, Places) -> BoxFuture<'static, Result<(), BoxError>>;

/// Everything the driver knows, between two events.
struct State<K, S, P: Policy, T> {
    driver: Driver<K, S, P, T>,
    connect: Connect<S>,
    slots: Slots<K, S>,
    roster: Roster<S, P>,
    waits: Waits,
    /// Those that discovery has removed and that go on with their sessions, by serial number.
    leaving: BTreeMap<u64, Slot<K, S>>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    home: Arc<Home>,
    /// What discovery said of the endpoint that it found last.
    about: Arc<About>,
    /// Why discovery says nothing any more, until that is published.
    over: Option<String>,
    unready_since: Instant,
    /// Whether endpoints came or went since it was last worked out which are wanted.
    regroup: bool,
    race: Option<Race>,
    /// When weights or tables are to be worked out again although nothing has happened.
    refresh: Option<Instant>,
    /// Since when something waits to be published.
    dirty: Option<Instant>,
    had_ready: bool,
    published: Instant,
    /// How long after that the next snapshot is due at the earliest.
    pace: Duration,
}

/// However the task ends, requests that wait are told.
impl<K, S, P: Policy, T> Drop for Driver<K, S, P, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.over.end_task();
            shared.changed.notify_waiters();
        }
    }
}

impl<K, S, P, T> Driver<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    /// Runs until the balancer is gone.
    pub(crate) async fn run<D, Req>(self, discover: D, (reports, mut inbox): Reports)
    where
        D: Discover<Key = K, Service = S> + Unpin,
        D::Error: fmt::Display,
        S: Service<Req>,
        S::Error: Into<BoxError>,
        Req: 'static,
    {
        let mut discover = Some(discover);
        let mut state = State::new(self, connect::<S, Req>, reports);
        state.await_interval();
        state.tell_figures();
        loop {
            // Discovery that always has more to say is not to keep others from this thread.
            tokio::task::consume_budget().await;
            // What is there already goes into one snapshot, but a stream that never pauses must not keep
            // what it says from being seen.
            let publish_at = state.published + state.pace;
            let step = tokio::select! {
                biased;
                () = std::future::ready(()), if state.is_overdue() => Step::Publish,
                Some(report) = inbox.recv() => Step::Report(report),
                Some(step) = next_event(&mut state.events), if !state.events.is_empty() => step,
                change = next_change(&mut discover), if discover.is_some() => match change {
                    Some(Ok(change)) => Step::Change(change),
                    end => {
                        discover = None;
                        Step::Over(end.and_then(Result::err))
                    }
                },
                () = sleep_until(publish_at), if state.dirty.is_some() => Step::Publish,
                () = sleep_until(state.refresh.unwrap_or(publish_at)), if state.refresh.is_some() => Step::Refresh,
            };
            match caught::at_once("an endpoint's service, or the policy,", || state.step(step)) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => state.panicked(&error),
            }
        }
    }
}

impl<K, S, P, T> State<K, S, P, T>
where
    K: Hash + Eq + Clone + fmt::Debug + Send,
    S: Clone + Send + Sync + 'static,
    P: Policy,
    T: Send + Sync + 'static,
{
    fn new(driver: Driver<K, S, P, T>, connect: Connect<S>, reports: mpsc::UnboundedSender<Report>) -> Self {
        let now = Instant::now();
        let home = Home::new(driver.settings.clone(), reports, driver.shared.clone());
        Self {
            driver,
            connect,
            slots: Slots::new(),
            roster: Roster::default(),
            waits: Waits::default(),
            leaving: BTreeMap::new(),
            events: FuturesUnordered::new(),
            home,
            about: About::new(Attributes::default()),
            over: None,
            unready_since: now,
            regroup: false,
            race: None,
            refresh: None,
            dirty: None,
            had_ready: false,
            // Long enough ago for the first answer to be published at once.
            published: now.checked_sub(BATCH).unwrap_or(now),
            pace: BATCH,
        }
    }

    /// Tells how things are, now and from time to time.
    fn tell_figures(&mut self) {
        let Some(meter) = &mut self.driver.meter else { return };
        let slots = self.slots.values().map(|slot| (slot.listed().view(), &**slot.endpoint.stats()));
        let views: Vec<_> = slots.collect();
        meter.tell(&views, &self.driver.settings.tally);
        let every = meter.every();
        self.after(every, Event::Figures);
    }

    /// Something about the endpoint with this serial number is to be published.
    fn touch(&mut self, serial: u64) {
        self.dirty.get_or_insert_with(Instant::now);
        self.roster.changed(serial);
    }

    fn touch_all(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
        self.roster.all_changed();
    }

    fn is_overdue(&self) -> bool {
        self.dirty.is_some_and(|since| since.elapsed() > self.pace.max(10 * BATCH))
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.events.push(Box::pin(async move {
            sleep(delay).await;
            event
        }));
    }
}
