//! Names one event, for ever: redeliveries and retried publications of an event carry the same [`Id`].

use std::fmt;
use std::sync::Arc;

/// The id of an event: 128 random bits of ours, or whatever text another system chose.
///
/// Equality follows the text, so an id survives a trip over any wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Repr);

// A canonical split: 32 lower-case hex digits are always `Random`, so derived equality is equality of the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Random(u128),
    Text(Arc<str>),
}

impl Id {
    /// A fresh id; two of them are equal about once in 2^64 events.
    pub fn random() -> Self {
        Self(Repr::Random(fastrand::u128(..)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.0, Repr::Text(text) if text.is_empty())
    }

    /// Another id for where this one does not fit: this one as Rust writes text.
    #[cfg(any(feature = "http", feature = "nats"))]
    pub(crate) fn fitted(&self, fits: impl Fn(&str) -> bool) -> Option<Self> {
        let Repr::Text(text) = &self.0 else { return None };
        (!fits(text)).then(|| Self::from(text.escape_debug().to_string().trim()))
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self(bits(text).map_or_else(|| Repr::Text(text.into()), Repr::Random))
    }
}

/// The bits of 32 lower-case hex digits. Without a branch for each: nobody can guess what random digits are.
fn bits(text: &str) -> Option<u128> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let (bits, all) = digits.iter().fold((0, 0), |(bits, all), &digit| {
        let value = VALUES[usize::from(digit)];
        (bits << 4 | u128::from(value), all | value)
    });
    (all != NO_DIGIT).then_some(bits)
}

/// The values of all bytes as lower-case hex digits.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const DIGITS: &[u8; 16] = b"0123456789abcdef";
const NO_DIGIT: u8 = u8::MAX;

impl From<String> for Id {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Random(bits) => {
                // By hand: an id is written for every event, and the formatting of wide integers is slow.
                let mut digits = [0; 32];
                for (pair, byte) in digits.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
            Repr::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let random = Id::random();
        assert_eq!(Id::from(random.to_string()), random);
        assert_eq!(Id::from("0".repeat(32)).to_string(), "0".repeat(32));
        assert_eq!(Id::from("order-7").to_string(), "order-7");
        for digit in ["A", "g", "/", ":", "`", "\0"] {
            let text = format!("{}{digit}{}", "0".repeat(15), "f".repeat(16));
            assert_eq!(Id::from(&*text).to_string(), text);
        }
    }

    #[cfg(any(feature = "http", feature = "nats"))]
    #[test]
    fn an_id_that_does_not_fit_has_another_that_does() {
        let line = |text: &str| text.trim() == text && !text.contains(['\r', '\n']);
        for id in [Id::random(), "order 7".into(), "".into(), "ä".into()] {
            assert_eq!(id.fitted(line), None);
        }
        for (id, other) in [("a\r\nb", r"a\r\nb"), (" a ", "a")] {
            assert_eq!(Id::from(id).fitted(line), Some(other.into()));
        }
    }
}
