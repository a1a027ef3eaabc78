//! A policy of one's own, in ten lines: nine of ten requests stay with the endpoint whose id comes first.

use std::convert::Infallible;

use micro_balance::{
    Balance, Endpoint,
    policy::{Context, Policy},
};
use tower::{ServiceExt, discover::ServiceList, service_fn};

struct MostlyFirst;

impl Policy for MostlyFirst {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), endpoints: &[Endpoint], context: &Context<'_>) -> Option<usize> {
        Some(if context.chance.below(10) > 0 { 0 } else { context.chance.below(endpoints.len()) })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let replica = |name: &'static str| service_fn(move |()| async move { Ok::<_, Infallible>(name) });
    let replicas = ServiceList::new::<()>(vec![replica("a"), replica("b"), replica("c")]);
    let balance = Balance::builder(replicas).policy(MostlyFirst).seed(7).build();

    let mut first = 0;
    for _ in 0..1_000 {
        let answer = balance.clone().oneshot(()).await.map_err(|error| anyhow::anyhow!(error))?;
        first += usize::from(answer == "a");
    }
    println!("{first} of 1000 requests went to the first of three");
    Ok(())
}
