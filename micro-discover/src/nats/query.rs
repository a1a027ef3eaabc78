//! Asks who answers for a service, and goes on listening.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, SelectAll, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Shared;
use super::link::{Trouble, round_trip};
use super::wire::{Change, question, read_change};
use crate::beliefs::Beliefs;
use crate::follow::Source;
use crate::gomicro::decode_said;
use crate::registry::Error;

/// How long answers are waited for before what has come is taken for all there is: go-micro waits 100 ms.
const WINDOW: Duration = Duration::from_millis(250);
/// How often is asked again, for those who neither have a TTL nor say that they go.
const ASK: Duration = Duration::from_secs(10);
/// How soon, at first: not everyone's connection is restored when ours is.
const ASK_AT_FIRST: Duration = Duration::from_secs(1);
const AT_FIRST: u32 = 3;

/// Where answers arrive.
struct Inbox {
    subject: String,
    answers: Subscriber,
}

impl Inbox {
    async fn of(client: &Client) -> Result<Self, Trouble> {
        let subject = client.new_inbox();
        let answers = client.subscribe(subject.clone()).await.map_err(Trouble::refused)?;
        Ok(Self { subject, answers })
    }
}

/// Asks once: for the endpoints of `name`, or of all services.
pub(super) async fn ask(shared: &Shared, name: Option<&str>) -> Result<Beliefs, Trouble> {
    let client = shared.link.client().await?;
    let mut inbox = Inbox::of(&client).await?;
    let mut beliefs = Beliefs::default();
    ask_through(shared, &client, &mut inbox, name, &mut beliefs).await?;
    Ok(beliefs)
}

/// The same, over a connection that stands; fails if the server does not.
async fn ask_through(
    shared: &Shared,
    client: &Client,
    inbox: &mut Inbox,
    name: Option<&str>,
    beliefs: &mut Beliefs,
) -> Result<(), Trouble> {
    let refusals = shared.link.refusals();
    put_question(shared, client, inbox, name).await?;
    // Silence means that nobody is there only where the question was heard.
    round_trip(client).await?;
    collect(shared, inbox, name, beliefs).await?;
    // And where it could be put at all.
    shared.link.check_said(&shared.subjects.all_questions(), refusals)
}

async fn put_question(
    shared: &Shared,
    client: &Client,
    inbox: &Inbox,
    name: Option<&str>,
) -> Result<(), Trouble> {
    for subject in shared.subjects.all_questions() {
        let asked = client.publish_with_reply(subject, inbox.subject.clone(), question(name)).await;
        asked.map_err(Trouble::refused)?;
    }
    client.flush().await.map_err(Trouble::refused)
}

/// Takes answers until the time is up, or the server says that there is nobody to answer.
async fn collect(
    shared: &Shared,
    inbox: &mut Inbox,
    name: Option<&str>,
    beliefs: &mut Beliefs,
) -> Result<(), Trouble> {
    // What we answer for ourselves we need not wait for.
    shared.owned.says(name).iter().for_each(|said| beliefs.hear(said));
    let (end, mut deaf) = (Instant::now() + WINDOW, shared.subjects.all_questions().len());
    while let Ok(answer) = timeout_at(end, inbox.answers.next()).await {
        let answer = answer.ok_or_else(|| Trouble::Lost("closed".to_owned()))?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            deaf -= 1;
            if deaf == 0 {
                break;
            }
        }
        hear(&answer, name, beliefs);
    }
    Ok(())
}

fn hear(answer: &Message, name: Option<&str>, beliefs: &mut Beliefs) {
    if let Ok(said) = decode_said(&answer.payload)
        && name.is_none_or(|name| name == said.service.name)
    {
        beliefs.hear(&said);
    }
}

/// Follows one service.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    name: String,
    live: Option<Live>,
}

/// A watch that runs.
struct Live {
    client: Client,
    inbox: Inbox,
    changes: SelectAll<Subscriber>,
    loss: BoxFuture<'static, Trouble>,
    asked: u32,
    ask_at: Instant,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, name: String) -> Self {
        Self { shared, name, live: None }
    }

    async fn begin(&mut self) -> Result<Beliefs, Trouble> {
        let shared = &self.shared;
        let client = shared.link.client().await?;
        let loss = Box::pin(shared.link.loss());
        let mut changes = Vec::new();
        for subject in shared.subjects.all_changes() {
            changes.push(client.subscribe(subject).await.map_err(Trouble::refused)?);
        }
        let mut inbox = Inbox::of(&client).await?;
        let mut beliefs = shared.memory.recall(&self.name);
        ask_through(shared, &client, &mut inbox, Some(&self.name), &mut beliefs).await?;
        let (changes, ask_at) = (stream::select_all(changes), Instant::now() + ASK_AT_FIRST);
        self.live = Some(Live { client, inbox, changes, loss, asked: 1, ask_at });
        Ok(beliefs)
    }
}

impl Source for Watcher {
    async fn start(&mut self) -> Result<Beliefs, Error> {
        self.begin().await.map_err(|trouble| trouble.cannot("watch", &self.shared.link))
    }

    async fn follow(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        match &mut self.live {
            Some(live) => live.follow(&self.shared, &self.name, beliefs).await,
            None => Err(Trouble::Lost("never made".to_owned())),
        }
        .map_err(|trouble| trouble.cannot("watch", &self.shared.link))
    }

    async fn make_sure(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let asking = ask_through(&self.shared, &live.client, &mut live.inbox, Some(&self.name), beliefs);
        asking.await.map_err(|trouble| trouble.cannot("watch", &self.shared.link))
    }

    fn lose(&mut self, beliefs: Beliefs) {
        self.shared.memory.lose(&self.name, beliefs);
    }
}

impl Live {
    /// Waits until the set may have changed.
    async fn follow(&mut self, shared: &Shared, name: &str, beliefs: &mut Beliefs) -> Result<(), Trouble> {
        tokio::select! {
            trouble = &mut self.loss => return Err(trouble),
            change = self.changes.next() => {
                let change = change.ok_or_else(|| Trouble::Lost("closed".to_owned()))?;
                match read_change(&change.payload) {
                    Some(Change::Put(said)) if said.service.name == name => beliefs.hear(&said),
                    Some(Change::Gone(gone)) if gone.name == name => beliefs.forget(&gone),
                    _ => {}
                }
            }
            answer = self.inbox.answers.next() => {
                let answer = answer.ok_or_else(|| Trouble::Lost("closed".to_owned()))?;
                hear(&answer, Some(name), beliefs);
            }
            () = sleep_until(self.ask_at) => {
                put_question(shared, &self.client, &self.inbox, Some(name)).await?;
                self.asked = self.asked.saturating_add(1);
                self.ask_at = Instant::now() + if self.asked < AT_FIRST { ASK_AT_FIRST } else { ASK };
                if self.asked == AT_FIRST {
                    shared.memory.settle(name);
                }
            }
        }
        Ok(())
    }
}
