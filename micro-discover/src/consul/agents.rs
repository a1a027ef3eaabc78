//! Asks one agent over HTTP, and the next one when that fails.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::exchange::Line;
pub(super) use super::exchange::{Answer, Trouble};
use super::tls::Connector;
use crate::escape::escape;
use crate::invalid::Invalid;

/// On whose behalf, and where, is asked.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) token: Option<String>,
    pub(super) datacenter: Option<String>,
    pub(super) namespace: Option<String>,
}

pub(super) struct Agents {
    hosts: Vec<String>,
    line: Line,
    /// The part of a query that is the same for all, for reading and for writing.
    reading: String,
    writing: String,
    turn: AtomicUsize,
}

/// How long it may take to answer what does not wait: an agent looks for a leader for seven seconds.
const ANSWER: Duration = Duration::from_secs(3);

impl Agents {
    pub(super) fn new(hosts: Vec<String>, scope: Scope, tls: Option<Connector>) -> Result<Self, Invalid> {
        let token = scope.token.map(|token| {
            let mut token =
                HeaderValue::try_from(token).map_err(|_| Invalid::new("the token: it is no header"))?;
            token.set_sensitive(true);
            Ok(token)
        });
        let namespace = scope.namespace.map(|ns| format!("&ns={}", escape(&ns))).unwrap_or_default();
        let datacenter = scope.datacenter.map(|dc| format!("&dc={}", escape(&dc))).unwrap_or_default();
        let reading = format!("{datacenter}{namespace}");
        let line = Line { token: token.transpose()?, tls };
        Ok(Self { hosts, line, reading, writing: namespace, turn: AtomicUsize::new(0) })
    }

    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Reads `path`, which has a query, from whichever agent answers.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        self.ask(Method::GET, &format!("{path}{}", self.reading), Bytes::new()).await
    }

    /// Reads `path`, which waits for news, from the agent in use. It is the next one's turn if that fails.
    pub(super) async fn wait<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Answer<T>, Trouble> {
        let path = format!("{path}{}", self.reading);
        let turn = self.turn.load(Relaxed);
        let waited = self.within(limit, turn, Method::GET, &path, Bytes::new()).await;
        if waited.as_ref().is_err_and(Trouble::is_of_agent) {
            self.give_up(turn);
        }
        waited
    }

    /// Reads `path` of the agent itself, where announcements are.
    pub(super) async fn own<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Trouble> {
        self.ask(Method::GET, &format!("{path}{}", self.writing), Bytes::new()).await
    }

    pub(super) async fn write(&self, path: &str, body: Vec<u8>) -> Result<(), Trouble> {
        let written = self.ask(Method::PUT, &format!("{path}{}", self.writing), body.into()).await;
        written.map(|Answer { said: IgnoredAny, .. }| ())
    }

    /// Asks each agent once, until one answers.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Trouble> {
        let mut tries = self.hosts.len();
        loop {
            tries -= 1;
            let turn = self.turn.load(Relaxed);
            match self.within(ANSWER, turn, method.clone(), path, body.clone()).await {
                Err(trouble) if trouble.is_of_agent() => {
                    self.give_up(turn);
                    if tries == 0 {
                        return Err(trouble);
                    }
                }
                answered => return answered,
            }
        }
    }

    /// Lets the next agent have a go, unless someone else already said so about this turn.
    fn give_up(&self, turn: usize) {
        self.turn.compare_exchange(turn, turn.wrapping_add(1), Relaxed, Relaxed).ok();
    }

    async fn within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        turn: usize,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Trouble> {
        let host = &self.hosts[turn % self.hosts.len()];
        let asked = timeout(limit, self.line.ask(host, method, path, body)).await;
        let Answer { index, said } = asked.unwrap_or_else(|_| Err(Trouble::late(host, limit)))?;
        // Who says nothing has done it.
        let json = if said.is_empty() { b"null" } else { &*said };
        let said = serde_json::from_slice(json).map_err(|error| Trouble::Junk(error.to_string()))?;
        Ok(Answer { index, said })
    }
}
