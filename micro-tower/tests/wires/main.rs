//! One behaviour of all transports: what is true of HTTP over TCP is true over memory, a unix socket, NATS and
//! RabbitMQ.
#![allow(clippy::unwrap_used, clippy::panic)]

#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod faults;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
#[allow(dead_code, reason = "brokers need more of a server than transports do")]
#[path = "../../../micro-broker/tests/contract/server.rs"]
mod server;
mod suite;

use suite::Place;

#[tokio::test]
async fn tcp_behaves() {
    suite::all(Place::new("http://127.0.0.1:0")).await;
}

#[tokio::test]
async fn memory_behaves() {
    suite::all(Place::numbered("memory://wires")).await;
}

#[tokio::test]
async fn a_unix_socket_behaves() {
    let directory = tempfile::tempdir().unwrap();
    suite::all(Place::numbered(&format!("unix:{}/s", directory.path().display()))).await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_behaves() {
    use server::Server as _;
    let Some(mut broker) = server::NatsServer::start() else { return };
    suite::all(Place::new(&broker.url())).await;
    faults::nobody_listens_at("nats://micro.rpc.nobody", &broker.url()).await;
    faults::the_name_of_the_service_reaches_any_of_its_replicas("nats", &broker.url()).await;
    faults::one_comes_while_the_last_goes(&broker.url()).await;
    faults::headers_that_cannot_be_read_end_no_transport(&broker).await;
    faults::a_broker_that_restarts_answers_nothing_twice(&mut broker).await;
}

#[cfg(feature = "rabbitmq")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_behaves() {
    use server::Server as _;
    let Some(mut broker) = tokio::task::spawn_blocking(server::RabbitServer::start).await.unwrap() else {
        return;
    };
    suite::all(Place::new(&broker.url())).await;
    faults::nobody_listens_at("rabbitmq://micro.rpc.nobody", &broker.url()).await;
    faults::the_name_of_the_service_reaches_any_of_its_replicas("rabbitmq", &broker.url()).await;
    faults::one_comes_while_the_last_goes(&broker.url()).await;
    faults::properties_that_cannot_be_read_disturb_no_transport(&broker).await;
    faults::a_broker_that_restarts_answers_nothing_twice(&mut broker).await;
}

/// With both brokers it would take both servers; two transports that need none show the same.
#[tokio::test]
async fn one_client_balances_over_endpoints_of_different_transports() {
    suite::different_transports(&["http://127.0.0.1:0", "memory://mixed"]).await;
}
