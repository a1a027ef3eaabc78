//! Policies that choose by what a request says of itself, and by one endpoint at a time.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use micro_balance::{
    Attributes, Chance, HashKey, Parts,
    policy::{
        Boxed, Context, FirstAttempts, HashBy, LabelSubset, LeastRequest, Otherwise, Override, OverrideHost,
        PickFirst, Policy, RequestBias, RingHash, RoundRobin, Shard, ShardKeys, Source, Wanted, interleaved,
        shard_order,
    },
};
use serde_json::Value;

use crate::endpoints::{Set, numbers};

const INTERLEAVE: &str = include_str!("../data/grpc_pickfirst_interleave.json");
const ENVOY: &str = include_str!("../data/envoy_edf_wrr_slowstart.json");
const GRPC_RING: &str = include_str!("../data/grpc_ringhash.json");

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What `policy` picks of `set` for a request.
fn picked<P: Policy>(set: &Set, policy: &P, request: &http::Request<()>, attempt: u32) -> Option<usize> {
    let chance = Chance::new(1);
    let mut context = Context::new(&chance);
    context.attempt = attempt;
    context.parts = Some(Parts::of(request));
    policy.pick(&policy.table(&set.endpoints), &set.endpoints, &context)
}

fn request(headers: HeaderMap) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.headers_mut() = headers;
    request
}

fn with<X: Clone + Send + Sync + 'static>(extension: X) -> http::Request<()> {
    let mut request = http::Request::new(());
    request.extensions_mut().insert(extension);
    request
}

#[test]
fn families_of_addresses_take_turns_as_in_grpc() {
    for case in data(INTERLEAVE)["cases"].as_array().unwrap() {
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let input = texts(&case["input"]);
        let input: Vec<_> = input.iter().map(String::as_str).collect();
        let output: Vec<_> = interleaved(&input).into_iter().map(|index| input[index]).collect();
        assert_eq!(output, texts(&case["output"]), "{}", case["name"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_after_the_time_that_grpc_takes() {
    let (set, data) = (Set::weighing(&[1, 1]).await, data(INTERLEAVE));
    let delay = |policy: PickFirst| policy.turns(&set.endpoints).unwrap().delay.as_millis() as u64;
    assert_eq!(delay(PickFirst::new()), data["connection_attempt_delay_ms"]);
    let ends = [Duration::ZERO, Duration::MAX].map(|time| delay(PickFirst::new().delay(time)));
    assert_eq!(ends.to_vec(), numbers::<u64>(&data["clamp_ms"]));
}

#[tokio::test(start_paused = true)]
async fn a_shuffled_order_begins_with_each_as_often_as_its_weight_says() {
    let set = Set::weighing(&[1, 3, 6]).await;
    let policy = PickFirst::new().shuffled_by(5);
    let mut firsts = [0_usize; 3];
    for _ in 0..10_000 {
        let order = policy.turns(&set.endpoints).unwrap().order;
        assert_eq!(order.len(), 3);
        firsts[order[0]] += 1;
    }
    assert!(firsts.iter().zip([1_000, 3_000, 6_000]).all(|(n, want)| n.abs_diff(want) < 200), "{firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bias_by_requests_goes_in_the_order_that_envoy_goes_in() {
    let mut set = Set::weighing(&[1, 2]).await;
    let policy = RequestBias::new();
    let mut table = policy.table(&set.endpoints);
    let chance = Chance::new(1);
    let mut active = [0, 0];
    for step in data(ENVOY)["least_request_weighted"]["steps"].as_array().unwrap() {
        let wanted = numbers::<usize>(&step["active"]);
        if wanted.iter().zip(active).any(|(wanted, active)| *wanted < active) {
            // What is in flight cannot be taken back: a set of the same kind, and its order from the start.
            set = Set::weighing(&[1, 2]).await;
            active = [0, 0];
        }
        for (index, &wanted) in wanted.iter().enumerate() {
            set.load(index, wanted - active[index]).await;
            active[index] = wanted;
        }
        table = if step.get("weights").is_some() { policy.table(&set.endpoints) } else { table };
        let order = numbers::<usize>(&step["seq"]);
        let context = Context::new(&chance);
        let picks: Vec<_> =
            order.iter().map(|_| policy.pick(&table, &set.endpoints, &context).unwrap()).collect();
        assert_eq!(picks, order, "{step}");
    }
    assert!(RequestBias::bias(-1.0).is_err() && RequestBias::bias(f64::NAN).is_err());
    let unbiased = RequestBias::bias(0.0).unwrap();
    let mut busy = Set::weighing(&[1, 2]).await;
    busy.load(1, 7).await;
    assert_eq!(busy.picks(&unbiased, 6), [1, 0, 1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_endpoint_weighs_less_by_the_power_of_the_bias() {
    for (bias, shares) in [(0.0, [150, 150]), (1.0, [100, 200]), (2.0, [60, 240]), (0.5, [124, 176])] {
        let mut set = Set::weighing(&[1, 1]).await;
        set.load(0, 1).await;
        let picks = set.shares(&RequestBias::bias(bias).unwrap(), 300);
        assert!(
            picks[0].abs_diff(shares[0]) <= 1 && picks[1].abs_diff(shares[1]) <= 1,
            "{picks:?} by {bias}"
        );
    }
    let mut set = Set::weighing(&[1, 1]).await;
    set.load(0, 1).await;
    assert_eq!(set.picks(&RequestBias::default(), 12), set.picks(&RequestBias::bias(1.0).unwrap(), 12));
}

#[tokio::test(start_paused = true)]
async fn a_header_is_hashed_as_grpc_hashes_it() {
    let set = Set::named(["a", "b", "c"]).await;
    // gRPC's ring: the points are 0, a third and two thirds of all hashes.
    let thirds = |context: &Context<'_>| context.hash.map(|hash| hash.div_ceil(u64::MAX / 3) as usize % 3);
    struct Thirds<F>(F);
    impl<F: Fn(&Context<'_>) -> Option<usize> + Send + Sync + 'static> Policy for Thirds<F> {
        type Table = ();
        fn table(&self, _: &[micro_balance::Endpoint]) {}
        fn pick(&self, (): &(), _: &[micro_balance::Endpoint], context: &Context<'_>) -> Option<usize> {
            (self.0)(context)
        }
    }
    for case in data(GRPC_RING)["header_hash"].as_array().unwrap() {
        let mut headers = HeaderMap::new();
        for value in case["header"].as_array().into_iter().flatten() {
            headers.append("session", HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        let policy = HashBy::header("Session", Thirds(thirds)).unwrap();
        assert_eq!(
            picked(&set, &policy, &request(headers), 0).map(|pick| pick as u64),
            case["pick"].as_u64()
        );
    }
    for case in data(GRPC_RING)["request_hash_header"].as_array().unwrap() {
        let name = case["value"].as_str().unwrap();
        // A name with a mark in it is one of HTTP's, though not of gRPC's.
        let refused = case["err"] == true && !name.starts_with('!');
        assert_eq!(HashBy::header(name, LeastRequest).is_err(), refused, "{case}");
    }
    assert!(HashBy::header("no name \n", LeastRequest).is_err());
}

/// Notes the hash that it is to pick by.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Option<u64>>>);

impl Noted {
    fn note(&self, context: &Context<'_>) {
        *self.0.lock().unwrap() = context.hash;
    }
}

impl Policy for Noted {
    type Table = ();
    fn table(&self, _: &[micro_balance::Endpoint]) {}
    fn pick(&self, (): &(), _: &[micro_balance::Endpoint], context: &Context<'_>) -> Option<usize> {
        self.note(context);
        Some(0)
    }
    fn claims(&self, (): &(), context: &Context<'_>) -> bool {
        self.note(context);
        true
    }
    fn admits(&self, (): &(), _: &micro_balance::Endpoint, context: &Context<'_>) -> bool {
        self.note(context);
        true
    }
    fn keeps(&self, _: &[micro_balance::Endpoint], context: &Context<'_>) -> Option<usize> {
        self.note(context);
        Some(0)
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_inside_knows_the_hash_of_the_key_whatever_it_is_asked() {
    let (set, noted, chance) = (Set::named(["a"]).await, Noted::default(), Chance::new(1));
    let policy = HashBy::new(|_| Some(5), noted.clone());
    let context = Context::new(&chance);
    let asks: [&dyn Fn(); 4] = [
        &|| assert!(policy.pick(&(), &set.endpoints, &context).is_some()),
        &|| assert!(policy.claims(&(), &context)),
        &|| assert!(policy.admits(&(), &set.endpoints[0], &context)),
        &|| assert!(policy.keeps(&set.endpoints, &context).is_some()),
    ];
    for ask in asks {
        ask();
        assert_eq!(noted.0.lock().unwrap().take(), Some(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_hashed_in_another_way_counts_by_its_first_value_and_not_where_that_is_empty() {
    let (set, noted) = (Set::named(["a", "b"]).await, Noted::default());
    let by_length = |name| HashBy::header_with(name, |value| HashKey(value.len() as u64), noted.clone());
    let policy = by_length("x-user").unwrap();
    for (values, hash) in
        [(&["abc"][..], Some(3)), (&["ab", "abc"], Some(2)), (&["", "abc"], None), (&[""], None), (&[], None)]
    {
        let headers = values.iter().map(|value| ("x-user".parse().unwrap(), value.parse().unwrap()));
        picked(&set, &policy, &request(headers.collect()), 0);
        assert_eq!(*noted.0.lock().unwrap(), hash, "{values:?}");
    }
    assert!(by_length("x-user-bin").is_err() && by_length("no name").is_err());
}

#[tokio::test(start_paused = true)]
async fn around_one_at_a_time_or_a_strict_policy_it_is_one_at_a_time_or_strict() {
    let set = Set::named(["a", "b"]).await;
    let order = |policy: Boxed| policy.turns(&set.endpoints).map(|turns| turns.order);
    let around = |policy: fn() -> Boxed| {
        [
            Boxed::new(HashBy::new(|_| None, policy())),
            Boxed::new(FirstAttempts::new(policy(), "stage", "canary")),
        ]
    };
    let strict = || Boxed::new(OverrideHost::new(RoundRobin::new()).strict());
    assert!(around(strict).iter().all(|policy| policy.is_strict()));
    let any = || Boxed::new(RoundRobin::new());
    assert!(around(any).iter().all(|policy| !policy.is_strict() && policy.turns(&[]).is_none()));
    for policy in around(|| Boxed::new(PickFirst::new())) {
        assert_eq!(order(policy), Some(vec![0, 1]));
    }
}

/// Envoy's tests of its hash policies, `test/common/http/hash_policy_test.cc`: a cookie, a parameter, an address.
#[tokio::test(start_paused = true)]
async fn cookies_queries_and_addresses_are_hashed_as_envoy_hashes_them() {
    let (set, noted) = (Set::named(["a", "b"]).await, Noted::default());
    let hash = |policy: &HashBy<Noted>, request: &http::Request<()>| {
        picked(&set, policy, request, 0);
        *noted.0.lock().unwrap()
    };
    let of = |text: &str| Some(xxhash_rust::xxh64::xxh64(text.as_bytes(), 0));
    let by_param = HashBy::query("test-param", noted.clone());
    for (uri, value) in [
        ("/test?test-param=param-value", Some("param-value")),
        ("/test?some-param=other-value", None),
        ("/test", None),
        ("/?test-params=1&Test-Param=2", None),
        // The first as it stands there, and one that is empty.
        ("/test?a=1&test-param=x%20y&test-param=z", Some("x%20y")),
        ("http://greeter/?test-param", Some("")),
        ("/?test-param=a=b", Some("a=b")),
    ] {
        let request = http::Request::get(uri).body(()).unwrap();
        assert_eq!(hash(&by_param, &request), value.and_then(of), "{uri}");
    }
    let by_cookie = HashBy::cookie("test-cookie", noted.clone());
    let cookie =
        request([(header::COOKIE, "test-cookie=cookie-value".parse().unwrap())].into_iter().collect());
    assert_eq!(hash(&by_cookie, &cookie), of("cookie-value"));
    assert_eq!(hash(&by_cookie, &request(HeaderMap::new())), None);
    let by_client = HashBy::address(|found| found.get::<SocketAddr>().map(SocketAddr::ip), noted.clone());
    for client in ["192.168.1.1:80", "[::ffff:192.168.1.1]:443"] {
        assert_eq!(hash(&by_client, &with(client.parse::<SocketAddr>().unwrap())), of("192.168.1.1"));
    }
    assert_eq!(hash(&by_client, &request(HeaderMap::new())), None);
}

#[tokio::test(start_paused = true)]
async fn several_keys_make_one_hash_up_to_the_last() {
    let set = Set::named(["a", "b"]).await;
    #[derive(Clone, Copy)]
    struct Echo(u64);
    impl Policy for Echo {
        type Table = ();
        fn table(&self, _: &[micro_balance::Endpoint]) {}
        fn pick(&self, (): &(), _: &[micro_balance::Endpoint], context: &Context<'_>) -> Option<usize> {
            Some((context.hash == Some(self.0)).into())
        }
    }
    let nothing = request(HeaderMap::new());
    let both = HashBy::new(|_| Some(5), Echo(5_u64.rotate_left(1) ^ 9)).and(|_| None).and(|_| Some(9));
    assert_eq!(picked(&set, &both, &nothing, 0), Some(1));
    let first = HashBy::new(|_| Some(5), Echo(5)).last().and(|_| Some(9));
    assert_eq!(picked(&set, &first, &nothing, 0), Some(1));
    let second = HashBy::new(|_| None, Echo(9)).last().and(|_| Some(9));
    assert_eq!(picked(&set, &second, &nothing, 0), Some(1));

    // Of Envoy's test of its hash.
    let value = 4_400_747_396_090_729_504;
    let by_cookie = |hash| HashBy::new(|_| Some(5), HashBy::cookie("session", Echo(hash)));
    for (cookies, hash) in [
        (vec!["session=lyft"], value),
        (vec!["a=b", "c=d; session=\"lyft\"; session=other"], value),
        // One around it says where the inner one finds nothing.
        (vec!["session=", "sessions=lyft"], 5),
        (vec!["session=\"\""], 5),
        (vec![], 5),
    ] {
        let headers = cookies.iter().map(|value| (header::COOKIE, HeaderValue::from_static(value)));
        assert_eq!(picked(&set, &by_cookie(hash), &request(headers.collect()), 0), Some(1), "{cookies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_the_endpoint_it_names_in_any_way() {
    let set = Set::named(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).await;
    let policy = OverrideHost::new(RoundRobin::starting_at(0))
        .by(Source::Extension)
        .by(Source::header("x-endpoint").unwrap())
        .by(Source::cookie("session"));
    let header = |name: &'static str, value: &str| {
        request([(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect())
    };
    let cookie = format!("a=b; session={}; c=d", "MTAuMC4wLjI6ODA=");
    assert_eq!(picked(&set, &policy, &with(Override::new("10.0.0.3:80")), 0), Some(2));
    assert_eq!(picked(&set, &policy, &header("x-endpoint", "10.0.0.2:80"), 0), Some(1));
    assert_eq!(picked(&set, &policy, &header(header::COOKIE.as_str(), &cookie), 0), Some(1));
    // A name of nobody, what is no name, and an endpoint that has been tried: as if nothing was said.
    for request in
        [with(Override::new("10.0.0.9:80")), header("cookie", "session=???"), header("cookie", "session")]
    {
        let next = policy.clone_start();
        assert_eq!(picked(&set, &next, &request, 0), Some(0));
        let strict = policy.clone_start().strict();
        assert_eq!(picked(&set, &strict, &request, 0), None);
        assert!(strict.is_strict());
    }
    assert_eq!(picked(&set, &policy.clone_start(), &with(Override::new("10.0.0.3:80")), 1), Some(0));
}

/// Envoy's `override_host` tests: SelectedHostMetadataMultipleHostsChosen, HeaderIsPreferredOverMetadata, and
/// UnparseableHeaderValueUsesFallback, each attempt after the one before was turned down.
#[tokio::test(start_paused = true)]
async fn another_attempt_goes_to_the_next_endpoint_that_is_named_and_then_anywhere() {
    let set = Set::named(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[::1]:80,x"]).await;
    let rows = [
        (["10.0.0.3:80,10.0.0.2:80", ""], &[2, 1][..]),
        (["10.0.0.3:80", "10.0.0.2:80"], &[2, 1]),
        (["10.9.9.9:80 , 10.0.0.3:80", "10.0.0.2:80,10.0.0.3:80"], &[2, 1, 2]),
        (["fff-bar-.bats@just.Wrong", "10.0.0.2:80"], &[1]),
        (["[::1]:80,x", "10.0.0.2:80"], &[3, 1]),
        (["", " , "], &[]),
    ];
    for (headers, named) in rows {
        let values = ["x-endpoint", "x-fallbacks"].into_iter().zip(headers);
        let request =
            request(values.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect());
        for attempt in 0..=named.len() {
            let policy = || {
                OverrideHost::new(RoundRobin::starting_at(0))
                    .by(Source::header("x-endpoint").unwrap())
                    .by(Source::header("x-fallbacks").unwrap())
            };
            let expected = named.get(attempt).copied();
            let pick = |policy| picked(&set, &policy, &request, attempt as u32);
            assert_eq!(pick(policy().strict()), expected, "{headers:?}, attempt {attempt}");
            assert_eq!(pick(policy()), expected.or(Some(0)), "{headers:?}, attempt {attempt}");
        }
    }
}

trait CloneStart {
    fn clone_start(&self) -> OverrideHost<RoundRobin>;
}

impl CloneStart for OverrideHost<RoundRobin> {
    /// The same sources, and a cursor at the start.
    fn clone_start(&self) -> OverrideHost<RoundRobin> {
        OverrideHost::new(RoundRobin::starting_at(0)).by(Source::Extension).by(Source::cookie("session"))
    }
}

#[tokio::test(start_paused = true)]
async fn labels_asked_for_lead_to_their_endpoints_or_to_the_fallback() {
    let labelled = |id: &str, labels: &[(&str, &str)]| {
        let metadata = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        (id.to_owned(), Attributes { metadata: Arc::new(metadata), ..Attributes::default() })
    };
    let set = Set::described(vec![
        labelled("a", &[("stage", "prod"), ("version", "1")]),
        labelled("b", &[("stage", "prod"), ("version", "2")]),
        labelled("c", &[("stage", "dev"), ("version", "2")]),
        labelled("d", &[]),
    ])
    .await;
    let policy = |otherwise| {
        LabelSubset::new(RoundRobin::starting_at(0))
            .by(["version"])
            .by(["version", "stage"])
            .otherwise(otherwise)
    };
    let anybody = policy(Otherwise::Anybody);
    let wanted = |labels: &[(&str, &str)]| with(Wanted::new(labels.iter().copied()));
    let picks = |request: &http::Request<()>| -> std::collections::BTreeSet<_> {
        (0..8).map(|_| picked(&set, &anybody, request, 0).unwrap()).collect()
    };
    assert_eq!(picks(&wanted(&[("version", "2")])), [1, 2].into());
    assert_eq!(picks(&wanted(&[("stage", "dev"), ("version", "2")])), [2].into());
    // Nobody has it, nothing may be asked by this key, and nothing is asked for.
    for request in [wanted(&[("version", "3")]), wanted(&[("stage", "prod")]), request(HeaderMap::new())] {
        assert_eq!(picks(&request), [0, 1, 2, 3].into());
        let nobody = policy(Otherwise::Nobody);
        assert_eq!(picked(&set, &nobody, &request, 0), None);
        assert!(nobody.is_strict() && !anybody.is_strict());
        let those = policy(Otherwise::Those([("stage".to_owned(), "dev".to_owned())].into()));
        assert_eq!(picked(&set, &those, &request, 0), Some(2));
    }
}

/// `data/envoy_subsets.json`
#[tokio::test(start_paused = true)]
async fn labels_lead_where_envoys_subsets_lead() {
    let labels = |from: &Value| -> std::collections::BTreeMap<String, String> {
        serde_json::from_value(from.clone()).unwrap()
    };
    let otherwise = |from: &Value| match from.as_str() {
        Some("nobody") => Otherwise::Nobody,
        Some(_) => Otherwise::Anybody,
        None => Otherwise::Those(labels(&from["those"])),
    };
    let keys = |from: &Value| -> Vec<String> { serde_json::from_value(from.clone()).unwrap() };
    for case in data(include_str!("../data/envoy_subsets.json"))["cases"].as_array().unwrap() {
        let hosts = case["hosts"].as_array().unwrap().iter().enumerate().map(|(place, host)| {
            let metadata = labels(host).into_iter().collect();
            (place.to_string(), Attributes { metadata: Arc::new(metadata), ..Attributes::default() })
        });
        let set = Set::described(hosts.collect()).await;
        let mut policy =
            LabelSubset::new(RoundRobin::starting_at(0)).otherwise(otherwise(&case["otherwise"]));
        for selector in case["selectors"].as_array().unwrap() {
            policy = match (selector.get("otherwise"), selector.get("fewer")) {
                (Some(own), _) => policy.by_otherwise(keys(&selector["keys"]), otherwise(own)),
                (_, Some(fewer)) => policy.by_or(keys(&selector["keys"]), keys(fewer)).unwrap(),
                _ => policy.by(keys(&selector["keys"])),
            };
        }
        let policy = if case["redundant"] == true { policy.redundant() } else { policy };
        for row in case["requests"].as_array().unwrap() {
            let request = match &row[0] {
                Value::Null => request(HeaderMap::new()),
                wanted => with(Wanted::new(labels(wanted))),
            };
            let picks: std::collections::BTreeSet<_> =
                (0..9).filter_map(|_| picked(&set, &policy, &request, 0)).collect();
            let expected = numbers::<usize>(&row[1]).into_iter().collect();
            assert_eq!(picks, expected, "{}: {}", case["of"], row[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shard_keys_go_where_go_micro_sends_them() {
    let ids = ["1", "2", "3", "4", "5"];
    let set = Set::named(ids).await;
    for key in ["a", "b", "c", "d", "e"] {
        let order: Vec<_> = (0..5)
            .map(|attempt| picked(&set, &Shard, &with(ShardKeys::new(&[key])), attempt).unwrap())
            .collect();
        assert_eq!(order, shard_order(&[key], &ids));
    }
}

#[tokio::test(start_paused = true)]
async fn a_boxed_policy_picks_as_what_is_inside() {
    let set = Set::weighing(&[1, 1, 1]).await;
    let boxed = Boxed::new(RoundRobin::starting_at(1));
    assert_eq!(set.picks(&boxed, 4), [1, 2, 0, 1]);
    let ring = RingHash::new();
    let boxed = Boxed::new(ring.clone());
    for key in 0..100_u64 {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (a, b) = (ring.table(&set.endpoints), boxed.table(&set.endpoints));
        assert_eq!(set.pick(&ring, &a, hash, 0), set.pick(&boxed, &b, hash, 0));
    }
    assert_eq!(format!("{boxed:?}"), "Boxed(\"RingHash\")");
}

#[tokio::test(start_paused = true)]
async fn labels_nobody_has_all_of_fall_back_to_fewer_keys_step_by_step() {
    let labelled = |id: &str, labels: &[(&str, &str)]| {
        let metadata = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        (id.to_owned(), Attributes { metadata: Arc::new(metadata), ..Attributes::default() })
    };
    let set = Set::described(vec![
        labelled("a", &[("version", "1"), ("stage", "prod"), ("zone", "x")]),
        labelled("b", &[("version", "1"), ("stage", "dev"), ("zone", "y")]),
        labelled("c", &[("version", "2"), ("stage", "prod"), ("zone", "y")]),
    ])
    .await;
    let policy = LabelSubset::new(RoundRobin::starting_at(0))
        .by_or(["version", "stage", "zone"], ["version", "stage"])
        .and_then(|policy| policy.by_or(["stage", "version"], ["version"]))
        .unwrap()
        .otherwise(Otherwise::Nobody);
    let pick = |version, stage, zone| {
        let wanted = Wanted::new([("version", version), ("stage", stage), ("zone", zone)]);
        picked(&set, &policy, &with(wanted), 0)
    };
    assert_eq!(pick("1", "prod", "x"), Some(0), "all three");
    assert_eq!(pick("1", "dev", "x"), Some(1), "nobody in this zone: version and stage");
    assert_eq!(pick("2", "dev", "x"), Some(2), "nor in this stage: version");
    assert_eq!(pick("3", "dev", "x"), None, "nor of this version");
    for fewer in [vec!["version", "stage", "zone"], vec!["colour"], vec![]] {
        let refused =
            LabelSubset::new(RoundRobin::starting_at(0)).by_or(vec!["version", "stage", "zone"], fewer);
        assert!(refused.is_err());
    }
}
