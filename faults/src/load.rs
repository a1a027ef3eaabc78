//! Requests at a steady rate, whatever becomes of them, and what their callers noticed.

use std::{future::Future, time::Duration};

use http::{Method, Request};
use http_body_util::BodyExt as _;
use micro_tower::Client;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tonic::body::Body;
use tower::BoxError;

/// How many requests a second are begun unless said.
pub(crate) const RATE: u32 = 200;

/// What is sent, how often, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) method: Method,
    pub(crate) rate: u32,
    pub(crate) length: Duration,
    /// After how long a caller gives up.
    pub(crate) patience: Duration,
}

impl Load {
    /// GETs, at the usual rate.
    pub(crate) fn gets(seconds: u64) -> Self {
        let (method, length) = (Method::GET, Duration::from_secs(seconds));
        Self { method, rate: RATE, length, patience: Duration::from_secs(60) }
    }

    /// POSTs, which must not be repeated.
    pub(crate) fn posts(seconds: u64) -> Self {
        Self { method: Method::POST, ..Self::gets(seconds) }
    }

    /// Sends, while `trouble` happens, and waits for both.
    pub(crate) async fn run(
        &self,
        client: &Client,
        trouble: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Noticed> {
        let (mut running, begin) = (JoinSet::new(), Instant::now());
        let mut noticed = Noticed::default();
        let arrivals = async {
            let (mut number, every) = (0, Duration::from_secs(1) / self.rate);
            while every * number < self.length {
                let due = begin + every * number;
                sleep_until(due).await;
                let asked = ask(client.clone(), self.method.clone(), u64::from(number));
                let patience = self.patience;
                running.spawn(async move {
                    let answer = timeout(patience, asked).await;
                    (answer.unwrap_or_else(|_| Err(GAVE_UP.into())), due.elapsed())
                });
                while let Some(Ok(done)) = running.try_join_next() {
                    noticed.note(done);
                }
                number += 1;
            }
        };
        let ((), troubled) = tokio::join!(arrivals, trouble);
        troubled?;
        while let Some(done) = running.join_next().await {
            noticed.note(done?);
        }
        noticed.millis.sort_unstable();
        Ok(noticed)
    }
}

const GAVE_UP: &str = "the caller gave up";

/// What callers noticed.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    pub(crate) failed: usize,
    pub(crate) gave_up: usize,
    /// Why some of them failed.
    pub(crate) reasons: Vec<String>,
    millis: Vec<u128>,
}

impl Noticed {
    fn note(&mut self, (answer, took): (Result<(), BoxError>, Duration)) {
        self.millis.push(took.as_millis());
        let Err(error) = answer else { return };
        if error.to_string() == GAVE_UP {
            self.gave_up += 1;
            return;
        }
        self.failed += 1;
        if self.reasons.len() < 100 {
            self.reasons.push(format!("{:#}", anyhow::Error::from_boxed(error)));
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.millis.len()
    }

    pub(crate) fn p99(&self) -> u128 {
        self.millis.get(self.calls() * 99 / 100).copied().unwrap_or_default()
    }

    pub(crate) fn max(&self) -> u128 {
        self.millis.last().copied().unwrap_or_default()
    }

    /// As every scenario shows it.
    pub(crate) fn summary(&self) -> String {
        let why = self.reasons.first().map(|reason| format!(", as: {reason}")).unwrap_or_default();
        format!(
            "{} of {} failed, p99 {} ms, max {} ms{why}",
            self.failed,
            self.calls(),
            self.p99(),
            self.max()
        )
    }
}

/// Sends one request, and wants its own number back.
async fn ask(client: Client, method: Method, number: u64) -> Result<(), BoxError> {
    let body = if method == Method::POST { Body::new(number.to_string()) } else { Body::empty() };
    let request = Request::builder().method(method).uri("/").header("x-call", number).body(body)?;
    let response = client.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("it was answered with {status}").into());
    }
    let body = response.into_body().collect().await?.to_bytes();
    if *body != *number.to_string().as_bytes() {
        return Err("WRONG: it has the answer of another request".into());
    }
    Ok(())
}
