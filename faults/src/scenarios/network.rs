//! Networks that lose, delay and garble.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use micro_balance::State;
use micro_tower::Client;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{calm, nothing};
use crate::{
    fleet::{Fleet, usual},
    load::Load,
    outcome::Outcome,
    process::Process,
    proxy::{Proxy, Way},
};

/// Row 16: an address is listed from the start at which nobody answers.
pub(crate) async fn dead_address() -> anyhow::Result<Outcome> {
    let fleet = Fleet::new(5).await?;
    // Takes connections, so that attempts can be counted, and closes each at once.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    fleet.list(5, listener.local_addr()?).await?;
    let counting = tokio::spawn(async move {
        let mut attempts = 0;
        while let Ok(Ok(_)) = timeout(Duration::from_secs(8), listener.accept()).await {
            attempts += 1;
        }
        attempts
    });
    let refused = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    fleet.list(6, refused).await?;
    let (client, began) = (fleet.client(5).await?, Instant::now());
    let noticed = Load::gets(10).run(&client, nothing()).await?;
    drop(client);
    let seconds = began.elapsed().as_secs_f64();
    let attempts: u32 = counting.await?;
    let rate = f64::from(attempts) / seconds;
    Ok(Outcome::unnoticed(&noticed, rate <= 1.0, &format!(", {rate:.2} attempts to connect a second")))
}

/// An address whose SYNs are dropped: its queue of connections is full, and nobody accepts them.
async fn swallowed() -> anyhow::Result<(Socket, Vec<TcpStream>, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(0)?;
    let address = socket.local_addr()?.as_socket().ok_or_else(|| anyhow::anyhow!("no address"))?;
    let mut held = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        held.push(stream?);
    }
    Ok((socket, held, address))
}

/// Row 23: the SYNs to one address are dropped.
pub(crate) async fn syn_dropped() -> anyhow::Result<Outcome> {
    let fleet = Fleet::new(4).await?;
    let (_socket, _held, address) = swallowed().await?;
    fleet.list(4, address).await?;
    let client = fleet.client(4).await?;
    let noticed = Load::gets(6).run(&client, nothing()).await?;
    let waits = client.endpoints().iter().any(|view| view.state == State::Connecting);
    Ok(Outcome::unnoticed(&noticed, waits && noticed.max() < 1000, ", it was never picked"))
}

/// Row 24: an established connection goes black, and comes back later.
pub(crate) async fn black_hole() -> anyhow::Result<Outcome> {
    let fleet = Fleet::behind_proxies(5).await?;
    let client = fleet.client(5).await?;
    let mut noticed_after = Duration::ZERO;
    let mut back_after = Duration::ZERO;
    let trouble = async {
        calm().await;
        fleet.proxies[0].set(Way::Hole);
        let hole = Instant::now();
        let connections = fleet.proxies[0].accepted();
        sleep(Duration::from_secs(3)).await;
        fleet.proxies[0].set(Way::Open);
        while fleet.proxies[0].accepted() == connections && hole.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(5)).await;
        }
        noticed_after = hole.elapsed();
        let had = fleet.nodes[0].deeds.done();
        while fleet.nodes[0].deeds.done() < had + 10 && hole.elapsed() < Duration::from_secs(30) {
            sleep(Duration::from_millis(5)).await;
        }
        back_after = hole.elapsed();
        anyhow::Ok(())
    };
    let noticed = Load::gets(16).run(&client, trouble).await?;
    let holds = noticed_after <= Duration::from_secs(20) && back_after <= Duration::from_secs(20);
    let more = format!(
        ", connected anew after {noticed_after:.1?}, ten answers after {back_after:.1?} of a hole of 3 s"
    );
    Ok(Outcome::unnoticed(&noticed, holds, &more))
}

/// Row 25: every node is 200 ms away, give or take half, and up to one piece in ten is lost on the way and sent again.
pub(crate) async fn far_and_lossy() -> anyhow::Result<Outcome> {
    let fleet = Fleet::behind_proxies(5).await?;
    let client = fleet.client(5).await?;
    for proxy in &fleet.proxies {
        proxy.set(Way::Late(Duration::from_millis(100), 0.1));
    }
    let load = Load { rate: 50, ..Load::gets(12) };
    let noticed = load.run(&client, nothing()).await?;
    let ready = client.endpoints().iter().filter(|view| view.state == State::Ready).count();
    Ok(Outcome::unnoticed(
        &noticed,
        ready > 0,
        &format!(", {ready} of 5 still ready; losses are played by a proxy"),
    ))
}

/// Row 26: a node restarts under a thousand clients.
pub(crate) async fn reconnects() -> anyhow::Result<Outcome> {
    const CLIENTS: usize = 1000;
    let mut node = Process::start(None, &[]).await?;
    let proxy = Proxy::start(node.address).await?;
    let fleet = Fleet { nodes: Vec::new(), proxies: Vec::new(), registry: crate::registry::Switch::new() };
    fleet.list(0, proxy.address).await?;
    let clients = (0..CLIENTS).map(|_| usual(Arc::new(fleet.registry.clone())).build());
    let clients: Vec<Client> = clients.collect();
    let ready = || {
        clients
            .iter()
            .filter(|client| client.endpoints().iter().any(|view| view.state == State::Ready))
            .count()
    };
    let settled = async || {
        while ready() < CLIENTS {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(60), settled()).await??;
    let mut callers = JoinSet::new();
    clients.iter().for_each(|client| drop(callers.spawn(now_and_then(client.clone()))));
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    // The proxy takes every attempt and closes it: as many as clients make are counted.
    node.kill().await?;
    sleep(Duration::from_secs(6)).await;
    let attempts = proxy.accepted_since(began);
    let most = attempts.iter().map(|from| {
        attempts.iter().filter(|at| *at >= from && **at - *from < Duration::from_millis(100)).count()
    });
    let most = most.max().unwrap_or(0);
    let each = attempts.len() as f64 / 6.0 / CLIENTS as f64;
    let measured = format!(
        "at most {most} of {CLIENTS} clients in any 100 ms; {each:.2} attempts to connect a second and client"
    );
    Ok(Outcome::new(most * 10 <= CLIENTS && !attempts.is_empty(), measured))
}

/// A caller that asks something every other second, at a moment of its own.
async fn now_and_then(client: Client) {
    sleep(Duration::from_secs(2).mul_f64(fastrand::f64())).await;
    loop {
        let request = http::Request::new(tonic::body::Body::empty());
        // What comes of it is not the matter here.
        drop(timeout(Duration::from_secs(1), client.send(request)).await);
        sleep(Duration::from_secs(2)).await;
    }
}

/// Row 30: what one node says arrives as noise.
pub(crate) async fn noise() -> anyhow::Result<Outcome> {
    let fleet = Fleet::behind_proxies(5).await?;
    let client = fleet.client(5).await?;
    let trouble = async {
        calm().await;
        fleet.proxies[0].set(Way::Noise);
        sleep(Duration::from_secs(4)).await;
        fleet.proxies[0].set(Way::Open);
        anyhow::Ok(())
    };
    let noticed = Load::gets(9).run(&client, trouble).await?;
    let wrong = noticed.reasons.iter().filter(|reason| reason.contains("WRONG")).count();
    Ok(Outcome::unnoticed(&noticed, wrong == 0, &format!(", {wrong} wrong answers taken")))
}
