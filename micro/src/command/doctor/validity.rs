//! Until when a certificate is good, as it says in DER (RFC 5280, section 4.1).

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::command::reply::Finding;

/// The end of what one is good for.
///
/// `Certificate ::= { tbs { [0] version?, serial, signature, issuer, validity { notBefore, notAfter }, … }, … }`.
pub(super) fn end(der: &[u8]) -> Option<SystemTime> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let inner = |bytes| element(bytes).filter(|one| one.tag == SEQUENCE).map(|one| one.content);
    let mut rest = inner(inner(der)?)?;
    let first = element(rest)?;
    let skipped = if first.tag == VERSION { 4 } else { 3 };
    for _ in 0..skipped {
        rest = element(rest)?.rest;
    }
    let not_before = element(inner(rest)?)?;
    let not_after = element(not_before.rest)?;
    time(not_after.tag, std::str::from_utf8(not_after.content).ok()?)?.try_into().ok()
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// The first of `bytes`: a tag, a length in one byte or in as many as the first says, the content.
fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// `YYMMDDHHMMSSZ` of the years 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let rest = rest.strip_suffix('Z').filter(|rest| rest.len() == 10)?;
    let part = |at: usize| rest.get(at..at + 2)?.parse().ok();
    Timestamp::date_time(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?).ok()
}

/// One that ends within this is to be renewed.
const SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// How good one is that ends at `end`.
pub(super) fn judged(about: String, end: Option<SystemTime>, now: SystemTime) -> Finding {
    let Some(end) = end else {
        return Finding::failed("tls", about, "no certificate is shown", "another certificate");
    };
    let until = Timestamp::from(end);
    let hint = "renewing the certificate";
    let Ok(left) = end.duration_since(now) else {
        return Finding::failed("tls", about, format!("expired at {until}"), hint);
    };
    let days = left.as_secs() / DAY;
    if left < SOON {
        return Finding::warning("tls", about, format!("expires in {days} days, at {until}"), hint);
    }
    Finding::ok("tls", about, format!("good for {days} days, until {until}"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::command::Outcome;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["greeter.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_until_when_it_is_good() {
        for (year, month, day, said) in [
            (2031, 2, 3, "2031-02-03T00:00:00Z"),
            (2049, 12, 31, "2049-12-31T00:00:00Z"),
            (2050, 1, 1, "2050-01-01T00:00:00Z"),
        ] {
            let end = end(&certificate(year, month, day)).unwrap();
            assert_eq!(Timestamp::from(end).to_string(), said);
        }
        let whole = certificate(2031, 2, 3);
        for length in 0..100 {
            assert_eq!(end(&whole[..length]), None);
        }
        assert_eq!(end(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn one_that_ends_soon_is_to_be_renewed_and_one_that_has_ended_is_bad() {
        let date = |day| SystemTime::try_from(Timestamp::date(2030, 1, day).unwrap()).unwrap();
        let now = date(10);
        let judge = |day| judged("a".to_owned(), Some(date(day)), now).outcome;
        assert_eq!(judge(9), Outcome::Failed);
        assert_eq!(judge(10), Outcome::Warning);
        assert_eq!(judge(23), Outcome::Warning);
        assert_eq!(judge(24), Outcome::Ok);
        assert_eq!(judged("a".to_owned(), None, now).outcome, Outcome::Failed);
    }
}
