//! The `grpc-timeout` header: up to eight digits and a unit,
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::time::Duration;

use http::HeaderValue;

/// gRPC implementations keep timeouts as signed nanoseconds.
const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

const UNITS: [(u8, u64); 6] =
    [(b'n', 1), (b'u', 1_000), (b'm', 1_000_000), (b'S', SECOND), (b'M', 60 * SECOND), (b'H', 3600 * SECOND)];

const SECOND: u64 = 1_000_000_000;

/// Reads the header's value, at most 292 years; `None` for what is not one.
pub fn decode(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    let (_, nanos) = UNITS.into_iter().find(|(letter, _)| letter == unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(Duration::from_nanos(number.saturating_mul(nanos)).min(MAX))
}

/// Writes `timeout`, rounded up to the finest unit in which it has eight digits at most.
pub fn encode(timeout: Duration) -> HeaderValue {
    let nanos = timeout.min(MAX).as_nanos() as u64;
    let text = UNITS
        .into_iter()
        .map(|(unit, size)| (nanos.div_ceil(size), char::from(unit)))
        .find(|(number, _)| *number <= 99_999_999)
        .map(|(number, unit)| format!("{number}{unit}"))
        .expect("292 years are fewer than 99999999 hours");
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_up_to_the_finest_unit_that_fits() {
        for (nanos, text) in [
            (12_345_678, "12345678n"),
            (123_456_789, "123457u"),
            (12_345_678_000, "12345678u"),
            (123_456_789_000, "123457m"),
            (12_345_678_000_000, "12345678m"),
            (123_456_789_000_000, "123457S"),
            (12_345_678_000_000_000, "12345678S"),
            (123_456_789_000_000_000, "2057614M"),
            (740_740_680_000_000_000, "12345678M"),
            (7_407_407_340_000_000_000, "2057614H"),
            (0, "0n"),
        ] {
            assert_eq!(encode(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(encode(Duration::MAX), "2562048H");
    }

    #[test]
    fn values_are_read_up_to_the_range_of_signed_nanoseconds() {
        for (text, nanos) in [
            ("00000001n", 1),
            ("10u", 10_000),
            ("00000010m", 10_000_000),
            ("1234S", 1_234_000_000_000),
            ("00000001M", 60_000_000_000),
            ("09999999S", 9_999_999_000_000_000),
            ("99999999S", 99_999_999_000_000_000),
            ("99999999M", 5_999_999_940_000_000_000),
            ("2562047H", 9_223_369_200_000_000_000),
            ("2562048H", i64::MAX as u64),
            ("99999999H", i64::MAX as u64),
            ("0S", 0),
            ("00000000S", 0),
        ] {
            assert_eq!(decode(&HeaderValue::from_static(text)), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_not_read() {
        for text in ["-1S", "1234x", "1234s", "1234", "1", "", "9a1S", "000000000S", "S"] {
            assert_eq!(decode(&HeaderValue::from_static(text)), None, "{text}");
        }
    }
}
