//! The published algorithms as they are written down, step by step, beside policies that go other ways about them: for
//! sets that nobody publishes a table of.

use micro_balance::{
    Attributes,
    eligible::Subset,
    policy::{
        Aperture, EarliestDeadlineFirst, Maglev, Policy, RingHash, SmoothWeightedRoundRobin,
        WeightedRoundRobin,
    },
};
use xxhash_rust::xxh64::xxh64;

use crate::endpoints::Set;

/// Sets of hosts and their weights; hosts stand in order.
fn sets() -> Vec<Vec<(String, u32)>> {
    let hosts = |count: usize, weigh: fn(usize) -> u32| {
        let mut hosts: Vec<_> =
            (0..count).map(|n| (format!("10.1.{}.{}:8080", n % 3, n), weigh(n))).collect();
        hosts.sort();
        hosts
    };
    vec![
        hosts(1, |_| 1),
        hosts(2, |n| 1 + 2 * n as u32),
        hosts(3, |n| [3, 3, 4][n]),
        hosts(5, |_| 1),
        hosts(7, |n| 1 + n as u32 * n as u32),
        hosts(12, |n| 1 + n as u32 % 4),
        hosts(40, |n| 1 + n as u32 % 7),
    ]
}

async fn set(hosts: &[(String, u32)]) -> Set {
    let describe =
        |(id, weight): &(String, u32)| (id.clone(), Attributes { weight: *weight, ..Attributes::default() });
    Set::described(hosts.iter().map(describe).collect()).await
}

/// Envoy's `RingHashLoadBalancer::Ring::Ring`, and gRPC's `newRing`, which is the same but for the limits.
fn ring(hosts: &[(String, u32)], least: u64, most: u64) -> Vec<(u64, usize)> {
    let total: u32 = hosts.iter().map(|host| host.1).sum();
    let normal: Vec<f64> = hosts.iter().map(|host| f64::from(host.1) / f64::from(total)).collect();
    let lightest = normal.iter().copied().fold(1.0, f64::min);
    let scale = ((lightest * least as f64).ceil() / lightest).min(most as f64);
    let (mut made, mut target, mut points) = (0.0, 0.0, Vec::new());
    for (index, (id, _)) in hosts.iter().enumerate() {
        target += scale * normal[index];
        let mut number = 0;
        while made < target {
            points.push((xxh64(format!("{id}_{number}").as_bytes(), 0), index));
            (number, made) = (number + 1, made + 1.0);
        }
    }
    points.sort();
    points
}

#[tokio::test(start_paused = true)]
async fn rings_are_those_of_envoy_and_grpc_whatever_the_weights() {
    for hosts in sets() {
        let set = set(&hosts).await;
        for (least, most) in [(1, 64), (10, 12), (100, 4096), (1024, 4096), (3000, 3500)] {
            let expected = ring(&hosts, least, most);
            for policy in [RingHash::envoy(least, most).unwrap(), RingHash::grpc(least, most).unwrap()] {
                let points: Vec<_> = policy.table(&set.endpoints).points().collect();
                assert_eq!(points, expected, "{hosts:?} within {least} and {most}");
            }
        }
    }
}

/// Envoy's `MaglevTable::constructMaglevTable`.
fn maglev(hosts: &[(String, u32)], size: u64) -> Vec<usize> {
    struct Entry {
        offset: u64,
        skip: u64,
        weight: f64,
        target: f64,
        next: u64,
    }
    let heaviest = f64::from(hosts.iter().map(|host| host.1).max().unwrap());
    let mut entries: Vec<_> = hosts
        .iter()
        .map(|(id, weight)| Entry {
            offset: xxh64(id.as_bytes(), 0) % size,
            skip: xxh64(id.as_bytes(), 1) % (size - 1) + 1,
            weight: f64::from(*weight),
            target: 0.0,
            next: 0,
        })
        .collect();
    let (mut table, mut filled) = (vec![usize::MAX; size as usize], 0);
    for iteration in 1_u32.. {
        for (index, entry) in entries.iter_mut().enumerate() {
            if f64::from(iteration) * entry.weight < entry.target {
                continue;
            }
            entry.target += heaviest;
            let mut slot;
            loop {
                slot = ((entry.offset + entry.skip * entry.next) % size) as usize;
                entry.next += 1;
                if table[slot] == usize::MAX {
                    break;
                }
            }
            table[slot] = index;
            filled += 1;
            if filled == size {
                return table;
            }
        }
    }
    table
}

#[tokio::test(start_paused = true)]
async fn maglevs_are_those_of_envoy_whatever_the_weights() {
    for hosts in sets() {
        let set = set(&hosts).await;
        for size in [41, 251, 5_003] {
            let policy = Maglev::with_size(size).unwrap();
            let table = policy.table(&set.endpoints);
            let slots: Vec<_> = (0..size).map(|hash| set.pick(&policy, &table, hash, 0)).collect();
            assert_eq!(slots, maglev(&hosts, size), "{hosts:?} in {size}");
        }
    }
}

/// Envoy's `EdfScheduler`: of equals, who was put in first.
fn earliest(weights: &[u32], count: usize) -> Vec<usize> {
    let due = |weight: u32, more: f64| 1.0 / (f64::from(weight) + more);
    let mut queue: Vec<(f64, usize, usize)> =
        weights.iter().enumerate().map(|(index, &weight)| (due(weight, 1e-13), index, index)).collect();
    let mut picks = Vec::new();
    for order in weights.len()..weights.len() + count {
        let first = queue.iter().copied().min_by(|a, b| a.partial_cmp(b).unwrap()).unwrap();
        queue.retain(|entry| entry.1 != first.1);
        queue.push((first.0 + due(weights[first.2], 0.0), order, first.2));
        picks.push(first.2);
    }
    picks
}

/// nginx's `ngx_http_upstream_get_peer`.
fn smooth(weights: &[u32], count: usize) -> Vec<usize> {
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    let mut current = vec![0_i64; weights.len()];
    let mut pick = || {
        current.iter_mut().zip(weights).for_each(|(current, &weight)| *current += i64::from(weight));
        let best = (0..weights.len()).rev().max_by_key(|&index| current[index]).unwrap();
        current[best] -= total;
        best
    };
    (0..count).map(|_| pick()).collect()
}

/// grpc-go's `edfScheduler.nextIndex`, whose counter is at 0 before the first pick.
fn stride(weights: &[u32], count: usize) -> Vec<usize> {
    let scale = 65_535.0 / f64::from(*weights.iter().max().unwrap());
    let scaled: Vec<u64> = weights.iter().map(|&weight| (scale * f64::from(weight)).round() as u64).collect();
    let (mut sequence, n) = (0_u64, weights.len() as u64);
    let mut pick = || {
        loop {
            sequence += 1;
            let (index, generation) = (sequence % n, sequence / n);
            let weight = scaled[index as usize];
            if (weight * generation + index * (65_535 / 2)) % 65_535 >= 65_535 - weight {
                return index as usize;
            }
        }
    };
    (0..count).map(|_| pick()).collect()
}

#[tokio::test(start_paused = true)]
async fn orders_by_weight_are_those_of_envoy_nginx_and_grpc() {
    for weights in [
        vec![1, 2],
        vec![2, 3],
        vec![4, 1, 2],
        vec![2, 2, 1],
        vec![3, 5, 5, 1],
        vec![6, 3, 1, 1],
        vec![1, 1, 9, 4, 7],
        vec![8, 4, 2, 1, 1, 2, 4, 8],
    ] {
        let set = Set::weighing(&weights).await;
        let count = 3 * weights.iter().sum::<u32>() as usize;
        let picks = set.picks(&EarliestDeadlineFirst::starting_at(0), count);
        assert_eq!(picks, earliest(&weights, count), "{weights:?} by deadline");
        let picks = set.picks(&SmoothWeightedRoundRobin::starting_at(0), count);
        assert_eq!(picks, smooth(&weights, count), "{weights:?} smoothly");
        let picks = set.picks(&WeightedRoundRobin::starting_at(1), count);
        assert_eq!(picks, stride(&weights, count), "{weights:?} by strides");
    }
}

/// gRPC's A68: those of the lowest hash.
#[test]
fn subsets_are_those_of_the_lowest_hashes() {
    let ids: Vec<_> = (0..200).map(|n| format!("10.2.{}.{}:50051", n / 7, n)).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    for (size, seed) in [(1, 0), (3, 17), (20, u64::MAX), (199, 4), (200, 1), (201, 9)] {
        let mut hashes: Vec<_> = ids.iter().map(|id| xxh64(id.as_bytes(), seed)).collect();
        hashes.sort_unstable();
        let last = hashes[(size - 1).min(199)];
        let within = |&index: &usize| xxh64(ids[index].as_bytes(), seed) <= last;
        let lowest: Vec<_> = (0..ids.len()).filter(within).collect();
        assert_eq!(Subset::random(size).seed(seed).choose(&ids), lowest, "{size} by {seed}");
    }
}

/// Finagle's `DeterministicAperture`: the part of the circle of endpoints that a client's own part covers.
#[tokio::test(start_paused = true)]
async fn apertures_reach_those_that_finagles_do() {
    for (count, peers, least) in [(30_u32, 10_u32, 12_u32), (20, 7, 3), (5, 3, 12), (16, 5, 1), (9, 40, 2)] {
        let set = Set::weighing(&vec![1; count as usize]).await;
        for instance in 0..peers {
            // In parts of 1 / (count * peers), so that nothing is rounded.
            let (whole, local, remote) = (count * peers, count, peers);
            let width = (least.min(count) * remote).div_ceil(local).saturating_mul(local).min(whole);
            let from = instance * local;
            let covered = |index: u32| {
                let (start, end) = (index * remote, (index + 1) * remote);
                [0, whole].into_iter().any(|turn| from < end + turn && from + width > start + turn)
            };
            let expected: Vec<_> = (0..count).filter(|&index| covered(index)).collect();
            let shares = set.shares(&Aperture::new(instance, peers).unwrap().least(least), 3_000);
            let reached: Vec<_> = (0..count).filter(|&index| shares[index as usize] > 0).collect();
            assert_eq!(reached, expected, "{instance} of {peers} among {count}, {least} at least");
        }
    }
}
