//! Clients that begin to speak TLS and go no further, as many as the gateway takes connections and more.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use micro_tower::transport::Tls;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::face::connect_from;
use crate::heavy::{MIB, THREADS, crowd};
use crate::mutual::{certify, gateway, get};
use crate::program::{Place, Running};
use crate::rotation::authority;
use crate::service::Services;

/// More than the connections that the gateway takes, as some are cut while the last still come.
const HALF: usize = 10_400;

/// What a client says first: the server answers with its certificate, and has done most of its work.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// How many files `running` has open: its connections, and some more.
fn open_files(running: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count()
}

#[test]
fn ten_thousand_half_handshakes_keep_nobody_else_out_and_are_cut() {
    crowd();
    let place = Place::new();
    let services = Services::new(&place);
    services.mirror("foo");
    let ours = authority();
    let (running, address) = gateway(&place, &ours, &[]);
    let roots = ours.pem();
    let [chain, key] = certify(&ours, &["spiffe://example.org/visitor"], |_| {});
    let ask = || {
        let tls = Tls::mutual(roots.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
        let began = Instant::now();
        assert_eq!(services.runtime.block_on(get(address, tls)).unwrap(), 200);
        began.elapsed()
    };
    ask();
    let (before, hello) = (running.memory(), hello());
    let begin = |at: usize| {
        let said = if at.is_multiple_of(8) { &hello[..] } else { &hello[..hello.len() / 2] };
        let mut stream = connect_from([127, 0, 0, 2], address);
        let _ = stream.write_all(said);
        stream
    };
    let (mut longest, mut most, mut grown) = (Duration::ZERO, 0, 0);
    let mut look = || {
        longest = longest.max(ask());
        let there = open_files(&running);
        most = most.max(there);
        grown = grown.max(running.memory().saturating_sub(before));
        there
    };
    std::thread::scope(|scope| {
        let part = || (0..HALF / THREADS).map(begin).collect::<Vec<_>>();
        let parts: Vec<_> = (0..THREADS).map(|_| scope.spawn(part)).collect();
        while !parts.iter().all(|part| part.is_finished()) {
            look();
        }
        let _half: Vec<_> = parts.into_iter().flat_map(|part| part.join().unwrap()).collect();
        let came = Instant::now();
        while look() > 100 {
            assert!(came.elapsed() < Duration::from_secs(60), "some are still there");
        }
    });
    println!("{most} at once, {grown} bytes, others waited for {longest:?} at most");
    // Whoever waited for them would wait until the first are cut.
    assert!(longest < Duration::from_secs(8), "{longest:?}");
    assert!(grown < 64 * MIB + 32_768 * most as u64, "{most}: {grown} bytes more");
}
