//! Asks one member of the cluster, and the next one when that fails, freezes or has no leader.

use std::future::Future;
use std::time::Duration;

use prost::Message;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use tower::BoxError;

use super::BACKEND;
use super::rpc::{Client, Options};
use crate::registry::Error;

/// How long a member may take to answer. A third of the shortest TTL that is of any use: whoever has to renew a lease
/// must find out in time that a member hangs.
pub(super) const ANSWER: Duration = Duration::from_millis(1_200);

pub(super) struct Members {
    endpoints: Vec<String>,
    options: Options,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    /// Counts the members tried so far; the next one is this modulo their number.
    turn: usize,
    client: Option<Client>,
    /// When nobody could be connected to last, at which turn, and why.
    failed: Option<(Instant, usize, Trouble)>,
}

/// Why a member did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it did not answer within {0:?}")]
    Late(Duration),
    #[error("{}", answer(.0))]
    Refused(Status),
    #[error("it ended the watch: {0}")]
    Ended(String),
    #[error("the lease is gone")]
    LostLease,
}

/// What a member said, or what is said for one that cannot be reached: the code only where it adds to that.
fn answer(status: &Status) -> String {
    match (status.code(), status.message()) {
        (code, "") => format!("it answered {code}"),
        (Code::Unavailable, message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

// Not the source: a status of tonic's tells itself, and all that is behind it, once more.
impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Trouble {
    /// Whether another member may well do better. A refusal is the cluster's word.
    fn is_of_member(&self) -> bool {
        match self {
            // Logins are asked for since that connection was made.
            Self::Refused(status) if status.message().contains("user name is empty") => true,
            Self::Refused(status) => {
                !matches!(
                    status.code(),
                    Code::InvalidArgument
                        | Code::NotFound
                        | Code::PermissionDenied
                        | Code::FailedPrecondition
                        | Code::OutOfRange
                ) && !self.is_too_much()
            }
            Self::LostLease => false,
            Self::Late(_) | Self::Ended(_) => true,
        }
    }

    /// Whether this looks like a cluster that has no leader, so that leases could not be renewed.
    pub(super) fn is_leaderless(&self) -> bool {
        let text = self.to_string();
        matches!(self, Self::Late(_))
            || ["no leader", "leader changed", "timed out"].iter().any(|t| text.contains(t))
    }

    /// Whether the revision that was asked for is not kept any more.
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::OutOfRange
            && status.message().contains("compacted"))
    }

    /// Whether whoever asked lacks the rights.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::PermissionDenied)
    }

    /// Whether the answer was larger than any may be.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::OutOfRange
            && status.message().contains("too large"))
    }

    /// Whether a member takes no request that says so much.
    pub(super) fn is_too_much(&self) -> bool {
        matches!(self, Self::Refused(status) if status.message().contains("request is too large")
            || status.message().contains("received message larger than max"))
    }

    /// Whether the lease that was named does not exist any more.
    pub(super) fn is_lost_lease(&self) -> bool {
        match self {
            Self::LostLease => true,
            Self::Refused(status) => status.message().contains("requested lease not found"),
            Self::Late(_) | Self::Ended(_) => false,
        }
    }

    pub(super) fn cannot(self, what: &str, members: &Members) -> Error {
        let what = format!("{what} at {}", members.endpoints.join(", "));
        Error::Unavailable { backend: BACKEND, what, source: BoxError::from(self) }
    }
}

impl Members {
    pub(super) fn new(endpoints: Vec<String>, options: Options) -> Self {
        Self { endpoints, options, used: Mutex::default() }
    }

    pub(super) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// A client of the member in use, and its turn. Logs in where that is asked for.
    async fn client(&self) -> Result<(Client, usize), (Trouble, usize)> {
        let asked = Instant::now();
        let mut used = self.used.lock().await;
        let turn = used.turn;
        if let Some(client) = &used.client {
            return Ok((client.clone(), turn));
        }
        match &used.failed {
            // While this one waited another found out: a hundred are not to do so one after the other.
            Some((at, turn, trouble)) if *at > asked => return Err((trouble.clone(), *turn)),
            _ => {}
        }
        let endpoint = &self.endpoints[turn % self.endpoints.len()];
        let connecting = Client::connect(endpoint, &self.options);
        let connected = match timeout(ANSWER, connecting).await {
            Ok(connected) => connected.map_err(Trouble::from),
            Err(_) => Err(Trouble::Late(ANSWER)),
        };
        match connected {
            Ok(client) => {
                used.client = Some(client.clone());
                Ok((client, turn))
            }
            Err(trouble) => {
                used.failed = Some((Instant::now(), turn, trouble.clone()));
                Err((trouble, turn))
            }
        }
    }

    /// Lets the next member have a go, unless someone else already said so about this turn.
    pub(super) async fn give_up(&self, turn: usize) {
        let mut used = self.used.lock().await;
        if used.turn == turn {
            (used.turn, used.client) = (turn.wrapping_add(1), None);
        }
    }

    /// Asks until a member answers, each member once, and the only member twice: its connection may be old, or
    /// its token.
    pub(super) async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> Result<(T, usize), Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut tries = self.endpoints.len().max(2);
        loop {
            tries -= 1;
            let (trouble, turn) = match self.client().await {
                Err(failed) => failed,
                Ok((client, turn)) => match timeout(ANSWER, request(client)).await {
                    Ok(Ok(answer)) => return Ok((answer, turn)),
                    Ok(Err(trouble)) => (trouble, turn),
                    Err(_) => (Trouble::Late(ANSWER), turn),
                },
            };
            if !trouble.is_of_member() {
                return Err(trouble);
            }
            self.give_up(turn).await;
            if tries == 0 {
                return Err(trouble);
            }
        }
    }

    /// One question to whoever answers it.
    pub(super) async fn say<Q, A>(&self, path: &'static str, question: &Q) -> Result<A, Trouble>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let request = |client: Client| async move { Ok(client.ask(path, question.clone()).await?) };
        self.ask(request).await.map(|(answer, _)| answer)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::net::TcpListener;

    use super::super::wire::{RangeRequest, RangeResponse};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_find_out_together_that_a_member_says_nothing() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = format!("http://{}", silent.local_addr().unwrap());
        let user = Some(("root".to_owned(), "secret".to_owned()));
        let members = Members::new(vec![member], Options { user, tls: None });
        let start = Instant::now();
        let question = RangeRequest { key: b"k".to_vec(), range_end: Vec::new(), limit: 1, revision: 0 };
        let ask = || members.say::<_, RangeResponse>("/etcdserverpb.KV/Range", &question);
        let answers = join_all((0..100).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.is_err()));
        assert!(start.elapsed() < 3 * ANSWER, "{:?}", start.elapsed());
    }
}
