//! The memory broker beside tokio's broadcast channel, which keeps no account of what became of a message.

use std::sync::Arc;

use micro_broker::{Event, Memory};
use tokio::sync::broadcast;
use tower::BoxError;

use super::{
    group::{Case, Claim, Group},
    ours,
};

pub(super) async fn group() -> Result<Group, BoxError> {
    let topic: Arc<str> = "bench.raw".into();
    let cases = vec![
        raw("tokio broadcast of events", move || Event::new(topic.clone(), ours::BODY)),
        raw("tokio broadcast of their bodies alone", || ours::BODY),
        ours::case("ours: publish, receive, acknowledge", Arc::new(Memory::new()), ours::BUFFER, 1).await?,
    ];
    Ok(Group { name: "memory", cases, events: 500_000, claim: Claim::Rate(0.7) })
}

fn raw<T>(name: &'static str, make: impl Fn() -> T + Clone + Send + Sync + 'static) -> Case
where
    T: Clone + Send + 'static,
{
    let (sender, _) = broadcast::channel::<T>(1 << 20);
    let run = move |events| -> futures_util::future::BoxFuture<'static, Result<(), BoxError>> {
        let (sender, make) = (sender.clone(), make.clone());
        Box::pin(async move {
            let mut receiver = sender.subscribe();
            let receiving = tokio::spawn(async move {
                for _ in 0..events {
                    receiver.recv().await?;
                }
                Ok::<_, BoxError>(())
            });
            for _ in 0..events {
                sender.send(make()).map_err(|_| "nobody listens")?;
            }
            receiving.await?
        })
    };
    Case { name, run: Box::new(run) }
}
