//! The side of a face that is for operators: a listener of its own that is announced, so that dashboards find it.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use micro_discover::{Endpoint, Service};
use micro_tower::Server;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::api::address;
use super::context::Context;
use super::failure::{Failure, Kind};
use crate::traffic::{Access, KEY, PATH, Recorder, router};

/// Where operators are answered.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Operator {
    /// Lets dashboards follow the requests that pass through, at this address, such as 127.0.0.1:0, which is announced in
    /// the registry; elsewhere than on loopback it takes --operator-token
    #[arg(long, env = "MICRO_OPERATOR_ADDRESS", value_parser = address)]
    pub operator_address: Option<SocketAddr>,
    /// Asks those dashboards for this token
    #[arg(long, env = "MICRO_OPERATOR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub operator_token: Option<String>,
}

/// A listener for operators, which ends with this.
#[derive(Debug)]
pub(super) struct Running(Option<JoinHandle<()>>);

/// How long it may take to withdraw what was announced.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(2);

impl Operator {
    /// Listens, and announces that under the name of `recorder`, until `context` says stop.
    pub(super) async fn start(
        &self,
        context: &Context,
        recorder: &Recorder,
        name: &str,
    ) -> Result<Running, Failure> {
        let Some(address) = self.operator_address else { return Ok(Running(None)) };
        let access = match self.operator_token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => Access::token(token),
            None if address.ip().is_loopback() => Access::this_machine(),
            None => {
                let what = format!("operators at {address} can be anybody");
                return Err(Failure::new(Kind::Usage, what).hint("--operator-token (MICRO_OPERATOR_TOKEN)"));
            }
        };
        let server = Server::new()
            .address(address)
            .announce(context.registry().clone(), Service::new(name))
            .endpoint(|endpoint: Endpoint| endpoint.metadata(KEY, PATH))
            .propagation(Duration::ZERO)
            // Those who follow do so for ever.
            .grace(Duration::ZERO);
        let bound = server.bind().await.map_err(|error| {
            Failure::new(Kind::Other, error.to_string())
                .source(error)
                .hint("another --operator-address (MICRO_OPERATOR_ADDRESS)")
        })?;
        let (stopped, routes) = (context.clone(), router(recorder.clone(), access));
        Ok(Running(Some(tokio::spawn(async move {
            // A registry that takes no announcements is no reason to serve nobody.
            if let Err(error) = bound.serve_until(routes, async move { stopped.stopped().await }).await {
                tracing::info!(error = &error as &dyn std::error::Error, "dashboards cannot follow");
            }
        }))))
    }
}

impl Running {
    /// Waits until what was announced is withdrawn, once the context has said stop.
    pub(super) async fn end(mut self) {
        if let Some(task) = &mut self.0 {
            // Whoever waits longer is stopped by the drop.
            timeout(WITHDRAW_WITHIN, task).await.ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
