//! Which key of a request it is that stays with one endpoint.

use std::{fmt, net::IpAddr};

use http::{Extensions, HeaderName};
use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::{Context, Policy, Turnover, Turns, of_inner::of_inner, override_host::cookie};
use crate::{endpoint::Endpoint, protocol::HashKey, setting::InvalidSetting};

/// Gives the policy inside the request's key: from a header, a cookie, the query, the client's address, or whatever a
/// closure reads from the head of the request. What is elsewhere a layer above hashes, into a [`HashKey`](crate::HashKey).
///
/// Several keys make one hash; one that is `last` ends the search where it is found. A request without any
/// keeps the [`HashKey`](crate::HashKey) it has, if it has one, or what another `HashBy` around this one found. Envoy's
/// hash policies, <https://github.com/grpc/proposal/blob/master/A42-xds-ring-hash-lb-policy.md>.
///
/// ```
/// use micro_balance::policy::{HashBy, RingHash};
///
/// let by_user = HashBy::header("x-user", RingHash::new())?;
/// // By the session, and by the user where there is none.
/// let by_session = HashBy::header("x-user", HashBy::cookie("session", RingHash::new()))?;
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
pub struct HashBy<P> {
    policy: P,
    keys: Vec<Key>,
}

struct Key {
    read: Box<Read>,
    last: bool,
}

type Read = dyn Fn(&Context<'_>) -> Option<u64> + Send + Sync;

impl<P> HashBy<P> {
    /// Hashes by what `key` reads.
    pub fn new(key: impl Fn(&Context<'_>) -> Option<u64> + Send + Sync + 'static, policy: P) -> Self {
        Self { policy, keys: vec![Key { read: Box::new(key), last: false }] }
    }

    /// Hashes by a header, its values joined by commas where there are several. One that is empty is the
    /// hash 0, <https://github.com/grpc/proposal/blob/master/A76-ring-hash-improvements.md>.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] where `name` is no name of a header, or ends in `-bin`.
    pub fn header(name: &str, policy: P) -> Result<Self, InvalidSetting> {
        let header = header_name(name)?;
        Ok(Self::new(move |context| hash_of_header(&header, context), policy))
    }

    /// Hashes by a header as `hash` does, its first value only; one that is empty is not there.
    ///
    /// # Errors
    ///
    /// As [`HashBy::header`].
    pub fn header_with(
        name: &str,
        hash: impl Fn(&[u8]) -> HashKey + Send + Sync + 'static,
        policy: P,
    ) -> Result<Self, InvalidSetting> {
        let header = header_name(name)?;
        let read = move |context: &Context<'_>| {
            let value = context.header(&header).filter(|value| !value.is_empty())?;
            Some(hash(value.as_bytes()).0)
        };
        Ok(Self::new(read, policy))
    }

    /// Hashes by the value of a cookie, without the quotes that may be around it; one that is empty is not there.
    pub fn cookie(name: impl Into<String>, policy: P) -> Self {
        let name = name.into();
        let read = move |context: &Context<'_>| {
            let value = cookie(&name, context)?;
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            (!bare.is_empty()).then(|| xxh64(bare.as_bytes(), 0))
        };
        Self::new(read, policy)
    }

    /// Hashes by the first value of a parameter of the query, as it stands there; one that is empty is there.
    pub fn query(name: impl Into<String>, policy: P) -> Self {
        let name = name.into();
        let read = move |context: &Context<'_>| {
            let pairs = context.parts?.uri.query()?.split('&');
            let mut pairs = pairs.map(|text| text.split_once('=').unwrap_or((text, "")));
            let (_, value) = pairs.find(|&(key, _)| key == name)?;
            Some(xxh64(value.as_bytes(), 0))
        };
        Self::new(read, policy)
    }

    /// Hashes by an address, as that of the client, which whoever received the request left in its extensions. Its port does
    /// not count, nor whether an address of IPv4 is written as one of IPv6.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use micro_balance::policy::{HashBy, Maglev};
    ///
    /// let by_client = HashBy::address(|found| found.get::<SocketAddr>().map(SocketAddr::ip), Maglev::new());
    /// ```
    pub fn address(read: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static, policy: P) -> Self {
        let read = move |context: &Context<'_>| {
            let address = read(context.parts?.extensions)?.to_canonical();
            Some(xxh64(address.to_string().as_bytes(), 0))
        };
        Self::new(read, policy)
    }

    /// Hashes by what `key` reads as well.
    #[must_use]
    pub fn and(mut self, key: impl Fn(&Context<'_>) -> Option<u64> + Send + Sync + 'static) -> Self {
        self.keys.push(Key { read: Box::new(key), last: false });
        self
    }

    /// Reads no key after the one added last where there is a hash by then.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.keys.iter_mut().last().into_iter().for_each(|key| key.last = true);
        self
    }

    /// What the policy inside is to know.
    #[inline]
    fn hashed<'a>(&self, context: &Context<'a>) -> Context<'a> {
        Context { hash: self.hash_of_keys(context).or(context.hash), ..*context }
    }

    fn hash_of_keys(&self, context: &Context<'_>) -> Option<u64> {
        let mut hash: Option<u64> = None;
        for key in &self.keys {
            if let Some(part) = (key.read)(context) {
                hash = Some(hash.map_or(part, |hash| hash.rotate_left(1) ^ part));
            }
            if key.last && hash.is_some() {
                break;
            }
        }
        hash
    }
}

/// The name in lower case, if it is one whose value is text.
fn header_name(name: &str) -> Result<HeaderName, InvalidSetting> {
    let error = || InvalidSetting::new("the header to hash", name, "the name of a header that is not binary");
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| error())?;
    if header.as_str().ends_with("-bin") { Err(error()) } else { Ok(header) }
}

fn hash_of_header(name: &HeaderName, context: &Context<'_>) -> Option<u64> {
    let mut values = context.parts?.headers.get_all(name).iter();
    let mut hasher = Xxh64::new(0);
    let first = values.next()?;
    hasher.update(first.as_bytes());
    let mut empty = first.is_empty();
    for value in values {
        empty = false;
        hasher.update(b",");
        hasher.update(value.as_bytes());
    }
    Some(if empty { 0 } else { hasher.digest() })
}

impl<P: Policy> Policy for HashBy<P> {
    type Table = P::Table;

    fn table(&self, endpoints: &[Endpoint]) -> P::Table {
        self.policy.table(endpoints)
    }

    fn update(&self, before: &P::Table, turnover: &Turnover<'_>) -> Option<P::Table> {
        self.policy.update(before, turnover)
    }

    #[inline]
    fn pick(&self, table: &P::Table, endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.pick(table, endpoints, &self.hashed(context))
    }

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        self.policy.hash(&self.hashed(context))
    }

    fn claims(&self, table: &P::Table, context: &Context<'_>) -> bool {
        self.policy.claims(table, &self.hashed(context))
    }

    fn admits(&self, table: &P::Table, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        self.policy.admits(table, endpoint, &self.hashed(context))
    }

    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.keeps(draining, &self.hashed(context))
    }

    fn turns(&self, endpoints: &[Endpoint]) -> Option<Turns> {
        self.policy.turns(endpoints)
    }

    of_inner!();

    fn is_strict(&self) -> bool {
        self.policy.is_strict()
    }
}

impl<P: fmt::Debug> fmt::Debug for HashBy<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashBy").field("policy", &self.policy).field("keys", &self.keys.len()).finish()
    }
}
