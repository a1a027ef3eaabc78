//! What is read from strangers, each by one function of bytes: for the fuzzers in `fuzz/`, and for the test below, which
//! reads the same corpora.
//!
//! None of them may panic, or keep more than a small multiple of what it was given.

use crate::{consul, gomicro, mdns};

/// A decoder.
pub type Probe = fn(&[u8]);

/// Every decoder, by the name of its corpus.
pub const ALL: [(&str, Probe); 4] =
    [("packets", packets), ("tags", tags), ("gomicro", gomicro), ("registries", registries)];

/// Messages of multicast DNS, which anybody on the network may send.
pub fn packets(bytes: &[u8]) {
    mdns::probe(bytes);
}

/// The tags of a service in Consul, one a line.
pub fn tags(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    consul::probe(&text.lines().map(str::to_owned).collect::<Vec<_>>());
}

/// go-micro's records in JSON, of every era, and what its NATS registry says of those that are gone.
pub fn gomicro(bytes: &[u8]) {
    if let Ok(record) = gomicro::decode(bytes) {
        let written = gomicro::encode(&record);
        assert_eq!(gomicro::decode(&written).ok(), Some(record));
    }
    let _ = (gomicro::decode_said(bytes), gomicro::decode_gone(bytes));
}

/// The URLs of registries that nothing is needed for to name them: no file, and no runtime.
pub fn registries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let alone =
        ["fixed:", "mdns:", "nats:", "nats+kv:", "consul:"].iter().any(|scheme| text.starts_with(scheme));
    if alone && !["ca=", "cert=", "key="].iter().any(|file| text.contains(file)) {
        let _ = crate::open(&text);
    }
}

#[cfg(test)]
#[path = "../../fuzz/parts.rs"]
mod parts;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_decoder_panics_on_the_corpus_or_on_any_part_of_it() {
        parts::read(&ALL);
    }
}
