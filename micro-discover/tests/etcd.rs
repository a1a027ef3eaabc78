//! What must survive when etcd's members, leases and connections fail: on a real cluster.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::future::join_all;
use micro_discover::{Announce, Announcement, Endpoint, Registry, Service, Status, Watch, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::etcd::Etcd;
use crate::servers::gateway::{Proxy, post, put, send};

mod servers;

const TTL: Duration = Duration::from_secs(5);

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(Endpoint::new(id, "127.0.0.1:80".parse().unwrap()))
}

async fn announce(registry: &Arc<dyn Registry>, id: &str) -> Announcement {
    Announce::new(registry.clone(), greeter(id)).ttl(TTL).start().await.unwrap()
}

/// Every set that a client was given.
#[derive(Clone)]
struct Seen {
    sets: Arc<Mutex<Vec<Vec<String>>>>,
    status: Status,
}

impl Seen {
    fn by(registry: &Arc<dyn Registry>) -> Self {
        let mut watch = Watch::new(registry.clone(), "greeter");
        let seen = Self { sets: Arc::default(), status: watch.status() };
        let sets = seen.sets.clone();
        tokio::spawn(async move {
            while let Some(set) = watch.next().await {
                let ids =
                    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone());
                sets.lock().unwrap().push(ids.collect());
            }
        });
        seen
    }

    fn last(&self) -> Vec<String> {
        self.sets.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// How long it takes until a set satisfies `wanted`.
    async fn until(&self, wanted: impl Fn(&[String]) -> bool) -> Duration {
        let start = Instant::now();
        while self.sets.lock().unwrap().last().is_none_or(|last| !wanted(last)) {
            assert!(start.elapsed() < Duration::from_secs(40), "still {:?}", self.last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    async fn until_stale(&self) {
        let start = Instant::now();
        while self.status.stale_since().is_none() {
            assert!(start.elapsed() < Duration::from_secs(40), "all is well");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_there(&self, id: &str) -> Duration {
        self.until(|set| set.iter().any(|known| known == id)).await
    }

    /// Whether an endpoint that was in a set was missing from a later one.
    fn flapped(&self) -> bool {
        self.sets.lock().unwrap().windows(2).any(|two| two[0].iter().any(|id| !two[1].contains(id)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_too_large_for_one_answer_are_read_in_several() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let large = "x".repeat(600_000);
    for n in 0..120 {
        let record = greeter(&format!("g{n}")).metadata("large", &large);
        registry.announce(&record, Duration::ZERO).await.unwrap();
    }
    let seen = Seen::by(&registry);
    seen.until(|set| set.len() == 120).await;
    assert_eq!(registry.get("greeter").await.unwrap()[0].endpoints.len(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_hides_nothing_and_a_new_endpoint_is_seen_soon() {
    let Some(mut cluster) = Etcd::cluster::<3>() else { return };
    let registry = open(&cluster.url()).unwrap();
    let seen = Seen::by(&registry);
    let _first = announce(&registry, "first").await;
    seen.until_there("first").await;
    let mut more = Vec::new();
    // One of the three is the leader, and the one in use comes first.
    for member in 0..3 {
        cluster.members[member].kill();
        let id = format!("after-{member}");
        more.push(announce(&registry, &id).await);
        let took = seen.until_there(&id).await;
        println!("31: member {member} killed, a new endpoint seen after {took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        cluster.members[member].restart_dead();
        cluster.wait_for_health();
    }
    assert!(!seen.flapped());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_hides_nothing_and_a_new_endpoint_is_seen_soon() {
    let Some(cluster) = Etcd::cluster::<3>() else { return };
    let registry = open(&cluster.url()).unwrap();
    let seen = Seen::by(&registry);
    let _first = announce(&registry, "first").await;
    seen.until_there("first").await;
    let mut more = Vec::new();
    for member in 0..3 {
        cluster.members[member].freeze();
        let id = format!("after-{member}");
        more.push(announce(&registry, &id).await);
        let took = seen.until_there(&id).await;
        println!("32: member {member} frozen, a new endpoint seen after {took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        cluster.members[member].thaw();
        cluster.wait_for_health();
    }
    assert!(!seen.flapped());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_lost_for_longer_than_the_ttl_hides_nothing() {
    let Some(cluster) = Etcd::cluster::<3>() else { return };
    let registry = open(&cluster.url()).unwrap();
    let seen = Seen::by(&registry);
    let _announced = join_all(["a", "b"].map(|id| announce(&registry, id))).await;
    seen.until(|set| set.len() == 2).await;
    cluster.members[..2].iter().for_each(servers::Process::freeze);
    tokio::time::sleep(2 * TTL).await;
    cluster.members[..2].iter().for_each(servers::Process::thaw);
    cluster.wait_for_health();
    let late = announce(&registry, "late").await;
    seen.until_there("late").await;
    tokio::time::sleep(2 * TTL + Duration::from_secs(4)).await;
    assert_eq!(seen.last(), ["a", "b", "late"]);
    assert!(!seen.flapped(), "{:?}", seen.sets.lock().unwrap());
    late.withdraw().await.unwrap();
    seen.until(|set| set.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_down_for_longer_than_the_ttl_hide_nothing_and_announcements_renew_themselves() {
    let Some(mut cluster) = Etcd::cluster::<3>() else { return };
    let registry = open(&cluster.url()).unwrap();
    let seen = Seen::by(&registry);
    let _announced = join_all(["a", "b"].map(|id| announce(&registry, id))).await;
    seen.until(|set| set.len() == 2).await;
    cluster.members.iter_mut().for_each(servers::Process::kill);
    tokio::time::sleep(TTL + Duration::from_secs(2)).await;
    assert!(seen.status.stale_since().is_some() && seen.status.last_error().is_some());
    cluster.members.iter_mut().for_each(servers::Process::restart_dead);
    cluster.wait_for_health();
    tokio::time::sleep(2 * TTL).await;
    assert_eq!(seen.last(), ["a", "b"]);
    assert!(!seen.flapped(), "{:?}", seen.sets.lock().unwrap());
    assert_eq!(registry.get("greeter").await.unwrap()[0].endpoints.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_are_replaced_one_after_the_other_hide_nothing() {
    let Some(mut cluster) = Etcd::cluster::<3>() else { return };
    let registry = open(&cluster.url()).unwrap();
    let seen = Seen::by(&registry);
    let _first = announce(&registry, "first").await;
    seen.until_there("first").await;
    let mut more = Vec::new();
    for member in 0..3 {
        cluster.replace_member(member);
        let id = format!("after-{member}");
        more.push(announce(&registry, &id).await);
        let took = seen.until_there(&id).await;
        println!("member {member} replaced, a new endpoint seen after {took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
    tokio::time::sleep(2 * TTL).await;
    assert_eq!(seen.last(), ["after-0", "after-1", "after-2", "first"]);
    assert!(!seen.flapped());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_has_lost_all_it_knew_hides_nobody_who_announces_himself_again() {
    let Some(mut cluster) = Etcd::start() else { return };
    let registry = open(&format!("{}?grace=5", cluster.url())).unwrap();
    let seen = Seen::by(&registry);
    let _announced = join_all(["a", "b"].map(|id| announce(&registry, id))).await;
    registry.announce(&greeter("silent"), Duration::ZERO).await.unwrap();
    seen.until(|set| set.len() == 3).await;
    cluster.set_up_anew();
    seen.until(|set| set == ["a", "b"]).await;
    assert_eq!(registry.get("greeter").await.unwrap()[0].endpoints.len(), 2);
    let sets = seen.sets.lock().unwrap();
    let full = sets.iter().position(|set| set.len() == 3).unwrap();
    assert!(
        sets[full..].iter().all(|set| ["a", "b"].iter().all(|id| set.iter().any(|known| known == id))),
        "{sets:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compacted_away_while_cut_off_is_read_anew() {
    let Some(server) = Etcd::start() else { return };
    let proxy = Proxy::before(server.ports[0]).await;
    let (direct, cut) =
        (open(&server.url()).unwrap(), open(&format!("etcd://127.0.0.1:{}", proxy.port)).unwrap());
    let seen = Seen::by(&cut);
    direct.announce(&greeter("gone"), Duration::ZERO).await.unwrap();
    seen.until_there("gone").await;
    proxy.cut();
    direct.withdraw(&greeter("gone")).await.unwrap();
    direct.announce(&greeter("new"), Duration::ZERO).await.unwrap();
    post(server.ports[0], "/v3/kv/compaction", "{\"revision\":\"3\"}");
    proxy.mend();
    let took = seen.until(|set| set == ["new"]).await;
    println!("35: converged {took:?} after the connection was back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_say_much_of_themselves_are_announced_in_several_requests() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let many = (0..60).map(|n| Endpoint::new(format!("e{n}"), "127.0.0.1:80".parse().unwrap()));
    let service = many.fold(Service::new("greeter"), Service::endpoint).metadata("much", "x".repeat(40_000));
    registry.announce(&service, Duration::from_secs(60)).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap()[0].endpoints.len(), 60);
    registry.withdraw(&service).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_says_more_of_itself_than_etcd_takes_is_refused_for_good() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    for much in [1_600_000, 3_000_000] {
        let service = greeter("a").metadata("much", "x".repeat(much));
        let error = registry.announce(&service, Duration::from_secs(60)).await.unwrap_err();
        assert!(
            !error.is_retryable() && error.to_string().contains("bytes that an endpoint says"),
            "{error}"
        );
    }
    let most = greeter("a").metadata("much", "x".repeat(1_500_000));
    for _ in 0..2 {
        registry.announce(&most, Duration::from_secs(60)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_writes_nothing_unless_somebody_has_changed_the_record() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let many = (0..130).map(|n| Endpoint::new(format!("e{n}"), "127.0.0.1:80".parse().unwrap()));
    let ours = many.fold(Service::new("greeter"), Service::endpoint);
    let revision = || {
        let answer = post(server.ports[0], "/v3/kv/range", "{\"key\":\"AA==\"}");
        answer.split("\"revision\":\"").nth(1).unwrap().split('"').next().unwrap().parse::<u64>().unwrap()
    };
    let ttl = Duration::from_secs(60);
    registry.announce(&ours, ttl).await.unwrap();
    let first = revision();
    registry.announce(&ours, ttl).await.unwrap();
    assert_eq!(revision(), first);

    let other = open(&server.url()).unwrap();
    let theirs = ["e0", "e129"].map(|id| Endpoint::new(id, "127.0.0.1:99".parse().unwrap()));
    let theirs = theirs.into_iter().fold(Service::new("greeter"), Service::endpoint);
    other.announce(&theirs, ttl).await.unwrap();
    registry.announce(&ours, ttl).await.unwrap();
    let found = registry.get("greeter").await.unwrap();
    assert!(found[0].endpoints.iter().all(|endpoint| endpoint.address.port() == Some(80)));
    assert_eq!(revision(), first + 3, "two were put anew, each with those that are asked after with it");

    let moved = ours.clone().metadata("tier", "gold");
    registry.announce(&moved, ttl).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap()[0].metadata["tier"], "gold");
    registry.withdraw(&moved).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_renewing_is_gone_after_the_ttl_and_who_withdraws_at_once() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let seen = Seen::by(&registry);
    let polite = announce(&registry, "polite").await;
    registry.announce(&greeter("killed"), Duration::from_secs(2)).await.unwrap();
    let start = Instant::now();
    seen.until(|set| set == ["killed", "polite"]).await;
    seen.until(|set| set == ["polite"]).await;
    println!("36: gone {:?} after the last renewal, with a TTL of 2 s", start.elapsed());
    polite.withdraw().await.unwrap();
    let took = seen.until(<[String]>::is_empty).await;
    println!("37: gone {took:?} after it was withdrawn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_endpoints_at_once_are_all_seen_and_junk_beside_them_is_ignored() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let seen = Seen::by(&registry);
    for (n, junk) in [&b"\x00\xff"[..], b"", b"{}", b"[1]", b"{\"name\":\"greeter\"}"].iter().enumerate() {
        put(server.ports[0], &format!("/micro/registry/greeter/junk-{n}"), junk);
    }
    // What go-micro's older plugin wrote, under its own root.
    let old = br#"{"name":"greeter","version":"latest","metadata":null,"endpoints":null,
        "nodes":[{"id":"old","address":"10.0.0.1","port":8080,"metadata":null}]}"#;
    put(server.ports[0], "/micro-registry/greeter/old", old);
    let records: Vec<_> = (0..200).map(|n| greeter(&format!("r{n:03}"))).collect();
    let announced = join_all(records.iter().map(|record| registry.announce(record, TTL * 12))).await;
    assert!(announced.iter().all(Result::is_ok));
    let took = seen.until(|set| set.len() == 201).await;
    println!("38: converged {took:?} after the last of 200");
    assert!(
        registry.get("greeter").await.unwrap()[0].endpoints.iter().any(|e| e.address.port() == Some(8080))
    );
}

/// Stands before a server. The first `times` that a client asks for the page after the first, a key is put and all revisions
/// before that are compacted away.
async fn compacting(server: u16, times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let count = count.clone();
            let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let ((mut from, mut back), (mut answers, mut to)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(length @ 1..) = from.read(&mut bytes).await {
                    let last = b"/greeter/n0999";
                    if bytes[..length].windows(last.len()).any(|part| part == last)
                        && count.fetch_add(1, Relaxed) < times
                    {
                        tokio::task::spawn_blocking(move || compact(server)).await.unwrap();
                    }
                    if to.write_all(&bytes[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, asked)
}

fn compact(port: u16) {
    let new = br#"{"name":"greeter","nodes":[{"id":"new","address":"127.0.0.1:80"}]}"#;
    let put = put(port, "/micro/registry/greeter/new", new);
    let revision = put.split(r#""revision":""#).nth(1).unwrap().split('"').next().unwrap();
    post(port, "/v3/kv/compaction", &format!(r#"{{"revision":"{revision}"}}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compacted_away_while_it_is_read_is_read_anew_a_few_times() {
    let Some(server) = Etcd::start() else { return };
    // More than a page has.
    let all = (0..=1_000).fold(greeter("old"), |all, n| {
        all.endpoint(Endpoint::new(format!("n{n:04}"), "127.0.0.1:80".parse().unwrap()))
    });
    open(&server.url()).unwrap().announce(&all, TTL * 12).await.unwrap();
    let has_all = |set: Vec<Service>| {
        let ids: Vec<_> = set.iter().flat_map(|service| &service.endpoints).map(|e| e.id.as_str()).collect();
        ids.len() == 1_003 && ["n1000", "new", "old"].iter().all(|id| ids.contains(id))
    };
    for all in [false, true] {
        let (port, asked) = compacting(server.ports[0], 1).await;
        let registry = open(&format!("etcd://127.0.0.1:{port}")).unwrap();
        let found = if all { registry.list().await } else { registry.get("greeter").await };
        assert!(has_all(found.unwrap()));
        assert_eq!(asked.load(Relaxed), 2);
    }
    let (port, asked) = compacting(server.ports[0], usize::MAX).await;
    let error = open(&format!("etcd://127.0.0.1:{port}")).unwrap().get("greeter").await.unwrap_err();
    assert!(error.is_retryable() && format!("{error:?}").contains("compacted"), "{error:?}");
    assert_eq!(asked.load(Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_is_renewed_and_nobody_notices() {
    let Some(server) = Etcd::forgetting_tokens_after(Duration::from_secs(1)) else { return };
    let port = server.ports[0];
    let registry = open(&format!("etcd://root:secret@127.0.0.1:{port}")).unwrap();
    post(port, "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
    post(port, "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    post(port, "/v3/auth/enable", "{}");
    let seen = Seen::by(&registry);
    let _kept = announce(&registry, "kept").await;
    seen.until_there("kept").await;
    for id in ["a", "b"] {
        // Longer than a token is known, and than it takes the server to look for old ones.
        tokio::time::sleep(Duration::from_secs(4)).await;
        registry.announce(&greeter(id), Duration::ZERO).await.unwrap();
        seen.until_there(id).await;
        assert!(registry.get("greeter").await.unwrap()[0].endpoints.iter().any(|e| e.id == id));
    }
    assert!(!seen.flapped(), "{:?}", seen.sets.lock().unwrap());
    assert_eq!(seen.status.stale_since(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_are_turned_off_and_on_again_keep_out_nobody_who_has_one() {
    let Some(server) = Etcd::start() else { return };
    let port = server.ports[0];
    let (proxy, login) = (Proxy::before(port).await, r#"{"name":"root","password":"secret"}"#);
    let registry = open(&format!("etcd://root:secret@127.0.0.1:{}", proxy.port)).unwrap();
    let seen = Seen::by(&registry);
    let _kept = announce(&registry, "kept").await;
    seen.until_there("kept").await;
    post(port, "/v3/auth/user/add", login);
    post(port, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
    post(port, "/v3/auth/enable", "{}");
    registry.announce(&greeter("a"), Duration::ZERO).await.unwrap();
    let answer = post(port, "/v3/auth/authenticate", login);
    let token = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    send(port, "POST /v3/auth/disable", &format!("authorization: {token}\r\n"), "{}");
    // Whoever connects now logs in anew.
    proxy.cut();
    seen.until_stale().await;
    proxy.mend();
    registry.announce(&greeter("b"), Duration::ZERO).await.unwrap();
    seen.until_there("b").await;
    assert!(!seen.flapped(), "{:?}", seen.sets.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_an_error_that_is_seen() {
    let Some(server) = Etcd::start() else { return };
    let port = server.ports[0];
    let good = open(&format!("etcd://root:secret@127.0.0.1:{port}")).unwrap();
    post(port, "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
    post(port, "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    post(port, "/v3/auth/enable", "{}");
    let seen = Seen::by(&good);
    good.announce(&greeter("a"), Duration::ZERO).await.unwrap();
    seen.until_there("a").await;
    for url in [format!("etcd://root:wrong@127.0.0.1:{port}"), format!("etcd://127.0.0.1:{port}")] {
        let refused = open(&url).unwrap();
        let error = refused.get("greeter").await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        let shut_out = Seen::by(&refused);
        while shut_out.status.last_error().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!shut_out.status.resolved(), "refused is not empty");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_for_the_keys_of_todays_layout_are_enough() {
    let Some(server) = Etcd::start() else { return };
    let port = server.ports[0];
    post(port, "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#);
    post(port, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
    post(port, "/v3/auth/user/add", r#"{"name":"svc","password":"secret"}"#);
    post(port, "/v3/auth/role/add", r#"{"name":"micro"}"#);
    let (key, end) = (STANDARD.encode("/micro/registry/"), STANDARD.encode("/micro/registry0"));
    let rights = format!(r#"{{"permType":"READWRITE","key":"{key}","range_end":"{end}"}}"#);
    post(port, "/v3/auth/role/grant", &format!(r#"{{"name":"micro","perm":{rights}}}"#));
    post(port, "/v3/auth/user/grant", r#"{"user":"svc","role":"micro"}"#);
    post(port, "/v3/auth/enable", "{}");
    let registry = open(&format!("etcd://svc:secret@127.0.0.1:{port}")).unwrap();
    let seen = Seen::by(&registry);
    let announced = announce(&registry, "a").await;
    seen.until_there("a").await;
    assert_eq!(registry.list().await.unwrap()[0].name, "greeter");
    announced.withdraw().await.unwrap();
    seen.until(<[String]>::is_empty).await;
    assert_eq!(seen.status.last_error(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_lost_is_made_again_with_the_next_heartbeat() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let seen = Seen::by(&registry);
    let _announced = announce(&registry, "a").await;
    seen.until_there("a").await;
    let leases = post(server.ports[0], "/v3/lease/leases", "{}");
    let id = leases.split("\"ID\":\"").nth(1).unwrap().split('"').next().unwrap();
    post(server.ports[0], "/v3/lease/revoke", &format!("{{\"ID\":\"{id}\"}}"));
    seen.until(<[String]>::is_empty).await;
    seen.until_there("a").await;
}

/// go-micro's defect R10: of all events that come together its watcher tells the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_endpoints_that_vanish_in_one_event_all_vanish() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let seen = Seen::by(&registry);
    let endpoint = |n| Endpoint::new(format!("r{n}"), "127.0.0.1:80".parse().unwrap());
    let record = (0..10).map(endpoint).fold(Service::new("greeter"), Service::endpoint);
    registry.announce(&record, TTL * 12).await.unwrap();
    registry.announce(&greeter("stays"), TTL * 12).await.unwrap();
    seen.until(|set| set.len() == 11).await;
    let key = |id: &str| STANDARD.encode(format!("/micro/registry/greeter/{id}"));
    let (from, to) = (key("r"), key("s"));
    post(server.ports[0], "/v3/kv/deleterange", &format!("{{\"key\":\"{from}\",\"range_end\":\"{to}\"}}"));
    seen.until(|set| set == ["stays"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_transaction_changes_is_one_set() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let seen = Seen::by(&registry);
    registry.announce(&greeter("old"), Duration::ZERO).await.unwrap();
    seen.until(|set| set == ["old"]).await;
    let new = br#"{"name":"greeter","nodes":[{"id":"new","address":"127.0.0.1:80"}]}"#;
    let key = |id: &str| STANDARD.encode(format!("/micro/registry/greeter/{id}"));
    let swap = format!(
        r#"{{"success":[{{"requestPut":{{"key":"{}","value":"{}"}}}},{{"requestDeleteRange":{{"key":"{}"}}}}]}}"#,
        key("new"),
        STANDARD.encode(new),
        key("old")
    );
    post(server.ports[0], "/v3/kv/txn", &swap);
    seen.until(|set| set == ["new"]).await;
    assert!(seen.sets.lock().unwrap().iter().all(|set| set.len() <= 1), "{:?}", seen.sets.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_nobody_looked_is_told_in_a_few_sets() {
    let Some(server) = Etcd::start() else { return };
    let registry = open(&server.url()).unwrap();
    let mut watch = registry.watch("greeter");
    assert!(watch.next().await.unwrap().unwrap().is_empty());
    for n in 0..300 {
        registry.announce(&greeter(&format!("e{n}")), TTL * 12).await.unwrap();
    }
    let mut sizes = Vec::new();
    while sizes.last() != Some(&300) {
        sizes.push(watch.next().await.unwrap().unwrap()[0].endpoints.len());
    }
    assert!(sizes.len() < 30, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_for_go_micro_v0_are_where_it_looks_and_read_by_all_of_us() {
    let Some(server) = Etcd::start() else { return };
    let (old, new) = (open(&format!("{}?compat=v0", server.url())).unwrap(), open(&server.url()).unwrap());
    old.announce(&greeter("a"), TTL).await.unwrap();
    let key = STANDARD.encode("/micro-registry/greeter/a");
    let found = post(server.ports[0], "/v3/kv/range", &format!("{{\"key\":\"{key}\"}}"));
    assert!(found.contains("\"count\":\"1\""), "{found}");
    assert_eq!(new.get("greeter").await.unwrap(), [greeter("a")]);
    old.withdraw(&greeter("a")).await.unwrap();
    assert_eq!(new.get("greeter").await.unwrap(), []);
}
