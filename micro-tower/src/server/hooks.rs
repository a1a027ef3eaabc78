//! What is done around the life of a server.

use std::fmt;

use futures_util::future::BoxFuture;
use tower::BoxError;

use super::ServeError;

type Hook = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Hooks of one moment, run in the order in which they were added.
pub(crate) struct Hooks {
    moment: &'static str,
    hooks: Vec<Hook>,
}

impl Hooks {
    pub(crate) fn new(moment: &'static str) -> Self {
        Self { moment, hooks: Vec::new() }
    }

    pub(crate) fn add<F, R>(&mut self, hook: F)
    where
        F: FnOnce() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.hooks.push(Box::new(move || Box::pin(hook())));
    }

    /// Stops at the first that fails.
    pub(crate) async fn run(self) -> Result<(), ServeError> {
        for hook in self.hooks {
            hook().await.map_err(|source| ServeError::Hook { moment: self.moment, source })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("moment", &self.moment).field("hooks", &self.hooks.len()).finish()
    }
}
