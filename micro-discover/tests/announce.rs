//! An announcement stays true, whatever its registry does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::FutureExt;
use micro_discover::{Announce, Endpoint, Error, Fixed, Memory, Registry, Service};
use tokio::time::{Instant, sleep};

const TTL: Duration = Duration::from_secs(15);
const BEAT: Duration = Duration::from_secs(5);

/// A memory registry that can be made to misbehave.
#[derive(Clone, Debug, Default)]
struct Moody {
    memory: Memory,
    mood: Arc<Mutex<Mood>>,
    announced: Arc<AtomicUsize>,
    withdrawn: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Well,
    Down,
    Hanging,
    Slow,
    Panicking,
    Picky,
}

impl Moody {
    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn act(&self) -> Result<(), Error> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Down => {
                let source = "connection refused".into();
                Err(Error::Unavailable { backend: "moody", what: "answer".into(), source })
            }
            Mood::Hanging => std::future::pending().await,
            Mood::Slow => {
                sleep(Duration::from_millis(500)).await;
                Ok(())
            }
            Mood::Panicking => panic!("a bug in the registry"),
            Mood::Picky => Err(Error::Unsupported { backend: "moody", what: "like this" }),
        }
    }

    async fn ids(&self) -> String {
        let set = self.memory.get("greeter").await.unwrap();
        let mut ids: Vec<_> = set.into_iter().flat_map(|service| service.endpoints).map(|e| e.id).collect();
        ids.sort();
        ids.join(" ")
    }

    /// The tries of the next `time`.
    async fn tries(&self, time: Duration) -> usize {
        let before = self.announced.load(SeqCst);
        sleep(time).await;
        self.announced.load(SeqCst) - before
    }
}

impl Registry for Moody {
    fn announce(&self, service: &Service, ttl: Duration) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.announced.fetch_add(1, SeqCst);
        Box::pin(async move {
            self.act().await?;
            self.memory.announce(&service, ttl).await
        })
    }
    fn withdraw(&self, service: &Service) -> BoxFuture<'_, Result<(), Error>> {
        let service = service.clone();
        self.withdrawn.fetch_add(1, SeqCst);
        Box::pin(async move {
            self.act().await?;
            self.memory.withdraw(&service).await
        })
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        self.memory.list()
    }
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Vec<Service>, Error>> {
        self.memory.get(name)
    }
    fn watch(&self, name: &str) -> BoxStream<'static, Result<Vec<Service>, Error>> {
        self.memory.watch(name)
    }
    fn backend(&self) -> &'static str {
        "moody"
    }
}

fn greeter(ids: &str) -> Service {
    let endpoints = ids.split_whitespace().map(|id| Endpoint::new(id, "h:1".parse().unwrap()));
    endpoints.fold(Service::new("greeter"), Service::endpoint)
}

fn announce(moody: &Moody, ids: &str) -> Announce {
    Announce::new(Arc::new(moody.clone()), greeter(ids)).ttl(TTL).seed(7)
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_three_times_a_ttl_and_never_expires() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a").start().await.unwrap();
    let mut checks = 0;
    while checks < 3600 {
        assert_eq!(moody.ids().await, "a");
        sleep(Duration::from_secs(1)).await;
        checks += 1;
    }
    let tries = moody.announced.load(SeqCst);
    assert!((720..=900).contains(&tries), "{tries} in an hour: every 4 to 5 s");
    assert!(announcement.is_announced());
    announcement.withdraw().await.unwrap();
    assert_eq!(moody.ids().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_forgot_is_told_again_within_a_beat() {
    let moody = Moody::default();
    let _announcement = announce(&moody, "a").start().await.unwrap();
    moody.memory.withdraw(&greeter("a")).await.unwrap();
    sleep(BEAT).await;
    assert_eq!(moody.ids().await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_at_the_start_stops_nobody() {
    for mood in [Mood::Down, Mood::Hanging, Mood::Panicking] {
        let moody = Moody::default();
        moody.is(mood);
        let announcement = announce(&moody, "a").start().await.unwrap();
        assert!(!announcement.is_announced());
        let tries = moody.tries(Duration::from_secs(600)).await;
        assert!((60..600).contains(&tries), "{mood:?}: {tries} tries in ten minutes");
        moody.is(Mood::Well);
        let started = Instant::now();
        announcement.announced().await;
        assert!(started.elapsed() <= 2 * BEAT, "{mood:?}");
        assert_eq!(moody.ids().await, "a");
        assert!(moody.tries(Duration::from_secs(60)).await <= 15, "back to the beat");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_can_help_is_an_error_of_start() {
    let fixed = Arc::new(Fixed::new(greeter("a").endpoints).unwrap());
    let error = Announce::new(fixed, greeter("a")).start().await.unwrap_err();
    assert_eq!(error.to_string(), "the fixed registry cannot be announced to");
    let moody = Moody::default();
    let error = announce(&moody, "").start().await.unwrap_err();
    assert!(error.to_string().contains("no endpoint to announce"));
    let error = announce(&moody, "a/b").start().await.unwrap_err();
    assert!(error.to_string().contains("it contains a slash"));
    assert_eq!(moody.announced.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_withdraws_and_stops_renewing() {
    let moody = Moody::default();
    drop(announce(&moody, "a").start().await.unwrap());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(moody.ids().await, "");
    assert_eq!(moody.tries(TTL * 10).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_nobody_waits_for_leaves_nothing_behind() {
    let moody = Moody::default();
    moody.is(Mood::Slow);
    assert!(tokio::time::timeout(Duration::from_millis(100), announce(&moody, "a").start()).await.is_err());
    sleep(Duration::from_secs(2)).await;
    assert_eq!((moody.ids().await, moody.tries(TTL * 10).await), (String::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_waits_for_the_renewal_under_way_so_that_it_is_the_last_word() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a").start().await.unwrap();
    moody.is(Mood::Slow);
    while moody.announced.load(SeqCst) < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    announcement.withdraw().await.unwrap();
    sleep(TTL).await;
    assert_eq!(moody.ids().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_ends_in_time_even_if_the_registry_never_answers() {
    for mood in [Mood::Hanging, Mood::Down, Mood::Panicking] {
        let moody = Moody::default();
        let limit = Duration::from_secs(2);
        let announcement = announce(&moody, "a").withdraw_within(limit).start().await.unwrap();
        moody.is(mood);
        let started = Instant::now();
        assert!(announcement.withdraw().await.unwrap_err().is_retryable());
        assert!(started.elapsed() <= limit + Duration::from_millis(10), "{mood:?} {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_at_first_is_tried_again() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a").start().await.unwrap();
    moody.is(Mood::Down);
    let withdrawal = tokio::spawn(announcement.withdraw());
    sleep(Duration::from_secs(1)).await;
    moody.is(Mood::Well);
    withdrawal.await.unwrap().unwrap();
    assert_eq!(moody.ids().await, "");
    assert!(moody.withdrawn.load(SeqCst) > 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_taken_is_withdrawn_once_and_holds_nobody_up() {
    let moody = Moody::default();
    moody.is(Mood::Down);
    let announcement = announce(&moody, "a").start().await.unwrap();
    let begun = Instant::now();
    assert!(announcement.withdraw().await.unwrap_err().is_retryable());
    assert_eq!((moody.withdrawn.load(SeqCst), begun.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_update_puts_what_is_new_and_then_takes_back_what_is_gone() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a b").start().await.unwrap();
    moody.is(Mood::Slow);
    assert!(announcement.update(greeter("b c")).now_or_never().is_none(), "nobody waits for it");
    let started = Instant::now();
    while moody.ids().await != "b c" {
        assert!(["a b", "a b c"].contains(&moody.ids().await.as_str()));
        sleep(Duration::from_millis(50)).await;
        assert!(started.elapsed() < TTL);
    }
    moody.is(Mood::Well);
    let drained = Service::new("greeter").endpoint(Endpoint::new("b", "h:1".parse().unwrap()).weight(0));
    announcement.update(drained.clone()).await.unwrap();
    assert_eq!(moody.memory.get("greeter").await.unwrap(), [drained]);
    announcement.withdraw().await.unwrap();
    assert_eq!(moody.ids().await, "");
}

#[tokio::test(start_paused = true)]
async fn an_update_while_the_registry_is_down_takes_back_nothing_before_it_has_put() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a").start().await.unwrap();
    moody.is(Mood::Down);
    announcement.update(greeter("b")).await.unwrap();
    assert!(!announcement.is_announced());
    assert_eq!(moody.ids().await, "a");
    moody.is(Mood::Well);
    announcement.announced().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(moody.ids().await, "b");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_refused_leaves_the_announcement_as_it_was() {
    let moody = Moody::default();
    let announcement = announce(&moody, "a").start().await.unwrap();
    assert!(announcement.update(greeter("..")).await.is_err());
    moody.is(Mood::Picky);
    assert!(!announcement.update(greeter("b")).await.unwrap_err().is_retryable());
    moody.is(Mood::Well);
    sleep(TTL * 4).await;
    assert_eq!(moody.ids().await, "a");
    assert!(announcement.is_announced());
}

#[tokio::test(start_paused = true)]
async fn two_who_start_together_do_not_renew_in_step() {
    let moody = Moody::default();
    let one = announce(&moody, "a").seed(1).start().await.unwrap();
    let two = announce(&moody, "b").seed(2).start().await.unwrap();
    let mut together = 0;
    for _ in 0..5_000 {
        together += usize::from(moody.tries(Duration::from_millis(10)).await > 1);
    }
    assert!(together < 3, "{together} of about 11 beats");
    drop((one, two));
}
