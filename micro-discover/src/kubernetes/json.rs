//! JSON as a text that is read once, from its beginning to its end.
//!
//! What serde reads has an end that only serde knows. Whoever knows a part of a large text better takes it from a cursor,
//! without having looked for its end first.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::{Deserializer, Error};

use crate::text::Text;

/// An object of the API has less than twenty keys; maps, as labels are, are read by serde.
const MOST_KEYS: usize = 256;

/// What is read at a cursor.
pub(super) trait Read: Sized {
    /// Reads one, and leaves the cursor behind it.
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error>;

    /// Reads one that is the whole text.
    fn whole(json: &[u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(std::str::from_utf8(json).map_err(Error::custom)?);
        let read = Self::read(&mut cursor)?;
        match cursor.next() {
            None => Ok(read),
            Some(_) => Err(Error::custom("something follows what is all")),
        }
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What has not been read yet; it starts with the next value, if there is one.
    pub(super) fn rest(&mut self) -> &'a str {
        self.next();
        self.rest
    }

    /// Goes on to `rest`, which is a part of the text.
    pub(super) fn go_on(&mut self, rest: &'a str) {
        self.rest = rest;
    }

    /// Reads what serde knows.
    pub(super) fn value<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        let mut values = Deserializer::from_str(self.rest).into_iter();
        let value = values.next().ok_or_else(|| Error::custom("a value is missing"))?;
        self.rest = &self.rest[values.byte_offset()..];
        value
    }

    /// The same, with the text it was read from.
    pub(super) fn written<T: Deserialize<'a>>(&mut self) -> Result<(T, &'a str), Error> {
        let before = self.rest();
        let value = self.value()?;
        Ok((value, &before[..before.len() - self.rest.len()]))
    }

    /// The same, or the default for null, which Go writes for what is empty.
    pub(super) fn nullable<T: Deserialize<'a> + Default>(&mut self) -> Result<T, Error> {
        self.value::<Option<T>>().map(Option::unwrap_or_default)
    }

    /// Reads what nobody asks for.
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.value::<IgnoredAny>().map(drop)
    }

    /// Reads an object: `member` reads the value of the key it is told, of each once, and of no more than anybody has.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut keys = Vec::new();
        self.parts('{', '}', |cursor| {
            let key = cursor.key(&keys)?;
            member(&key, cursor)?;
            keys.push(key);
            Ok(())
        })
    }

    /// Reads the key of a member, which none of those `before` it has.
    pub(super) fn key<B: PartialEq<Cow<'a, str>>>(&mut self, before: &[B]) -> Result<Cow<'a, str>, Error> {
        let Text(key) = self.value()?;
        if before.iter().any(|known| *known == key) {
            return Err(Error::custom(format!("the key {key} stands twice in an object")));
        }
        // Each is compared with those before it.
        if before.len() == MOST_KEYS {
            return Err(Error::custom(format!("an object has more than {MOST_KEYS} keys")));
        }
        self.expect(':')?;
        Ok(key)
    }

    /// Reads a list: `item` reads each of its values. Null has none.
    pub(super) fn list(&mut self, item: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        match self.next() {
            Some('n') => self.value::<()>(),
            _ => self.parts('[', ']', item),
        }
    }

    fn parts(
        &mut self,
        open: char,
        close: char,
        mut part: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.expect(open)?;
        if self.takes(close) {
            return Ok(());
        }
        loop {
            part(self)?;
            if !self.takes(',') {
                return self.expect(close);
            }
        }
    }

    /// What stands here, behind any space.
    pub(super) fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.chars().next()
    }

    /// Goes on behind `sign`, if that stands here.
    pub(super) fn takes(&mut self, sign: char) -> bool {
        self.next();
        let after = self.rest.strip_prefix(sign);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    pub(super) fn expect(&mut self, sign: char) -> Result<(), Error> {
        if self.takes(sign) { Ok(()) } else { Err(Error::custom(format!("a {sign} is missing"))) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Any value: its lists and objects by the cursor, all else by serde.
    #[derive(Debug, PartialEq)]
    struct Any(Value);

    impl Read for Any {
        fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
            match cursor.next() {
                Some('[') => {
                    let mut all = Vec::new();
                    cursor.list(|cursor| Self::read(cursor).map(|any| all.push(any.0)))?;
                    Ok(Self(all.into()))
                }
                Some('{') => {
                    let mut all = serde_json::Map::new();
                    cursor.object(|key, cursor| {
                        all.insert(key.to_owned(), Self::read(cursor)?.0);
                        Ok(())
                    })?;
                    Ok(Self(all.into()))
                }
                _ => cursor.value().map(Self),
            }
        }
    }

    /// As serde has it.
    fn read(json: &str) -> Option<Value> {
        let read = Any::whole(json.as_bytes()).ok().map(|any| any.0);
        assert_eq!(read, serde_json::from_str(json).ok(), "{json}");
        read
    }

    #[test]
    fn what_is_well_formed_is_read_as_serde_reads_it_and_nothing_else_is() {
        for json in [
            r#" { "a" : [ 1 , -2.5e3 , "x\"\\\u00e4" , null , true ] , "b" : { } , "" : [ ] } "#,
            "[[],{}]",
            "7",
            r#""é""#,
        ] {
            assert!(read(json).is_some(), "{json}");
        }
        for json in [
            "",
            " ",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "{\"a\" 1}",
            "[1]]",
            "[1] 2",
            "nul",
            "[nullx]",
            "]",
            "\u{a0}[1]",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(read(json).is_none(), "{json}");
        }
        assert!(Any::whole(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = Any::whole(br#"{"a":1,"b":2,"\u0061":3}"#).unwrap_err();
        assert!(error.to_string().contains("the key a stands twice"), "{error}");
    }

    #[test]
    fn an_object_of_countless_keys_is_refused_soon() {
        let of = |keys: usize| (0..keys).map(|key| format!("\"{key}\":0")).collect::<Vec<_>>().join(",");
        let object = |keys| Any::whole(format!("{{{}}}", of(keys)).as_bytes());
        assert!(object(MOST_KEYS).is_ok());
        let error = object(200_000).unwrap_err();
        assert!(error.to_string().contains("more than 256 keys"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn junk_is_refused_as_serde_refuses_it(json in "[\\[\\]{},: \"a1n-]{0,12}|[\\[{](\"[ab]\":|1,|[ab\"\\[\\]{}]){0,6}[\\]}]") {
            let twice = Any::whole(json.as_bytes()).is_err_and(|error| error.to_string().contains("twice"));
            if !twice {
                read(&json);
            }
        }
    }
}
