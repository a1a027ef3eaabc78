//! Points on a circle, each an endpoint's.
//!
//! The circle is cut into parts, and rings that differ little share most of them. Points name their owners by
//! numbers that stay; which endpoint has which number now is a table of its own.

use std::sync::Arc;

use super::part::Part;
use crate::{endpoint::Endpoint, policy::Turnover};

/// How many points a part has or fewer, but for chance.
const USUAL: usize = 512;
/// A number that no endpoint has.
const NOBODY: u32 = u32::MAX;

/// Points in order, and an index to find one in constant time.
#[derive(Clone, Debug)]
pub struct Ring {
    /// As many as a power of two; a point is in the part that its highest bits name.
    parts: Box<[Arc<Part>]>,
    bits: u32,
    /// The index of the endpoint by the number that its points name.
    owners: Box<[u32]>,
    pub(super) weight: f64,
    /// How many points there are.
    count: usize,
}

/// Where a point is: in which part, and there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize, usize);

impl Ring {
    /// The ring of points in order that so many endpoints have. Where several are in one place the first of
    /// them counts.
    pub(super) fn new(points: &[(u64, u32)], endpoints: usize, weight: f64) -> Self {
        let bits = (points.len() / USUAL).next_power_of_two().trailing_zeros();
        let mut rest = points;
        let parts = (0..1 << bits).map(|number| {
            let (points, after) =
                rest.split_at(rest.partition_point(|point| part_of(point.0, bits) <= number));
            rest = after;
            Part::new(points, bits).into()
        });
        Self {
            parts: parts.collect(),
            bits,
            owners: (0..endpoints as u32).collect(),
            weight,
            count: points.len(),
        }
    }

    /// The ring after a few endpoints came or went, where `points` are those of one of them; `None` where so
    /// many did that it had better be made anew.
    pub(super) fn update<I>(&self, turnover: &Turnover<'_>, points: impl Fn(&Endpoint) -> I) -> Option<Self>
    where
        I: Iterator<Item = u64>,
    {
        let moves = turnover.moves();
        let moved = |&index: &u32| moves.get(index as usize).copied().unwrap_or(NOBODY);
        let mut owners: Vec<u32> = self.owners.iter().map(moved).collect();
        let number_of = |index: usize| self.owners.iter().position(|&owner| owner as usize == index);
        let mut gone = Vec::new();
        for (index, endpoint) in turnover.left() {
            let number = number_of(index)? as u32;
            gone.extend(points(endpoint).map(|hash| (hash, number)));
        }
        let mut new = Vec::new();
        for (index, endpoint) in turnover.joined() {
            let number = owners.iter().position(|&owner| owner == NOBODY).unwrap_or_else(|| {
                owners.push(NOBODY);
                owners.len() - 1
            });
            owners[number] = index as u32;
            new.extend(points(endpoint).map(|hash| (hash, number as u32)));
        }
        let changed = gone.len() + new.len();
        let count = (self.count + new.len()).checked_sub(gone.len())?;
        let fits = (count / USUAL).next_power_of_two().trailing_zeros() == self.bits;
        if !fits || changed > 4 * self.parts.len() {
            return None;
        }
        let weigh = |endpoint: &Endpoint| f64::from(endpoint.attributes().weight.max(1));
        let left: f64 = turnover.left().map(|(_, endpoint)| weigh(endpoint)).sum();
        let joined: f64 = turnover.joined().map(|(_, endpoint)| weigh(endpoint)).sum();
        let parts = self.amended(gone, new, |number| owners.get(number as usize).copied().unwrap_or(NOBODY));
        Some(Self {
            parts,
            bits: self.bits,
            owners: owners.into(),
            weight: self.weight - left + joined,
            count,
        })
    }

    /// The parts without points that are gone and with new ones; those that neither touches are shared.
    fn amended(
        &self,
        mut gone: Vec<(u64, u32)>,
        mut new: Vec<(u64, u32)>,
        rank: impl Fn(u32) -> u32,
    ) -> Box<[Arc<Part>]> {
        gone.sort_unstable();
        new.sort_unstable_by_key(|&(hash, number)| (hash, rank(number)));
        let mut parts = self.parts.clone();
        let (mut gone, mut new) = (&gone[..], &new[..]);
        while let Some(first) = [gone.first(), new.first()].into_iter().flatten().map(|point| point.0).min() {
            let number = part_of(first, self.bits);
            let within =
                |points: &[(u64, u32)]| points.partition_point(|it| part_of(it.0, self.bits) == number);
            let ((its_gone, gone_after), (its_new, new_after)) =
                (gone.split_at(within(gone)), new.split_at(within(new)));
            if let Some(part) = parts.get_mut(number) {
                *part = part.amended(its_gone, its_new, &rank).into();
            }
            (gone, new) = (gone_after, new_after);
        }
        parts
    }

    /// Every point with the index of its endpoint, in order, to look at.
    pub fn points(&self) -> impl Iterator<Item = (u64, usize)> {
        let points = self.parts.iter().flat_map(|part| part.points());
        points.filter_map(|(hash, number)| Some((hash, self.index(number)?)))
    }

    /// The first point at or after `hash`, around the circle.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Place {
        let number = part_of(hash, self.bits);
        match self.parts.get(number) {
            Some(part) => match part.find(hash) {
                at if at < part.len() => Place(number, at),
                _ => self.first_after(number),
            },
            None => Place(0, 0),
        }
    }

    /// The first point after a part.
    #[cold]
    fn first_after(&self, number: usize) -> Place {
        let after = (number + 1..self.parts.len()).chain(0..=number);
        let part =
            after.into_iter().find(|&number| self.parts.get(number).is_some_and(|part| part.len() > 0));
        Place(part.unwrap_or_default(), 0)
    }

    /// Whose point is at a place.
    #[inline]
    pub(super) fn owner(&self, place: Place) -> Option<usize> {
        self.index(self.parts.get(place.0)?.owner(place.1)?)
    }

    #[inline]
    fn index(&self, number: u32) -> Option<usize> {
        Some(*self.owners.get(number as usize)? as usize)
    }

    /// The owners from a place on, once around the circle.
    pub(super) fn walk(&self, place: Place) -> impl Iterator<Item = usize> + Clone {
        let of = |number: usize| self.parts.get(number).map_or(&[][..], |part| part.owners());
        let (before, after) = of(place.0).split_at(place.1.min(of(place.0).len()));
        let others = (place.0 + 1..self.parts.len()).chain(0..place.0.min(self.parts.len()));
        let numbers = after.iter().chain(others.flat_map(of)).chain(before);
        numbers.filter_map(|&number| self.index(number))
    }
}

#[inline]
fn part_of(hash: u64, bits: u32) -> usize {
    hash.checked_shr(64 - bits).unwrap_or_default() as usize
}
