//! The parts of a set of endpoints by their labels, and the choice of one.

use std::collections::HashMap;

use xxhash_rust::xxh64::Xxh64;

use super::{LabelSubset, Otherwise, Selector, Wanted};
use crate::{
    endpoint::Endpoint,
    policy::{Context, Policy, of_inner::of_inner, part::Part},
};

/// The parts of the set that [`LabelSubset`] chooses from.
#[derive(Debug)]
pub struct Subsets<T> {
    by_labels: HashMap<u64, Part<T>>,
    otherwise: Option<Part<T>>,
    /// By selector, for those that have one of their own.
    others: Vec<Option<Part<T>>>,
}

impl<P: Policy> LabelSubset<P> {
    /// The place of the keys that are asked for, if they may be.
    fn selector(&self, wanted: &Wanted) -> Option<usize> {
        if !self.redundant {
            return self.selectors.iter().position(|selector| selector.keys.iter().eq(wanted.0.keys()));
        }
        let asks = |selector: &Selector| selector.keys.iter().all(|key| wanted.0.contains_key(key));
        let asked = self.selectors.iter().enumerate().filter(|(_, selector)| asks(selector));
        // Of the longest the first.
        asked.rev().max_by_key(|(_, selector)| selector.keys.len()).map(|(place, _)| place)
    }

    /// The keys that are asked for, then those that they fall back to, each by its place.
    fn steps(&self, wanted: Option<&Wanted>) -> impl Iterator<Item = usize> {
        std::iter::successors(wanted.and_then(|wanted| self.selector(wanted)), |&place| {
            let fewer = self.selectors[place].fewer.as_ref()?;
            self.selectors.iter().position(|selector| selector.keys == *fewer)
        })
    }

    /// The labels that are asked for by these keys.
    fn labels<'a>(
        &'a self,
        place: usize,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (&'a String, &'a String)> {
        wanted.0.iter().filter(move |(key, _)| self.selectors[place].keys.contains(key))
    }

    /// The part that a request asks for, or else the one that it falls back to by fewer keys, or by none.
    fn asked<'a>(&self, table: &'a Subsets<P::Table>, wanted: Option<&Wanted>) -> Option<&'a Part<P::Table>> {
        let mut last = None;
        for place in self.steps(wanted) {
            let labels = wanted.map(|wanted| digest(self.labels(place, wanted)));
            if let Some(part) = labels.and_then(|labels| table.by_labels.get(&labels)) {
                return Some(part);
            }
            last = Some(place);
        }
        match last.filter(|&place| self.selectors[place].otherwise.is_some()) {
            Some(place) => table.others.get(place)?.as_ref(),
            None => table.otherwise.as_ref(),
        }
    }

    fn part_of(&self, otherwise: &Otherwise, endpoints: &[Endpoint]) -> Option<Part<P::Table>> {
        let indexes: Vec<_> = match otherwise {
            Otherwise::Nobody => return None,
            Otherwise::Anybody => (0..endpoints.len()).collect(),
            Otherwise::Those(labels) => {
                let has = |&index: &usize| has_all(&endpoints[index], labels.iter());
                (0..endpoints.len()).filter(has).collect()
            }
        };
        (!indexes.is_empty()).then(|| Part::new(&self.policy, endpoints, indexes))
    }
}

fn has_all<'a>(endpoint: &Endpoint, mut labels: impl Iterator<Item = (&'a String, &'a String)>) -> bool {
    let metadata = &endpoint.attributes().metadata;
    labels.all(|(key, value)| metadata.get(key) == Some(value))
}

/// One number for pairs of key and value, which come in the order of their keys.
fn digest<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> u64 {
    let mut hasher = Xxh64::new(0);
    for text in labels.flat_map(|(key, value)| [key, value]) {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    hasher.digest()
}

impl<P: Policy> Policy for LabelSubset<P> {
    type Table = Subsets<P::Table>;

    fn table(&self, endpoints: &[Endpoint]) -> Self::Table {
        let mut members = HashMap::<u64, Vec<usize>>::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let metadata = &endpoint.attributes().metadata;
            for Selector { keys, .. } in &self.selectors {
                let labels: Vec<_> = keys.iter().filter_map(|key| metadata.get_key_value(key)).collect();
                if labels.len() == keys.len() {
                    members.entry(digest(labels.into_iter())).or_default().push(index);
                }
            }
        }
        let by_labels = members
            .into_iter()
            .map(|(digest, indexes)| (digest, Part::new(&self.policy, endpoints, indexes)));
        let other = |selector: &Selector| self.part_of(selector.otherwise.as_ref()?, endpoints);
        Subsets {
            by_labels: by_labels.collect(),
            otherwise: self.part_of(&self.otherwise, endpoints),
            others: self.selectors.iter().map(other).collect(),
        }
    }

    fn pick(&self, table: &Self::Table, _: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.asked(table, context.extension::<Wanted>())?.pick(&self.policy, context)
    }

    fn hash(&self, context: &Context<'_>) -> Option<u64> {
        self.policy.hash(context)
    }

    fn claims(&self, table: &Self::Table, context: &Context<'_>) -> bool {
        let wanted = context.extension::<Wanted>();
        let labels = |place| wanted.map(|wanted| digest(self.labels(place, wanted)));
        let first = self.steps(wanted).next().and_then(labels);
        first.is_some_and(|labels| table.by_labels.contains_key(&labels))
            || self.asked(table, wanted).is_some_and(|part| self.policy.claims(part.table(), context))
    }

    fn admits(&self, table: &Self::Table, endpoint: &Endpoint, context: &Context<'_>) -> bool {
        let within = |part: &Part<P::Table>| self.policy.admits(part.table(), endpoint, context);
        let wanted = context.extension::<Wanted>();
        let (mut other, mut otherwise) = (&table.otherwise, &self.otherwise);
        for place in self.steps(wanted) {
            let labels = || wanted.into_iter().flat_map(|wanted| self.labels(place, wanted));
            let (part, belongs) = (table.by_labels.get(&digest(labels())), has_all(endpoint, labels()));
            if belongs || part.is_some() {
                return belongs && part.is_none_or(within);
            }
            (other, otherwise) = match &self.selectors[place].otherwise {
                Some(own) => (table.others.get(place).unwrap_or(&None), own),
                None => (&table.otherwise, &self.otherwise),
            };
        }
        other.as_ref().is_none_or(within)
            && match otherwise {
                Otherwise::Anybody => true,
                Otherwise::Nobody => false,
                Otherwise::Those(labels) => has_all(endpoint, labels.iter()),
            }
    }

    fn keeps(&self, draining: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        self.policy.keeps(draining, context)
    }

    of_inner!();

    fn is_strict(&self) -> bool {
        let others = self.selectors.iter().filter_map(|selector| selector.otherwise.as_ref());
        others.chain([&self.otherwise]).any(|otherwise| *otherwise != Otherwise::Anybody)
            || self.policy.is_strict()
    }
}
