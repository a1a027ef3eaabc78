//! What is read from strangers, each by one function of bytes: for the fuzzers in `fuzz/`, and for the test below, which
//! reads the same corpora.
//!
//! None of them may panic, or keep more than a small multiple of what it was given. What can be written again has to be
//! read as the same.

use crate::{envelope::Envelope, envelope_json};

/// A decoder.
pub type Probe = fn(&[u8]);

/// Every decoder, by the name of its corpus.
pub const ALL: [(&str, Probe); 2] = [("envelopes", envelopes), ("urls", urls)];

/// go-micro's events in JSON.
pub fn envelopes(bytes: &[u8]) {
    let Ok(event) = envelope_json::read(bytes, None) else { return };
    assert!(event.body.len() <= bytes.len());
    for form in [Envelope::GoMicro, Envelope::GoMicroV0] {
        let written = envelope_json::write(&event, form);
        let again = envelope_json::read(&written, None).expect("what was written can be read");
        assert_eq!((&again.topic, &again.body), (&event.topic, &event.body));
        assert_eq!(envelope_json::write(&again, form), written);
    }
}

/// The URLs of brokers on a server; nothing is connected to.
pub fn urls(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if ["nats:", "tls:", "amqp:", "amqps:"].iter().any(|scheme| text.starts_with(scheme)) {
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
