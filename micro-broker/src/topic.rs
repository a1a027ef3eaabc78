//! Topics are words joined by dots; a subscription's topic may hold wildcards.

/// Prefix of the topic an event goes to when no handler could take it: `dead.orders.created`.
pub const DEAD_PREFIX: &str = "dead.";

/// The group that keeps dead letters until somebody subscribes to them:
/// `Subscribe::to("dead.orders.created").group(DEAD_GROUP)`.
pub const DEAD_GROUP: &str = "dead";

/// Whether `topic` is covered by `pattern`: `*` stands for one word, `>` at the end for one or more (as in NATS),
/// `#` for none or more (as in AMQP).
pub fn matches(pattern: &str, topic: &str) -> bool {
    match_words(&mut pattern.split('.'), &mut topic.split('.'))
}

fn match_words<'a, P, T>(pattern: &mut P, topic: &mut T) -> bool
where
    P: Iterator<Item = &'a str> + Clone,
    T: Iterator<Item = &'a str> + Clone,
{
    loop {
        match (pattern.next(), topic.clone().next()) {
            (None, word) => return word.is_none(),
            (Some(">"), word) => return word.is_some(),
            (Some("#"), _) => {
                let mut rest = topic.clone();
                loop {
                    if match_words(&mut pattern.clone(), &mut rest.clone()) {
                        return true;
                    }
                    if rest.next().is_none() {
                        return false;
                    }
                }
            }
            (Some(_), None) => return false,
            (Some(expected), Some(word)) if expected == "*" || expected == word => {
                topic.next();
            }
            _ => return false,
        }
    }
}

/// Whether a pattern can cover more than one topic.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    let wild = |byte| matches!(byte, b'*' | b'>' | b'#');
    pattern.bytes().any(wild) && pattern.split('.').any(|word| matches!(word, "*" | ">" | "#"))
}

/// What is wrong with a topic to publish to, if anything: words must not be empty, blank or wildcards, and the whole
/// fits 255 bytes with the prefix of dead letters, the limit of an AMQP routing key.
pub(crate) fn fault(topic: &str) -> Option<&'static str> {
    pattern_fault(topic).or_else(|| has_wildcard(topic).then_some("a wildcard names no single topic"))
}

/// What is wrong with a topic to subscribe to, if anything. One pass over the bytes: every publication is checked.
pub(crate) fn pattern_fault(pattern: &str) -> Option<&'static str> {
    if pattern.len() > 255 - DEAD_PREFIX.len() {
        return Some("it is longer than 250 bytes");
    }
    let (mut last, mut rest) = (b'.', false);
    for &byte in pattern.as_bytes() {
        match byte {
            b'.' if last == b'.' => return Some("a word is empty"),
            b'.' if rest => return Some("the wildcard > stands for all that follow, and is the last word"),
            0..=b' ' | 0x7f => return Some("it holds white space or a control character"),
            _ => {
                rest = byte == b'>' && last == b'.';
                last = byte;
            }
        }
    }
    (last == b'.').then_some("a word is empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_words() {
        for (pattern, topic, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("#", "a.b", true),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("a.#.d", "a.b.c.d", true),
            ("a.#.d", "a.d", true),
            ("a.#.d", "a.b.c", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_faulty_topic_is_named() {
        assert_eq!(fault("orders.created"), None);
        assert_eq!(fault("orders..created"), Some("a word is empty"));
        assert_eq!(fault(""), Some("a word is empty"));
        assert_eq!(fault("orders.*"), Some("a wildcard names no single topic"));
        for pattern in ["orders.*", "a.>", ">", "a>.b", "a.#.b", ">a.b", "a.>>.b"] {
            assert_eq!(pattern_fault(pattern), None, "{pattern}");
        }
        assert!(pattern_fault("a.>.b").is_some() && pattern_fault(">.b").is_some());
        assert!(pattern_fault("a b").is_some());
        assert!(pattern_fault(&"a".repeat(251)).is_some());
    }
}
