//! gRPC's codes of failures, by number or by name.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// As gRPC names them, from 1 on: <https://grpc.io/docs/guides/status-codes/>.
const NAMES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// gRPC's code of a failure: `14`, or `"UNAVAILABLE"` in letters of either size, as in gRPC's own configuration.
#[derive(Clone, Copy)]
pub(super) struct Code(u16);

impl Code {
    pub(super) const UNAVAILABLE: Self = Self(14);

    pub(super) fn number(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Code;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a gRPC code, 14 or \"UNAVAILABLE\" for one")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Code, E> {
        let known = u16::try_from(number).ok().filter(|number| (1..=16).contains(number));
        known.map(Code).ok_or_else(|| E::custom(format!("{number} is no gRPC code of a failure")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Code, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(format!("{number} is no gRPC code of a failure"))),
        }
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Code, E> {
        let known = (1..).zip(NAMES).find(|(_, known)| known.eq_ignore_ascii_case(name));
        known
            .map(|(number, _)| Code(number))
            .ok_or_else(|| E::custom(format!("{name:?} is no gRPC code of a failure, as \"UNAVAILABLE\" is")))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    #[test]
    fn a_name_is_its_number_in_letters_of_either_size() {
        for (name, number) in
            [("CANCELLED", 1), ("aborted", 10), ("Unavailable", 14), ("UNAUTHENTICATED", 16)]
        {
            let code = Code::deserialize(StrDeserializer::<Error>::new(name));
            assert_eq!(code.map(Code::number), Ok(number), "{name}");
        }
    }
}
