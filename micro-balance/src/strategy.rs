//! go-micro's selectors by their names.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    eject::Ejection,
    policy::{Boxed, HashBy, LabelOrder, Modulo, PeakEwma, Random, RoundRobin, Shard},
    setting::InvalidSetting,
};

/// What go-micro calls a selector's strategy, for programs and configurations that come from there.
///
/// | name | policy | where it differs |
/// |---|---|---|
/// | `random` | [`Random`] | follows weights, where endpoints have them |
/// | `roundrobin` | [`RoundRobin`] | one cursor for all requests; go-micro's starts anew with each |
/// | `shard`, `hashed` | [`Shard`] | |
/// | `hashmod` | [`Modulo`] by a header | go-micro's `wrapper/select/shard`; endpoints are in the order of ids |
/// | `label` | [`LabelOrder`] | |
/// | `blacklist` | [`PeakEwma`] with [`Strategy::ejection`] | never all endpoints at once |
///
/// ```
/// use micro_balance::Strategy;
///
/// let strategy = Strategy::parse("roundrobin")?;
/// assert_eq!(strategy.to_string(), "roundrobin");
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Any endpoint; go-micro's default.
    #[default]
    Random,
    /// Each in turn.
    RoundRobin,
    /// By keys, in HighwayHash's order.
    Shard,
    /// By a header's CRC-32, modulo the number of endpoints.
    HashMod,
    /// By labels, primary and backups.
    Label,
    /// Those that failed are left out for a while.
    Blacklist,
}

/// The names, each strategy's own first.
const NAMES: [(&str, Strategy); 11] = [
    ("random", Strategy::Random),
    ("roundrobin", Strategy::RoundRobin),
    ("round_robin", Strategy::RoundRobin),
    ("round-robin", Strategy::RoundRobin),
    ("shard", Strategy::Shard),
    ("hashed", Strategy::Shard),
    ("hashmod", Strategy::HashMod),
    ("hash_mod", Strategy::HashMod),
    ("label", Strategy::Label),
    ("blacklist", Strategy::Blacklist),
    ("black_list", Strategy::Blacklist),
];

/// The header that `hashmod` hashes, unless another is named.
const SHARD_HEADER: &str = "x-shard";

impl Strategy {
    /// The strategy of this name, in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] where there is none; it says which there are.
    pub fn parse(name: &str) -> Result<Self, InvalidSetting> {
        let lower = name.trim().to_ascii_lowercase();
        let found = NAMES.iter().find(|(known, _)| *known == lower);
        let known = "random, roundrobin, shard, hashed, hashmod, label or blacklist";
        found.map(|(_, strategy)| *strategy).ok_or_else(|| InvalidSetting::new("the strategy", name, known))
    }

    /// A policy of its own for a balancer. [`Strategy::Label`] prefers none, and [`Strategy::HashMod`]
    /// hashes the header `x-shard`: [`LabelOrder`] and [`HashBy`] say more.
    pub fn policy(self) -> Boxed {
        match self {
            Self::Random => Boxed::new(Random),
            Self::RoundRobin => Boxed::new(RoundRobin::new()),
            Self::Shard => Boxed::new(Shard),
            Self::HashMod => match HashBy::header_with(SHARD_HEADER, Modulo::hash, Modulo) {
                Ok(policy) => Boxed::new(policy),
                Err(_) => Boxed::new(Modulo),
            },
            Self::Label => Boxed::new(LabelOrder::new()),
            Self::Blacklist => Boxed::new(PeakEwma::new()),
        }
    }

    /// The ejection that goes with it: go-micro's blacklist leaves an endpoint out for 30 s after three
    /// failures in a row; all others go without.
    ///
    /// Where all are listed, go-micro has nobody to send to, and this sends to anybody. To fail then as well, add
    /// `.panic_percent(1).fail_in_panic(true)`.
    pub fn ejection(self) -> Ejection {
        match self {
            Self::Blacklist => {
                let time = Duration::from_secs(30);
                Ejection::off().consecutive_failures(3).base(time).max(time).max_percent(100)
            }
            _ => Ejection::off(),
        }
    }
}

impl FromStr for Strategy {
    type Err = InvalidSetting;

    fn from_str(name: &str) -> Result<Self, InvalidSetting> {
        Self::parse(name)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, strategy)| strategy == self).map_or("random", |(name, _)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_each_strategys_own_is_written() {
        for (name, strategy) in NAMES {
            assert_eq!(name.to_uppercase().parse(), Ok(strategy));
            assert_eq!(Strategy::parse(&strategy.to_string()), Ok(strategy));
        }
        let error = Strategy::parse("fastest").unwrap_err().to_string();
        assert!(error.contains("\"fastest\"") && error.contains("roundrobin"), "{error}");
    }
}
