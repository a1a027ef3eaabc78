//! A JetStream consumer: where a subscription's events are kept for it.

use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull;

use crate::error::Error;
use crate::nats::streams::Streams;

/// The consumer to pull from.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) context: Context,
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) config: pull::Config,
    /// A group, which outlives its members.
    pub(super) lasts: bool,
    pub(super) streams: Arc<Streams>,
    /// What keeps the dead letters of this one until somebody reads them.
    pub(super) keeper: Option<Box<Target>>,
}

impl Target {
    /// Makes the consumer, or sees that it exists.
    pub(super) async fn create(&self) -> Result<(), Error> {
        let made = self.context.create_consumer_on_stream(self.config.clone(), &*self.stream).await;
        made.map(drop)
            .map_err(|error| Error::Unavailable { backend: super::jetstream::BACKEND, source: error.into() })
    }

    /// Makes it again, and its stream, where the server has come back without what it had stored.
    pub(super) async fn create_anew(&mut self) -> Result<(), Error> {
        if self.create().await.is_err() {
            let topic = &self.config.filter_subject;
            self.streams.forget(topic);
            self.stream = self.streams.find(&self.context, topic).await?;
            self.create().await?;
        }
        match &mut self.keeper {
            Some(keeper) => Box::pin(keeper.create_anew()).await,
            None => Ok(()),
        }
    }

    pub(super) fn use_context(&mut self, context: &Context) {
        self.context = context.clone();
        if let Some(keeper) = &mut self.keeper {
            keeper.use_context(context);
        }
    }

    /// Where the server is asked for events.
    pub(super) fn ask(&self) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name)
    }
}
