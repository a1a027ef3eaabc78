//! Who takes how much, by how many a zone has and how many of them are well.

use super::*;

/// Zones by name, each with how many it has and how many of them are well.
fn zones(of: &[(&str, u32, usize)]) -> ByZone {
    let zone = |(number, &(name, hosts, well)): (usize, &(&str, u32, usize))| {
        let first = number * 1_000;
        (name.to_owned(), Zone { hosts, members: (first..first + well).collect() })
    };
    of.iter().enumerate().map(zone).collect()
}

/// What each of these zones takes for each request that the last one takes; nothing where zones are not told apart.
fn parts(locality: &Locality, of: &[(&str, u32, usize)]) -> Vec<f64> {
    let shares = locality.part(&zones(of), false).unwrap_or_default();
    let share = |zone: usize| {
        let its = shares.iter().find(|(_, members)| members.first() == Some(&(zone * 1_000)));
        its.map_or(0.0, |(share, members)| {
            assert_eq!(members.len(), of[zone].2);
            *share as f64
        })
    };
    let last = share(of.len() - 1);
    if shares.is_empty() {
        Vec::new()
    } else {
        (0..of.len()).map(|zone| share(zone) / last.max(1.0)).collect()
    }
}

#[test]
fn a_zone_is_preferred_while_half_of_it_or_as_much_as_is_wanted_is_well() {
    let preferred = |prefer: Prefer, hosts, well| {
        let part = Locality::Prefer(prefer).part(&zones(&[("far", 3, 3), ("near", hosts, well)]), false);
        part.map(|shares| {
            assert_eq!(shares.len(), 1);
            shares[0].1.clone()
        })
    };
    let near = |well: usize| Some((1_000..1_000 + well).collect::<Vec<_>>());
    let prefer = || Prefer::new("near");
    assert_eq!(preferred(prefer(), 202, 101), near(101));
    assert_eq!(preferred(prefer(), 202, 100), None);
    assert_eq!(preferred(prefer().while_percent(70), 10, 7), near(7));
    assert_eq!(preferred(prefer().while_percent(70), 10, 6), None);
    assert_eq!(preferred(prefer().while_percent(0), 10, 1), near(1));
    assert_eq!(preferred(prefer().while_percent(0), 10, 0), None, "there is nobody");
    assert_eq!(preferred(prefer().while_percent(500), 10, 10), near(10), "all of it is all there is");
    assert_eq!(preferred(prefer().while_percent(500), 10, 9), None);
    assert_eq!(preferred(Prefer::new("elsewhere"), 10, 10), None);
}

#[test]
fn a_zone_has_less_than_its_weight_where_fewer_of_it_are_well_than_it_has_to_spare() {
    let weights = || ZoneWeights::new([("a", 2), ("b", 1), ("none", 0)]);
    let parts = |weights: ZoneWeights, well| {
        parts(&Locality::Weighted(weights), &[("a", 7, well), ("none", 7, 7), ("unknown", 7, 7), ("b", 7, 7)])
    };
    let near = |parts: Vec<f64>, a: f64| {
        assert!((parts[0] - a).abs() < 1e-4 && parts[1..] == [0.0, 0.0, 1.0], "{parts:?} instead of {a}");
    };
    near(parts(weights(), 7), 2.0);
    near(parts(weights(), 5), 2.0);
    near(parts(weights(), 4), 1.6);
    near(parts(weights(), 0), 0.0);
    near(parts(weights().overprovisioning(100), 5), 10.0 / 7.0);
    near(parts(weights().overprovisioning(200), 4), 2.0);
    near(parts(weights().overprovisioning(0), 7), 2.0);
    assert_eq!(effective_weight(3, 0, 0, 140), 0.0);
    let unknown = Locality::Weighted(weights()).part(&zones(&[("unknown", 7, 7), ("none", 7, 7)]), false);
    assert!(unknown.is_none(), "nobody has a weight");
    let none = Locality::Weighted(weights()).part(&zones(&[("none", 7, 7), ("b", 7, 7)]), false);
    assert_eq!(none.map(|shares| shares.len()), Some(1), "a weight of 0 is no group");
}

#[test]
fn zones_are_not_told_apart_in_panic() {
    let zones = zones(&[("a", 6, 6), ("b", 6, 6)]);
    let peers = || Zones::from([("a".to_owned(), 1), ("b".to_owned(), 1)]);
    for locality in [
        Locality::Prefer(Prefer::new("a")),
        Locality::Weighted(ZoneWeights::new([("a", 1)])),
        Locality::ZoneAware(ZoneAware::new("a", peers())),
    ] {
        assert!(
            locality.part(&zones, false).is_some() && locality.part(&zones, true).is_none(),
            "{locality:?}"
        );
    }
    assert!(Locality::Any.part(&zones, false).is_none() && Locality::Any.is_any());
}
