//! A pod, and the records that it carries.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::gomicro;
use crate::kubernetes::json::{Cursor, Read};
use crate::kubernetes::mirror::Object;
use crate::kubernetes::slice::{Metadata, nullable};
use crate::merge::merge;
use crate::record::Service;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    #[serde(deserialize_with = "nullable")]
    pub(super) metadata: Metadata,
    #[serde(deserialize_with = "nullable")]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "nullable")]
    phase: String,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type", deserialize_with = "nullable")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    status: String,
}

impl Read for Pod {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, serde_json::Error> {
        cursor.value()
    }
}

impl Object for Pod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Pod {
    fn answers(&self) -> bool {
        let unready = |condition: &Condition| condition.kind == "Ready" && condition.status != "True";
        self.status.phase == "Running"
            && self.metadata.deletion_timestamp.is_none()
            && !self.status.conditions.iter().any(unready)
    }

    /// The records it carries, of every service or of one.
    fn records<'a>(&'a self, name: Option<&'a str>) -> impl Iterator<Item = Service> + 'a {
        let carried =
            self.metadata.annotations.iter().filter(|(key, _)| key.starts_with("micro.mu/service-"));
        let carried = carried.filter(|_| self.answers());
        carried.filter_map(move |(key, json)| match gomicro::decode(json.as_bytes()) {
            Ok(record) => name.is_none_or(|name| record.name == name).then_some(record),
            Err(error) => {
                tracing::debug!(pod = self.metadata.name, key, %error, "an annotation is no record");
                None
            }
        })
    }
}

/// One record per service and version; of two endpoints of one id the first pod's stands.
pub(super) fn records<'a>(pods: impl Iterator<Item = &'a Pod>, name: Option<&str>) -> Vec<Service> {
    let found: Vec<Service> = pods.flat_map(|pod| pod.records(name)).collect();
    let mut known = BTreeSet::new();
    let mut set = merge(&found);
    for service in &mut set {
        let name = service.name.clone();
        service.endpoints.retain(|endpoint| known.insert((name.clone(), endpoint.id.clone())));
    }
    set.retain(|service| !service.endpoints.is_empty());
    set
}
