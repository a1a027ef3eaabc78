//! Runs an async function on the messages of a call: decodes what it is given, encodes what it answers.

use std::{future::Future, panic::AssertUnwindSafe};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _, stream::unfold};
use http::HeaderMap;
use tonic::Status;
use tower::BoxError;

use super::{grpc::Messages, handler::Incoming, requests::Requests};
use crate::{
    codec::Codec,
    fault::{self, Fault},
};

pub(super) async fn unary<C, Q, A, E, R>(
    mut incoming: Incoming,
    function: impl FnOnce(HeaderMap, Q) -> R + Send,
) -> Result<Bytes, Status>
where
    C: Codec<Q> + Codec<A>,
    R: Future<Output = Result<A, E>> + Send,
    Q: Send,
    A: Send,
    E: Into<Fault>,
{
    let message = incoming.messages.next().await;
    let message = message.ok_or_else(|| cannot_decode(&"there is no message".into()))??;
    let request = decode::<C, Q>(&incoming.format, message)?;
    // What a handler panics in is dropped with it.
    let handled = AssertUnwindSafe(async { function(incoming.headers, request).await });
    match handled.catch_unwind().await {
        Ok(Ok(answer)) => encode::<C, A>(&incoming.format, &answer),
        Ok(Err(error)) => Err(error.into().into()),
        Err(panic) => Err(fault::of_panic(&*panic).into()),
    }
}

pub(super) async fn streaming<C, Q, A, E, R, S>(
    incoming: Incoming,
    function: impl FnOnce(Requests<Q>) -> R + Send,
) -> Result<Messages, Status>
where
    C: Codec<Q> + Codec<A>,
    R: Future<Output = Result<S, E>> + Send,
    S: Stream<Item = Result<A, E>> + Send + 'static,
    Q: Send + 'static,
    A: Send + 'static,
    E: Into<Fault> + 'static,
{
    let Incoming { headers, format, messages, .. } = incoming;
    let reads = format.clone();
    let decode = Box::new(move |message| decode::<C, Q>(&reads, message));
    let requests = Requests { messages, decode, headers };
    let handled = AssertUnwindSafe(async { function(requests).await });
    let answers = match handled.catch_unwind().await {
        Ok(Ok(answers)) => Box::pin(answers),
        Ok(Err(error)) => return Err(error.into().into()),
        Err(panic) => return Err(fault::of_panic(&*panic).into()),
    };
    let written = unfold(Some(answers), move |answers| {
        let format = format.clone();
        async move {
            let mut answers = answers?;
            match AssertUnwindSafe(answers.next()).catch_unwind().await {
                Ok(Some(Ok(answer))) => Some((encode::<C, A>(&format, &answer), Some(answers))),
                Ok(Some(Err(error))) => Some((Err(error.into().into()), None)),
                Ok(None) => None,
                Err(panic) => Some((Err(fault::of_panic(&*panic).into()), None)),
            }
        }
    });
    Ok(written.boxed())
}

fn decode<C: Codec<T>, T>(format: &str, message: Bytes) -> Result<T, Status> {
    if !C::speaks(format) {
        return Err(Status::unimplemented(format!("rpc: unsupported Content-Type: application/{format}")));
    }
    C::decode(format, message).map_err(|error| cannot_decode(&error))
}

fn encode<C: Codec<T>, T>(format: &str, value: &T) -> Result<Bytes, Status> {
    let cannot = |error| Status::internal(format!("rpc: cannot encode response: {error}"));
    if C::speaks(format) {
        C::encode(format, value).map_err(cannot)
    } else {
        Err(cannot("unsupported".into()))
    }
}

fn cannot_decode(error: &BoxError) -> Status {
    Status::invalid_argument(format!("rpc: router cannot decode request: {error}"))
}
