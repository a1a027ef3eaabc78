//! The Kubernetes registry against an API server that plays recordings and faults over real sockets.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/apiserver.rs"]
mod apiserver;
mod servers;

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Events, page, slice};
use futures_util::{FutureExt, StreamExt};
use micro_discover::{
    Endpoint, Endpoints, Error, Forbidden, Initial, Kubernetes, PodAnnotations, Registry, Service, Watch,
    open,
};
use tower::discover::Change;

type Sets = futures_core::stream::BoxStream<'static, Result<Vec<Service>, Error>>;

const MIN: Duration = Duration::from_millis(20);
const GONE: &str =
    r#"{"kind":"Status","status":"Failure","message":"too old","reason":"Expired","code":410}"#;

fn kubernetes(server: &ApiServer, initial: Initial) -> Kubernetes {
    Kubernetes::from_config(server.config())
        .namespace("shop")
        .initial(initial)
        .hold(Duration::ZERO, Duration::ZERO)
        .retry(MIN, MIN * 10)
}

fn ids(set: &[Service]) -> Vec<String> {
    set.iter()
        .flat_map(|service| &service.endpoints)
        .map(|e| e.id.replace("10.0.0.", "").replace(":80", ""))
        .collect()
}

async fn next(sets: &mut Sets) -> Result<Vec<String>, Error> {
    let item = tokio::time::timeout(Duration::from_secs(30), sets.next()).await.expect("in time");
    item.expect("a watch goes on").map(|set| ids(&set))
}

/// Drives the watch, as every watch must be for anything to happen, until the server is asked.
async fn asked(server: &ApiServer, sets: &mut Sets) -> apiserver::Exchange {
    tokio::select! {
        exchange = server.next() => exchange,
        set = sets.next() => panic!("too early: {set:?}"),
    }
}

/// A watch of slice `a`, listed with `hosts` at version 10, then open.
async fn listed(server: &ApiServer, hosts: &[&str]) -> (Sets, Events) {
    let mut sets = kubernetes(server, Initial::List).watch("greeter");
    let list = asked(server, &mut sets).await;
    assert!(!list.is_watch());
    list.json(&page(10, "", &[slice("a", "u", 10, hosts)])).await;
    assert_eq!(next(&mut sets).await.unwrap(), hosts);
    let watch = asked(server, &mut sets).await;
    assert!(
        watch.target.contains("resourceVersion=10&") && watch.target.contains("allowWatchBookmarks=true")
    );
    (sets, watch.open().await)
}

#[tokio::test]
async fn a_watch_list_says_nothing_before_the_whole_state_is_there() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::WatchList).watch("greeter");
    let watch = asked(&server, &mut sets).await;
    assert!(watch.target.starts_with("GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?"));
    assert!(watch.is_watch_list() && watch.target.contains("resourceVersion=&"), "not from an old cache");
    assert!(watch.target.contains("labelSelector=kubernetes.io%2Fservice-name%3Dgreeter"));
    let mut events = watch.open().await;
    events.event("ADDED", &slice("a", "u", 8, &["1"])).await;
    events.bookmark(9, false).await;
    tokio::time::timeout(MIN * 3, sets.next()).await.expect_err("half of the state");
    events.event("ADDED", &slice("b", "v", 9, &["2"])).await;
    events.bookmark(10, true).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
    events.event("DELETED", &slice("b", "v", 11, &["2"])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_server_without_watch_lists_is_listed() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::WatchList).watch("greeter");
    let refusal =
        r#"{"kind":"Status","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}"#;
    asked(&server, &mut sets).await.answer("422 Unprocessable Entity", "", refusal).await;
    let list = asked(&server, &mut sets).await;
    assert!(!list.is_watch());
    list.json(&page(1, "", &[])).await;
    assert_eq!(next(&mut sets).await.unwrap(), [""; 0], "known to be empty");
}

#[tokio::test]
async fn the_recorded_watch_list_is_understood_byte_by_byte() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubernetes");
    let lines = std::fs::read_to_string(directory.join("38-watchlist-empty.jsonl"))
        .or_else(|_| std::fs::read_to_string(directory.join("38-watchlist-empty.json")))
        .unwrap();
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::WatchList).watch("greeter");
    let mut events = asked(&server, &mut sets).await.open().await;
    events.text(&format!("{}\n", lines.trim())).await;
    assert_eq!(next(&mut sets).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_recorded_watch_ends_with_the_same_set_at_any_chunking() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubernetes");
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let initial = String::from_utf8(read("26-watch-ip-reuse-initial.json")).unwrap();
    let raw = read("26-watch-ip-reuse.raw");
    for size in [1, 2, 7, 100, 1000, raw.len()] {
        let server = ApiServer::start().await;
        let registry = kubernetes(&server, Initial::List);
        let mut sets = registry.watch("head");
        asked(&server, &mut sets).await.json(&initial).await;
        assert_eq!(next(&mut sets).await.unwrap().len(), 2);
        asked(&server, &mut sets).await.pieces(&raw, size).await;
        let again = tokio::select! {
            exchange = server.next() => exchange,
            () = async { while let Some(set) = sets.next().await { set.unwrap(); } } => panic!("a watch goes on"),
        };
        assert!(again.is_watch() && again.target.contains("resourceVersion=1"), "{}", again.target);
        assert_eq!(registry.get("head").now_or_never().unwrap().unwrap()[0].endpoints.len(), 2, "{size}");
    }
}

#[tokio::test]
async fn pages_are_put_together_and_an_expired_page_starts_over_without_a_partial_set() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::List).watch("greeter");
    let first = page(10, "more&more", &[slice("a", "u", 1, &["1"])]);
    asked(&server, &mut sets).await.json(&first).await;
    let second = asked(&server, &mut sets).await;
    assert!(second.target.contains("continue=more%26more"), "{}", second.target);
    second
        .answer("410 Gone", "", r#"{"metadata":{"continue":"inconsistent"},"reason":"Expired","code":410}"#)
        .await;
    let over = asked(&server, &mut sets).await;
    assert!(!over.target.contains("continue"), "{}", over.target);
    over.json(&first).await;
    let last = page(10, "", &[slice("b", "v", 2, &["2"])]);
    asked(&server, &mut sets).await.json(&last).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn ten_thousand_endpoints_on_four_pages_are_one_set() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::List).watch("greeter");
    let hosts: Vec<String> = (0..250).map(|host| host.to_string()).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for part in 0..4_u64 {
        let slices: Vec<_> = (0..10)
            .map(|n| {
                let number = part * 10 + n;
                slice(&format!("s{number}"), "u", number + 1, &hosts)
                    .replace("10.0.0.", &format!("10.7.{number}."))
            })
            .collect();
        let more = if part < 3 { format!("page-{part}") } else { String::new() };
        asked(&server, &mut sets).await.json(&page(100, &more, &slices)).await;
    }
    assert_eq!(next(&mut sets).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_list_that_comes_byte_by_byte_is_a_list() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::List).watch("greeter");
    let body = page(10, "", &[slice("a", "u", 10, &["1", "2"])]);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    asked(&server, &mut sets).await.pieces(answer.as_bytes(), 1).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn a_410_at_the_start_of_a_watch_lists_again_at_once_and_once() {
    let server = ApiServer::start().await;
    let (mut sets, events) = listed(&server, &["1"]).await;
    events.end().await;
    asked(&server, &mut sets).await.answer("410 Gone", "", GONE).await;
    let list = asked(&server, &mut sets).await;
    assert!(!list.is_watch());
    list.json(&page(20, "", &[slice("a", "u", 20, &["2"])])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["2"], "no empty or partial set between");
    let watch = asked(&server, &mut sets).await;
    assert!(watch.is_watch() && watch.target.contains("resourceVersion=20&"));
    let _open = watch.open().await;
    server.quiet(MIN * 10).await;
}

#[tokio::test]
async fn a_410_in_a_stream_and_a_stream_that_makes_no_sense_list_again_at_once() {
    for nonsense in
        [format!("{{\"type\":\"ERROR\",\"object\":{GONE}}}\n"), "{\"type\":\"ADDED\",\"obj\n".to_owned()]
    {
        let server = ApiServer::start().await;
        let (mut sets, mut events) = listed(&server, &["1"]).await;
        events.text(&nonsense).await;
        let list = asked(&server, &mut sets).await;
        assert!(!list.is_watch());
        list.json(&page(20, "", &[slice("b", "u", 20, &["2"])])).await;
        assert_eq!(next(&mut sets).await.unwrap(), ["2"]);
    }
}

#[tokio::test]
async fn a_watch_that_ends_or_is_cut_goes_on_from_its_last_bookmark() {
    for cut in [false, true] {
        let server = ApiServer::start().await;
        let (mut sets, mut events) = listed(&server, &["1"]).await;
        events.bookmark(17, false).await;
        events.bookmark(17, false).await;
        if cut {
            // Half an event is no event.
            events.text("{\"type\":\"DELETED\",\"obj").await;
            drop(events);
        } else {
            events.end().await;
        }
        let watch = asked(&server, &mut sets).await;
        assert!(watch.is_watch() && watch.target.contains("resourceVersion=17&"), "{}", watch.target);
        let mut events = watch.open().await;
        events.event("MODIFIED", &slice("a", "u", 18, &["1", "2"])).await;
        assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
    }
}

#[tokio::test]
async fn an_unknown_event_is_passed_over_and_a_late_deletion_of_an_earlier_slice_too() {
    let server = ApiServer::start().await;
    let (mut sets, mut events) = listed(&server, &["1"]).await;
    events.event("RENAMED", "7").await;
    events.event("DELETED", &slice("a", "an older one", 11, &["1"])).await;
    events.event("MODIFIED", &slice("a", "u", 9, &["9"])).await;
    events.event("ADDED", &slice("b", "w", 12, &["2"])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn events_that_come_together_are_one_set() {
    let server = ApiServer::start().await;
    let (mut sets, mut events) = listed(&server, &["1"]).await;
    let event = |version, hosts: &[&str]| {
        format!("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", slice("a", "u", version, hosts))
    };
    events.text(&[event(11, &["2"]), event(12, &["3"]), event(13, &["4"])].concat()).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["4"]);
}

#[tokio::test]
async fn retry_after_is_obeyed_in_any_form() {
    let status = r#"{"message":"wait","details":{"retryAfterSeconds":1}}"#;
    let answers = [
        ("429 Too Many Requests", "retry-after: 1\r\n", "Too many requests, please try again later."),
        ("503 Service Unavailable", "retry-after: DATE\r\n", "service unavailable"),
        ("504 Gateway Timeout", "", status),
    ];
    for (code, headers, body) in answers {
        let server = ApiServer::start().await;
        let mut sets = kubernetes(&server, Initial::List).watch("greeter");
        let since = Instant::now();
        let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
        let headers = headers.replace("DATE", &later);
        asked(&server, &mut sets).await.answer(code, &headers, body).await;
        assert!(next(&mut sets).await.unwrap_err().is_retryable());
        let again = asked(&server, &mut sets).await;
        assert!(since.elapsed() >= Duration::from_millis(900), "{code}: {:?}", since.elapsed());
        again.json(&page(1, "", &[slice("a", "u", 1, &["1"])])).await;
        assert_eq!(next(&mut sets).await.unwrap(), ["1"]);
    }
}

#[tokio::test]
async fn answers_that_are_no_status_are_errors_in_words_and_keep_the_set() {
    let html = "<html>502 Bad Gateway</html>";
    let faults = [
        ("502 Bad Gateway", html),
        ("500 Internal Server Error", ""),
        ("504 Gateway Timeout", r#"{"code":504}"#),
    ];
    let server = ApiServer::start().await;
    let (mut sets, mut events) = listed(&server, &["1"]).await;
    events.event("ERROR", r#"{"code":500,"message":"etcd is asleep"}"#).await;
    let error = next(&mut sets).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "500 etcd is asleep");
    for (at, (code, body)) in faults.into_iter().enumerate() {
        let again = asked(&server, &mut sets).await;
        assert_eq!(again.is_watch(), at < 2, "after three refusals to resume it starts over");
        again.answer(code, "", body).await;
    }
    asked(&server, &mut sets).await.json(&page(30, "", &[slice("a", "u", 10, &["1"])])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1"], "said again: all is well");
}

#[tokio::test]
async fn a_silent_connection_is_noticed() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::List).watch_timeout(Duration::from_secs(1)).watch("greeter");
    asked(&server, &mut sets).await.json(&page(10, "", &[])).await;
    assert_eq!(next(&mut sets).await.unwrap(), [""; 0]);
    let watch = asked(&server, &mut sets).await;
    assert!(watch.target.contains("timeoutSeconds=1"));
    let _silent = watch.open().await;
    let again = asked(&server, &mut sets).await;
    assert!(again.is_watch() && again.target.contains("resourceVersion=10&"));
}

#[tokio::test]
async fn a_server_that_lags_behind_cannot_turn_back_time() {
    let server = ApiServer::start().await;
    let (mut sets, mut events) = listed(&server, &["1"]).await;
    events.event("MODIFIED", &slice("a", "u", 50, &["1", "2"])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
    events.event("ERROR", GONE).await;
    asked(&server, &mut sets).await.json(&page(40, "", &[slice("a", "u", 10, &["1"])])).await;
    let error = next(&mut sets).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("older than 50"), "{error:?}");
    asked(&server, &mut sets).await.json(&page(50, "", &[slice("a", "u", 50, &["1", "2"])])).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1", "2"]);
}

/// A client's settings, and the file that its token is in, which is `old`.
fn with_token_file(server: &ApiServer, directory: &Path) -> (kube::Config, PathBuf) {
    let (mut config, file) = (server.config(), directory.join("token"));
    std::fs::write(&file, "old").unwrap();
    config.auth_info.token_file = Some(file.to_str().unwrap().to_owned());
    (config, file)
}

#[tokio::test]
async fn a_refused_token_is_read_again_at_once() {
    let server = ApiServer::start().await;
    let temp = tempfile::tempdir().unwrap();
    let (config, file) = with_token_file(&server, temp.path());
    let mut sets = Kubernetes::from_config(config).initial(Initial::List).watch("greeter");
    let list = asked(&server, &mut sets).await;
    assert!(list.head.contains("authorization: bearer old"), "{}", list.head);
    assert!(list.target.contains("/namespaces/default/"));
    std::fs::write(&file, "new").unwrap();
    list.answer("401 Unauthorized", "", r#"{"reason":"Unauthorized","code":401}"#).await;
    let list = asked(&server, &mut sets).await;
    assert!(list.head.contains("authorization: bearer new"), "{}", list.head);
    list.json(&page(1, "", &[])).await;
    assert_eq!(next(&mut sets).await.unwrap(), [""; 0]);
}

#[tokio::test]
#[ignore = "a process of the test below"]
async fn process_that_watches() {
    let mut sets = Kubernetes::infer().retry(MIN, MIN * 10).watch("greeter");
    while sets.next().await.is_some() {}
}

#[tokio::test]
async fn where_the_server_is_is_read_anew_when_it_is_not_where_it_was() {
    let (before, after) = (ApiServer::start().await, ApiServer::start().await);
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("config");
    let name = |server: &ApiServer| {
        let place = server.config().cluster_url;
        let config = serde_json::json!({
            "clusters": [{"name": "a", "cluster": {"server": place.to_string()}}],
            "contexts": [{"name": "a", "context": {"cluster": "a"}}],
            "current-context": "a",
        });
        std::fs::write(&file, config.to_string()).unwrap();
    };
    name(&before);
    let mut this = std::process::Command::new(std::env::current_exe().unwrap());
    this.args(["--ignored", "--exact", "process_that_watches"]).env("KUBECONFIG", &file);
    let _process = servers::Process::start(this);
    before.next().await.answer("503 Service Unavailable", "", "").await;
    name(&after);
    drop(before);
    assert!(after.next().await.is_watch());
}

#[tokio::test]
async fn forbidden_is_said_once_seen_as_such_and_recovers_by_itself() {
    let server = ApiServer::start().await;
    let mut sets = kubernetes(&server, Initial::WatchList).watch("greeter");
    let refusal = r#"{"reason":"Forbidden","code":403,"message":"cannot watch resource endpointslices"}"#;
    asked(&server, &mut sets).await.answer("403 Forbidden", "", refusal).await;
    let error = next(&mut sets).await.unwrap_err();
    assert!(error.source().unwrap().is::<Forbidden>() && error.is_retryable());
    assert!(error.to_string().contains("in namespace shop"), "{error}");
    asked(&server, &mut sets).await.answer("403 Forbidden", "", refusal).await;
    let mut events = asked(&server, &mut sets).await.open().await;
    events.event("ADDED", &slice("a", "u", 1, &["1"])).await;
    events.bookmark(2, true).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn everyone_who_watches_a_name_shares_one_watch_which_ends_with_the_last() {
    let server = ApiServer::start().await;
    let registry = kubernetes(&server, Initial::List);
    let mut one = registry.watch("greeter");
    asked(&server, &mut one).await.json(&page(10, "", &[slice("a", "u", 10, &["1"])])).await;
    assert_eq!(next(&mut one).await.unwrap(), ["1"]);
    let mut events = asked(&server, &mut one).await.open().await;
    let mut two = registry.clone().watch("greeter");
    assert_eq!(next(&mut two).await.unwrap(), ["1"]);
    assert_eq!(ids(&registry.get("greeter").await.unwrap()), ["1"]);
    drop(one);
    events.event("MODIFIED", &slice("a", "u", 11, &["2"])).await;
    assert_eq!(next(&mut two).await.unwrap(), ["2"]);
    drop(two);
    events.closed().await;
    let mut three = registry.watch("greeter");
    assert!(!asked(&server, &mut three).await.is_watch(), "a new watch");
}

#[tokio::test]
async fn a_stream_that_always_ends_at_once_is_not_hammered() {
    let server = ApiServer::start().await;
    let (mut sets, events) = listed(&server, &["1"]).await;
    events.end().await;
    let since = Instant::now();
    let rounds = 8;
    for _ in 0..rounds {
        asked(&server, &mut sets).await.open().await.end().await;
    }
    assert!(since.elapsed() > MIN * 10, "{rounds} in {:?}", since.elapsed());
}

#[tokio::test]
async fn a_balancer_keeps_its_endpoints_through_an_outage_and_follows_afterwards() {
    let server = ApiServer::start().await;
    let registry = Arc::new(kubernetes(&server, Initial::List));
    let watch = Watch::new(registry, "greeter");
    let status = watch.status();
    let mut changes = Endpoints::new(watch);
    let list = tokio::select! { it = server.next() => it, _ = changes.next() => panic!("too early") };
    list.json(&page(10, "", &[slice("a", "u", 10, &["1"])])).await;
    assert!(matches!(changes.next().await, Some(Ok(Change::Insert(id, _))) if id == "10.0.0.1:80"));
    let drive = async |changes: &mut Endpoints| {
        tokio::select! { it = server.next() => it, change = changes.next() => panic!("{change:?}") }
    };
    drop(drive(&mut changes).await);
    for _ in 0..3 {
        drive(&mut changes).await.answer("500 Internal Server Error", "", "").await;
    }
    let relist = drive(&mut changes).await;
    assert!(status.stale_since().is_some() && status.last_error().is_some());
    relist.json(&page(20, "", &[slice("a", "u", 20, &["2"])])).await;
    let news: Vec<_> = (&mut changes).take(2).map(|change| change.unwrap()).collect().await;
    assert!(matches!(&news[0], Change::Insert(id, _) if id == "10.0.0.2:80"));
    assert!(matches!(&news[1], Change::Remove(id) if id == "10.0.0.1:80"));
    assert!(status.stale_since().is_none());
}

#[tokio::test]
async fn services_are_listed_by_their_label() {
    let server = ApiServer::start().await;
    let registry = kubernetes(&server, Initial::List);
    let listed = tokio::spawn(async move { registry.list().await });
    let other = slice("b", "u", 1, &["2"]).replace("greeter", "other");
    server.next().await.json(&page(1, "", &[slice("a", "u", 1, &["1"]), other])).await;
    let names: Vec<_> = listed.await.unwrap().unwrap().into_iter().map(|service| service.name).collect();
    assert_eq!(names, ["greeter", "other"]);
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error_and_so_is_one_that_starts_again_and_again() {
    let server = ApiServer::start().await;
    let registry = kubernetes(&server, Initial::List);
    let pods = PodAnnotations::from_config(server.config()).namespace("shop");
    let listed = tokio::spawn(async move { (registry.list().await, pods.list().await) });
    for of_pods in [false, true] {
        for _ in 0..2 {
            let asked = server.next().await;
            assert_eq!(asked.target.contains("/pods?"), of_pods, "{}", asked.target);
            asked.json(&page(1, "again", &[])).await;
        }
    }
    let (services, records) = listed.await.unwrap();
    for error in [services.unwrap_err(), records.unwrap_err()] {
        assert!(
            error.is_retryable() && error.source().unwrap().to_string().contains("no last page"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_refused_to_who_only_lists_is_read_again() {
    let server = ApiServer::start().await;
    let temp = tempfile::tempdir().unwrap();
    let (config, file) = with_token_file(&server, temp.path());
    let registry = Kubernetes::from_config(config);
    let listed = tokio::spawn(async move { (registry.list().await, registry.list().await) });
    let first = server.next().await;
    assert!(first.head.contains("authorization: bearer old"), "{}", first.head);
    std::fs::write(&file, "new").unwrap();
    first.answer("401 Unauthorized", "", "").await;
    let second = server.next().await;
    assert!(second.head.contains("authorization: bearer new"), "{}", second.head);
    second.json(&page(1, "", &[])).await;
    let (refused, listed) = listed.await.unwrap();
    assert!(refused.unwrap_err().is_retryable());
    assert_eq!(listed.unwrap(), []);
}

#[tokio::test]
async fn urls_say_what_is_wanted_and_what_is_wrong() {
    for url in [
        "kubernetes:",
        "kubernetes://shop",
        "kubernetes://shop/greeter?port=grpc&zone=eu&local=true&node=n",
        "kubernetes:///greeter?port=8080&family=both&initial=list&fallback-port=1",
    ] {
        assert_eq!(open(url).unwrap().backend(), "kubernetes");
    }
    for (url, why) in [
        ("kubernetes://Shop", "\"Shop\" of namespace"),
        ("kubernetes://shop/a/b", "\"a/b\" of service"),
        ("kubernetes://shop?port=0", "port \"0\" is not in 1..=65535"),
        ("kubernetes://shop?family=ipx", "prefer-ipv4"),
        ("kubernetes://shop?color=red", "\"color\" is none of port"),
    ] {
        let error = open(url).unwrap_err().to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
    let registry = open("kubernetes://shop").unwrap();
    for name in ["", "a/b", "Greeter", "a.b"] {
        assert!(matches!(registry.get(name).await, Err(Error::Invalid { .. })), "{name}");
    }
    let record = Service::new("greeter");
    assert!(matches!(registry.announce(&record, MIN).await, Err(Error::Unsupported { .. })));
}

#[tokio::test]
async fn a_record_is_patched_into_the_pod_as_go_micro_does_and_taken_out_again() {
    let server = ApiServer::start().await;
    let registry = PodAnnotations::from_config(server.config()).namespace("shop").pod("greeter-0");
    let address = "10.0.0.1:80".parse().unwrap();
    let record = Service::new("go.micro srv").endpoint(Endpoint::new("greeter-0", address));
    let work = async {
        registry.announce(&record, MIN).await.unwrap();
        registry.withdraw(&record).await.unwrap();
        assert!(registry.announce(&record, MIN).await.unwrap_err().is_retryable());
    };
    let serve = async {
        let put = server.next().await;
        assert_eq!(put.target, "PATCH /api/v1/namespaces/shop/pods/greeter-0");
        assert!(put.head.contains("content-type: application/strategic-merge-patch+json"));
        let body: serde_json::Value = serde_json::from_str(&put.body).unwrap();
        let labels = &body["metadata"]["labels"];
        assert_eq!(
            (&labels["micro.mu/type"], &labels["micro.mu/selector-go.micro_srv"]),
            (&"service".into(), &"service".into())
        );
        let json = body["metadata"]["annotations"]["micro.mu/service-go.micro_srv"].as_str().unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (&json["name"], &json["nodes"][0]["address"]),
            (&"go.micro srv".into(), &"10.0.0.1:80".into())
        );
        put.json("{}").await;
        let removal = server.next().await;
        let body: serde_json::Value = serde_json::from_str(&removal.body).unwrap();
        assert!(body["metadata"]["labels"]["micro.mu/selector-go.micro_srv"].is_null());
        assert!(body["metadata"]["annotations"]["micro.mu/service-go.micro_srv"].is_null());
        assert_eq!(body["metadata"]["labels"]["micro.mu/type"], "service");
        removal.json("{}").await;
        server.next().await.answer("500 Internal Server Error", "", "").await;
    };
    tokio::join!(work, serve);
}

/// go-micro's defect R15: a pod that is added is passed over, one that is not ready counts, and all pods are listed.
#[tokio::test]
async fn r15_records_of_pods_that_run_are_read_followed_and_put_together() {
    let pod = |name: &str, version: u64, phase: &str, ready: &str, host: u8| {
        let record = format!(
            r#"{{"name":"greeter","version":"1","nodes":[{{"id":"n-{host}","address":"10.0.0.{host}","port":80}}]}}"#
        );
        serde_json::json!({
            "metadata": {"name": name, "uid": name, "resourceVersion": version.to_string(),
                "annotations": {"micro.mu/service-greeter": record, "micro.mu/service-bad": "{", "other": "x"}},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        })
        .to_string()
    };
    let server = ApiServer::start().await;
    let registry = PodAnnotations::from_config(server.config()).namespace("shop").retry(MIN, MIN);
    let mut sets = registry.watch("greeter");
    let list = asked(&server, &mut sets).await;
    assert!(list.target.contains("/api/v1/namespaces/shop/pods?"), "{}", list.target);
    assert!(list.target.contains("labelSelector=micro.mu%2Fselector-greeter%3Dservice"), "{}", list.target);
    let pods = [
        pod("a", 1, "Running", "True", 1),
        pod("b", 2, "Pending", "False", 2),
        pod("c", 3, "Running", "False", 3),
    ];
    let broken = [
        r#"null"#,
        r#"{"phase":null,"conditions":null}"#,
        r#"{"phase":"Running","conditions":[{"type":"Ready","status":null}]}"#,
    ];
    let broken = broken.iter().enumerate().map(|(n, status)| {
        let mut pod: serde_json::Value =
            serde_json::from_str(&pod(&format!("x{n}"), 4, "Running", "True", 9)).unwrap();
        pod["status"] = serde_json::from_str(status).unwrap();
        pod.to_string()
    });
    let pods: Vec<_> = pods.into_iter().chain(broken).collect();
    list.json(&page(10, "", &pods)).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["n-1"], "a status that says nothing hides its own pod alone");
    let mut events = asked(&server, &mut sets).await.open().await;
    events.event("ADDED", &pod("d", 11, "Running", "True", 4)).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["n-1", "n-4"]);
    events.event("DELETED", &pod("a", 12, "Running", "True", 1)).await;
    assert_eq!(next(&mut sets).await.unwrap(), ["n-4"]);
}

#[tokio::test]
async fn names_that_no_label_can_hold_are_refused() {
    let registry = open("kubernetes-pods://shop").unwrap();
    for name in ["", "a/b", "ends-with-", &"x".repeat(55)] {
        assert!(matches!(registry.get(name).await, Err(Error::Invalid { .. })), "{name}");
    }
    assert!(matches!(open("kubernetes-pods://Shop/x"), Err(Error::Invalid { .. })));
}
