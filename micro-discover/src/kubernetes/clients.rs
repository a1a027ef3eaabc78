//! Makes clients of the API server, and makes them anew when what they know may be out of date.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Failure, Kind};

/// Where clients come from.
#[derive(Clone)]
pub(super) enum Source {
    /// In a cluster, or else as kubeconfig says.
    Infer,
    Config(Box<kube::Config>),
    Client(kube::Client),
}

/// The client in use, and how to make another: what a client needs to know is read when it is made.
pub(super) struct Clients {
    source: Source,
    made: Mutex<Option<Made>>,
}

struct Made {
    client: kube::Client,
    at: Instant,
}

/// How long a client is used at least, though it reaches nobody.
const LEAST_USE: Duration = Duration::from_secs(5);

impl Clients {
    pub(super) fn new(source: Source) -> Self {
        Self { source, made: Mutex::new(None) }
    }

    /// The client that there is, or a new one.
    pub(super) async fn get(&self) -> Result<kube::Client, Failure> {
        if let Some(made) = &*self.made() {
            return Ok(made.client.clone());
        }
        let wrong = |error: &(dyn std::error::Error + 'static)| Failure {
            kind: Kind::Other,
            ..Failure::unreachable(error)
        };
        let mut config = match &self.source {
            Source::Client(client) => return Ok(client.clone()),
            Source::Config(config) => (**config).clone(),
            Source::Infer => kube::Config::infer().await.map_err(|error| wrong(&error))?,
        };
        // Retries are counted here, not below.
        config.default_retry = false;
        let client = kube::Client::try_from(config).map_err(|error| wrong(&error))?;
        *self.made() = Some(Made { client: client.clone(), at: Instant::now() });
        Ok(client)
    }

    /// Its token was refused.
    pub(super) fn refused(&self) {
        self.forget(Duration::ZERO);
    }

    /// It reaches nobody: that may be because the server shows another certificate, or is somewhere else.
    pub(super) fn reaches_nobody(&self) {
        self.forget(LEAST_USE);
    }

    /// Makes the next request with a new client, if this one is as old as that.
    fn forget(&self, age: Duration) {
        self.made().take_if(|made| made.at.elapsed() >= age);
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Option<Made>> {
        self.made.lock().expect("nothing under this lock can panic")
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Infer => "inferred".to_owned(),
            Source::Config(config) => config.cluster_url.to_string(),
            Source::Client(_) => "a client".to_owned(),
        };
        f.debug_tuple("Clients").field(&source).finish()
    }
}
