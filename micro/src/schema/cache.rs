//! Schemas that are asked for again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;
use super::found::Schema;

/// Keeps schemas by name, and fetches each once however many ask for it. Clones share what is kept.
///
/// One that has become old is fetched again; while that fails the old one stays. At most 1024 are kept.
#[derive(Clone, Debug)]
pub struct Schemas {
    kept: Arc<Mutex<HashMap<String, Slot>>>,
    fresh: Duration,
}

/// One name's schema, and when it was fetched. Whoever fetches holds the lock.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Schema)>>>;

const MOST: usize = 1024;
/// A server is not asked more often for what it did not have.
const AGAIN: Duration = Duration::from_secs(1);

impl Default for Schemas {
    /// Schemas that are fresh for a minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl Schemas {
    /// Schemas that are fresh for so long.
    pub fn new(fresh: Duration) -> Self {
        Self { kept: Arc::default(), fresh }
    }

    /// The schema `name`, which `fetch` gets if it is not here, or old.
    ///
    /// # Errors
    ///
    /// That of `fetch`, where there is nothing to fall back on.
    pub async fn get<F>(&self, name: &str, fetch: impl FnOnce() -> F) -> Result<Schema, Error>
    where
        F: Future<Output = Result<Schema, Error>>,
    {
        self.newer(name, self.fresh, fetch).await
    }

    /// The same, but fetched anew if it is older than a second: for when it turns out to lack something.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn refresh<F>(&self, name: &str, fetch: impl FnOnce() -> F) -> Result<Schema, Error>
    where
        F: Future<Output = Result<Schema, Error>>,
    {
        self.newer(name, AGAIN.min(self.fresh), fetch).await
    }

    async fn newer<F>(&self, name: &str, than: Duration, fetch: impl FnOnce() -> F) -> Result<Schema, Error>
    where
        F: Future<Output = Result<Schema, Error>>,
    {
        let slot = self.slot(name);
        let mut kept = slot.lock().await;
        if let Some((at, schema)) = kept.as_ref()
            && at.elapsed() < than
        {
            return Ok(schema.clone());
        }
        match (fetch().await, kept.as_mut()) {
            (Ok(schema), _) => {
                *kept = Some((Instant::now(), schema.clone()));
                Ok(schema)
            }
            (Err(_), Some((_, old))) => Ok(old.clone()),
            (Err(error), None) => {
                // What was never found takes no room.
                drop(kept);
                self.forget(name);
                Err(error)
            }
        }
    }

    /// Forgets the schema `name`.
    pub fn forget(&self, name: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn slot(&self, name: &str) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST
            && !kept.contains_key(name)
            && let Some(any) = kept.keys().next().cloned()
        {
            kept.remove(&any);
        }
        kept.entry(name.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use tonic::Status;

    use super::*;
    use crate::schema::found::tests::schema;

    fn failed() -> Error {
        Error::Reflection(Box::new(Status::unavailable("nobody is there")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_schema_is_fetched_once_while_it_is_fresh_and_kept_while_its_server_is_gone() {
        let (schemas, fetched) = (Schemas::default(), AtomicU32::new(0));
        let found = schema("syntax = 'proto3'; message M {}");
        let fetch = || async {
            fetched.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
            Ok(found.clone())
        };
        let (one, other) = tokio::join!(schemas.get("a", fetch), schemas.get("a", fetch));
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(fetched.load(Relaxed), 1);

        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(schemas.get("a", || async { Err(failed()) }).await.is_ok(), "the old one stays");
        schemas.get("a", fetch).await.unwrap();
        assert_eq!(fetched.load(Relaxed), 2);
        schemas.refresh("a", fetch).await.unwrap();
        assert_eq!(fetched.load(Relaxed), 2, "not twice within a second");
        tokio::time::advance(Duration::from_secs(2)).await;
        schemas.refresh("a", fetch).await.unwrap();
        assert_eq!(fetched.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn what_is_never_found_takes_no_room() {
        let schemas = Schemas::default();
        for name in 0..10 {
            assert!(schemas.get(&name.to_string(), || async { Err(failed()) }).await.is_err());
        }
        assert!(schemas.kept.lock().unwrap().is_empty());
    }
}
