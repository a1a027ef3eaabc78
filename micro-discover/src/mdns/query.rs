//! Asks who answers for a service, and goes on listening.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::packet::{self, Heard, MOST_QUESTIONS};
use super::{Shared, Trouble};
use crate::beliefs::Beliefs;
use crate::follow::Source;
use crate::registry::Error;

/// How long answers are waited for before what has come is taken for all there is: go-micro waits 100 ms.
const WINDOW: Duration = Duration::from_millis(250);
/// So many services of which only the name is known are asked for at once; fewer when no more are heard of for so long.
const AT_ONCE: usize = 64;
const GATHER: Duration = Duration::from_millis(5);
/// While answers come, how long another is waited for, and in all.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);
/// How often is asked again, for those who neither have a TTL nor say that they go.
const ASK: Duration = Duration::from_secs(10);
/// How soon, at first: packets get lost.
const ASK_AT_FIRST: Duration = Duration::from_secs(1);
const AT_FIRST: u32 = 3;
/// How many endpoints are believed in, whoever claims more, and how many services are asked for.
const MOST: usize = 20_000;
const MOST_SERVICES: usize = 4096;

/// News as they come.
type Ear = Receiver<Arc<Vec<Heard>>>;

/// Asks once: for the endpoints of `name`, or of all services.
pub(super) async fn ask(shared: &Shared, name: Option<&str>) -> Result<Beliefs, Trouble> {
    let mut ear = shared.owner.news.subscribe();
    match name {
        Some(name) => put_questions(shared, [name]).await?,
        None => put(shared, shared.owner.heard.iter().map(|domain| domain.services()).collect()).await?,
    }
    let mut beliefs = Beliefs::default();
    collect(shared, &mut ear, name, &mut beliefs).await?;
    Ok(beliefs)
}

async fn put_questions<'a>(shared: &Shared, names: impl IntoIterator<Item = &'a str>) -> Result<(), Trouble> {
    let domains = &shared.owner.heard;
    let asked = names.into_iter().flat_map(|name| domains.iter().map(|domain| domain.service(name)));
    put(shared, asked.collect()).await
}

async fn put(shared: &Shared, names: Vec<hickory_proto::rr::Name>) -> Result<(), Trouble> {
    let sockets = shared.sockets()?;
    for names in names.chunks(MOST_QUESTIONS) {
        if let Some(packet) = packet::ask(names.iter().cloned()) {
            sockets.ask(&packet).await?;
        }
    }
    Ok(())
}

/// Takes answers until no more come. Whoever has a service of which only the name is known is asked for it.
async fn collect(
    shared: &Shared,
    ear: &mut Ear,
    name: Option<&str>,
    beliefs: &mut Beliefs,
) -> Result<(), Trouble> {
    // What we answer for ourselves we need not wait for.
    shared.owner.table.says(name).iter().for_each(|said| beliefs.hear(said));
    let (mut end, last) = (Instant::now() + WINDOW, Instant::now() + LONGEST);
    let (mut services, mut unknown, mut again) = (BTreeSet::<String>::new(), Vec::<String>::new(), false);
    loop {
        let gathered = Instant::now() + GATHER;
        let until = if unknown.is_empty() { end } else { end.min(gathered) };
        let heard = match timeout_at(until, ear.recv()).await {
            Ok(Ok(heard)) => heard,
            Ok(Err(RecvError::Lagged(_))) => continue,
            Ok(Err(RecvError::Closed)) => return Ok(()),
            Err(_) if !unknown.is_empty() => {
                put_questions(shared, unknown.iter().map(String::as_str)).await?;
                unknown.clear();
                end = (Instant::now() + WINDOW).min(last);
                continue;
            }
            // Packets get lost where there are many: who was named and not told is asked for once more.
            Err(_) if !again && Instant::now() < last => {
                again = true;
                unknown.extend(services.iter().filter(|service| !beliefs.knows(service)).cloned());
                end = if unknown.is_empty() { end } else { (Instant::now() + WINDOW).min(last) };
                continue;
            }
            Err(_) => return Ok(()),
        };
        let mut news = false;
        for heard in heard.iter() {
            news |= hear(heard, name, beliefs);
            if let (Heard::Listed(service), None) = (heard, name)
                && services.len() < MOST_SERVICES
                && services.insert(service.clone())
            {
                unknown.push(service.clone());
            }
        }
        if unknown.len() >= AT_ONCE {
            put_questions(shared, unknown.iter().map(String::as_str)).await?;
            unknown.clear();
            end = (Instant::now() + WINDOW).min(last);
        } else if news {
            end = end.max(Instant::now() + PAUSE).min(last);
        }
    }
}

/// Whether it was about `name`.
fn hear(heard: &Heard, name: Option<&str>, beliefs: &mut Beliefs) -> bool {
    let about = |service: &String| name.is_none_or(|name| name == service);
    match heard {
        Heard::Put(said) if about(&said.service.name) && beliefs.len() < MOST => beliefs.hear(said),
        Heard::Gone(gone) if about(&gone.name) => beliefs.forget(gone),
        _ => return false,
    }
    true
}

/// Follows one service.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    name: String,
    ear: Ear,
    asked: u32,
    ask_at: Instant,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, name: String) -> Self {
        let ear = shared.owner.news.subscribe();
        Self { shared, name, ear, asked: 0, ask_at: Instant::now() }
    }

    async fn begin(&mut self) -> Result<Beliefs, Trouble> {
        put_questions(&self.shared, [self.name.as_str()]).await?;
        let mut beliefs = self.shared.memory.recall(&self.name);
        collect(&self.shared, &mut self.ear, Some(&self.name), &mut beliefs).await?;
        (self.asked, self.ask_at) = (1, Instant::now() + ASK_AT_FIRST);
        Ok(beliefs)
    }

    async fn ask_again(&mut self) -> Result<(), Trouble> {
        put_questions(&self.shared, [self.name.as_str()]).await?;
        self.asked = self.asked.saturating_add(1);
        self.ask_at = Instant::now() + if self.asked < AT_FIRST { ASK_AT_FIRST } else { ASK };
        if self.asked == AT_FIRST {
            self.shared.memory.settle(&self.name);
        }
        Ok(())
    }
}

impl Source for Watcher {
    async fn start(&mut self) -> Result<Beliefs, Error> {
        self.begin().await.map_err(|trouble| trouble.cannot("watch"))
    }

    async fn follow(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        let news = tokio::select! {
            news = self.ear.recv() => news,
            () = sleep_until(self.ask_at) => {
                return self.ask_again().await.map_err(|trouble| trouble.cannot("watch"));
            }
        };
        let mut take = |news: &[Heard]| {
            for heard in news {
                hear(heard, Some(&self.name), beliefs);
            }
        };
        match news {
            Ok(news) => take(&news),
            // Some were missed.
            Err(_) => self.ask_at = Instant::now(),
        }
        // One set for all that came at once.
        while let Ok(news) = self.ear.try_recv() {
            take(&news);
        }
        Ok(())
    }

    async fn make_sure(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        let asking = async {
            put_questions(&self.shared, [self.name.as_str()]).await?;
            collect(&self.shared, &mut self.ear, Some(&self.name), beliefs).await
        };
        asking.await.map_err(|trouble| trouble.cannot("watch"))
    }

    fn lose(&mut self, beliefs: Beliefs) {
        self.shared.memory.lose(&self.name, beliefs);
    }
}
