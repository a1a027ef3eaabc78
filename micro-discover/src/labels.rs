//! Labels: what is said of a service, a method or an endpoint beside where it is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Labels by name: a [`BTreeMap`] whose clones share their memory until one of them is changed.
///
/// The replicas of a service mostly say the same of themselves, and every set a registry tells repeats it.
///
/// ```
/// use micro_discover::Labels;
///
/// let mut labels = Labels::from([("tier".to_owned(), "gold".to_owned())]);
/// let shared = labels.clone();
/// labels.insert("owner".to_owned(), "us".to_owned());
/// assert_eq!((labels.len(), shared.len()), (2, 1));
/// ```
#[derive(Clone)]
pub struct Labels(Arc<Held>);

/// Labels as a map, or as a text until somebody wants the map: of many endpoints most are never asked for theirs.
#[derive(Default)]
struct Held {
    /// Key and value in turn, in the order of the keys, each with [`END`] behind it; nothing where the map came first.
    text: Box<str>,
    map: OnceLock<Arc<BTreeMap<String, String>>>,
}

const END: char = '\0';

impl Held {
    fn map(&self) -> &Arc<BTreeMap<String, String>> {
        self.map.get_or_init(|| Arc::new(owned(unpacked(&self.text))))
    }
}

fn unpacked(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut texts = text.split_terminator(END);
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Labels {
    /// No labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The map itself, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<BTreeMap<String, String>> {
        self.0.map().clone()
    }

    /// Whether these are the same in memory, hence alike.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Each in the order of its key, without a map.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let map = self.0.map.get();
        let text = if map.is_none() { &*self.0.text } else { "" };
        let read = map.into_iter().flat_map(|map| map.iter());
        read.map(|(key, value)| (key.as_str(), value.as_str())).chain(unpacked(text))
    }
}

#[cfg(feature = "kubernetes")]
impl Labels {
    /// These, each with another key, in one allocation or two.
    pub(crate) fn packed(labels: &[(&str, &str)]) -> Self {
        let plain = |(key, value): &(&str, &str)| !key.contains(END) && !value.contains(END);
        if !labels.iter().all(plain) || !labels.is_sorted_by(|one, next| one.0 < next.0) {
            return Self::from(owned(labels.iter().copied()));
        }
        if labels.is_empty() {
            return Self::default();
        }
        let mut text =
            String::with_capacity(labels.iter().map(|(key, value)| key.len() + value.len() + 2).sum());
        for part in labels.iter().flat_map(|(key, value)| [key, value]) {
            text.push_str(part);
            text.push(END);
        }
        Self(Arc::new(Held { text: text.into(), map: OnceLock::new() }))
    }

    /// These and one more, or another value for its key.
    pub(crate) fn with(&self, key: &str, value: &str) -> Self {
        let others = self.pairs().filter(|(known, _)| *known != key);
        let mut labels: Vec<_> = others.chain([(key, value)]).collect();
        labels.sort_unstable();
        Self::packed(&labels)
    }

    /// The value of `key`, without a map.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.pairs().find_map(|(known, value)| (known == key).then_some(value))
    }
}

impl Default for Labels {
    fn default() -> Self {
        // All that have none share them: there may be many.
        static NONE: LazyLock<Labels> = LazyLock::new(|| Labels(Arc::default()));
        NONE.clone()
    }
}

impl Deref for Labels {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        self.0.map()
    }
}

/// Copies what is shared.
impl DerefMut for Labels {
    fn deref_mut(&mut self) -> &mut Self::Target {
        if Arc::get_mut(&mut self.0).is_none_or(|held| held.map.get().is_none()) {
            *self = Self::from(BTreeMap::clone(self.0.map()));
        }
        let map = Arc::get_mut(&mut self.0).and_then(|held| held.map.get_mut());
        Arc::make_mut(map.expect("a map was put there, for nobody else"))
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.shares(other) || self.pairs().eq(other.pairs())
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs().cmp(other.pairs())
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for pair in self.pairs() {
            (true, pair).hash(state);
        }
        // What follows is not taken for one more.
        false.hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self(Arc::new(Held { text: Box::default(), map: Arc::new(labels).into() }))
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(labels: [(String, String); N]) -> Self {
        Self::from(BTreeMap::from(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        let held = Arc::try_unwrap(labels.0).map(|held| (held.map.into_inner(), held.text));
        match held {
            Ok((Some(map), _)) => Arc::unwrap_or_clone(map),
            Ok((None, text)) => owned(unpacked(&text)),
            Err(held) => BTreeMap::clone(held.map()),
        }
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        Self::from(BTreeMap::from_iter(labels))
    }
}

impl IntoIterator for Labels {
    type Item = (String, String);
    type IntoIter = btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        BTreeMap::from(self).into_iter()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map().iter()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.pairs())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(from).map(Self::from)
    }
}

#[cfg(all(test, feature = "kubernetes"))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LABELS: [(&str, &str); 3] = [("hostname", ""), ("node", "n1"), ("pod", "p-ö")];

    fn both() -> (Labels, Labels) {
        let map = LABELS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        (Labels::packed(&LABELS), Labels::from(map))
    }

    #[test]
    fn labels_without_a_map_are_like_those_with_one() {
        let (packed, map) = both();
        assert_eq!((&packed, packed.cmp(&map)), (&map, Ordering::Equal));
        assert_eq!(HashSet::from([packed.clone()]), HashSet::from([map.clone()]));
        assert_eq!(format!("{packed:?}"), format!("{:?}", *map));
        assert_eq!((packed.find("node"), packed.find("zone")), (Some("n1"), None));
        assert_eq!(packed.with("node", "n2").find("node"), Some("n2"));
        assert_eq!(packed.with("a", "b").into_iter().count(), 4);
        assert!(packed.0.map.get().is_none());

        assert_eq!(*packed, *map);
        assert_eq!((packed.find("pod"), &packed), (Some("p-ö"), &map));
        assert_eq!(BTreeMap::from(both().0), BTreeMap::from(both().1));
        assert_eq!(Labels::packed(&[]), Labels::new());
    }

    #[test]
    fn a_change_is_nobody_elses() {
        for mut labels in [both().0, both().1] {
            let shared = labels.clone();
            labels.insert("node".to_owned(), "n2".to_owned());
            labels.insert("zone".to_owned(), "z".to_owned());
            assert_eq!((labels.len(), labels.find("node")), (4, Some("n2")));
            assert_eq!(shared, both().1);
        }
    }

    #[test]
    fn what_a_text_cannot_hold_is_a_map() {
        for labels in [&[("a", "x\0y"), ("b", "z")][..], &[("b", "z"), ("a", "x\0y")]] {
            let read = Labels::packed(labels);
            assert_eq!((read.len(), read["a"].as_str(), read["b"].as_str()), (2, "x\0y", "z"));
        }
    }
}
