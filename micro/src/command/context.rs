//! What commands work on: a registry, a broker, and the moment they are told to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, pending};
use micro_broker::Broker;
use micro_discover::{Error, Registry, open};
use micro_tower::transport::Connector;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::failure::{Failure, Kind};
use super::local::{self, Place};
use super::redact::redacted;
use crate::call::{Caller, Documents, documents};

/// What commands work on. Clones share it.
#[derive(Clone)]
pub struct Context {
    registry: Arc<dyn Registry>,
    caller: Caller,
    connector: Connector,
    /// The registry's URL, fit to be shown.
    url: String,
    broker_url: Option<String>,
    broker: Arc<OnceCell<Arc<dyn Broker>>>,
    local: bool,
    stop: Shared<BoxFuture<'static, ()>>,
}

/// How long a registry may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Context {
    /// Works on the registry that `url` names, see [`micro_discover::open`].
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] when it names none.
    pub fn open(url: &str) -> Result<Self, Failure> {
        let registry = open(url).map_err(|error| {
            Failure::new(Kind::Usage, error.to_string())
                .tried(format!("to open the registry {}", redacted(url)))
                .hint("--registry file: (this user's), file:/dir, or another that micro --help names")
        })?;
        Ok(Self::over(registry, url))
    }

    /// Works on `registry`, which is shown as `url`.
    pub fn over(registry: Arc<dyn Registry>, url: &str) -> Self {
        Self {
            caller: Caller::new(registry.clone()),
            connector: Connector::new(),
            registry,
            url: redacted(url),
            // Subscribers and publishers of the HTTP broker find each other in the same registry.
            broker_url: Some(format!("http:?registry={url}")),
            broker: Arc::default(),
            local: false,
            stop: pending().boxed().shared(),
        }
    }

    /// Publishes and subscribes by the broker that `url` names, see [`micro_broker::open`]. Unless set, over HTTP,
    /// with the registry as the meeting place.
    #[must_use]
    pub fn broker_url(mut self, url: impl Into<String>) -> Self {
        (self.broker_url, self.broker) = (Some(url.into()), Arc::default());
        self
    }

    /// Publishes and subscribes by `broker`.
    #[must_use]
    pub fn with_broker(mut self, broker: Arc<dyn Broker>) -> Self {
        (self.broker_url, self.broker) = (None, Arc::new(OnceCell::new_with(Some(broker))));
        self
    }

    /// Calls by `caller`, which works on the same registry.
    #[must_use]
    pub fn with_caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Connects to endpoints by `connector`, for other timeouts or TLS: to call them, to ask them by themselves, and as a
    /// gateway to them.
    #[must_use]
    pub fn with_connector(mut self, connector: Connector) -> Self {
        self.connector = connector.clone();
        self.caller = self.caller.clients(move |client| client.connector(connector.clone()));
        self
    }

    /// Lets arguments name files and standard input of this process: for faces whose caller owns it.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Lets arguments name nothing of this machine, whatever was said before: for whoever is not at its keyboard.
    #[must_use]
    pub fn for_guests(mut self) -> Self {
        self.local = false;
        self
    }

    /// Tells commands that run until they are told to stop when that is: when `stop` ends.
    #[must_use]
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = stop.boxed().shared();
        self
    }

    /// What connects to endpoints.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// What calls services.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The registry's URL without its password and query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The broker.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] when the URL names none.
    pub async fn broker(&self) -> Result<&Arc<dyn Broker>, Failure> {
        let open = || async {
            let url = self.broker_url.as_deref().unwrap_or("memory:");
            micro_broker::open(url).map_err(|error| {
                Failure::new(Kind::Usage, error.to_string())
                    .tried(format!("to open the broker {}", redacted(url)))
                    .hint("--broker http:, nats://127.0.0.1:4222 or amqp://127.0.0.1:5672")
            })
        };
        self.broker.get_or_try_init(open).await
    }

    /// Ends when commands are to stop.
    pub async fn stopped(&self) {
        self.stop.clone().await;
    }

    /// The text that `argument` gives: itself, or what is in the file of `@FILE`, or on standard input for `-`.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] when it cannot be read, or not by whoever asks.
    pub async fn text(&self, argument: &str, what: &str) -> Result<String, Failure> {
        self.may_read(argument, what)?;
        local::text(argument, what).await
    }

    /// The bytes that `argument` gives, as [`text`](Self::text) does, whatever they are.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub async fn bytes(&self, argument: &str, what: &str) -> Result<Vec<u8>, Failure> {
        self.may_read(argument, what)?;
        local::bytes(argument, what).await
    }

    /// The JSON documents that `argument` gives, as [`text`](Self::text) does; those on standard input as they
    /// come.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub async fn documents(&self, argument: &str) -> Result<Documents, Failure> {
        self.may_read(argument, "the request")?;
        match local::place(argument) {
            Place::Input => Ok(local::input()),
            _ => Ok(documents(&local::text(argument, "the request").await?)),
        }
    }

    /// Whether files may be named at all.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] when not.
    pub fn may_name_files(&self, what: &str) -> Result<(), Failure> {
        if self.local {
            return Ok(());
        }
        let what = format!("{what} cannot be read from a file here");
        Err(Failure::new(Kind::Usage, what).hint("what is in it, as the argument itself"))
    }

    /// Lets `what` be written to a file, if whoever gives the command is at this machine.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`].
    pub fn may_write_files(&self, what: &str) -> Result<(), Failure> {
        if self.local {
            return Ok(());
        }
        Err(Failure::new(Kind::Usage, format!("{what} cannot be written to a file here")))
    }

    fn may_read(&self, argument: &str, what: &str) -> Result<(), Failure> {
        match local::place(argument) {
            Place::Here(_) => Ok(()),
            Place::File(_) | Place::Input => self.may_name_files(what),
        }
    }

    /// Waits for the registry's answer to `call`, for 10 s at most. `tried` says what it was asked, as "to list".
    ///
    /// # Errors
    ///
    /// What the registry says, in the toolkit's terms.
    pub async fn ask<T>(
        &self,
        tried: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let tried = || format!("{tried}, in the registry {}", self.url);
        match timeout(ANSWER_WITHIN, call).await {
            Ok(answer) => answer.map_err(|error| failure(error, self.retry()).tried(tried())),
            Err(late) => {
                let what = format!("the {} registry does not answer", self.registry.backend());
                Err(Failure::new(Kind::Unavailable, what).source(late).tried(tried()).hint(self.retry()))
            }
        }
    }

    /// What to try where it cannot be reached.
    fn retry(&self) -> &'static str {
        match self.registry.backend() {
            "sidecar" => "again later, or another --proxy (MICRO_PROXY_ADDRESS)",
            _ => "again later, or another --registry (MICRO_REGISTRY)",
        }
    }
}

fn failure(error: Error, retry: &'static str) -> Failure {
    let what = error.to_string();
    match error {
        Error::Invalid { .. } => Failure::new(Kind::Usage, what),
        Error::Unavailable { source, .. } => Failure::new(Kind::Unavailable, what).source(source).hint(retry),
        Error::Unsupported { .. } => {
            Failure::new(Kind::Other, what).hint("another --registry (MICRO_REGISTRY)")
        }
        _ => Failure::new(Kind::Other, what),
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("registry", &self.registry).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_in_no_failure() {
        let failure = Context::open("nosuch://user:hunter2@h:1").unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_never_answers_is_unavailable() {
        let context = Context::open("memory:silent").unwrap();
        let failure = context.ask("to list", pending::<Result<(), Error>>()).await.unwrap_err();
        assert_eq!(failure.kind(), Kind::Unavailable);
        assert_eq!(failure.what_was_tried(), Some("to list, in the registry memory:silent"));
    }

    #[tokio::test]
    async fn a_face_for_strangers_opens_no_file_for_them() {
        let context = Context::open("memory:").unwrap();
        for argument in ["@/etc/passwd", "-"] {
            assert_eq!(context.text(argument, "the record").await.unwrap_err().kind(), Kind::Usage);
            assert_eq!(context.documents(argument).await.unwrap_err().kind(), Kind::Usage);
        }
        assert_eq!(context.text("{}", "the record").await.unwrap(), "{}");
        assert_eq!(context.local().text("@/dev/null", "the record").await.unwrap(), "");
    }
}
