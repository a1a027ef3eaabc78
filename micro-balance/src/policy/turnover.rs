//! How a set of endpoints came from the one before it.

use std::cmp::Ordering;

use crate::endpoint::Endpoint;

/// Who left a set of endpoints and who joined it, for [`Policy::update`](super::Policy::update).
///
/// An endpoint that discovery says something else of, such as another weight, has left and joined.
#[derive(Clone, Copy, Debug)]
pub struct Turnover<'a> {
    before: &'a [Endpoint],
    after: &'a [Endpoint],
    left: &'a [usize],
    joined: &'a [usize],
}

impl<'a> Turnover<'a> {
    /// `left` are indexes in `before`, `joined` indexes in `after`, both ascending; whoever is in neither is
    /// in both sets, in the same order.
    pub fn new(
        before: &'a [Endpoint],
        after: &'a [Endpoint],
        left: &'a [usize],
        joined: &'a [usize],
    ) -> Self {
        Self { before, after, left, joined }
    }

    /// The set that the table to be updated was made of.
    pub fn before(&self) -> &'a [Endpoint] {
        self.before
    }

    /// The set that the new table is for.
    pub fn after(&self) -> &'a [Endpoint] {
        self.after
    }

    /// Who left, with indexes in [`Turnover::before`].
    pub fn left(&self) -> impl Iterator<Item = (usize, &'a Endpoint)> {
        self.left.iter().filter_map(|&index| Some((index, self.before.get(index)?)))
    }

    /// Who joined, with indexes in [`Turnover::after`].
    pub fn joined(&self) -> impl Iterator<Item = (usize, &'a Endpoint)> {
        self.joined.iter().filter_map(|&index| Some((index, self.after.get(index)?)))
    }

    /// Whether nobody left and nobody joined.
    pub fn is_none(&self) -> bool {
        self.left.is_empty() && self.joined.is_empty()
    }

    /// Whether all weigh the same afterwards, if they did before.
    pub fn stays_even(&self) -> bool {
        let Some(first) = self.after.first().map(Endpoint::weight) else { return true };
        self.joined().all(|(_, endpoint)| endpoint.weight() == first && endpoint.warmth() == 1.0)
    }

    /// How `after` came from `before`, both in order of their ids: the indexes of who left and of who
    /// joined.
    pub(crate) fn between(before: &[Endpoint], after: &[Endpoint]) -> (Vec<usize>, Vec<usize>) {
        let (mut left, mut joined) = (Vec::new(), Vec::new());
        let (mut old, mut new) = (before.iter().enumerate().peekable(), after.iter().enumerate().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((_, a)), Some((_, b))) => a.place().cmp(&b.place()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return (left, joined),
            };
            let gone = old.next_if(|_| order.is_le());
            let come = new.next_if(|_| order.is_ge());
            if let (Some((_, a)), Some((_, b))) = (gone, come)
                && a.is_same(b)
            {
                continue;
            }
            left.extend(gone.map(|it| it.0));
            joined.extend(come.map(|it| it.0));
        }
    }

    /// The index in [`Turnover::after`] of who has `index` in [`Turnover::before`], unless it left.
    pub(super) fn moved(&self, index: usize) -> Option<usize> {
        let left = self.left.binary_search(&index).err()?;
        // Those who joined are in ascending order, so each that stands before it moves it on by one.
        Some(self.joined.iter().fold(index - left, |at, joined| if *joined <= at { at + 1 } else { at }))
    }

    /// For each index in [`Turnover::before`] the one in [`Turnover::after`]; `u32::MAX` for those who left.
    pub(super) fn moves(&self) -> Vec<u32> {
        let (mut left, mut joined) = (self.left.iter().peekable(), self.joined.iter().peekable());
        let mut next = 0;
        let mut place = |index: usize| {
            if left.next_if_eq(&&index).is_some() {
                return u32::MAX;
            }
            while joined.next_if_eq(&&next).is_some() {
                next += 1;
            }
            next += 1;
            (next - 1) as u32
        };
        (0..self.before.len()).map(&mut place).collect()
    }
}
