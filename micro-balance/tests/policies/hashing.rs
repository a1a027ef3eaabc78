//! Policies that keep a key on one endpoint.

use std::collections::BTreeSet;

use micro_balance::{
    Attributes, HashKey,
    policy::{Maglev, Modulo, Policy, Rendezvous, RingHash, Turnover, shard_order},
};
use serde_json::Value;
use xxhash_rust::xxh64::xxh64;

use crate::endpoints::{Set, numbers};

const ENVOY_RING: &str = include_str!("../data/envoy_ring_hash.json");
const ENVOY_MAGLEV: &str = include_str!("../data/envoy_maglev.json");
const GRPC_RING: &str = include_str!("../data/grpc_ringhash.json");
const GRPC_JAVA_RING: &str = include_str!("../data/grpc_java_ring.json");
const NGINX_KETAMA: &str = include_str!("../data/nginx_ketama.csv");
const GO_MICRO: &str = include_str!("../data/gomicro_selectors.json");
const XXH64: &str = include_str!("../data/xxh64_known.json");

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn cases(data: &Value) -> &Vec<Value> {
    data["cases"].as_array().unwrap()
}

fn rows(case: &Value, name: &str) -> Vec<Vec<u64>> {
    case[name].as_array().map_or_else(Vec::new, |rows| rows.iter().map(numbers).collect())
}

async fn hosts(case: &Value) -> Set {
    let hosts: Vec<_> = case["hosts"].as_array().unwrap().iter().map(|host| host.as_str().unwrap()).collect();
    let weights: Vec<u32> = match case.get("weights") {
        Some(weights) => numbers(weights),
        None => vec![1; hosts.len()],
    };
    let describe =
        |(host, weight): (&&str, u32)| ((*host).to_owned(), Attributes { weight, ..Attributes::default() });
    Set::described(hosts.iter().zip(weights).map(describe).collect()).await
}

/// A key that looks like any other.
pub(crate) fn key(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Whose each of `keys` keys is, by id.
fn owners<P: Policy>(set: &Set, policy: &P, keys: u64) -> Vec<String> {
    let table = policy.table(&set.endpoints);
    (0..keys).map(|n| set.endpoints[set.pick(policy, &table, key(n), 0)].id().to_owned()).collect()
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("10.0.0.{n}:80"))
}

/// How many of `keys` keys move although their endpoint is there before and after.
async fn moved_needlessly<P: Policy>(policy: &P, count: usize, keys: u64) -> usize {
    let (all, fewer) = (Set::named(sorted(count)).await, Set::named(sorted(count).skip(1)).await);
    let gone = all.endpoints[0].id();
    let (before, after) = (owners(&all, policy, keys), owners(&fewer, policy, keys));
    before.iter().zip(&after).filter(|(before, after)| *before != gone && before != after).count()
}

pub(crate) fn sorted(count: usize) -> impl Iterator<Item = String> {
    names(count).collect::<BTreeSet<_>>().into_iter()
}

#[test]
fn keys_hash_as_xxh64_does() {
    for vector in data(XXH64)["vectors"].as_array().unwrap() {
        let hash = HashKey(vector["hash"].as_str().unwrap().parse().unwrap());
        if vector["seed"] == 0 {
            assert_eq!(Maglev::hash(vector["input"].as_str().unwrap().as_bytes()), hash);
            assert_eq!(RingHash::new().hash(vector["input"].as_str().unwrap().as_bytes()), hash);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ring_is_the_one_that_envoy_makes() {
    let (by_xxh64, by_murmur2) = (data(ENVOY_RING), data(include_str!("../data/envoy_ring_murmur.json")));
    for (case, murmur) in cases(&by_xxh64)
        .iter()
        .map(|case| (case, false))
        .chain(cases(&by_murmur2).iter().map(|case| (case, true)))
    {
        let set = hosts(case).await;
        let most = case["max"].as_u64().unwrap_or(8_388_608);
        let policy = RingHash::envoy(case["min"].as_u64().unwrap(), most).unwrap();
        let policy = if murmur { policy.murmur_hash_2() } else { policy };
        let table = policy.table(&set.endpoints);
        let (ring, picks, attempts) = (rows(case, "ring"), rows(case, "picks"), rows(case, "attempts"));
        if !ring.is_empty() {
            let points: Vec<_> = table.points().map(|(hash, index)| vec![hash, index as u64]).collect();
            assert_eq!(points, ring);
        }
        for (n, point) in ring.iter().enumerate() {
            assert_eq!(set.pick(&policy, &table, point[0], 0) as u64, point[1], "{case}");
            // Just after a point begins the next one's part: there is nothing in between.
            let next = &ring[(n + 1) % ring.len()];
            assert_eq!(set.pick(&policy, &table, point[0] + 1, 0) as u64, next[1], "{case}");
        }
        for pick in picks {
            assert_eq!(set.pick(&policy, &table, pick[0], 0) as u64, pick[1], "{case}");
        }
        for pick in attempts {
            assert_eq!(set.pick(&policy, &table, pick[0], pick[1] as u32) as u64, pick[2], "{case}");
        }
        if let Some(hashes) = case["hashes"].as_u64() {
            let mut counts = vec![0_u64; set.endpoints.len()];
            (0..hashes).for_each(|n| counts[set.pick(&policy, &table, n * (u64::MAX / hashes), 0)] += 1);
            assert_eq!(counts, numbers::<u64>(&case["counts"]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ring_is_as_even_as_grpc_wants_it_and_refuses_what_grpc_refuses() {
    let data = data(GRPC_RING);
    let share = &data["ring_share"];
    let describe = |(id, weight): (&String, &Value)| {
        let weight = weight.as_u64().unwrap() as u32;
        (id.clone(), Attributes { weight, ..Attributes::default() })
    };
    let set = Set::described(share["weights"].as_object().unwrap().iter().map(describe).collect()).await;
    let size = |name: &str| numbers::<u64>(&share[name]);
    for (least, most) in size("min_sizes")
        .into_iter()
        .flat_map(|least| size("max_sizes").into_iter().map(move |most| (least, most)))
    {
        let policy = RingHash::grpc(least, most).unwrap();
        let owners = policy.table(&set.endpoints).points().map(|(_, owner)| owner).collect::<Vec<_>>();
        assert!((least as usize..=most as usize).contains(&owners.len()));
        for (index, weight) in [0.3, 0.3, 0.4].into_iter().enumerate() {
            let points = owners.iter().filter(|&&owner| owner == index).count();
            let share = points as f64 / owners.len() as f64;
            // Relative to the mean of both, as gRPC's test has it.
            assert!((share - weight).abs() / ((share + weight) / 2.0) < 0.25, "{share} instead of {weight}");
        }
    }
    let default = |name: &str| data["defaults"][name].as_u64().unwrap();
    for case in data["config"].as_array().unwrap() {
        // A cap of another size is the affair of gRPC's environment; ours is its default.
        if case["cap"].as_u64().unwrap_or(4096) == default("cap") {
            let size = |name: &str, default| case[name].as_u64().unwrap_or(default);
            let (least, most) = (default("min_ring_size"), default("max_ring_size"));
            let result = RingHash::grpc(size("min", least), size("max", most));
            assert_eq!(result.is_err(), case.get("err").is_some(), "{case}");
            if let (Ok(policy), Some(out)) = (result, case["out"].as_array()) {
                assert_eq!(
                    format!("{policy:?}"),
                    format!(
                        "RingHash {{ mode: Grpc {{ least: {}, most: {} }}, bound: None }}",
                        out[0], out[1]
                    )
                );
            }
        }
    }
}

/// What grpc-java and grpc-go test of the ring that they make both.
#[tokio::test(start_paused = true)]
async fn the_ring_sends_requests_where_grpc_java_sends_them() {
    let data = data(GRPC_JAVA_RING);
    let number = |table: &str, name: &str| data[table][name].as_u64().unwrap();
    // Theirs has no cap of its own.
    let policy = |table: &str| RingHash::envoy(number(table, "least"), number(table, "most")).unwrap();
    let name = |n: u64| format!("{}{n}", data["name"].as_str().unwrap());
    let servers = async |weights: &[u32]| {
        let describe = |(n, &weight): (u64, &u32)| (name(n), Attributes { weight, ..Attributes::default() });
        Set::described((0..).zip(weights).map(describe).collect()).await
    };
    // A request at the very point of a server.
    let at = |n: &Value| xxh64(format!("{}_0", name(n.as_u64().unwrap())).as_bytes(), 0);

    let set = servers(&numbers::<u32>(&data["shares"]["weights"])).await;
    let (policy_of_shares, mut counts) = (policy("shares"), [0_u32; 3]);
    let table = policy_of_shares.table(&set.endpoints);
    for request in 0..number("shares", "requests") as u32 {
        counts[set.pick(&policy_of_shares, &table, xxh64(&request.to_le_bytes(), 0), 0)] += 1;
    }
    for pair in counts.windows(2) {
        let apart =
            f64::from(pair[0]) / f64::from(pair[1]) - data["shares"]["each_of_the_next"].as_f64().unwrap();
        assert!(apart.abs() <= data["shares"]["within"].as_f64().unwrap(), "{counts:?}");
    }

    let (policy_of_order, set) = (policy("order"), servers(&[1; 3]).await);
    let table = policy_of_order.table(&set.endpoints);
    for case in cases(&data["order"]) {
        let order: Vec<_> =
            (0..3).map(|failed| set.pick(&policy_of_order, &table, at(&case["of"]), failed)).collect();
        assert_eq!(order, numbers::<usize>(&case["order"]), "{case}");
    }

    for count in numbers::<usize>(&data["kept"]["servers"]) {
        let (policy, set) = (policy("kept"), servers(&vec![1; count]).await);
        let kept = set.pick(&policy, &policy.table(&set.endpoints), at(&data["kept"]["of"]), 0);
        assert_eq!(kept as u64, number("kept", "of"), "of {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn weights_that_add_up_to_more_than_32_bits_have_the_shares_that_grpc_go_gives_them() {
    let table = data(GRPC_JAVA_RING)["overflow"].take();
    let (least, most) = (table["least"].as_u64().unwrap(), table["most"].as_u64().unwrap());
    for case in cases(&table) {
        let set = Set::weighing(&numbers::<u32>(&case["weights"])).await;
        let owners: Vec<_> = RingHash::grpc(least, most).unwrap().table(&set.endpoints).points().collect();
        assert!((least..=most).contains(&(owners.len() as u64)), "{}", owners.len());
        for (index, share) in case["shares"].as_array().unwrap().iter().enumerate() {
            let share = share.as_f64().unwrap();
            let has = owners.iter().filter(|(_, owner)| *owner == index).count() as f64 / owners.len() as f64;
            let apart = (has - share).abs() / ((has + share) / 2.0);
            assert!(apart <= case["tolerance"].as_f64().unwrap(), "{has} and not {share}: {case}");
        }
    }
}

/// As even as they are among ten, whose number decides the size of the ring.
#[tokio::test(start_paused = true)]
async fn the_rings_of_others_give_nobody_of_ten_a_fifth_more_than_the_mean() {
    let set = Set::named(sorted(10)).await;
    for policy in [RingHash::envoy(1024, 8_388_608).unwrap(), RingHash::grpc(1024, 4096).unwrap()] {
        let table = policy.table(&set.endpoints);
        let mut counts = [0_u32; 10];
        (0..200_000).for_each(|n| counts[set.pick(&policy, &table, key(n), 0)] += 1);
        assert!(counts.iter().all(|count| *count <= 24_000), "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_shared_by_weight_as_in_grpcs_end_to_end_tests() {
    let data = data(GRPC_RING);
    for case in data["e2e"].as_array().unwrap() {
        // An endpoint alone in its zone has the weight of the zone.
        let weights = numbers::<u32>(case.get("weights").unwrap_or(&case["locality_weights"]));
        let set = Set::weighing(&weights).await;
        let policy = RingHash::grpc(4096, 4096).unwrap();
        let table = policy.table(&set.endpoints);
        let mut counts = vec![0_u32; weights.len()];
        (0..100_000).for_each(|n| counts[set.pick(&policy, &table, key(n), 0)] += 1);
        for (count, share) in counts.iter().zip(case["share"].as_array().unwrap()) {
            let apart = (f64::from(*count) / 100_000.0 - share.as_f64().unwrap()).abs();
            assert!(apart < 0.03, "{counts:?}: {case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stable_ring_moves_no_key_it_need_not_and_is_even() {
    let policy = RingHash::new();
    for count in [3, 10, 50, 100] {
        assert_eq!(moved_needlessly(&policy, count, 20_000).await, 0);
        let set = Set::named(sorted(count)).await;
        let table = policy.table(&set.endpoints);
        let mut counts = vec![0_usize; count];
        (0..200_000).for_each(|n| counts[set.pick(&policy, &table, key(n), 0)] += 1);
        let most = *counts.iter().max().unwrap() as f64 * count as f64 / 200_000.0;
        assert!(most <= 1.0 + 4.0 / 160_f64.sqrt(), "{count} endpoints: {most} of the mean");
    }
}

#[tokio::test(start_paused = true)]
async fn weights_of_any_size_keep_their_shares_of_a_ring_that_fits_into_memory() {
    for (weights, policy) in [
        (vec![u32::MAX, u32::MAX / 2, 1], RingHash::new()),
        (vec![130, 65, 1], RingHash::new()),
        (vec![65_535, 32_768, 1], RingHash::ketama()),
    ] {
        let set = Set::weighing(&weights).await;
        let mut points = [0_usize; 3];
        policy.table(&set.endpoints).points().for_each(|(_, owner)| points[owner] += 1);
        let (count, twice) = (points.iter().sum::<usize>(), points[0] as f64 / points[1] as f64);
        assert!(count <= 1 << 21 && points[2] > 0 && (1.98..2.02).contains(&twice), "{points:?}");
    }
}

/// A heavy one that comes makes another ring, and so does one that goes.
#[tokio::test(start_paused = true)]
async fn a_ring_after_a_heavy_endpoint_came_or_went_is_as_if_it_were_made_anew() {
    let policy = RingHash::new();
    let (few, all) = (Set::weighing(&[3, 5]).await, Set::weighing(&[3, 5, 4_000]).await);
    for (before, after) in [(&few, &all), (&all, &few)] {
        let (left, joined): (&[usize], &[usize]) =
            if after.endpoints.len() == 3 { (&[], &[2]) } else { (&[2], &[]) };
        let turnover = Turnover::new(&before.endpoints, &after.endpoints, left, joined);
        let updated = policy.update(&policy.table(&before.endpoints), &turnover);
        let anew = policy.table(&after.endpoints);
        if let Some(updated) = updated {
            assert!(updated.points().eq(anew.points()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_turned_down_goes_on_around_the_ring_to_each_endpoint_once() {
    let set = Set::named(sorted(4)).await;
    for policy in [RingHash::new(), RingHash::grpc(1024, 4096).unwrap(), RingHash::ketama()] {
        let table = policy.table(&set.endpoints);
        for n in 0..1_000 {
            let to: BTreeSet<_> = (0..4).map(|attempt| set.pick(&policy, &table, key(n), attempt)).collect();
            assert_eq!(to.len(), 4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_after_the_first_gets_its_keys_when_it_goes() {
    let (all, fewer) = (Set::named(sorted(5)).await, Set::named(sorted(5).skip(1)).await);
    let policy = RingHash::new();
    let (before, after) = (policy.table(&all.endpoints), policy.table(&fewer.endpoints));
    for n in 0..2_000 {
        if all.pick(&policy, &before, key(n), 0) == 0 {
            let next = all.pick(&policy, &before, key(n), 1);
            let heir = fewer.pick(&policy, &after, key(n), 0);
            assert_eq!(all.endpoints[next].id(), fewer.endpoints[heir].id());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_keeps_an_endpoints_place_under_a_new_name() {
    let labelled = |ids: [&str; 3]| {
        let describe = |(id, key): (&str, &str)| {
            let metadata = [("hash_key".to_owned(), key.to_owned())].into_iter().collect();
            (id.to_owned(), Attributes { metadata: std::sync::Arc::new(metadata), ..Attributes::default() })
        };
        ids.into_iter().zip(["x", "y", "z"]).map(describe).collect()
    };
    let (old, new) =
        (Set::described(labelled(["a", "b", "c"])).await, Set::described(labelled(["d", "e", "f"])).await);
    let (ring, maglev) = (RingHash::new(), Maglev::new());
    let rings = (ring.table(&old.endpoints), ring.table(&new.endpoints));
    let slots = (maglev.table(&old.endpoints), maglev.table(&new.endpoints));
    for n in 0..500 {
        assert_eq!(old.pick(&ring, &rings.0, key(n), 0), new.pick(&ring, &rings.1, key(n), 0));
        assert_eq!(old.pick(&maglev, &slots.0, key(n), 0), new.pick(&maglev, &slots.1, key(n), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn maglevs_table_is_the_one_that_envoy_makes() {
    for case in cases(&data(ENVOY_MAGLEV)) {
        let set = hosts(case).await;
        let policy = Maglev::with_size(case["size"].as_u64().unwrap()).unwrap();
        let table = policy.table(&set.endpoints);
        let expected = numbers::<usize>(&case["table"]);
        for hash in 0..3 * expected.len() {
            let pick = set.pick(&policy, &table, hash as u64, 0);
            assert_eq!(pick, expected[hash % expected.len()], "{case}");
        }
        for row in rows(case, "attempts") {
            assert_eq!(set.pick(&policy, &table, row[0], row[1] as u32) as u64, row[2], "{case}");
        }
    }
    assert!(Maglev::with_size(8).is_err() && Maglev::with_size(5_000_077).is_err());
}

#[tokio::test(start_paused = true)]
async fn maglev_is_even_to_a_slot_and_moves_few_keys() {
    let policy = Maglev::new();
    for count in [3, 10, 100] {
        let set = Set::named(sorted(count)).await;
        let table = policy.table(&set.endpoints);
        let mut slots = vec![0_usize; count];
        (0..65_537).for_each(|slot| slots[set.pick(&policy, &table, slot, 0)] += 1);
        assert!(slots.iter().max().unwrap() - slots.iter().min().unwrap() <= 1);
        let moved = moved_needlessly(&policy, count, 50_000).await;
        assert!(moved <= 350, "{moved} of 50000 keys moved with {count} endpoints");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_go_anywhere() {
    let set = Set::named(sorted(4)).await;
    for shares in [set.shares(&RingHash::new(), 4_000), set.shares(&Maglev::new(), 4_000)] {
        assert!(shares.iter().all(|share| (600..1_400).contains(share)), "{shares:?}");
    }
}

/// Uris and the servers that nginx sent them to, as cloudflare/pingora publishes them
/// (`pingora-ketama/test-data`): nine servers `10.0.0.1:443` to `10.0.0.9:443` of weight 100.
#[tokio::test(start_paused = true)]
async fn the_ketama_ring_sends_keys_where_nginx_sends_them() {
    let attributes = Attributes { weight: 100, ..Attributes::default() };
    let set =
        Set::described((1..=9).map(|n| (format!("10.0.0.{n}:443"), attributes.clone())).collect()).await;
    let policy = RingHash::ketama();
    let table = policy.table(&set.endpoints);
    for row in NGINX_KETAMA.lines() {
        let (uri, server) = row.split_once(',').unwrap();
        let pick = set.pick(&policy, &table, policy.hash(uri.as_bytes()).0, 0);
        assert_eq!(set.endpoints[pick].id(), server, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ketama_ring_sends_keys_where_pingora_sends_them() {
    let data: Value = serde_json::from_str(include_str!("../data/pingora_ketama.json")).unwrap();
    let servers: Vec<_> = data["servers"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    for (picks, count) in data["picks"].as_array().unwrap().iter().zip([3, 2]) {
        let named = |id: &&str| ((*id).to_owned(), Attributes::default());
        let set = Set::described(servers.iter().take(count).map(named).collect()).await;
        let policy = RingHash::ketama();
        let table = policy.table(&set.endpoints);
        for (number, expected) in numbers::<usize>(picks).into_iter().enumerate() {
            let pick = set.pick(&policy, &table, policy.hash(format!("test{number}").as_bytes()).0, 0);
            assert_eq!(set.endpoints[pick].id(), servers[expected], "test{number} of {count}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rendezvous_moves_only_the_keys_of_who_goes_and_each_to_its_second_choice() {
    for weights in [[1, 1, 1, 1, 1], [1, 2, 3, 4, 5]] {
        let describe = |(id, weight)| (id, Attributes { weight, ..Attributes::default() });
        let all = Set::described(sorted(5).zip(weights).map(describe).collect()).await;
        let fewer = Set::described(sorted(5).zip(weights).skip(1).map(describe).collect()).await;
        let (before, after) = (Rendezvous.table(&all.endpoints), Rendezvous.table(&fewer.endpoints));
        for n in 0..5_000 {
            let heir = fewer.endpoints[fewer.pick(&Rendezvous, &after, key(n), 0)].id();
            let first = all.pick(&Rendezvous, &before, key(n), 0);
            let attempt = u32::from(first == 0);
            assert_eq!(all.endpoints[all.pick(&Rendezvous, &before, key(n), attempt)].id(), heir);
            let order: BTreeSet<_> =
                (0..5).map(|n_th| all.pick(&Rendezvous, &before, key(n), n_th)).collect();
            assert_eq!(order.len(), 5);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rendezvous_shares_by_weight() {
    for (weights, expected) in [(vec![2, 1], vec![2.0 / 3.0, 1.0 / 3.0]), (vec![1; 4], vec![0.25; 4])] {
        let set = Set::weighing(&weights).await;
        let table = Rendezvous.table(&set.endpoints);
        let mut counts = vec![0_u32; weights.len()];
        (0..100_000).for_each(|n| counts[set.pick(&Rendezvous, &table, key(n), 0)] += 1);
        for (count, expected) in counts.iter().zip(expected) {
            assert!((f64::from(*count) / 100_000.0 - expected).abs() < 0.01, "{counts:?}");
        }
    }
}

#[test]
fn shards_are_ordered_as_go_micro_orders_them() {
    for case in data(GO_MICRO)["shard"]["cases"].as_array().unwrap() {
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let (ids, order) = (texts(&case["nodes"]), texts(&case["order"]));
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let keys: Vec<_> = case["keys"].as_str().unwrap().split(',').collect();
        let ordered: Vec<_> = shard_order(&keys, &ids).into_iter().map(|index| ids[index]).collect();
        assert_eq!(ordered, order);
    }
}

#[tokio::test(start_paused = true)]
async fn modulo_hashes_and_chooses_as_go_micros_shard_wrapper_does() {
    let row = &data(GO_MICRO)["shard_wrapper"]["crc32"][0];
    let hash = Modulo::hash(row["key"].as_str().unwrap().as_bytes());
    assert_eq!(hash, HashKey(row["value"].as_u64().unwrap()));
    let set = Set::named(["a", "b", "c", "d", "e", "f", "g"]).await;
    assert_eq!(set.pick(&Modulo, &(), hash.0, 0) as u64, hash.0 % 7);
}
