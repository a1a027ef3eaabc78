//! One request that is over.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One request that is over: who called what, where it went, how it ended. Nothing of its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exchange {
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// The caller, as it names itself; empty when it does not.
    #[serde(default)]
    pub from: String,
    /// The service that was called.
    pub service: String,
    /// The endpoint that answered; empty when none did or it is not known.
    #[serde(default)]
    pub endpoint: String,
    /// The method, or a path.
    pub method: String,
    /// The gRPC or HTTP status, as `OK` or `404`.
    pub status: String,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub millis: f64,
    /// The request's id, if it has one.
    #[serde(default)]
    pub id: String,
}

impl Exchange {
    /// A request to `method` of `service` that ends now with `status`; the rest is for the caller to fill in.
    pub fn new(
        service: impl Into<String>,
        method: impl Into<String>,
        status: impl Into<String>,
        ok: bool,
    ) -> Self {
        Self {
            at: now(),
            from: String::new(),
            service: service.into(),
            endpoint: String::new(),
            method: method.into(),
            status: status.into(),
            ok,
            millis: 0.0,
            id: String::new(),
        }
    }

    /// All that it says in words.
    pub(super) fn texts(&self) -> [&str; 6] {
        [&self.from, &self.service, &self.endpoint, &self.method, &self.status, &self.id]
    }

    /// When it ended, as `12:04:59.001` in UTC.
    pub fn time_of_day(&self) -> String {
        let of_day = self.at % 86_400_000;
        let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (seconds, millis) = (of_day / 1000 % 60, of_day % 1000);
        format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
    }

    /// The request ends only now.
    pub fn ended_now(&mut self) {
        self.at = now();
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
