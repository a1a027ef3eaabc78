//! One replica: a server on the simulated network, that can die, stop, hang and misbehave.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use micro_discover::Service;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};
use tonic::body::Body;
use tower::service_fn;

use super::{
    ledger::Ledger,
    network::{Link, Weather},
    registry::Flaky,
};
use crate::{Server, server::ServeError};

/// How a node treats requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    /// Answers after so long.
    Answers(Duration),
    /// Says 503 to this part of them.
    Refuses(f64),
    /// Carries this part of them out, and resets all connections instead of answering.
    Resets(f64),
    /// Takes them and never answers.
    Hangs,
}

pub(super) const WELL: Mood = Mood::Answers(Duration::from_millis(2));
pub(super) const NEAR: Duration = Duration::from_micros(300);

/// A replica. What it is called by is a new name in each of its lives.
pub(super) struct Node {
    number: usize,
    world: String,
    lives: usize,
    manner: Arc<Manner>,
    running: Option<Life>,
    registry: Flaky,
}

/// What a node's handlers look at.
struct Manner {
    number: usize,
    mood: Mutex<(Mood, fastrand::Rng)>,
    ledger: Ledger,
}

struct Life {
    link: Arc<Link>,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Node {
    pub(super) fn new(world: &str, number: usize, seed: u64, registry: &Flaky, ledger: &Ledger) -> Self {
        let mood = Mutex::new((WELL, fastrand::Rng::with_seed(seed ^ number as u64)));
        let manner = Manner { number, mood, ledger: ledger.clone() };
        let (world, registry) = (world.to_owned(), registry.clone());
        Self { number, world, lives: 0, manner: Arc::new(manner), running: None, registry }
    }

    /// Begins a new life, with `same_place` at the address of the last one if that is free.
    pub(super) async fn start(&mut self, same_place: bool) {
        self.lives += usize::from(!same_place || self.lives == 0);
        let link = Link::new(NEAR);
        let (outside, inside) = loop {
            let outside = format!("{}-node-{}-{}", self.world, self.number, self.lives);
            let inside = format!("{outside}-inside");
            // A life that was told to end may take a while.
            match link.up(&outside, &inside) {
                Ok(()) => break (outside, inside),
                Err(_) => self.lives += 1,
            }
        };
        let address = format!("memory://{outside}").parse().expect("it is an address");
        let server = Server::new()
            .listen(&format!("memory://{inside}"))
            .ttl(Duration::from_secs(6))
            .announce(Arc::new(self.registry.clone()), Service::new("greeter"))
            .endpoint(|mut endpoint| {
                endpoint.address = address;
                endpoint
            });
        let bound = server.bind().await.expect("the last life is over");
        let (manner, way) = (self.manner.clone(), link.clone());
        let service = service_fn(move |request| answer(manner.clone(), way.clone(), request));
        let (stop, told) = oneshot::channel::<()>();
        let serving = bound.serve_until(service, async {
            let _ = told.await;
        });
        self.running = Some(Life { link, serving: tokio::spawn(serving), stop: Some(stop) });
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Ends at once, as by SIGKILL.
    pub(super) async fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.link.down();
        running.serving.abort();
        // It was aborted: how it ended says nothing.
        let _ = running.serving.await;
        tokio::task::yield_now().await;
        let busy = self.manner.ledger.busy_at(self.number);
        if busy > 0 {
            self.manner.ledger.wrong(format!("{busy} handlers of node {} outlive it", self.number));
        }
    }

    /// Tells it to stop, as by SIGTERM; gives the end of its life.
    pub(super) fn terminate(&mut self) -> impl Future<Output = ()> + use<> {
        let (running, manner) = (self.running.take(), self.manner.clone());
        async move {
            let Some(mut running) = running else { return };
            if let Some(stop) = running.stop.take() {
                let _ = stop.send(());
            }
            if let Ok(Err(error)) = running.serving.await {
                manner.ledger.wrong(format!("node {} ended with {error}", manner.number));
            }
            running.link.down();
        }
    }

    pub(super) fn weather(&self, weather: Weather) {
        if let Some(life) = &self.running {
            life.link.set(weather);
        }
        if weather == Weather::Frozen {
            return;
        }
        self.manner.ledger.thaw(self.number);
    }

    pub(super) fn reset(&self) {
        if let Some(life) = &self.running {
            life.link.reset();
        }
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.manner.mood.lock().unwrap().0 = mood;
    }
}

async fn answer(
    manner: Arc<Manner>,
    link: Arc<Link>,
    request: Request<Body>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let call = request.headers().get("x-call").and_then(|call| call.to_str().ok()?.parse().ok());
    let (mood, chance) = {
        let (mood, random) = &mut *manner.mood.lock().unwrap();
        (*mood, random.f64())
    };
    let mut response = Response::new(Full::from(manner.number.to_string()));
    if matches!(mood, Mood::Refuses(part) if chance < part) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    let _busy = manner.ledger.carry_out(call.unwrap_or(u64::MAX), manner.number);
    match mood {
        Mood::Answers(time) => sleep(time).await,
        Mood::Resets(part) if chance < part => {
            sleep(Duration::from_millis(1)).await;
            link.reset();
            std::future::pending::<()>().await;
        }
        Mood::Hangs => std::future::pending().await,
        Mood::Refuses(_) | Mood::Resets(_) => sleep(Duration::from_millis(2)).await,
    }
    Ok(response)
}
