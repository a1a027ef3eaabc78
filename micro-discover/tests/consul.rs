//! What must survive when Consul's agents fail, lie or forget: on a real agent, and on one that plays the faults.
#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use micro_discover::{Announce, Consul, Endpoint, Registry, Service, Status, Watch, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

mod servers;

/// An agent that answers every request with what `script` says, and counts.
#[derive(Clone)]
struct Fake {
    port: u16,
    script: Arc<Mutex<Play>>,
    calls: Arc<Mutex<Vec<Instant>>>,
    /// The heads of all requests, in lower case.
    heads: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Play {
    /// An answer as it goes over the wire.
    Raw(String),
    Hang,
    Reset,
    /// Another index with each answer.
    Churn,
}

/// A service of one endpoint, as the agent shows it.
const ONE: &str = r#"[{"Node":{"Address":"10.0.0.1"},"Service":{"ID":"a","Service":"greeter","Tags":["v=1"],"Address":"","Port":80},
    "Checks":[{"Status":"passing"}]}]"#;

fn answer(status: &str, headers: &str, body: &str) -> Play {
    let length = body.len();
    Play::Raw(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
}

fn well() -> Play {
    answer("200 OK", "x-consul-index: 0\r\n", ONE)
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake =
            Self { port, script: Arc::new(Mutex::new(well())), calls: Arc::default(), heads: Arc::default() };
        let agent = fake.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let agent = agent.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    // A request comes in one piece here.
                    let Ok(length) = stream.read(&mut request).await else { return };
                    let head = String::from_utf8_lossy(&request[..length]).to_lowercase();
                    agent.heads.lock().unwrap().push(head);
                    let calls = {
                        let mut calls = agent.calls.lock().unwrap();
                        calls.push(Instant::now());
                        calls.len()
                    };
                    let play = agent.script.lock().unwrap().clone();
                    let raw = match play {
                        Play::Raw(raw) => raw,
                        Play::Hang => std::future::pending().await,
                        Play::Reset => return,
                        Play::Churn => {
                            let index = format!("x-consul-index: {calls}\r\n");
                            match answer("200 OK", &index, ONE) {
                                Play::Raw(raw) => raw,
                                _ => return,
                            }
                        }
                    };
                    stream.write_all(raw.as_bytes()).await.ok();
                });
            }
        });
        fake
    }

    fn plays(&self, play: Play) {
        *self.script.lock().unwrap() = play;
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

type Sets = Arc<Mutex<Vec<Vec<String>>>>;

fn watch(registry: Arc<dyn Registry>) -> (Sets, Status) {
    let mut watch = Watch::new(registry, "greeter");
    let (sets, status) = (Sets::default(), watch.status());
    let seen = sets.clone();
    tokio::spawn(async move {
        while let Some(set) = watch.next().await {
            let ids = set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.clone());
            seen.lock().unwrap().push(ids.collect());
        }
    });
    (sets, status)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(40), "{what} in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whatever_an_agent_in_trouble_answers_the_set_is_kept_and_it_is_not_pestered() {
    let troubles = [
        ("500", answer("500 Internal Server Error", "", "No cluster leader")),
        ("429", answer("429 Too Many Requests", "", "slow down")),
        ("403", answer("403 Forbidden", "", "ACL not found")),
        ("no leader known", answer("200 OK", "X-Consul-Knownleader: false\r\n", "[]")),
        ("filtered", answer("200 OK", "X-Consul-Results-Filtered-By-ACLs: true\r\n", "[]")),
        ("junk", answer("200 OK", "X-Consul-Index: 9\r\n", "<html>")),
        ("empty body", answer("200 OK", "X-Consul-Index: 9\r\n", "")),
        ("truncated", Play::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_owned())),
        ("no http", Play::Raw("\0\0\0".to_owned())),
        ("reset", Play::Reset),
        ("hang", Play::Hang),
    ];
    for (name, trouble) in troubles {
        let fake = Fake::start().await;
        let (sets, status) = watch(open(&format!("consul://127.0.0.1:{}", fake.port)).unwrap());
        until("the first set", || sets.lock().unwrap().len() == 1).await;
        fake.plays(trouble);
        until(name, || status.stale_since().is_some()).await;
        let before = fake.calls();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = fake.calls() - before;
        fake.plays(well());
        let start = Instant::now();
        until(name, || status.stale_since().is_none()).await;
        println!("40: {name}: {calls} calls in 2 s, recovered after {:?}", start.elapsed());
        assert!(calls <= 16, "{name}: {calls} calls");
        assert_eq!(*sets.lock().unwrap(), [["a"]], "{name}");
    }
}

#[tokio::test]
async fn an_index_that_stands_at_zero_goes_back_or_races_makes_no_busy_loop() {
    for (name, play, most) in [
        ("zero", well(), 10),
        ("missing", answer("200 OK", "", ONE), 10),
        ("no number", answer("200 OK", "X-Consul-Index: x\r\n", ONE), 10),
        ("churn", Play::Churn, 125),
    ] {
        let fake = Fake::start().await;
        fake.plays(play);
        let (sets, _) = watch(open(&format!("consul://127.0.0.1:{}", fake.port)).unwrap());
        until("the first set", || !sets.lock().unwrap().is_empty()).await;
        let before = fake.calls();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = fake.calls() - before;
        println!("41: {name}: {calls} calls in 2 s");
        assert!(calls <= most, "{name}: {calls} calls");
        assert_eq!(*sets.lock().unwrap(), [["a"]], "{name}");
    }
}

#[tokio::test]
async fn the_next_agent_is_asked_when_one_fails() {
    let (bad, good) = (Fake::start().await, Fake::start().await);
    bad.plays(answer("500 Internal Server Error", "", "rpc error"));
    let registry = open(&format!("consul://127.0.0.1:{},127.0.0.1:{}", bad.port, good.port)).unwrap();
    assert_eq!(registry.get("greeter").await.unwrap()[0].endpoints[0].id, "a");
    registry.get("greeter").await.unwrap();
    assert_eq!((bad.calls(), good.calls()), (1, 2));
}

#[tokio::test]
async fn an_agent_whose_place_somebody_else_has_taken_is_left_for_the_next_one() {
    let page = "<html>It works!</html>";
    for stranger in [
        answer("200 OK", "content-type: text/html\r\n", page),
        answer("200 OK", "", r#"{"status":"ok"}"#),
        answer("404 Not Found", "content-type: text/html\r\n", page),
        answer("302 Found", "location: http://login/\r\n", ""),
    ] {
        let (bad, good) = (Fake::start().await, Fake::start().await);
        bad.plays(stranger);
        let registry = || open(&format!("consul://127.0.0.1:{},127.0.0.1:{}", bad.port, good.port)).unwrap();
        assert_eq!(registry().get("greeter").await.unwrap()[0].endpoints[0].id, "a");
        let (sets, status) = watch(registry());
        until("the set", || sets.lock().unwrap().len() == 1).await;
        assert_eq!(status.last_error(), None);
    }
    let (bad, good) = (Fake::start().await, Fake::start().await);
    bad.plays(answer("200 OK", "content-type: text/html\r\n", page));
    let registry = open(&format!("consul://127.0.0.1:{},127.0.0.1:{}", bad.port, good.port)).unwrap();
    let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
    registry.announce(&record, Duration::from_secs(60)).await.unwrap();
    let is_told = |head: &String| head.starts_with("put /v1/agent/service/register?");
    assert!(good.heads.lock().unwrap().iter().any(is_told));
}

#[tokio::test]
async fn a_url_says_whose_services_are_meant_and_announcements_stay_with_the_agent() {
    let fake = Fake::start().await;
    let host = format!("127.0.0.1:{}", fake.port);
    let registry = open(&format!("consul://{host}?token=s3cret&dc=eu-1&ns=team")).unwrap();
    registry.get("greeter").await.unwrap();
    let record =
        Service::new("greeter").endpoint(Endpoint::new("greeter-1", "127.0.0.1:80".parse().unwrap()));
    registry.announce(&record, Duration::from_secs(60)).await.unwrap();
    let heads = fake.heads.lock().unwrap().clone();
    assert!(heads.iter().all(|head| head.contains("x-consul-token: s3cret\r\n")), "{heads:?}");
    let line = |start: &str| {
        let head = heads.iter().find(|head| head.starts_with(start)).expect(start);
        head.lines().next().unwrap().to_owned()
    };
    let read = line("get /v1/health/service/greeter?");
    assert!(read.contains("&dc=eu-1") && read.contains("&ns=team"), "{read}");
    let written = line("put /v1/agent/service/register?");
    assert!(!written.contains("dc=") && written.contains("&ns=team"), "{written}");
}

#[tokio::test]
async fn a_warning_counts_as_well_unless_only_passing_does() {
    let fake = Fake::start().await;
    let host = format!("127.0.0.1:{}", fake.port);
    let lenient = open(&format!("consul://{host}")).unwrap();
    let strict = Consul::builder([host]).passing_only().build().unwrap();
    for (state, is_lenient, is_strict) in
        [("passing", 1, 1), ("warning", 1, 0), ("critical", 0, 0), ("maintenance", 0, 0)]
    {
        fake.plays(answer("200 OK", "x-consul-index: 5\r\n", &ONE.replace("passing", state)));
        assert_eq!(lenient.get("greeter").await.unwrap().len(), is_lenient, "{state}");
        assert_eq!(strict.get("greeter").await.unwrap().len(), is_strict, "{state}");
        let degraded = lenient.get("greeter").await.unwrap().iter().any(|it| it.endpoints[0].is_degraded());
        assert_eq!(degraded, state == "warning", "others go first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_looks_for_itself_finds_an_endpoint_while_it_answers() {
    let Some(server) = servers::consul::Consul::start() else { return };
    for check in ["check=tcp", "check=http&path=/health"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut request, ok) = (vec![0; 4096], b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
                    if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        let asked = String::from_utf8_lossy(&request).starts_with("GET /health ");
                        stream.write_all(if asked { ok } else { b"HTTP/1.0 404 No\r\n\r\n" }).await.ok();
                    }
                });
            }
        });
        let registry = open(&format!("{}?{check}&interval=1", server.url())).unwrap();
        let (sets, _) = watch(registry.clone());
        let last = || sets.lock().unwrap().last().cloned();
        let endpoint = Endpoint::new("greeter-1", address.to_string().parse().unwrap());
        registry
            .announce(&Service::new("greeter").endpoint(endpoint), Duration::from_secs(60))
            .await
            .unwrap();
        until("found", || last() == Some(vec!["greeter-1".to_owned()])).await;
        // Several looks later it is still there and was never away: no check of the kind before is left to miss it.
        let found = sets.lock().unwrap().len() - 1;
        tokio::time::sleep(Duration::from_secs(3)).await;
        for set in &sets.lock().unwrap()[found..] {
            assert_eq!(set, &["greeter-1"], "{check}");
        }
        answering.abort();
        until("missed", || last() == Some(Vec::new())).await;
    }
}

#[tokio::test]
async fn a_ttl_that_ran_out_while_the_agent_was_silent_is_doubted_for_a_while_and_nothing_else_is() {
    let critical = |output: &str| {
        let failed = format!(r#""Status":"critical","Output":"{output}""#);
        answer("200 OK", "x-consul-index: 6\r\n", &ONE.replace(r#""Status":"passing""#, &failed))
    };
    let start = || async {
        let fake = Fake::start().await;
        fake.plays(answer("200 OK", "x-consul-index: 5\r\n", ONE));
        let (sets, status) = watch(open(&format!("consul://127.0.0.1:{}", fake.port)).unwrap());
        until("the first set", || sets.lock().unwrap().len() == 1).await;
        (fake, sets, status)
    };
    let all = || async {
        let (fake, sets, status) = start().await;
        fake.plays(Play::Reset);
        until("noticed", || status.stale_since().is_some()).await;
        fake.plays(critical("TTL expired"));
        until("back", || status.stale_since().is_none()).await;
        let before = fake.calls();
        until("asked again", || fake.calls() > before + 2).await;
        assert_eq!(*sets.lock().unwrap(), [["a"]]);
        until("believed in the end", || sets.lock().unwrap().last().is_some_and(Vec::is_empty)).await;
    };
    let others = || async {
        let (fake, sets, status) = start().await;
        fake.plays(Play::Reset);
        until("noticed", || status.stale_since().is_some()).await;
        let back = Instant::now();
        fake.plays(critical("dial tcp 10.0.0.1:80: connection refused"));
        until("not well", || sets.lock().unwrap().last().is_some_and(Vec::is_empty)).await;
        assert!(back.elapsed() < Duration::from_secs(9), "{:?}", back.elapsed());

        let (fake, sets, _) = start().await;
        let well = Instant::now();
        fake.plays(critical("TTL expired"));
        until("dead", || sets.lock().unwrap().last().is_some_and(Vec::is_empty)).await;
        assert!(well.elapsed() < Duration::from_secs(9), "{:?}", well.elapsed());
    };
    tokio::join!(all(), others());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_where_nobody_listens_hides_no_other() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
    registry.announce(&record, Duration::ZERO).await.unwrap();
    for port in [-1, 70_000] {
        let body = format!(r#"{{"ID":"none{port}","Name":"greeter","Address":"127.0.0.1","Port":{port}}}"#);
        servers::gateway::send(server.port, "PUT /v1/agent/service/register", "", &body);
    }
    let known = || servers::answers(server.port, "/v1/health/service/greeter", "none70000");
    servers::wait_until("the servers know of them", known);
    assert_eq!(registry.get("greeter").await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(registry.list().await.unwrap(), [record]);
    let (sets, _) = watch(registry.clone());
    until("seen", || sets.lock().unwrap().last().is_some_and(|set| set == &["a"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_frozen_for_longer_than_a_ttl_hides_nothing() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let (sets, _) = watch(registry.clone());
    let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
    let ttl = Duration::from_secs(3);
    let _announcement = Announce::new(registry.clone(), record).ttl(ttl).start().await.unwrap();
    until("announced", || sets.lock().unwrap().last().is_some_and(|set| set == &["a"])).await;
    let first = sets.lock().unwrap().len();
    server.agent.freeze();
    // Longer than a blocking query may take.
    tokio::time::sleep(Duration::from_secs(7)).await;
    server.agent.thaw();
    let start = Instant::now();
    while registry.get("greeter").await.unwrap_or_default().is_empty() || start.elapsed() < ttl {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sets.lock().unwrap().len(), first, "{:?}", sets.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_freezes_for_less_than_a_query_takes_hides_nothing() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let (sets, _) = watch(registry.clone());
    let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
    let ttl = Duration::from_secs(2);
    let announcement = Announce::new(registry.clone(), record).ttl(ttl).start().await.unwrap();
    until("announced", || sets.lock().unwrap().last().is_some_and(|set| set == &["a"])).await;
    let first = sets.lock().unwrap().len();
    for _ in 0..3 {
        server.agent.freeze();
        tokio::time::sleep(ttl + Duration::from_millis(500)).await;
        server.agent.thaw();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(sets.lock().unwrap().len(), first, "{:?}", sets.lock().unwrap());
    // What is not renewed any more is gone a second after its TTL.
    drop(announcement);
    registry
        .announce(&Service::new("greeter").endpoint(Endpoint::new("b", "127.0.0.1:81".parse().unwrap())), ttl)
        .await
        .unwrap();
    let start = Instant::now();
    until("announced", || sets.lock().unwrap().last().is_some_and(|set| set == &["b"])).await;
    until("dead", || sets.lock().unwrap().last().is_some_and(Vec::is_empty)).await;
    assert!(start.elapsed() < ttl + Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_killed_and_forgot_us_is_told_again_and_the_set_is_kept_meanwhile() {
    let Some(mut server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let (sets, status) = watch(registry.clone());
    let record = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:80".parse().unwrap()));
    let ttl = Duration::from_secs(3);
    let announcement = Announce::new(registry.clone(), record.clone()).ttl(ttl).start().await.unwrap();
    let last = || sets.lock().unwrap().last().cloned().unwrap_or_default();
    until("announced", || last() == ["a"]).await;

    // Some pushes to its index first, so that the new servers' index is far behind.
    for n in 0..20 {
        let other =
            Service::new("greeter").endpoint(Endpoint::new(format!("o{n}"), "127.0.0.1:81".parse().unwrap()));
        registry.announce(&other, Duration::ZERO).await.unwrap();
    }
    until("all of them", || last().len() == 21).await;
    server.agent.kill();
    until("noticed", || status.stale_since().is_some()).await;
    assert_eq!(last().len(), 21);
    server.agent.restart_dead();
    server.wait_for_leader();
    let start = Instant::now();
    loop {
        let known = registry.get("greeter").await.unwrap_or_default();
        if known.iter().any(|service| service.endpoints.iter().any(|endpoint| endpoint.id == "a")) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("42: announced again {:?} after the agent was back", start.elapsed());
    until("the new truth", || last() == ["a"]).await;
    announcement.withdraw().await.unwrap();
    until("withdrawn", || last().is_empty()).await;
}

/// What an operator sets says nothing but a reason, as a check does whose renewal never came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_maintenance_takes_no_requests_until_that_is_over_whatever_he_announces() {
    let Some(server) = servers::consul::Consul::start() else { return };
    let registry = open(&server.url()).unwrap();
    let (sets, _) = watch(registry.clone());
    let record =
        Service::new("greeter").endpoint(Endpoint::new("greeter-1", "127.0.0.1:80".parse().unwrap()));
    let announcement = Announce::new(registry.clone(), record.clone()).start().await.unwrap();
    let last = || sets.lock().unwrap().last().cloned().unwrap_or_default();
    until("announced", || last() == ["greeter-1"]).await;
    let maintain = |what: &str, enable: bool| {
        let path = format!("PUT /v1/agent/{what}?enable={enable}&reason=repairs");
        servers::gateway::send(server.port, &path, "", "");
    };
    for what in ["maintenance", "service/maintenance/greeter-1"] {
        let start = Instant::now();
        maintain(what, true);
        until("out of it", || last().is_empty()).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
        announcement.update(record.clone().metadata("told", what)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(registry.get("greeter").await.unwrap(), [], "{what}");
        assert!(last().is_empty(), "{what}");
        maintain(what, false);
        until("back", || last() == ["greeter-1"]).await;
        assert_eq!(registry.get("greeter").await.unwrap()[0].metadata["told"], what);
    }
    announcement.withdraw().await.unwrap();
}

#[tokio::test]
async fn maintenance_that_begins_after_an_outage_is_believed_at_once() {
    let fake = Fake::start().await;
    fake.plays(answer("200 OK", "x-consul-index: 5\r\n", ONE));
    let (sets, status) = watch(open(&format!("consul://127.0.0.1:{}", fake.port)).unwrap());
    until("the first set", || sets.lock().unwrap().len() == 1).await;
    fake.plays(Play::Reset);
    until("noticed", || status.stale_since().is_some()).await;
    let kept = r#""Status":"passing"},{"CheckID":"_service_maintenance:a","Status":"critical","Output":"""#;
    fake.plays(answer("200 OK", "x-consul-index: 6\r\n", &ONE.replace(r#""Status":"passing""#, kept)));
    let start = Instant::now();
    until("out of it", || sets.lock().unwrap().last().is_some_and(Vec::is_empty)).await;
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}
