//! EndpointSlices as the API server writes them, reduced to what decides where requests go.
//!
//! Anything may be absent or null: an empty slice has `"endpoints": null`, a bookmark nothing but a version.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Error;

use super::json::{Cursor, Read};
use super::targets::targets;
use crate::labels::Labels;

/// The label that ties a slice to its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An `EndpointSlice` of `discovery.k8s.io/v1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slice {
    pub(super) metadata: Metadata,
    pub(super) address_type: String,
    pub(super) endpoints: Vec<Target>,
    pub(super) ports: Vec<Port>,
}

impl Read for Slice {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let mut slice = Self::default();
        cursor.object(|key, cursor| {
            match key {
                "metadata" => slice.metadata = cursor.nullable()?,
                "addressType" => slice.address_type = cursor.nullable()?,
                "endpoints" => slice.endpoints = targets(cursor)?,
                "ports" => slice.ports = cursor.nullable()?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(slice)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) uid: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) resource_version: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) deletion_timestamp: Option<String>,
    #[serde(rename = "continue", deserialize_with = "nullable")]
    pub(super) next: String,
}

/// An endpoint of a slice; with several addresses only the first has a meaning.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Target {
    /// None where it is a name, or nothing.
    pub(super) ip: Option<IpAddr>,
    pub(super) conditions: Conditions,
    /// None where it is no name for one.
    pub(super) zone: Option<Arc<str>>,
    pub(super) hints: Hints,
    pub(super) uid: Box<str>,
    /// `node`, `hostname` and `pod`, as far as they are said.
    pub(super) labels: Labels,
}

/// The label that says where a pod runs.
pub(super) const NODE: &str = "node";
pub(super) const HOSTNAME: &str = "hostname";

impl Target {
    pub(super) fn node(&self) -> Option<&str> {
        self.labels.find(NODE)
    }

    pub(super) fn hostname(&self) -> Option<&str> {
        self.labels.find(HOSTNAME)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Conditions {
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    pub(super) terminating: Option<bool>,
}

/// For whom an endpoint is meant, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hints {
    pub(super) zones: Vec<String>,
    pub(super) nodes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<String>,
    pub(super) app_protocol: Option<String>,
}

/// One line of a watch. `T` is what is watched; an error's object is a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event<T> {
    /// `ADDED` or `MODIFIED`: the object as it is now.
    Applied(T),
    /// `DELETED`: the object as it was last.
    Deleted(T),
    /// `BOOKMARK`: all up to this version has been sent; `true` when that is the whole initial state.
    Bookmark(Metadata, bool),
    /// `ERROR`: the watch ends.
    Failed(Status),
    /// A word this client does not know, from a newer server.
    Unknown,
}

/// What the API server says of a failure. Proxies and some of its own filters leave out any part of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(deserialize_with = "nullable")]
    pub(super) code: u16,
    #[serde(deserialize_with = "nullable")]
    pub(super) reason: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) message: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) details: Details,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Details {
    #[serde(deserialize_with = "nullable")]
    pub(super) retry_after_seconds: u64,
}

impl<T: Read> Read for Event<T> {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let (mut kind, mut event, mut object) = (None::<String>, None, None);
        cursor.object(|key, cursor| {
            match (key, &kind) {
                ("type", _) => kind = Some(cursor.value()?),
                ("object", Some(kind)) => event = Some(Self::of(kind, cursor)?),
                // Nobody writes it first.
                ("object", None) => {
                    object = Some(*cursor);
                    cursor.skip()?;
                }
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        match (event, kind, object) {
            (Some(event), ..) => Ok(event),
            (None, Some(kind), Some(mut object)) => Self::of(&kind, &mut object),
            _ => Err(Error::custom("an event without its type or its object")),
        }
    }
}

impl<T: Read> Event<T> {
    /// Reads the object of an event of this type.
    fn of(kind: &str, cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Bookmark {
            metadata: Metadata,
        }
        Ok(match kind {
            "ADDED" | "MODIFIED" => Self::Applied(T::read(cursor)?),
            "DELETED" => Self::Deleted(T::read(cursor)?),
            "BOOKMARK" => {
                let Bookmark { metadata } = cursor.value()?;
                let ends = metadata.annotations.get("k8s.io/initial-events-end").is_some_and(|v| v == "true");
                Self::Bookmark(metadata, ends)
            }
            "ERROR" => Self::Failed(cursor.value()?),
            _ => {
                cursor.skip()?;
                Self::Unknown
            }
        })
    }
}

/// `null` is what Go writes for an empty list: the default.
pub(super) fn nullable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}
