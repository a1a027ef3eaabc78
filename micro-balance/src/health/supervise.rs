//! Asks one endpoint again and again, or listens to it, and tells the driver what comes of it.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep, timeout};
use tower::BoxError;

use super::{check::Check, schedule::HealthCheck, standing::Standing};
use crate::{caught, chance::Chance, condition::Condition, error::chain, stats::Stats};

/// Who is to blame for a panic.
const CHECK: &str = "the health check";

/// The wait before an endpoint is listened to again: 1 s, then 1.6 times as long each time, up to this.
const MOST: Duration = Duration::from_secs(30);

/// How the endpoints of a balancer are checked.
pub(crate) struct Supervisor<S> {
    schedule: HealthCheck,
    check: Box<dyn Check<S>>,
}

impl<S: Clone + Send + Sync + 'static> Supervisor<S> {
    pub(crate) fn new(schedule: HealthCheck, check: impl Check<S>) -> Self {
        Self { schedule, check: Box::new(check) }
    }

    pub(crate) fn schedule(&self) -> &HealthCheck {
        &self.schedule
    }

    /// Checks an endpoint for ever.
    pub(crate) async fn run(self: Arc<Self>, service: S, stats: Arc<Stats>, chance: Chance) {
        let wait = self.schedule.first(chance.fraction());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        match self.words(&service) {
            Some(words) => self.follow(words, service, &stats, &chance).await,
            None => self.ask(service, &stats, &chance).await,
        }
    }

    async fn ask(&self, service: S, stats: &Stats, chance: &Chance) {
        let (mut standing, mut picks) = (Standing::default(), stats.picks());
        loop {
            let answer = self.answer(&service).await;
            if standing.take(&answer, &self.schedule) {
                self.report(stats, &answer);
            }
            let idle = std::mem::replace(&mut picks, stats.picks()) == stats.picks();
            sleep(self.schedule.wait(standing, idle, chance.fraction())).await;
        }
    }

    /// One answer, in time.
    async fn answer(&self, service: &S) -> Result<Condition, BoxError> {
        let asked = caught::answer(CHECK, || self.check.ask(service.clone()));
        match timeout(self.schedule.patience(), asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:?}", self.schedule.patience()).into()),
        }
    }

    /// What the endpoint says of itself, where it is not to be asked.
    fn words(&self, service: &S) -> Option<BoxStream<'static, Result<Condition, BoxError>>> {
        match caught::at_once(CHECK, || self.check.follow(service.clone())) {
            Ok(words) => words.map(|words| caught::words(CHECK, words)),
            Err(panicked) => Some(stream::iter([Err(panicked)]).boxed()),
        }
    }

    async fn follow(
        &self,
        mut words: BoxStream<'static, Result<Condition, BoxError>>,
        service: S,
        stats: &Stats,
        chance: &Chance,
    ) {
        let mut failures = 0;
        loop {
            let (began, mut heard) = (Instant::now(), false);
            // Whoever connects and says nothing is not waited for; later on, silence means that nothing changed.
            let mut next = timeout(self.schedule.patience(), words.next()).await.unwrap_or_else(|_| {
                Some(Err(format!("not a word within {:?}", self.schedule.patience()).into()))
            });
            while let Some(Ok(condition)) = next {
                (failures, heard) = (0, true);
                self.report(stats, &Ok(condition));
                next = words.next().await;
            }
            let ended = next.and_then(Result::err).unwrap_or_else(|| "the stream of words ended".into());
            self.report(stats, &Err(ended));
            let wait = Duration::from_secs_f64(1.6_f64.powi(failures.min(16))).min(MOST);
            let wait = wait.mul_f64(0.8 + 0.4 * chance.fraction());
            // One that was of use and has lasted as long as that is opened again at once, as gRPC does: there are proxies
            // that end every stream after a while.
            let lasted = if heard { began.elapsed() } else { Duration::ZERO };
            failures += 1;
            sleep(wait.saturating_sub(lasted)).await;
            match self.words(&service) {
                Some(again) => words = again,
                None => return,
            }
        }
    }

    fn report(&self, stats: &Stats, answer: &Result<Condition, BoxError>) {
        if let Err(error) = answer {
            tracing::debug!(serial = stats.serial(), error = %chain(error.as_ref()), "endpoint is not well");
        }
        stats.checked(*answer.as_ref().unwrap_or(&Condition::Unwell));
    }
}

impl<S> fmt::Debug for Supervisor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
