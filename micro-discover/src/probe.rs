//! What is read from strangers, each by one function of bytes: for the fuzzers in `fuzz/`, and for the test below, which
//! reads the same corpora.
//!
//! None of them may panic, or keep more than a small multiple of what it was given.

/// A decoder.
pub type Probe = fn(&[u8]);

/// Every decoder that there is, by the name of its corpus.
pub const ALL: &[(&str, Probe)] = &[
    #[cfg(feature = "mdns")]
    ("packets", packets),
    #[cfg(feature = "consul")]
    ("tags", tags),
    #[cfg(feature = "nats")]
    ("gomicro", gomicro),
    #[cfg(feature = "etcd")]
    ("keys", keys),
    #[cfg(feature = "kubernetes")]
    ("slices", slices),
    ("registries", registries),
];

/// Messages of multicast DNS, which anybody on the network may send.
#[cfg(feature = "mdns")]
pub fn packets(bytes: &[u8]) {
    crate::mdns::probe(bytes);
}

/// The tags of a service in Consul, one a line.
#[cfg(feature = "consul")]
pub fn tags(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    crate::consul::probe(&text.lines().map(str::to_owned).collect::<Vec<_>>());
}

/// go-micro's records in JSON, of every era, and what its NATS registry says of those that are gone.
#[cfg(feature = "nats")]
pub fn gomicro(bytes: &[u8]) {
    use crate::gomicro;

    if let Ok(record) = gomicro::decode(bytes) {
        let written = gomicro::encode(&record);
        assert_eq!(gomicro::decode(&written).ok(), Some(record));
    }
    let _ = (gomicro::decode_said(bytes), gomicro::decode_gone(bytes));
}

/// What etcd says of keys, in pieces as large as the first byte says.
#[cfg(feature = "etcd")]
pub fn keys(bytes: &[u8]) {
    if let Some((&size, message)) = bytes.split_first() {
        crate::etcd::probe(usize::from(size) + 1, message);
    }
}

/// What Kubernetes says of slices, likewise.
#[cfg(feature = "kubernetes")]
pub fn slices(bytes: &[u8]) {
    if let Some((&size, json)) = bytes.split_first() {
        crate::kubernetes::probe(usize::from(size) + 1, json);
    }
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
        parts::read(ALL);
    }
}
