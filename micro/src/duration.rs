//! Durations as people and Go write them: `15s`, `500ms`, `1.5h`, `1m30s`, `0`.

use std::time::Duration;

use tokio::time::Instant;

/// Reads numbers with their units, one after the other.
///
/// # Errors
///
/// What a duration is, for whoever wrote something else.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| "a duration is a number and a unit, as in 500ms, 15s, 1m30s or 1.5h".to_owned())
}

fn read(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, next) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        sum = sum.checked_add(times(number, each(unit)?)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(sum)
}

/// So many of `unit`; a whole number is taken as it is.
fn times(number: &str, unit: Duration) -> Option<Duration> {
    let Ok(whole) = number.parse::<u64>() else {
        return Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit.as_secs_f64()).ok();
    };
    let nanos = u128::from(whole) * unit.as_nanos();
    let second = Duration::from_secs(1).as_nanos();
    let below = Duration::from_nanos(u64::try_from(nanos % second).ok()?);
    Some(Duration::from_secs(u64::try_from(nanos / second).ok()?) + below)
}

fn each(unit: &str) -> Option<Duration> {
    Some(match unit {
        "ns" => Duration::from_nanos(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    })
}

/// What is beyond the end of clocks is as far away as this.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// When `wait` is over that begins at `since`.
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    since.checked_add(wait).unwrap_or_else(|| since + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_durations_and_nothing_else_is() {
        let good = [("0", 0), ("0s", 0), ("500ms", 500), ("15s", 15_000), ("2m", 120_000), ("1h", 3_600_000)];
        let as_go = [("1m30s", 90_000), ("1.5h", 5_400_000), ("1.5s", 1_500), ("2000us", 2), ("0.5s", 500)];
        for (text, millis) in good.into_iter().chain(as_go) {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        let longest = Duration::from_secs(u64::MAX);
        assert_eq!(parse("18446744073709551615s"), Ok(longest));
        for bad in ["", "s", ".s", "15", "-1s", "1d", "15 s", "1.2.3s", "ten", "1e9h", "1s5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for long in ["99999999999999999999s", "18446744073709551615h", "18446744073709551615s1s"] {
            assert!(parse(long).is_err(), "{long}");
        }
    }
}
