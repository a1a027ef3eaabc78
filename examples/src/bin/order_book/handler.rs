//! What the service does.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::proto::{self, Ping, Pong, StreamRequest, StreamResponse};

/// Answers the service's methods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handler;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::order_book_server::OrderBook for Handler {
    async fn call(&self, request: Request<proto::Request>) -> Result<Response<proto::Response>, Status> {
        let msg = format!("Hello {}", request.into_inner().name);
        Ok(Response::new(proto::Response { msg }))
    }

    type StreamStream = Answers<StreamResponse>;

    async fn stream(&self, request: Request<StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let counts = stream::iter(0..request.into_inner().count);
        Ok(Response::new(counts.map(|count| Ok(StreamResponse { count })).boxed()))
    }

    type PingPongStream = Answers<Pong>;

    async fn ping_pong(
        &self,
        request: Request<Streaming<Ping>>,
    ) -> Result<Response<Self::PingPongStream>, Status> {
        let pongs = request.into_inner().map(|ping| ping.map(|Ping { stroke }| Pong { stroke }));
        Ok(Response::new(pongs.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::order_book_server::OrderBook as _;

    #[tokio::test]
    async fn it_says_hello() {
        let request = Request::new(proto::Request { name: "John".into() });
        let answer = Handler.call(request).await.expect("it always answers");
        assert_eq!(answer.into_inner().msg, "Hello John");
    }
}
