//! The part of the endpoints that a client sees.

use micro_balance::policy::{Aperture, Policy, RandomAperture};
use serde_json::Value;

use crate::endpoints::{Set, numbers};

const FINAGLE: &str = include_str!("../data/finagle.json");

fn policy(case: &Value) -> Aperture {
    let number = |name: &str| case[name].as_u64().unwrap() as u32;
    Aperture::new(number("instance"), number("total")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_part_has_the_endpoints_that_finagle_gives_it() {
    let data: Value = serde_json::from_str(FINAGLE).unwrap();
    for case in data["aperture"]["adjust"].as_array().unwrap() {
        let weights = case["weights"].as_array().unwrap();
        let weights: Vec<_> = weights.iter().map(|weight| (weight.as_f64().unwrap() * 1e9) as u32).collect();
        let set = Set::weighing(&weights).await;
        let part = policy(case).table(&set.endpoints);
        let included: Vec<_> = part.endpoints().map(|(index, _)| index).collect();
        assert_eq!(included, numbers::<usize>(&case["included"]), "{case}");
        if let Some(expected) = case["sum"].as_f64() {
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let sum: f64 = part.endpoints().map(|(index, inside)| f64::from(weights[index]) * inside).sum();
            assert!((sum / total - expected).abs() < 1e-6);
        }
    }
    for case in data["aperture"]["deterministic"].as_array().unwrap() {
        let set = Set::weighing(&vec![1; case["servers"].as_u64().unwrap() as usize]).await;
        let policy = policy(case).least(case["min_aperture"].as_u64().unwrap() as u32);
        let part = policy.table(&set.endpoints);
        let included: Vec<_> = part.endpoints().map(|(index, _)| index).collect();
        assert_eq!(included, numbers::<usize>(&case["picked"]), "{case}");
        let shares = set.shares(&policy, 100_000);
        let picked: Vec<_> = (0..shares.len()).filter(|&index| shares[index] > 0).collect();
        assert_eq!(picked, included);
        for (index, inside) in part.endpoints() {
            let half = case["half_weight"].as_array().is_some_and(|half| half[0] == index);
            let expected = if half { 0.5 } else { 1.0 };
            assert!((inside - expected).abs() < 0.1, "{inside} of {index}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_wraps_around_as_the_ranges_of_finagles_ring_do() {
    let data: Value = serde_json::from_str(include_str!("../data/finagle_ring.json")).unwrap();
    let set = Set::weighing(&[1; 10]).await;
    for case in data["ranges"].as_array().unwrap() {
        let part = policy(case).least(case["least"].as_u64().unwrap() as u32).table(&set.endpoints);
        let (included, insides): (Vec<_>, Vec<_>) = part.endpoints().unzip();
        assert_eq!(included, numbers::<usize>(&case["included"]), "{case}");
        let half = numbers::<usize>(&case["half"]);
        for (index, inside) in included.into_iter().zip(insides) {
            let expected = if half.contains(&index) { 0.5 } else { 1.0 };
            assert!((inside - expected).abs() < 1e-6, "{inside} of {index}: {case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_clients_together_load_all_endpoints_alike() {
    for (peers, servers) in [(10, 100), (7, 30), (40, 13), (100, 100), (3, 5)] {
        let set = Set::weighing(&vec![1; servers]).await;
        let mut loads = vec![0.0; servers];
        for instance in 0..peers {
            let part = Aperture::new(instance, peers).unwrap().table(&set.endpoints);
            let width: f64 = part.endpoints().map(|(_, inside)| inside).sum();
            part.endpoints().for_each(|(index, inside)| loads[index] += inside / width);
            assert!(part.endpoints().count() >= servers.min(12), "{peers} clients of {servers}");
        }
        let mean = f64::from(peers) / servers as f64;
        assert!(loads.iter().all(|load| (load / mean - 1.0).abs() < 0.01), "{loads:?}");
    }
    assert!(Aperture::new(3, 3).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_part_shares_as_the_edges_are_inside() {
    let set = Set::weighing(&[1; 18]).await;
    let shares = set.shares(&Aperture::new(1, 4).unwrap(), 135_000);
    assert!(shares[4].abs_diff(5_000) < 500, "{shares:?}");
    assert!(shares[5..].iter().all(|share| share.abs_diff(10_000) < 600), "{shares:?}");
}

/// Finagle's `WeightedApertureTest`: each has its part of the weight of those in use, to 12 in a hundred.
#[tokio::test(start_paused = true)]
async fn of_a_random_part_each_endpoint_has_what_its_weight_says() {
    let data: Value = serde_json::from_str(FINAGLE).unwrap();
    let weights: Vec<f64> = data["aperture"]["adjust"][0]["weights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|weight| weight.as_f64().unwrap())
        .collect();
    let weigh = |weight: &f64| (weight * 1e9) as u32;
    for (weights, in_use) in
        [(weights.iter().map(weigh).collect(), 10), (vec![1; 10], 10), (vec![1; 20], 12), (vec![3, 1], 2)]
    {
        let set = Set::weighing(&weights).await;
        let shares = set.shares(&RandomAperture::new().seed(1).least(in_use), 200_000);
        let used = |index: &usize| shares[*index] > 0;
        let total: u32 = (0..weights.len()).filter(used).map(|index| weights[index]).sum();
        assert_eq!((0..weights.len()).filter(used).count(), in_use, "{shares:?}");
        for index in (0..weights.len()).filter(used) {
            let (has, share) =
                (shares[index] as f64 / 200_000.0, f64::from(weights[index]) / f64::from(total));
            assert!((has - share).abs() / has.max(share) < 0.12, "{has} and not {share}: {weights:?}");
        }
    }
}

/// One that weighs three times as much has three times as many under way.
#[tokio::test(start_paused = true)]
async fn in_a_random_part_who_weighs_more_may_be_busier() {
    let mut set = Set::weighing(&[3, 1]).await;
    let policy = RandomAperture::new().least(2);
    for (index, more, then) in [(0, 2, 1), (1, 1, 0), (0, 2, 1)] {
        set.load(index, more).await;
        assert!(set.picks(&policy, 100).into_iter().all(|picked| picked == then), "{index} has {more} more");
    }
}

/// They are drawn anew up to three times where both are the same: the busier of two is had by one pick in sixteen.
#[tokio::test(start_paused = true)]
async fn a_part_seldom_draws_one_endpoint_against_itself() {
    let mut set = Set::weighing(&[1, 1]).await;
    set.load(0, 1).await;
    let shares = set.shares(&Aperture::new(0, 1).unwrap(), 10_000);
    assert!((500..750).contains(&shares[0]), "{shares:?}");
}
