//! Removes what the client cannot read, and gives up its connection over each time that it is sent.
//!
//! Whoever may write to the bucket can put headers there, or keys, that are no text. The next reading would end at them,
//! and the one after that, for ever. What is read here comes as JSON.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::kv::{Store, UpdateErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use serde::Deserialize;

use super::entries::{is_deleted, subjects};
use super::{Shared, context};
use crate::nats::link::Trouble;

/// Removes it from among the entries of `name`, or of all services. Whether there was any.
pub(super) async fn remove(shared: &Shared, name: Option<&str>) -> bool {
    remove_all(shared, name).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "whether the bucket has what cannot be read is not known");
        false
    })
}

async fn remove_all(shared: &Shared, name: Option<&str>) -> Result<bool, Trouble> {
    let (client, store) = shared.store().await?;
    let (context, subjects) = (context(&client), subjects(&store.prefix, name));
    let (mut next, mut entries, mut purged) = (1, Vec::new(), 0);
    let get = format!("STREAM.MSG.GET.{}", store.stream_name);
    loop {
        let wanted = serde_json::json!({ "seq": next, "next_by_subj": subjects });
        let message = match context.request(get.clone(), &wanted).await.map_err(Trouble::refused)? {
            Response::Ok(Found { message }) => message,
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => break,
            Response::Err { error } => return Err(Trouble::refused(error)),
        };
        next = message.sequence + 1;
        let mut subject = message.subject.clone();
        // The server puts this sign where a key is no text.
        let named = !subject.contains(char::REPLACEMENT_CHARACTER);
        match StreamMessage::try_from(message) {
            Ok(entry) if named => {
                entries.push(entry);
                continue;
            }
            _ => tracing::warn!(subject, "removing an entry of the bucket that cannot be read"),
        }
        if !named {
            // It cannot be purged without all that is older.
            put_again(&store, std::mem::take(&mut entries)).await?;
            subject.clone_from(&subjects);
        }
        let purge = store.stream.purge().sequence(next).filter(subject).await;
        purged += purge.map_err(Trouble::refused)?.purged;
    }
    Ok(purged > 0)
}

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

/// Puts what nobody has written or deleted since.
async fn put_again(store: &Store, entries: Vec<StreamMessage>) -> Result<(), Trouble> {
    for entry in entries.into_iter().filter(|entry| !is_deleted(&entry.headers)) {
        let key = entry.subject.strip_prefix(&store.prefix).unwrap_or_default();
        match store.update(key, entry.payload.clone(), entry.sequence).await {
            Err(error) if error.kind() != UpdateErrorKind::WrongLastRevision => {
                return Err(Trouble::refused(error));
            }
            _ => {}
        }
    }
    Ok(())
}
