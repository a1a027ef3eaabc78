//! What ProtoJSON forbids and the reader of messages lets through: a field given twice, under whichever of its
//! names, strings for numbers that no number is written as, and numbers that are too large. It tells as well what that
//! reader cannot read though ProtoJSON has it, which [`seldom`](super::seldom) does.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Checks the JSON of a message, and says whether there is something seldom in it: a whole number that is written as a
/// string with a fraction or an exponent, an `Any` of nothing, or a negative zero.
pub(super) fn check<'de, D: Deserializer<'de>>(
    message: &MessageDescriptor,
    json: D,
) -> Result<bool, D::Error> {
    let seldom = Cell::new(false);
    Check { place: Place::message(message), seldom: &seldom }.deserialize(json)?;
    Ok(seldom.get())
}

struct Check<'a> {
    place: Place,
    seldom: &'a Cell<bool>,
}

/// What is to be read at some place.
#[derive(Clone)]
enum Place {
    Message(MessageDescriptor),
    /// A map or a list, of these.
    Of(Box<Place>),
    Number {
        float: bool,
        /// What a whole number of 64 bits is smaller than, also without its sign; JSON that is larger comes rounded.
        below: Option<f64>,
    },
    /// A `google.protobuf.Any` and all in it, whose types are not known here.
    Packed,
    Any,
}

impl Place {
    fn field(field: &FieldDescriptor) -> Self {
        if field.is_map()
            && let Kind::Message(entry) = field.kind()
        {
            let value = entry.get_field(2).map_or(Self::Any, |value| Self::kind(&value.kind()));
            return Self::Of(Box::new(value));
        }
        let kind = Self::kind(&field.kind());
        if field.is_list() { Self::Of(Box::new(kind)) } else { kind }
    }

    fn message(message: &MessageDescriptor) -> Self {
        let Some(known) = message.full_name().strip_prefix("google.protobuf.") else {
            return Self::Message(message.clone());
        };
        // These have forms of their own.
        match (known, message.get_field(1)) {
            ("Any", _) => Self::Packed,
            (
                "DoubleValue" | "FloatValue" | "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value",
                Some(inner),
            ) => Self::kind(&inner.kind()),
            _ => Self::Any,
        }
    }

    fn kind(kind: &Kind) -> Self {
        match kind {
            Kind::Message(message) => Self::message(message),
            Kind::Float => Self::Number { float: true, below: None },
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                Self::Number { float: false, below: Some(9_223_372_036_854_775_808.0) }
            }
            Kind::Uint64 | Kind::Fixed64 => {
                Self::Number { float: false, below: Some(18_446_744_073_709_551_616.0) }
            }
            Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) => Self::Any,
            _ => Self::Number { float: false, below: None },
        }
    }
}

impl Check<'_> {
    fn at(&self, place: Place) -> Self {
        Self { place, seldom: self.seldom }
    }

    fn note(&self, text: &str) {
        if text.contains(['.', 'e', 'E']) && is_number(text) {
            self.seldom.set(true);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let (name, place) = match &self.place {
                Place::Message(message) => {
                    let field =
                        message.get_field_by_json_name(&key).or_else(|| message.get_field_by_name(&key));
                    match field {
                        Some(field) => (field.json_name().to_owned(), Place::field(&field)),
                        None => (key, Place::Any),
                    }
                }
                Place::Of(place) => (key, (**place).clone()),
                Place::Packed => (key, Place::Packed),
                _ => (key, Place::Any),
            };
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is given twice")));
            }
            seen.insert(name);
            map.next_value_seed(self.at(place))?;
        }
        if seen.is_empty() && matches!(self.place, Place::Packed) {
            self.seldom.set(true);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let place = match &self.place {
            Place::Of(place) => (**place).clone(),
            Place::Packed => Place::Packed,
            _ => Place::Any,
        };
        while list.next_element_seed(self.at(place.clone()))?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let float = match self.place {
            Place::Number { float, .. } => float,
            Place::Packed => {
                self.note(text);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.note(text);
        let finite = || {
            if float {
                text.parse().is_ok_and(f32::is_finite)
            } else {
                text.parse().is_ok_and(f64::is_finite)
            }
        };
        if matches!(text, "NaN" | "Infinity" | "-Infinity") || is_number(text) && finite() {
            return Ok(());
        }
        Err(E::custom(format_args!("{text:?} is not a number")))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if number == 0.0 && number.is_sign_negative() {
            self.seldom.set(true);
        }
        match self.place {
            Place::Number { below: Some(below), .. } if number.abs() >= below => {
                Err(E::custom(format_args!("{number} is not a number of 64 bits")))
            }
            _ => Ok(()),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Whether JSON would write a number like this.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole)
        && !leading_zero
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::found::tests::schema;

    #[test]
    fn a_field_given_twice_and_a_string_that_is_no_number_are_refused_at_any_depth() {
        let proto = "syntax = 'proto3'; message M { int64 big_one = 1; M m = 2; map<string, M> a_map = 3;
            repeated float f = 4; string s = 5; double d = 6; }";
        let message = schema(proto).pool().get_message_by_name("M").unwrap();
        let says = |json: &str| {
            check(&message, &mut serde_json::Deserializer::from_str(json))
                .map(drop)
                .map_err(|e| e.to_string())
        };
        for good in [
            r#"{"bigOne":"1e3","m":{"bigOne":"-0"},"aMap":{"a_b":{},"aB":{}},"f":["1.5","NaN"],"s":"x","d":"1e39"}"#,
            r#"{"unknown":[{"a":null}],"bigOne":1}"#,
        ] {
            assert_eq!(says(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            (r#"{"bigOne":1,"big_one":1}"#, r#""bigOne" is given twice"#),
            (r#"{"aMap":{"a":{"m":{"s":"a","s":"b"}}}}"#, r#""s" is given twice"#),
            (r#"{"aMap":{"a":{},"a":{}}}"#, r#""a" is given twice"#),
            (r#"{"bigOne":"+1"}"#, r#""+1" is not a number"#),
            (r#"{"bigOne":" 1"}"#, "is not a number"),
            (r#"{"bigOne":"01"}"#, "is not a number"),
            (r#"{"f":["1e39"]}"#, "is not a number"),
            (r#"{"d":"inf"}"#, "is not a number"),
        ] {
            assert!(says(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
