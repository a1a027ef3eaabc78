//! What becomes of a publication to [`JetStream`] that is not confirmed at once. A plain subscriber plays the stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use micro_broker::{Broker, Envelope, Error, Event, JetStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::server::{NatsServer, Server};
use crate::suite::PATIENCE;

const STORED: &str = r#"{"stream":"played","seq":1}"#;
const FULL: &str = r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}"#;
const BUSY: &str = r#"{"error":{"code":429,"err_code":10167,"description":"too many requests"}}"#;
const TOO_LARGE: &str = r#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds"}}"#;
const SILENCE: &str = "";

/// Under which ids events came.
type Ids = mpsc::UnboundedReceiver<String>;

/// Answers publications, the last answer again and again, and tells under which id each came.
async fn play(server: &NatsServer, answers: &'static [&'static str]) -> Ids {
    let (told, ids) = mpsc::unbounded_channel();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut published = client.subscribe("t").await.unwrap();
    // Once the server knows: what another connection sends may overtake what is only flushed.
    client.request("nobody", "".into()).await.unwrap_err();
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(message) = published.next().await {
            let answer = answers[number.min(answers.len() - 1)];
            number += 1;
            if answer != SILENCE {
                client.publish(message.reply.unwrap(), answer.into()).await.unwrap();
            }
            let id = message.headers.and_then(|headers| Some(headers.get("Nats-Msg-Id")?.to_string()));
            if told.send(id.unwrap_or_default()).is_err() {
                break;
            }
        }
    });
    ids
}

fn open(port: u16) -> JetStream {
    JetStream::new(&format!("nats://127.0.0.1:{port}")).unwrap().stream("played")
}

async fn publish(broker: &JetStream, within: Duration) -> Result<(), Error> {
    timeout(PATIENCE, broker.publish(Event::new("t", "x").id("7"), within)).await.unwrap()
}

/// Publishes, and cuts the connection for a moment once the event is with the server.
async fn publish_and_cut(
    broker: &JetStream,
    proxy: &Proxy,
    ids: &mut Ids,
    within: Duration,
) -> Result<(), Error> {
    let cut = async {
        timeout(PATIENCE, ids.recv()).await.unwrap().unwrap();
        proxy.cut(true);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.cut(false);
    };
    tokio::join!(publish(broker, within), cut).0
}

/// Ids that came by now, once none is on its way.
fn came(ids: &mut Ids) -> Vec<String> {
    std::iter::from_fn(|| ids.try_recv().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_cannot_take_now_is_sent_again_under_its_id() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[FULL, BUSY, STORED]).await;
    publish(&open(server.port()), PATIENCE).await.unwrap();
    for _ in 0..3 {
        assert_eq!(timeout(PATIENCE, ids.recv()).await.unwrap().unwrap(), "t/7");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_never_takes_is_told_at_once() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[TOO_LARGE]).await;
    let error = publish(&open(server.port()), PATIENCE).await.unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { what, .. } if what.contains("message size exceeds")),
        "{error}"
    );
    assert_eq!(timeout(PATIENCE, ids.recv()).await.unwrap().unwrap(), "t/7");
    assert!(came(&mut ids).is_empty(), "it is not sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_server_takes_is_told_at_once() {
    let Some(server) = NatsServer::start() else { return };
    for url in [server.url(), format!("{}?core", server.url())] {
        let broker = micro_broker::open(&url).unwrap();
        let published = broker.publish(Event::new("large.x", vec![7; 2 << 20]), PATIENCE * 2);
        let error = timeout(PATIENCE, published).await.unwrap().unwrap_err();
        assert!(matches!(&error, Error::Invalid { what, .. } if what.contains("payload")), "{error}");
        broker.publish(Event::new("large.x", "small"), PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_did_not_take_in_time_is_known_not_to_be_published() {
    let Some(server) = NatsServer::start() else { return };
    let _ids = play(&server, &[FULL]).await;
    let error = publish(&open(server.port()), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("maximum messages exceeded"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_there_yet_is_waited_for() {
    let Some(server) = NatsServer::start() else { return };
    let broker = Arc::new(open(server.port()));
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { publish(&broker, PATIENCE).await }
    });
    let error = publish(&broker, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let _ids = play(&server, &[STORED]).await;
    publishing.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_is_asked_for_again() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[SILENCE, STORED]).await;
    publish(&open(server.port()), PATIENCE).await.unwrap();
    for _ in 0..2 {
        assert_eq!(timeout(PATIENCE, ids.recv()).await.unwrap().unwrap(), "t/7");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_with_the_connection_is_asked_for_again() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[SILENCE, STORED]).await;
    let proxy = Proxy::before(server.port()).await;
    publish_and_cut(&open(proxy.port), &proxy, &mut ids, PATIENCE).await.unwrap();
    assert_eq!(timeout(PATIENCE, ids.recv()).await.unwrap().unwrap(), "t/7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_the_server_would_not_recognise_is_not_sent_twice() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[SILENCE, STORED]).await;
    let proxy = Proxy::before(server.port()).await;
    let broker = open(proxy.port).envelope(Envelope::GoMicro);
    let error = publish_and_cut(&broker, &proxy, &mut ids, PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }) && !error.is_unpublished(), "{error:?}");
    assert!(came(&mut ids).is_empty(), "the second would be another event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_stored_is_not_said_to_be_unpublished() {
    let Some(server) = NatsServer::start() else { return };
    let mut ids = play(&server, &[SILENCE, FULL]).await;
    let proxy = Proxy::before(server.port()).await;
    let published = publish_and_cut(&open(proxy.port), &proxy, &mut ids, Duration::from_secs(5)).await;
    assert!(matches!(published, Err(Error::Unconfirmed { .. })), "{published:?}");
    assert!(!came(&mut ids).is_empty(), "it was refused after that");
}
