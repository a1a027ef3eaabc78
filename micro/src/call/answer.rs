//! What comes back.

use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde::Serializer;
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
    Json(serde_json::Value),
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
    method: MethodDescriptor,
    headers: MetadataMap,
    body: Streaming<DynamicMessage>,
    /// What is wrong with what is still being sent.
    wrong: Wrong,
}

impl Answers {
    pub(super) fn new(
        method: MethodDescriptor,
        response: Response<Streaming<DynamicMessage>>,
        wrong: Wrong,
    ) -> Self {
        let (headers, body, _) = response.into_parts();
        Self { method, headers, body, wrong }
    }

    /// The method that answers.
    pub fn method(&self) -> &MethodDescriptor {
        &self.method
    }

    /// What came before the first answer.
    pub fn headers(&self) -> &MetadataMap {
        &self.headers
    }

    /// The next answer; none when the call is over and well.
    pub async fn next(&mut self) -> Option<Result<Answer, Error>> {
        let answer = tokio::select! {
            biased;
            answer = self.body.message() => answer,
            error = self.wrong.error() => return Some(Err(error)),
        };
        match answer {
            Ok(message) => message.map(|message| Ok(Answer::Message(message))),
            Err(status) => Some(Err(status.into())),
        }
    }

    /// What comes after the last answer. What comes before is dropped, if it was not taken.
    ///
    /// # Errors
    ///
    /// [`Error::Status`].
    pub async fn trailers(&mut self) -> Result<MetadataMap, Error> {
        Ok(self.body.trailers().await?.unwrap_or_default())
    }
}
