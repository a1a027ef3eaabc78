//! Two gateways that are replaced in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use micro_balance::State;
use micro_discover::open;
use micro_tower::Client;
use micro_tower::transport::{Connector, HttpVersion};
use rustix::process::Signal;
use tonic::body::Body;

use crate::face::Face;
use crate::program::Place;
use crate::servers::free_ports;
use crate::service::Services;

#[test]
fn no_repeatable_call_fails_while_two_gateways_are_replaced_in_turn() {
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let addresses = free_ports::<2>().map(|port| format!("127.0.0.1:{port}"));
    let start = |address: &String| Face::at(&place, address, &["--shutdown-delay", "200ms"]);
    let mut faces: Vec<_> = addresses.iter().map(start).collect();
    let client = services.runtime.block_on(async {
        let registry = open(&format!("fixed://{}", addresses.join(","))).unwrap();
        let connector = Connector::new().http_version(HttpVersion::Http1);
        Client::builder("edge", registry).connector(connector).timeout(Duration::from_secs(30)).build()
    });
    let (enough, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = |client: Client| {
        let (enough, answered) = (enough.clone(), answered.clone());
        async move {
            let mut failed = Vec::new();
            while !enough.load(Relaxed) {
                let request = Request::get("http://edge/foo/x").body(Body::empty()).unwrap();
                match client.send(request).await {
                    Ok(response) if response.status() == 200 => {
                        if let Err(error) = response.into_body().collect().await {
                            failed.push(error.to_string());
                        }
                    }
                    Ok(response) => failed.push(response.status().to_string()),
                    Err(error) => failed.push(error.to_string()),
                }
                answered.fetch_add(1, Relaxed);
            }
            failed
        }
    };
    let clients: Vec<_> = (0..4).map(|_| services.runtime.spawn(load(client.clone()))).collect();
    let requests = |more: usize| {
        let (before, began) = (answered.load(Relaxed), Instant::now());
        while answered.load(Relaxed) < before + more {
            assert!(began.elapsed() < Duration::from_secs(60), "no request is answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    requests(100);
    for _ in 0..2 {
        for (face, address) in faces.iter_mut().zip(&addresses) {
            face.signal(Signal::TERM);
            assert_eq!(face.end().0, Some(0));
            requests(50);
            *face = start(address);
            // The client has found it again before the other one goes.
            let began = Instant::now();
            let ready =
                || client.endpoints().iter().filter(|endpoint| endpoint.state == State::Ready).count();
            while ready() < 2 {
                assert!(began.elapsed() < Duration::from_secs(60), "the new gateway is not found");
                std::thread::sleep(Duration::from_millis(10));
            }
            requests(50);
        }
    }
    enough.store(true, Relaxed);
    let failed = clients.into_iter().flat_map(|client| services.runtime.block_on(client).unwrap());
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{} of {answered:?}: {:?}", failed.len(), failed.first());
}
