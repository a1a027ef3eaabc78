//! The part of the contract that is about servers: cut off, restarted, and with a login that is refused.

use futures_util::future::join_all;
use micro_discover::{Announce, Registry, Service, open};

use super::seen::Seen;
use super::servers::gateway::Proxy;
use super::servers::guarded::{Guarded, SCHEMES};
use super::{Arc, Duration, Shared, endpoint, greeter};

const TTL: Duration = Duration::from_secs(5);

async fn announced(registry: &Shared, id: &str) -> micro_discover::Announcement {
    Announce::new(registry.clone(), greeter(id)).ttl(TTL).start().await.unwrap()
}

/// Runs a behaviour on all servers at the same time: most of it is waiting.
async fn on_all<F: Future<Output = ()> + Send + 'static>(
    start: fn(&'static str) -> Option<Guarded>,
    behaviour: fn(Guarded) -> F,
) {
    let running = SCHEMES.map(|scheme| {
        tokio::spawn(async move {
            let server = tokio::task::spawn_blocking(move || start(scheme)).await.unwrap();
            if let Some(server) = server {
                behaviour(server).await;
            }
        })
    });
    for (scheme, done) in SCHEMES.iter().zip(join_all(running).await) {
        assert!(done.is_ok(), "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_for_twenty_seconds_hides_nothing_and_what_changed_meanwhile_is_seen_after_it() {
    on_all(Guarded::open, |server| async move {
        let proxy = Proxy::before(server.port).await;
        let direct = open(&server.admin()).unwrap();
        let seen = Seen::by(&open(&server.url(proxy.port)).unwrap());
        let going = announced(&direct, "going").await;
        let staying = announced(&direct, "staying").await;
        seen.until(&["going", "staying"]).await;
        proxy.cut();
        going.withdraw().await.unwrap();
        let new = announced(&direct, "new").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(seen.last().unwrap(), ["going", "staying"], "{}", server.scheme);
        assert!(seen.status.stale_since().is_some() && seen.status.last_error().is_some());
        proxy.mend();
        let took = seen.until(&["new", "staying"]).await;
        println!("{}: true again {took:?} after the cut", server.scheme);
        assert!(!seen.missed("staying"), "{}: {:?}", server.scheme, seen.sets.lock().unwrap());
        drop((new, staying));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_without_its_server_and_is_announced_when_that_is_there() {
    on_all(Guarded::open, |mut server| async move {
        let mut server = tokio::task::spawn_blocking(move || {
            server.kill();
            server
        })
        .await
        .unwrap();
        let registry = open(&server.admin()).unwrap();
        let announcement = announced(&registry, "early").await;
        assert!(!announcement.is_announced(), "{}", server.scheme);
        let seen = Seen::by(&open(&server.admin()).unwrap());
        seen.until_stale().await;
        let server = tokio::task::spawn_blocking(move || {
            server.restart_dead();
            server
        })
        .await
        .unwrap();
        let took = seen.until(&["early"]).await;
        println!("{}: announced {took:?} after the server was there", server.scheme);
        announcement.announced().await;
        announcement.withdraw().await.unwrap();
        seen.until(&[]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_hides_nothing_and_is_told_again() {
    on_all(Guarded::open, |mut server| async move {
        let (here, there) = (open(&server.admin()).unwrap(), open(&server.admin()).unwrap());
        // A history, which a server that keeps nothing loses.
        for n in 0..20 {
            let other = Service::new("other").endpoint(endpoint(&format!("o{n}")));
            here.announce(&other, Duration::ZERO).await.unwrap();
        }
        let seen = Seen::by(&there);
        let mut announcements = vec![announced(&here, "a").await, announced(&here, "b").await];
        seen.until(&["a", "b"]).await;
        let mut server = tokio::task::spawn_blocking(move || {
            server.kill();
            server
        })
        .await
        .unwrap();
        tokio::time::sleep(TTL + Duration::from_secs(2)).await;
        assert!(seen.status.stale_since().is_some() && seen.status.last_error().is_some());
        assert!(there.get("greeter").await.unwrap_err().is_retryable());
        let server = tokio::task::spawn_blocking(move || {
            server.restart_dead();
            server
        })
        .await
        .unwrap();
        announcements.push(announced(&here, "late").await);
        let took = seen.until(&["a", "b", "late"]).await;
        println!("{}: all there {took:?} after the restart", server.scheme);
        tokio::time::sleep(2 * TTL).await;
        assert_eq!(seen.last().unwrap(), ["a", "b", "late"], "{}", server.scheme);
        assert!(!seen.flapped(), "{}: {:?}", server.scheme, seen.sets.lock().unwrap());
        assert_eq!(there.get("greeter").await.unwrap()[0].endpoints.len(), 3, "{}", server.scheme);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_refused_is_an_error_that_is_seen_and_the_set_is_kept() {
    on_all(Guarded::locked, |server| async move {
        let proxy = Proxy::before(server.port).await;
        let admin = open(&server.admin()).unwrap();
        admin.announce(&greeter("a"), Duration::ZERO).await.unwrap();
        let watcher: Arc<dyn Registry> = open(&server.url(proxy.port)).unwrap();
        let seen = Seen::by(&watcher);
        seen.until(&["a"]).await;
        proxy.cut();
        let server = tokio::task::spawn_blocking(move || {
            server.refuse();
            server
        })
        .await
        .unwrap();
        admin.announce(&greeter("b"), Duration::ZERO).await.unwrap();
        proxy.mend();
        seen.until_error(server.refusal).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*seen.sets.lock().unwrap().last().unwrap(), ["a"], "{}", server.scheme);
        assert!(seen.status.stale_since().is_some(), "{}", server.scheme);

        // To whoever is refused from the start the set is unknown, not empty.
        let url = server.url(server.port);
        let stranger = open(&url).unwrap();
        let error = stranger.get("greeter").await.unwrap_err();
        assert!(error.is_retryable() && !format!("{error:?}").contains("b5f4f0a2"), "{error:?}");
        let shut_out = Seen::by(&stranger);
        shut_out.until_error("").await;
        assert!(!shut_out.status.resolved() && shut_out.last().is_none(), "{}", server.scheme);

        let server = tokio::task::spawn_blocking(move || {
            server.admit();
            server
        })
        .await
        .unwrap();
        for watching in [&seen, &shut_out] {
            watching.until(&["a", "b"]).await;
        }
        assert!(!seen.flapped(), "{}: {:?}", server.scheme, seen.sets.lock().unwrap());
    })
    .await;
}
