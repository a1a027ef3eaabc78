//! The endpoint that a request names, if it is there.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, header};

use super::{Context, Policy, Turnover, of_inner::of_inner};
use crate::{endpoint::Endpoint, setting::InvalidSetting};

/// Sends a request to the endpoint it names, if that is ready and not ejected, and leaves all others to the
/// policy inside: sessions, or a caller that knows better.
///
/// Sources are asked in the order in which they were added, and the first that names an endpoint that is
/// there decides. A retry of what has been there goes to the next that is named, as with Envoy's, and then elsewhere,
/// except with [`OverrideHost::strict`]. For sessions by cookie, [`SessionLayer`](crate::session::SessionLayer) sets it.
/// One that is named gets its request also while it is drained: weight 0, or removed and
/// [given time](crate::Builder::drain). gRPC's and Envoy's override host,
/// <https://github.com/grpc/proposal/blob/master/A55-xds-stateful-session-affinity.md>.
///
/// ```
/// use micro_balance::policy::{Override, OverrideHost, PeakEwma, Source};
///
/// let policy = OverrideHost::new(PeakEwma::new()).by(Source::Extension).by(Source::cookie("session"));
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Override::new("10.0.0.1:80"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OverrideHost<P> {
    policy: P,
    sources: Vec<Source>,
    strict: bool,
}

/// Where a request names an endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// An [`Override`] in its extensions.
    Extension,
    /// The value of a header is the id, or several with commas between them, in the order in which they are to be tried.
    Header(HeaderName),
    /// The value of a cookie is the id in Base64.
    Cookie(String),
}

impl Source {
    /// By a header.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] where `name` is no name of a header.
    pub fn header(name: &str) -> Result<Self, InvalidSetting> {
        let error = |_| InvalidSetting::new("the header that names an endpoint", name, "a header's name");
        HeaderName::from_bytes(name.as_bytes()).map(Self::Header).map_err(error)
    }

    /// By a cookie.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self::Cookie(name.into())
    }

    /// Whether it is the endpoint of this id that a request names, before any other.
    fn names(&self, id: &str, context: &Context<'_>) -> bool {
        match self {
            Self::Extension => context.extension::<Override>().is_some_and(|named| *named.0 == *id),
            Self::Header(name) => context.header(name).is_some_and(|value| {
                value == id || value.to_str().is_ok_and(|list| listed(list).next() == Some(id))
            }),
            Self::Cookie(name) => {
                cookie(name, context).is_some_and(|value| value == BASE64_STANDARD.encode(id.as_bytes()))
            }
        }
    }
}

/// The id of the endpoint that a request is to go to, in its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override(Arc<str>);

impl Override {
    /// Names an endpoint by its id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
}

impl<P> OverrideHost<P> {
    /// No source is asked yet.
    pub fn new(policy: P) -> Self {
        Self { policy, sources: Vec::new(), strict: false }
    }

    /// Asks `source` as well.
    pub fn by(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Fails a request with [`NoMatch`](crate::NoMatch) where it names no endpoint that is there.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

/// Endpoints by id, and the table of the policy inside [`OverrideHost`].
#[derive(Debug)]
pub struct ById<T> {
    indexes: HashMap<Arc<str>, usize>,
    table: T,
}

impl<T> ById<T> {
    fn new(endpoints: &[Endpoint], table: T) -> Self {
        let id = |(index, endpoint): (usize, &Endpoint)| (endpoint.shared_id().clone(), index);
        Self { indexes: endpoints.iter().enumerate().map(id).collect(), table }
    }

    /// Those of the endpoints that are named, in the order in which they are to be tried.
    fn named<'a>(
        &'a self,
        sources: &'a [Source],
        context: &'a Context<'_>,
    ) -> impl Iterator<Item = usize> + 'a {
        sources.iter().flat_map(|source| {
            let header = match source {
                Source::Header(name) => context.header(name).and_then(|value| value.to_str().ok()),
                _ => None,
            };
            let one = match source {
                Source::Extension => context.extension::<Override>().and_then(|named| self.index(&named.0)),
                Source::Header(_) => header.and_then(|id| self.index(id)),
                Source::Cookie(name) => cookie(name, context).and_then(|value| self.decoded(value)),
            };
            // An id may have a comma in it.
            let list = header.filter(|_| one.is_none()).unwrap_or_default();
            one.into_iter().chain(listed(list).filter_map(|id| self.index(id)))
        })
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.indexes.get(id).copied()
    }

    fn decoded(&self, value: &str) -> Option<usize> {
        let mut id = [0; 512];
        let length = BASE64_STANDARD.decode_slice(value, &mut id).ok()?;
        self.index(std::str::from_utf8(id.get(..length)?).ok()?)
    }
}

/// The ids of a list.
fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// The value of a cookie, among all that the request has.
pub(crate) fn cookie<'a>(name: &str, context: &Context<'a>) -> Option<&'a str> {
    let values = context.parts?.headers.get_all(header::COOKIE).iter();
    let mut pairs = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

impl<P: Policy> Policy for OverrideHost<P> {
    type Table = ById<P::Table>;

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        ById::new(endpoints, self.policy.table(endpoints))
    }

    fn update(&self, before: &Self::Table, turnover: &Turnover<'_>) -> Option<Self::Table> {
        Some(ById::new(turnover.after(), self.policy.update(&before.table, turnover)?))
    }

    fn pick(&self, table: &Self::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        match table.named(&self.sources, context).nth(context.attempt as usize) {
            Some(index) => Some(index),
            None if self.strict => None,
            None => self.policy.pick(&table.table, endpoints, context),
        }
    }

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        self.policy.hash(context)
    }

    fn claims(&self, table: &Self::Table, context: &Context<'_>) -> bool {
        table.named(&self.sources, context).next().is_some() || self.policy.claims(&table.table, context)
    }

    fn admits(&self, table: &Self::Table, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        let names = |source: &Source| source.names(endpoint.id(), context);
        // A session goes to its endpoint first.
        let is_elsewhere = || table.named(&self.sources, context).next().is_some();
        if context.attempt == 0 && !self.sources.iter().any(names) && (self.strict || is_elsewhere()) {
            return false;
        }
        self.policy.admits(&table.table, endpoint, context)
    }

    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        let names =
            |source: &Source| draining.iter().position(|endpoint| source.names(endpoint.id(), context));
        let within = || self.policy.keeps(draining, context).filter(|_| !self.strict);
        self.sources.iter().find_map(names).or_else(within)
    }

    of_inner!();

    fn is_strict(&self) -> bool {
        self.strict || self.policy.is_strict()
    }
}
