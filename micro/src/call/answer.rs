//! What comes back.

use std::fmt;

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use prost_reflect::DynamicMessage;
use serde::Serializer;
use serde_json::Value;
use tonic::metadata::MetadataMap;
use tonic::{Response, Streaming};

use super::error::Error;
use super::input::Wrong;
use crate::schema::{Json, JsonError};

/// One message that came back.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// Of a type that is known.
    Message(DynamicMessage),
    /// JSON as it came, from services that speak it.
    Json(Value),
}

impl Answer {
    /// It as JSON on one line.
    ///
    /// # Errors
    ///
    /// [`JsonError`] for what JSON has no words for.
    pub fn json(&self, form: &Json) -> Result<String, JsonError> {
        match self {
            Self::Message(message) => form.write(message),
            Self::Json(value) => Ok(value.to_string()),
        }
    }

    /// It for any serializer.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(&self, form: &Json, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Message(message) => form.serialize(message, to),
            Self::Json(value) => serde::Serialize::serialize(value, to),
        }
    }
}

/// The answers of a call, as they come. Dropping them cancels what is left of it.
#[derive(Debug)]
pub struct Answers {
    headers: MetadataMap,
    body: Body,
}

enum Body {
    Messages { stream: Box<Streaming<DynamicMessage>>, wrong: Wrong },
    Texts(BoxStream<'static, Result<Value, Error>>),
}

impl Answers {
    /// `wrong` says what is wrong with what is still being sent.
    pub(super) fn messages(response: Response<Streaming<DynamicMessage>>, wrong: Wrong) -> Self {
        let (headers, stream, _) = response.into_parts();
        Self { headers, body: Body::Messages { stream: Box::new(stream), wrong } }
    }

    pub(super) fn texts(stream: impl Stream<Item = Result<Value, Error>> + Send + 'static) -> Self {
        Self { headers: MetadataMap::new(), body: Body::Texts(stream.boxed()) }
    }

    /// What came before the first answer.
    pub fn headers(&self) -> &MetadataMap {
        &self.headers
    }

    /// The next answer; none when the call is over and well.
    pub async fn next(&mut self) -> Option<Result<Answer, Error>> {
        match &mut self.body {
            Body::Messages { stream, wrong } => {
                let answer = tokio::select! {
                    biased;
                    answer = stream.message() => answer,
                    error = wrong.error() => return Some(Err(error)),
                };
                answer.map_err(Error::from).map(|message| message.map(Answer::Message)).transpose()
            }
            Body::Texts(texts) => texts.next().await.map(|text| text.map(Answer::Json)),
        }
    }

    /// What comes after the last answer. What comes before is dropped, if it was not taken.
    ///
    /// # Errors
    ///
    /// [`Error::Status`].
    pub async fn trailers(&mut self) -> Result<MetadataMap, Error> {
        match &mut self.body {
            Body::Messages { stream, .. } => Ok(stream.trailers().await?.unwrap_or_default()),
            Body::Texts(_) => Ok(MetadataMap::new()),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages { .. } => "Messages",
            Self::Texts(_) => "Texts",
        })
    }
}
