//! Endpoints with the labels that a request asks for.

mod subsets;

use std::collections::BTreeMap;

pub use self::subsets::Subsets;
use crate::setting::InvalidSetting;

/// Sends a request to endpoints with the labels it asks for by its [`Wanted`] labels: a version, a tenant, a
/// shard. Among those, the policy inside chooses.
///
/// Only the sets of keys named by [`LabelSubset::by`] can be asked for, as their subsets are worked out when
/// the endpoints change. Where no endpoint has the labels, [`Otherwise`] says who takes the request. Envoy's
/// subset load balancer,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets>. For
/// primary and backups, rather than parts, there is [`LabelOrder`](super::LabelOrder).
///
/// ```
/// use micro_balance::policy::{LabelSubset, LeastRequest, Wanted};
///
/// let policy = LabelSubset::new(LeastRequest).by(["version"]).by(["version", "stage"]);
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Wanted::new([("version", "2")]));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LabelSubset<P> {
    policy: P,
    selectors: Vec<Selector>,
    otherwise: Otherwise,
    redundant: bool,
}

/// Keys whose values requests may ask for, in order.
#[derive(Clone, Debug)]
struct Selector {
    keys: Vec<String>,
    /// Those of them that are asked for where no endpoint has all.
    fewer: Option<Vec<String>>,
    /// Who takes such a request where no endpoint has all, if it is not as for the others.
    otherwise: Option<Otherwise>,
}

/// Who takes a request that asks for labels nobody has, or for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// Any endpoint; the default.
    #[default]
    Anybody,
    /// Nobody: the request fails with [`NoMatch`](crate::NoMatch).
    Nobody,
    /// Endpoints with these labels, and nobody where there are none.
    Those(BTreeMap<String, String>),
}

/// The labels that a request asks for, in its extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(BTreeMap<String, String>);

impl Wanted {
    /// Asks for endpoints that have all of these labels.
    pub fn new<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<P> LabelSubset<P> {
    /// No labels can be asked for yet; `policy` chooses within a subset.
    pub fn new(policy: P) -> Self {
        Self { policy, selectors: Vec::new(), otherwise: Otherwise::default(), redundant: false }
    }

    /// Requests may ask for values of exactly these keys.
    pub fn by<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = in_order(keys);
        if !self.selectors.iter().any(|selector| selector.keys == keys) {
            self.selectors.push(Selector { keys, fewer: None, otherwise: None });
        }
        self
    }

    /// Requests may ask for values of exactly these keys, and where no endpoint has all of them it is as if they had
    /// asked for those of `fewer` keys alone: a version, but in this zone if there is one. Envoy's `KEYS_SUBSET`.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `fewer` are some of the keys and not all.
    pub fn by_or<K: Into<String>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        fewer: impl IntoIterator<Item = K>,
    ) -> Result<Self, InvalidSetting> {
        let (keys, fewer) = (in_order(keys), in_order(fewer));
        let fits =
            !fewer.is_empty() && fewer.len() < keys.len() && fewer.iter().all(|key| keys.contains(key));
        if !fits {
            let named = fewer.join(", ");
            return Err(InvalidSetting::new(
                "the keys to fall back to",
                named,
                "some of the keys and not all",
            ));
        }
        self.selectors.retain(|selector| selector.keys != keys);
        self.selectors.push(Selector { keys, fewer: Some(fewer.clone()), otherwise: None });
        Ok(self.by(fewer))
    }

    /// Requests may ask for values of exactly these keys, and `otherwise` takes those for values that nobody has.
    pub fn by_otherwise<K: Into<String>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        otherwise: Otherwise,
    ) -> Self {
        let keys = in_order(keys);
        self.selectors.retain(|selector| selector.keys != keys);
        self.selectors.push(Selector { keys, fewer: None, otherwise: Some(otherwise) });
        self
    }

    /// Requests may ask for more than there are keys for, which is not heeded then: the most keys that they have all values
    /// of count, and of as many the first. Envoy's `allow_redundant_keys`.
    pub fn redundant(mut self) -> Self {
        self.redundant = true;
        self
    }

    /// Who takes requests for labels that nobody has, but for what [`by_otherwise`](Self::by_otherwise) says.
    pub fn otherwise(mut self, otherwise: Otherwise) -> Self {
        self.otherwise = otherwise;
        self
    }
}

fn in_order<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Vec<String> {
    let mut keys: Vec<_> = keys.into_iter().map(Into::into).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
