//! Where records are in etcd, and how they are written there.

use crate::gomicro;
use crate::record::Service;

/// The layouts of go-micro: since v1.12, and before.
pub(super) const ROOTS: [&str; 2] = ["/micro/registry/", "/micro-registry/"];

/// Where the records of `name`, or of all services, are.
pub(super) fn prefixes(name: Option<&str>) -> [String; 2] {
    ROOTS.map(|root| match name {
        Some(name) => format!("{root}{name}/"),
        None => root.to_owned(),
    })
}

/// The first key that does not start with `prefix`, which is of our making and ends in a slash.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// How endpoints are put: as one of go-micro's eras does. Both are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Layout {
    #[default]
    Current,
    V0,
}

impl Layout {
    /// Where an endpoint is put.
    pub(super) fn key(self, service: &str, id: &str) -> String {
        let root = match self {
            Self::Current => ROOTS[0],
            Self::V0 => ROOTS[1],
        };
        format!("{root}{service}/{id}")
    }

    /// What is put there.
    pub(super) fn value(self, record: &Service) -> Vec<u8> {
        match self {
            Self::Current => gomicro::encode(record),
            Self::V0 => gomicro::encode_v0(record),
        }
    }
}
