//! A part of a ring: its points in order, and an index to find one in constant time.

/// Points with the same highest bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    /// The first point in each of equal pieces of the part; hashes are spread evenly, so a piece has few.
    pieces: Box<[u32]>,
    /// How many bits all points share, and how many more tell the piece.
    shared: u32,
    told: u32,
}

impl Part {
    /// The part of points in order that share their `shared` highest bits.
    pub(super) fn new(points: &[(u64, u32)], shared: u32) -> Self {
        let told = (points.len() / 2).next_power_of_two().trailing_zeros().max(1).min(64 - shared);
        let mut part = Self {
            hashes: points.iter().map(|point| point.0).collect(),
            owners: points.iter().map(|point| point.1).collect(),
            pieces: Box::default(),
            shared,
            told,
        };
        let mut pieces = Vec::with_capacity(1 << told);
        for (at, &(hash, _)) in points.iter().enumerate() {
            while pieces.len() <= part.piece(hash) {
                pieces.push(at as u32);
            }
        }
        pieces.resize(1 << told, points.len() as u32);
        part.pieces = pieces.into();
        part
    }

    #[inline]
    fn piece(&self, hash: u64) -> usize {
        ((hash << self.shared) >> (64 - self.told)) as usize
    }

    /// The place of the first point at or after `hash`; as many as there are points when there is none.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> usize {
        let start = self.pieces.get(self.piece(hash)).map_or(0, |&start| start as usize);
        let after = self.hashes.get(start..).unwrap_or_default();
        start + after.iter().take_while(|&&point| point < hash).count()
    }

    #[inline]
    pub(super) fn owner(&self, at: usize) -> Option<u32> {
        self.owners.get(at).copied()
    }

    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }

    pub(super) fn points(&self) -> impl Iterator<Item = (u64, u32)> {
        self.hashes.iter().copied().zip(self.owners.iter().copied())
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The part without `gone` and with `new`, both in order. Of points in one place, those of the owner
    /// that `rank` puts first come first.
    pub(super) fn amended(&self, gone: &[(u64, u32)], new: &[(u64, u32)], rank: impl Fn(u32) -> u32) -> Self {
        let mut points = Vec::with_capacity(self.len() + new.len());
        let (mut gone, mut new) = (gone, new.iter().copied().peekable());
        for point in self.points() {
            // Points in one place are gone in any order.
            while gone.first().is_some_and(|first| first.0 < point.0) {
                gone = &gone[1..];
            }
            if gone.iter().take_while(|it| it.0 == point.0).any(|it| *it == point) {
                continue;
            }
            while let Some(next) = new.next_if(|it| (it.0, rank(it.1)) < (point.0, rank(point.1))) {
                points.push(next);
            }
            points.push(point);
        }
        points.extend(new);
        Self::new(&points, self.shared)
    }
}
