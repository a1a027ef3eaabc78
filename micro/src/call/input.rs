//! What is sent: JSON documents, one message each.

use std::fmt;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tower::BoxError;

use super::error::Error;
use crate::schema::Json;

/// JSON documents, one message each, as they come.
pub struct Documents(BoxStream<'static, Result<Bytes, BoxError>>);

impl Documents {
    /// The documents of `stream`. An error in it ends the call.
    pub fn new(stream: impl futures_core::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self(stream.boxed())
    }
}

impl Documents {
    /// All of them, once there are no more.
    pub(super) async fn all(self) -> Result<Vec<Bytes>, Error> {
        self.0.try_collect().await.map_err(Error::Input)
    }

    /// Them as values, and what is wrong with one: the stream then stops for ever.
    pub(super) fn values(self) -> (BoxStream<'static, Value>, Wrong) {
        let (failed, receiver) = oneshot::channel();
        let read = |document: Result<Bytes, BoxError>| {
            let document = document.map_err(Error::Input)?;
            serde_json::from_slice(&document).map_err(|error| Error::Input(error.into()))
        };
        (until_wrong(self, read, failed), Wrong(Some(receiver)))
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Documents")
    }
}

/// One document.
pub fn one(document: impl Into<Bytes>) -> Documents {
    Documents::new(stream::iter([Ok(document.into())]))
}

/// What keeps `text` from being JSON documents, one after the other.
pub(crate) fn wrong(text: &str) -> Option<Error> {
    let mut read = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (number, error) = (1..).zip(&mut read).find_map(|(number, one)| Some((number, one.err()?)))?;
    let error = Error::Input(error.into());
    Some(if number == 1 { error } else { numbered(number, error) })
}

/// The documents in `text`, one after the other, with white space or nothing between them.
pub fn documents(text: &str) -> Documents {
    let read = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
    let read: Vec<_> = read
        .map(|document| match document {
            Ok(document) => Ok(Bytes::from(Box::<str>::from(document).into_string())),
            Err(error) => Err(error.into()),
        })
        .collect();
    Documents::new(stream::iter(read))
}

/// Says what is wrong with what is being sent, once that is known.
#[derive(Debug)]
pub(super) struct Wrong(Option<oneshot::Receiver<Error>>);

impl Wrong {
    /// Ends only if something is wrong.
    pub(super) async fn error(&mut self) -> Error {
        if let Some(receiver) = &mut self.0 {
            let error = receiver.await;
            self.0 = None;
            if let Ok(error) = error {
                return error;
            }
        }
        std::future::pending().await
    }
}

/// The one document there is, for `method`.
pub(super) async fn single(mut documents: Documents, method: &str) -> Result<Bytes, Error> {
    let count = |count| Error::Input(format!("{method} takes one message, and {count}").into());
    let first = documents.0.next().await.ok_or_else(|| count("there is none"))?.map_err(Error::Input)?;
    match documents.0.next().await {
        Some(_) => Err(count("there are more")),
        None => Ok(first),
    }
}

/// The messages for `method`. Where one of them is wrong the stream stops for ever, and says so through the
/// other half: the call is to be given up then, not ended.
pub(super) async fn messages(
    documents: Documents,
    method: &MethodDescriptor,
    json: Json,
) -> Result<(BoxStream<'static, DynamicMessage>, Wrong), Error> {
    let (failed, receiver) = oneshot::channel();
    let wrong = Wrong(Some(receiver));
    let input = method.input();
    let read = move |document: Result<Bytes, BoxError>| {
        let document = document.map_err(Error::Input)?;
        json.read(&input, &document).map_err(|error| Error::Input(error.into()))
    };
    if !method.is_client_streaming() {
        let message = read(Ok(single(documents, method.full_name()).await?))?;
        return Ok((stream::iter([message]).boxed(), wrong));
    }
    Ok((until_wrong(documents, read, failed), wrong))
}

/// The documents as `read` reads them. The first that it cannot is told of, by its number, and nothing comes after it.
fn until_wrong<T: Send + 'static>(
    documents: Documents,
    read: impl Fn(Result<Bytes, BoxError>) -> Result<T, Error> + Clone + Send + 'static,
    failed: oneshot::Sender<Error>,
) -> BoxStream<'static, T> {
    let documents = documents.0.zip(stream::iter(1..));
    let each = stream::unfold((documents, Some(failed)), move |(mut documents, mut failed)| {
        let read = read.clone();
        async move {
            let (document, number) = documents.next().await?;
            match read(document) {
                Ok(one) => Some((one, (documents, failed))),
                Err(error) => {
                    if let Some(failed) = failed.take() {
                        failed.send(numbered(number, error)).ok();
                    }
                    std::future::pending().await
                }
            }
        }
    });
    each.boxed()
}

/// What is wrong with one document of several.
#[derive(Debug, thiserror::Error)]
#[error("document {number}")]
struct Numbered {
    number: u64,
    source: BoxError,
}

fn numbered(number: u64, error: Error) -> Error {
    match error {
        Error::Input(source) => Error::Input(Numbered { number, source }.into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_stand_one_after_the_other() {
        let read = |text: &str| documents(text).0.map(|d| d.map_err(|e| e.to_string())).collect::<Vec<_>>();
        let all = read("{\"a\": 1}{}\n [1,\n 2]").await;
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(all, ["{\"a\": 1}", "{}", "[1,\n 2]"]);
        assert!(read("  ").await.is_empty());
        assert!(read("{} {").await[1].as_ref().unwrap_err().contains("line 1"));
    }
}
