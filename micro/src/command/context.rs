//! What commands work on: a registry, and the moment they are told to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, pending};
use micro_discover::{Error, Registry, open};
use tokio::time::timeout;

use super::failure::{Failure, Kind};

/// What commands work on. Clones share it.
#[derive(Clone)]
pub struct Context {
    registry: Arc<dyn Registry>,
    /// The registry's URL, fit to be shown.
    url: String,
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
        Ok(Self { registry, url: redacted(url), stop: pending().boxed().shared() })
    }

    /// Tells commands that run until they are told to stop when that is: when `stop` ends.
    #[must_use]
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = stop.boxed().shared();
        self
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// The registry's URL without its password and query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends when commands are to stop.
    pub async fn stopped(&self) {
        self.stop.clone().await;
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
            Ok(answer) => answer.map_err(|error| failure(error).tried(tried())),
            Err(late) => {
                let what = format!("the {} registry does not answer", self.registry.backend());
                Err(Failure::new(Kind::Unavailable, what).source(late).tried(tried()).hint(RETRY))
            }
        }
    }
}

const RETRY: &str = "again later, or another --registry (MICRO_REGISTRY)";

fn failure(error: Error) -> Failure {
    let what = error.to_string();
    match error {
        Error::Invalid { .. } => Failure::new(Kind::Usage, what),
        Error::Unavailable { source, .. } => Failure::new(Kind::Unavailable, what).source(source).hint(RETRY),
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

/// A URL without what may be secret: what stands before the `@` of its authority, and its query.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        // A text that is no URL may be anything, even a secret.
        return "***".to_owned();
    };
    if scheme == "file" {
        return url.to_owned();
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?***"),
        None => (rest, ""),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{query}"),
        None => format!("{scheme}:{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        assert_eq!(redacted("etcd://user:hunter2@h:1"), "etcd://***@h:1");
        assert_eq!(redacted("etcd:user:hunter2@h:1"), "etcd://***@h:1");
        assert_eq!(redacted("consul://h:1?token=hunter2&passing"), "consul://h:1?***");
        assert_eq!(redacted("fixed://a:1;weight=3,b:2"), "fixed://a:1;weight=3,b:2");
        assert_eq!(redacted("file:/run/who@where?"), "file:/run/who@where?");
        assert_eq!(redacted("hunter2"), "***");
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
}
