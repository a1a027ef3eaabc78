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
    use serde_json::Value;

    use super::*;

    fn rows(name: &str) -> Vec<Value> {
        let table: Value = serde_json::from_str(include_str!("../tests/data/grpc_timeout.json")).unwrap();
        table[name].as_array().unwrap().clone()
    }

    /// Numbers stand there as text. A time that is negative, as in Go, is none.
    fn nanos(number: &Value) -> Duration {
        Duration::from_nanos(number.as_str().unwrap().parse::<i64>().unwrap().max(0) as u64)
    }

    #[test]
    fn values_are_rounded_up_to_the_finest_unit_that_fits() {
        for row in rows("encode") {
            assert_eq!(encode(nanos(&row["in_ns"])), row["out"].as_str().unwrap(), "{row}");
        }
        assert_eq!(encode(Duration::MAX), "2562048H");
    }

    #[test]
    fn values_are_read_up_to_the_range_of_signed_nanoseconds() {
        for row in rows("decode") {
            let text = HeaderValue::from_str(row["s"].as_str().unwrap()).unwrap();
            assert_eq!(decode(&text), Some(nanos(&row["ns"])), "{row}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_not_read() {
        for text in rows("decode_error").iter().map(|text| text.as_str().unwrap()).chain(["S"]) {
            assert_eq!(decode(&HeaderValue::from_str(text).unwrap()), None, "{text}");
        }
    }
}
