//! The differ: whatever the sets, a consumer of the changes ends up with the last one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use micro_discover::{Endpoint, Endpoints, Filter, Memory, Registry, Service, Watch};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tower::balance::p2c::Balance;
use tower::discover::Change;
use tower::load::Constant;
use tower::{BoxError, Service as _, ServiceExt};

fn endpoint(id: &str) -> Endpoint {
    Endpoint::new(id, "h:1".parse().unwrap())
}

fn set(ids: &str) -> Vec<Service> {
    let endpoints = ids.split_whitespace().map(endpoint);
    vec![endpoints.fold(Service::new("greeter"), Service::endpoint)]
}

fn sets(sets: Vec<Vec<Service>>) -> Endpoints {
    Endpoints::new(stream::iter(sets))
}

/// `+id` and `-id` of everything that is ready.
fn ready<S>(changes: &mut S) -> String
where
    S: Stream<Item = Result<Change<String, Endpoint>, std::convert::Infallible>> + Unpin,
{
    let mut text = Vec::new();
    while let Some(Some(Ok(change))) = changes.next().now_or_never() {
        text.push(match change {
            Change::Insert(id, _) => format!("+{id}"),
            Change::Remove(id) => format!("-{id}"),
        });
    }
    text.join(" ")
}

#[test]
fn inserts_come_before_removals() {
    assert_eq!(ready(&mut sets(vec![set("a b"), set("c d")])), "+a +b +c +d -a -b");
}

#[test]
fn a_set_that_is_known_changes_nothing_and_a_changed_record_is_an_insert() {
    let heavier = vec![Service::new("greeter").endpoint(endpoint("a").weight(2)).endpoint(endpoint("b"))];
    assert_eq!(ready(&mut sets(vec![set("a b"), set("b a"), heavier.clone(), heavier])), "+a +b +a");
}

#[test]
fn a_first_set_without_endpoints_says_so_once() {
    assert_eq!(ready(&mut sets(vec![vec![], vec![], set(""), set("a"), vec![], vec![]])), "- +a -a");
    assert_eq!(ready(&mut sets(vec![set("a").into_iter().collect(), vec![]])), "+a -a");
    let nobody = Filter::new().zone("eu");
    assert_eq!(ready(&mut sets(vec![set("a"), set("a b")]).filter(nobody)), "-");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_that_nobody_is_there_is_doubted_for_a_while() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let sets = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut changes = Endpoints::new(sets).keep_when_empty(Duration::from_secs(30));
    for (said, seen) in
        [(vec![], "-"), (set("a b"), "+a +b"), (vec![], ""), (set("a c"), "+c -b"), (set(""), "")]
    {
        sender.send(said).unwrap();
        assert_eq!(ready(&mut changes), seen);
    }
    tokio::time::advance(Duration::from_secs(29)).await;
    // It says so again: the while is not a new one.
    sender.send(vec![]).unwrap();
    assert_eq!(ready(&mut changes), "");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(ready(&mut changes), "-a -c");
}

#[test]
fn what_a_filter_takes_away_is_removed() {
    let gold = |ids: &str| -> Vec<Service> {
        set(ids).into_iter().map(|service| service.metadata("tier", "gold")).collect()
    };
    let changes = sets(vec![gold("a b"), set("a b")]).filter(Filter::new().label("tier", "gold"));
    assert_eq!(ready(&mut { changes }), "+a +b -a -b");
}

/// A set: which of six ids it has, and for each a weight, a zone and one of two versions.
fn any_set() -> impl Strategy<Value = Vec<Service>> {
    let one = (0..6_u32, 0..3_u32, any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..8).prop_map(|endpoints| {
        let mut versions = [Service::new("greeter").version("1"), Service::new("greeter").version("2")];
        for (id, weight, zone, version) in endpoints {
            let zone = if zone { "eu" } else { "us" };
            versions[usize::from(version)]
                .endpoints
                .push(endpoint(&format!("e{id}")).weight(weight).zone(zone));
        }
        versions.into()
    })
}

fn model(set: &[Service], filter: &Filter) -> BTreeMap<String, Endpoint> {
    let mut model = BTreeMap::new();
    for endpoint in filter.apply(set.to_vec()).into_iter().flat_map(|service| service.endpoints) {
        model.entry(endpoint.id.clone()).or_insert(endpoint);
    }
    model
}

proptest! {
    #[test]
    fn a_consumer_of_the_changes_has_the_set_after_each_of_them(
        given in prop::collection::vec(any_set(), 0..20),
        filtered in any::<bool>(),
        bursts in prop::collection::vec(any::<bool>(), 20),
    ) {
        let filter = if filtered { Filter::new().zone("eu") } else { Filter::new() };
        let (sender, receiver) = mpsc::unbounded_channel();
        let watch = stream::unfold(receiver, |mut sets| async { Some((sets.recv().await?, sets)) });
        let mut changes = Endpoints::new(watch).filter(filter.clone());
        let mut seen = BTreeMap::new();
        let mut told = 0;
        for (number, (set, burst)) in given.iter().zip(bursts).enumerate() {
            sender.send(set.clone()).unwrap();
            if burst && number + 1 < given.len() {
                continue;
            }
            while let Some(Some(Ok(change))) = changes.next().now_or_never() {
                told += 1;
                match change {
                    Change::Insert(id, endpoint) => {
                        prop_assert_eq!(&id, &endpoint.id);
                        prop_assert_ne!(seen.insert(id, endpoint.clone()), Some(endpoint), "no change");
                    }
                    Change::Remove(id) if id.is_empty() => prop_assert_eq!(told, 1, "only ever the first item"),
                    Change::Remove(id) => prop_assert!(seen.remove(&id).is_some(), "{} was not there", id),
                }
            }
            prop_assert_eq!(&seen, &model(set, &filter));
        }
        prop_assert!(given.is_empty() || told > 0, "an answer is always told");
    }
}

#[tokio::test]
async fn a_stock_tower_balancer_follows_announcements() -> Result<(), BoxError> {
    let memory = Memory::new();
    let registry: Arc<dyn Registry> = Arc::new(memory.clone());
    let discover = Endpoints::new(Watch::new(registry, "greeter")).connect(|endpoint| {
        let id = endpoint.id.clone();
        let answer = move |()| std::future::ready(Ok::<_, BoxError>(id.clone()));
        Constant::new(tower::service_fn(answer), 1)
    });
    let mut balance = Balance::new(discover);
    assert!(balance.ready().now_or_never().is_none(), "nobody is known to be there");

    let [a, b] = ["a", "b"].map(|id| Service::new("greeter").endpoint(endpoint(id)));
    memory.announce(&a, Duration::ZERO).await?;
    memory.announce(&b, Duration::ZERO).await?;
    let mut answers = std::collections::BTreeSet::new();
    while answers.len() < 2 {
        answers.insert(balance.ready().await?.call(()).await?);
    }
    memory.withdraw(&a).await?;
    for _ in 0..50 {
        assert_eq!(balance.ready().await?.call(()).await?, "b");
    }
    Ok(())
}
