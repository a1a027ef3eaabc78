//! What is read from strangers, each by one function of bytes: for the fuzzers in `fuzz/`, and for the tests below,
//! which read the same corpus and thousands of inputs made of it.
//!
//! None of them may panic, or keep more than a small multiple of what it was given. What can be written again has to
//! be read as the same.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use micro_discover::{Address, Service};

use crate::{
    codec::{decompress, frame},
    fault::Fault,
    gomicro::{
        Message,
        answer::{Answers, refusal},
        detect,
        http1::{self, Progress, Side},
        json_rpc, proto_rpc,
    },
    server::guard,
    transport,
};

/// A decoder.
pub type Probe = fn(&[u8]);

/// Every decoder, by the name of its corpus.
pub const ALL: &[(&str, Probe)] = &[
    ("frames", frames),
    ("gzip", gzip),
    ("http1", http1),
    ("answers", answers),
    ("messages", messages),
    ("json_rpc", json_rpc),
    ("proto_rpc", proto_rpc),
    ("faults", faults),
    ("records", records),
    ("addresses", addresses),
    ("guard", guard),
    #[cfg(any(feature = "nats", feature = "rabbitmq"))]
    ("pipes", pipes),
    #[cfg(feature = "nats")]
    ("nats", nats),
];

const LIMIT: usize = 1 << 16;

/// gRPC's frames.
pub fn frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(message)) = frame::decode(&mut buffer, LIMIT) {
        assert!(message.len() <= LIMIT);
        let mut again = BytesMut::from(&frame::encode(&message)[..]);
        assert_eq!(frame::decode(&mut again, LIMIT).ok().flatten(), Some(message));
    }
}

/// What is compressed.
pub fn gzip(bytes: &[u8]) {
    if let Ok(plain) = decompress(bytes, LIMIT) {
        assert!(plain.len() <= LIMIT);
    }
}

/// go-micro's messages on a connection, of both sides.
pub fn http1(bytes: &[u8]) {
    for side in [Side::Client, Side::Server] {
        let mut buffer = BytesMut::from(bytes);
        while let Ok(Some(head)) = http1::head(&buffer, side) {
            let before = buffer.len();
            let Ok(Some(message)) = http1::message(&mut buffer, &head, &mut Progress::default()) else {
                break;
            };
            assert!(buffer.len() < before && message.body.len() < before);
            answered(&message);
        }
    }
}

/// A message: the first byte chooses its headers, the rest is its body.
pub fn messages(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    const TYPES: [&str; 8] =
        ["json", "json-rpc", "protobuf", "proto-rpc", "octet-stream", "grpc", "grpc+json", "xml"];
    let mut headers = HeaderMap::new();
    let content_type = format!("application/{}", TYPES[usize::from(choice & 7)]);
    headers.insert("content-type", HeaderValue::try_from(content_type).expect("a type is a header"));
    for (bit, names) in [(8, ["micro-method", "micro-id"]), (16, ["x-micro-method", "x-micro-service"])] {
        if choice & bit != 0 {
            for name in names {
                headers.insert(name, HeaderValue::from_static("Greeter.Hello"));
            }
        }
    }
    for (bit, name) in [(32, "micro-stream"), (64, "micro-target"), (128, "micro-protocol")] {
        if choice & bit != 0 {
            headers.insert(name, HeaderValue::from_static("1"));
        }
    }
    answered(&Message { headers, body: Bytes::copy_from_slice(body) });
}

/// Every answer to `message` can be written, and is one message.
fn answered(message: &Message) {
    let answers = match detect::read(message) {
        Ok(call) => {
            let _ = call.path();
            let answers = Answers::new(call, message);
            vec![answers.message(b"{}", true), answers.end(), answers.fault(&Fault::internal("a", "b\r\nc"))]
        }
        Err(no) => vec![refusal(message, &no)],
    };
    for answer in answers {
        let mut written = BytesMut::from(&http1::response(&answer)[..]);
        let head = http1::head(&written, Side::Server);
        // What was asked with longer headers than are read is answered with them.
        if let Ok(Some(head)) = head {
            let read = http1::message(&mut written, &head, &mut Progress::default())
                .ok()
                .flatten()
                .expect("an answer is whole");
            assert_eq!((read.body, written.len()), (answer.body, 0));
        }
    }
}

/// JSON-RPC, of both sides.
pub fn json_rpc(bytes: &[u8]) {
    if let Ok(request) = json_rpc::read_request(bytes)
        && let Ok(written) = json_rpc::write_request(&request.method, &request.id, &request.params)
    {
        let again = json_rpc::read_request(&written).expect("what was written can be read");
        assert_eq!((again.method, again.id.get()), (request.method, request.id.get()));
    }
    let _ = json_rpc::read_response(bytes);
}

/// proto-rpc.
pub fn proto_rpc(bytes: &[u8]) {
    if let Ok((header, payload)) = proto_rpc::read(&Bytes::copy_from_slice(bytes)) {
        let written = proto_rpc::write(&header, &payload);
        assert_eq!(proto_rpc::read(&written).ok(), Some((header, payload)));
    }
}

/// Errors in text.
pub fn faults(bytes: &[u8]) {
    let fault = Fault::parse(&String::from_utf8_lossy(bytes));
    let status = tonic::Status::from(fault.clone());
    let _ = (Fault::from(status), fault.http(), Fault::parse(&fault.to_string()));
    let details = tonic::Status::with_details(tonic::Code::Internal, "", Bytes::copy_from_slice(bytes));
    let _ = Fault::from(details);
}

/// Records in JSON.
pub fn records(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Service>(bytes) {
        let _ = record.validate();
        let written = serde_json::to_vec(&record).expect("a record is JSON");
        assert_eq!(serde_json::from_slice::<Service>(&written).ok(), Some(record));
    }
}

/// Addresses and the URLs of registries.
pub fn addresses(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse().ok(), Some(address));
    }
}

/// What a client says to a server, up to where hyper reads it: the same comes through however it is cut.
pub fn guard(bytes: &[u8]) {
    // What is longer than any head may be refused here or there.
    let bytes = &bytes[..bytes.len().min(8 << 10)];
    let passed = [1, 7, 64].map(|piece| guard::probe(bytes, piece));
    let http2 = bytes.starts_with(b"PRI * HTTP/2");
    for through in &passed {
        assert!(http2 || *through == passed[0], "cut otherwise, something else came through");
        let whole = through.strip_suffix(b"\0\r\n\r\n").filter(|_| !bytes.starts_with(through));
        assert!(bytes.starts_with(whole.unwrap_or(through)), "something came through that was not said");
    }
}

/// What a server answers over HTTP/1: the same is read however it is cut, and no more than was said.
pub fn answers(bytes: &[u8]) {
    // What is longer than any head may be refused here or there.
    let bytes = &bytes[..bytes.len().min(8 << 10)];
    let read = [1, 7, 4 << 10].map(|piece| transport::http1_answer(bytes, piece));
    for one in &read {
        assert_eq!(*one, read[0], "cut otherwise, something else was read");
        assert!(one.as_ref().is_none_or(|(_, body)| body.len() <= bytes.len()));
    }
}

/// The messages of a pipe over a broker.
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
pub fn pipes(bytes: &[u8]) {
    crate::pipe::probe::packets(bytes);
}

/// go-micro's messages as they are over NATS.
#[cfg(feature = "nats")]
pub fn nats(bytes: &[u8]) {
    use crate::gomicro::nats::{decode, encode};
    let Some(message) = decode(bytes) else { return };
    let written = encode(&message);
    let again = decode(&written).expect("what was written can be read");
    assert_eq!((encode(&again), &again.body), (written, &message.body));
    answered(&message);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Inputs made of each one in the corpus.
    const MADE: usize = 100;

    #[test]
    fn no_decoder_panics_on_the_corpus_or_on_what_is_made_of_it() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let mut random = fastrand::Rng::with_seed(6);
        for &(name, probe) in ALL {
            let mut inputs = 0;
            for entry in fs::read_dir(corpora.join(name)).unwrap() {
                let input = fs::read(entry.unwrap().path()).unwrap();
                probe(&input);
                (0..MADE).for_each(|_| probe(&changed(&input, &mut random)));
                inputs += 1;
            }
            assert!(inputs > 2, "the corpus of {name} has {inputs} inputs");
        }
    }

    /// `input` with a few bytes changed, removed, repeated or made up.
    fn changed(input: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=bytes.len());
            let end = random.usize(at..=bytes.len());
            match random.u8(..5) {
                0 if at < bytes.len() => bytes[at] = random.u8(..),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, random.u8(..)),
                3 => drop(bytes.drain(at..end)),
                _ if bytes.len() < 10_000 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {}
            }
        }
        bytes
    }
}
