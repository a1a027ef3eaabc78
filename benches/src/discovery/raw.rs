//! etcd by its own gRPC and nothing else: what a client can be at its fastest.

use prost::Message;
use tonic::{
    IntoStreamingRequest, Request, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::BoxError;

/// The most that one answer may hold.
const LARGEST: usize = 256 << 20;

/// A connection to etcd.
#[derive(Clone)]
pub(super) struct Raw {
    channel: Channel,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

/// A key, or all below one: for reading and deleting.
#[derive(Clone, PartialEq, Message)]
struct Keys {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Done {}

#[derive(Clone, PartialEq, Message)]
struct Watch {
    #[prost(message, optional, tag = "1")]
    create: Option<Keys>,
}

/// What happened to the keys that are watched.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Watched {
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// 0 is put, 1 is delete.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}

impl Raw {
    pub(super) async fn connect(port: u16) -> Result<Self, BoxError> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
        Ok(Self { channel: endpoint.connect().await? })
    }

    pub(super) async fn put(&self, key: &str, value: &str) -> Result<(), BoxError> {
        let put = Put { key: key.into(), value: value.into() };
        self.ask::<_, Done>("/etcdserverpb.KV/Put", put).await.map(drop)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), BoxError> {
        let keys = Keys { key: key.into(), end: Vec::new() };
        self.ask::<_, Done>("/etcdserverpb.KV/DeleteRange", keys).await.map(drop)
    }

    /// All below `prefix`, which ends in a slash.
    pub(super) async fn range(&self, prefix: &str) -> Result<Vec<KeyValue>, BoxError> {
        let range: Range = self.ask("/etcdserverpb.KV/Range", below(prefix)).await?;
        Ok(range.kvs)
    }

    /// Tells what happens below `prefix`, which ends in a slash.
    pub(super) async fn watch(&self, prefix: &str) -> Result<Streaming<Watched>, BoxError> {
        let create = Watch { create: Some(below(prefix)) };
        let questions = futures_util::stream::iter([create]);
        let questions = futures_util::StreamExt::chain(questions, futures_util::stream::pending());
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let codec = ProstCodec::<Watch, Watched>::default();
        Ok(grpc.streaming(questions.into_streaming_request(), path, codec).await?.into_inner())
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, BoxError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.unary(Request::new(question), PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, BoxError> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        grpc.ready().await?;
        Ok(grpc)
    }
}

fn below(prefix: &str) -> Keys {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Keys { key: prefix.into(), end }
}
