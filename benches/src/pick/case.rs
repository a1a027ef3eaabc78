//! What is measured: a balancer, asked by many tasks or by one.

use std::{fmt, hint::black_box};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt as _};

/// A balancer under test.
pub(crate) trait Case {
    /// Sends `each` requests from each of `tasks` tasks, one after another in each task.
    fn run(&mut self, tasks: usize, each: u64) -> BoxFuture<'_, Result<(), BoxError>>;

    /// Sends `requests` from this task.
    fn run_here(&mut self, requests: u64) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// A balancer that tasks share by cloning it.
#[derive(Debug)]
pub(super) struct Shared<S>(pub(super) S);

/// A balancer that only one task can use.
#[derive(Debug)]
pub(super) struct Exclusive<S>(pub(super) S);

impl<S> Case for Shared<S>
where
    S: Service<u64, Response = u64, Error: Into<BoxError> + Send, Future: Send> + Clone + Send + 'static,
{
    fn run(&mut self, tasks: usize, each: u64) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let mut running = JoinSet::new();
            for _ in 0..tasks {
                let mut service = self.0.clone();
                running.spawn(async move { send(&mut service, each).await });
            }
            running.join_all().await.into_iter().collect()
        })
    }

    fn run_here(&mut self, requests: u64) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(send(&mut self.0, requests))
    }
}

impl<S> Case for Exclusive<S>
where
    S: Service<u64, Response = u64, Error: Into<BoxError> + Send, Future: Send> + Send + 'static,
{
    fn run(&mut self, tasks: usize, each: u64) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(send(&mut self.0, each * tasks as u64))
    }

    fn run_here(&mut self, requests: u64) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(send(&mut self.0, requests))
    }
}

/// A whole request each time: ready, called, answered.
async fn send<S>(service: &mut S, requests: u64) -> Result<(), BoxError>
where
    S: Service<u64, Response = u64, Error: Into<BoxError>>,
{
    for request in 0..requests {
        let answer = service.ready().await.map_err(Into::into)?.call(black_box(request)).await;
        black_box(answer.map_err(Into::into)?);
    }
    Ok(())
}

/// A case and what it is called in the tables.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) case: Box<dyn Case>,
}

impl Named {
    pub(super) fn new(name: &'static str, case: impl Case + 'static) -> Self {
        Self { name, case: Box::new(case) }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
