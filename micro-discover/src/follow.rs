//! Whole sets, out of beliefs that news change.

use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use tokio::time::sleep_until;

use crate::beliefs::Beliefs;
use crate::record::Service;
use crate::registry::Error;

/// Where news of one service come from.
pub(crate) trait Source: Send + 'static {
    /// Learns what there is to begin with.
    fn start(&mut self) -> impl Future<Output = Result<Beliefs, Error>> + Send;

    /// Waits for news and takes them. May be dropped at any await and called again.
    fn follow(&mut self, beliefs: &mut Beliefs) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes sure that what was not heard of for so long is not merely out of reach: asks once more, and fails where
    /// nobody could answer.
    fn make_sure(&mut self, beliefs: &mut Beliefs) -> impl Future<Output = Result<(), Error>> + Send;

    /// Notes what was believed when it failed.
    fn lose(&mut self, beliefs: Beliefs);
}

/// The set there is, and each that differs from the one before. Ends after an error.
pub(crate) fn sets(source: impl Source) -> BoxStream<'static, Result<Vec<Service>, Error>> {
    let following = Following { source, beliefs: None, last: None, failed: false };
    stream::unfold(following, Following::next).boxed()
}

struct Following<S> {
    source: S,
    beliefs: Option<Beliefs>,
    last: Option<Vec<Service>>,
    failed: bool,
}

impl<S: Source> Following<S> {
    async fn next(mut self) -> Option<(Result<Vec<Service>, Error>, Self)> {
        if self.failed {
            return None;
        }
        loop {
            if let Err(error) = self.wait().await {
                self.failed = true;
                if let Some(beliefs) = self.beliefs.take() {
                    self.source.lose(beliefs);
                }
                return Some((Err(error), self));
            }
            let Some(beliefs) = &mut self.beliefs else { continue };
            let set = if self.last.is_none() { Some(beliefs.services()) } else { beliefs.changed() };
            if set.is_some() && set != self.last {
                self.last.clone_from(&set);
                return set.map(|set| (Ok(set), self));
            }
        }
    }

    /// Waits until the set may have changed.
    async fn wait(&mut self) -> Result<(), Error> {
        let Some(beliefs) = &mut self.beliefs else {
            self.beliefs = Some(self.source.start().await?);
            return Ok(());
        };
        match beliefs.next_end() {
            None => self.source.follow(beliefs).await,
            Some(end) => tokio::select! {
                news = self.source.follow(beliefs) => news,
                () = sleep_until(end) => {
                    if beliefs.is_over() {
                        self.source.make_sure(beliefs).await?;
                        beliefs.end_what_is_over();
                    }
                    Ok(())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::record::Endpoint;
    use crate::said::Said;

    /// Hears of somebody else all the time, and of `a` when it asks.
    struct Busy;

    impl Busy {
        fn hear(beliefs: &mut Beliefs, id: &str) {
            let service = Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()));
            beliefs.hear(&Said { service, ttl: Some(Duration::from_secs(10)), owner: None });
        }
    }

    impl Source for Busy {
        async fn start(&mut self) -> Result<Beliefs, Error> {
            let mut beliefs = Beliefs::default();
            Self::hear(&mut beliefs, "a");
            Ok(beliefs)
        }

        async fn follow(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
            sleep(Duration::from_millis(1)).await;
            Self::hear(beliefs, "b");
            Ok(())
        }

        async fn make_sure(&mut self, beliefs: &mut Beliefs) -> Result<(), Error> {
            Self::hear(beliefs, "a");
            Ok(())
        }

        fn lose(&mut self, _: Beliefs) {}
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_given_up_unasked_however_much_there_is_to_hear() {
        let mut sets = sets(Busy);
        for many in [1, 2] {
            assert_eq!(sets.next().await.unwrap().unwrap()[0].endpoints.len(), many);
        }
        assert!(timeout(Duration::from_secs(60), sets.next()).await.is_err(), "nothing changes");
    }
}
