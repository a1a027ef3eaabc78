//! What this process announces, and the task that answers for it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::stream::{SelectAll, StreamExt};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::BACKEND;
use super::link::{Link, Trouble, round_trip};
use super::wire::{Change, Question, Subjects, change, in_pieces, publish, read_change, read_question, room};
use crate::owned::Table;
use crate::record::Service;
use crate::said::Said;

/// How long to wait before listening again, where that could not be done.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Owned {
    link: Arc<Link>,
    table: Arc<Table>,
    answering: Mutex<Option<JoinHandle<()>>>,
}

impl Owned {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, table: Arc::new(Table::new(BACKEND)), answering: Mutex::default() }
    }

    /// Answers for the endpoints of `service` from now on, and tells everyone.
    pub(super) async fn put(
        &self,
        client: &Client,
        subjects: &Subjects,
        service: &Service,
        ttl: Duration,
    ) -> Result<(), Trouble> {
        self.answer(client, subjects).await?;
        self.table.put(service, ttl);
        let ttl = (!ttl.is_zero()).then_some(ttl);
        let said = Said { service: service.clone(), ttl, owner: Some(self.table.owner.clone()) };
        self.tell(client, subjects, "create", &said).await
    }

    /// Answers no longer for the endpoints of `service`.
    pub(super) fn forget(&self, service: &Service) {
        self.table.forget(service);
    }

    /// Tells everyone that they are gone.
    pub(super) async fn say_gone(
        &self,
        client: &Client,
        subjects: &Subjects,
        service: &Service,
    ) -> Result<(), Trouble> {
        let owner = Some(self.table.owner.clone());
        self.tell(client, subjects, "delete", &Said { service: service.clone(), ttl: None, owner }).await
    }

    async fn tell(
        &self,
        client: &Client,
        subjects: &Subjects,
        what: &str,
        said: &Said,
    ) -> Result<(), Trouble> {
        for piece in in_pieces(said, room(client)) {
            publish(client, subjects.changes(), change(what, &piece)).await?;
        }
        round_trip(client).await
    }

    /// What this process has to say of `name`, or of everything.
    pub(super) fn says(&self, name: Option<&str>) -> Vec<Said> {
        self.table.says(name)
    }

    /// Starts the task that answers, unless it runs.
    async fn answer(&self, client: &Client, subjects: &Subjects) -> Result<(), Trouble> {
        let mut answering = self.answering.lock().await;
        if answering.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let mut ears = Ears::of(client.clone(), subjects).await?;
        let (table, link, subjects) = (self.table.clone(), self.link.clone(), subjects.clone());
        *answering = Some(tokio::spawn(async move {
            loop {
                ears.listen(&table).await;
                ears = Ears::again(&link, &subjects).await;
            }
        }));
        Ok(())
    }
}

/// What is asked, and what others say.
struct Ears {
    client: Client,
    questions: SelectAll<Subscriber>,
    changes: SelectAll<Subscriber>,
}

impl Ears {
    async fn of(client: Client, subjects: &Subjects) -> Result<Self, Trouble> {
        let (mut questions, mut changes) = (SelectAll::new(), SelectAll::new());
        for subject in subjects.all_questions() {
            questions.push(client.subscribe(subject).await.map_err(Trouble::refused)?);
        }
        for subject in subjects.all_changes() {
            changes.push(client.subscribe(subject).await.map_err(Trouble::refused)?);
        }
        Ok(Self { client, questions, changes })
    }

    /// The same over the next client, as soon as there is one.
    async fn again(link: &Link, subjects: &Subjects) -> Self {
        loop {
            let tried = async { Self::of(link.client().await?, subjects).await };
            match tried.await {
                Ok(ears) => return ears,
                Err(error) => tracing::debug!(%error, "questions about services cannot be heard yet"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Answers until the client ends.
    async fn listen(&mut self, table: &Table) {
        loop {
            tokio::select! {
                Some(question) = self.questions.next() => answer(table, &self.client, question).await,
                Some(change) = self.changes.next() => overhear(table, &change),
                else => return,
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(task) = self.answering.get_mut() {
            task.abort();
        }
    }
}

/// Answers a question with what is announced here.
async fn answer(table: &Table, client: &Client, message: Message) {
    let (Some(question), Some(inbox)) = (read_question(&message.payload), message.reply) else { return };
    let said = match &question {
        Question::All => table.says(None),
        Question::Of(name) => table.says(Some(name)),
    };
    for piece in said.iter().flat_map(|said| in_pieces(said, room(client))) {
        if let Err(error) = client.publish(inbox.clone(), piece.into()).await {
            tracing::debug!(%error, "a question about services is left unanswered");
            return;
        }
    }
}

/// Notes what others announce, and withdraw.
fn overhear(table: &Table, message: &Message) {
    match read_change(&message.payload) {
        Some(Change::Put(said)) => table.lose(&said),
        Some(Change::Gone(gone)) => table.let_go(&gone),
        None => {}
    }
}
