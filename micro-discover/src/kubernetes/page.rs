//! A page of a list, read while it comes: many objects are read by the time that the last one is there.

use serde::de::Error as _;
use serde_json::Error;

use super::json::{Cursor, Read};
use super::slice::Metadata;

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page<T> {
    pub(super) metadata: Metadata,
    pub(super) items: Vec<T>,
}

/// A page that is on its way.
pub(super) struct Arriving<T> {
    /// What has come and was not read.
    text: Vec<u8>,
    /// How much of that is worth another try.
    enough: usize,
    place: Place,
    keys: Vec<String>,
    page: Page<T>,
}

/// What comes next in the text.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    Member,
    AfterMember,
    Item,
    AfterItem,
    End,
}

/// A slice of a hundred endpoints is a fifth of it: what was cut off in its middle is read twice.
const PORTION: usize = 256 << 10;

#[cfg(test)]
impl<T: Read> Page<T> {
    /// One that is there.
    pub(super) fn whole(json: &[u8]) -> Result<Self, Error> {
        let mut page = Arriving::new();
        page.more(json)?;
        page.end()
    }
}

impl<T: Read> Arriving<T> {
    pub(super) fn new() -> Self {
        let page = Page { metadata: Metadata::default(), items: Vec::new() };
        Self { text: Vec::new(), enough: PORTION, place: Place::Start, keys: Vec::new(), page }
    }

    /// Takes what comes next, and reads what is whole when that is worth it.
    pub(super) fn more(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.text.extend_from_slice(bytes);
        let come = self.text.len();
        if come >= self.enough {
            self.read(true)?;
            // Whatever is larger than a portion is not tried with every few bytes of it.
            self.enough = if self.text.len() < come { PORTION } else { 2 * come };
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(mut self) -> Result<Page<T>, Error> {
        self.read(false)?;
        Ok(self.page)
    }

    /// Reads as far as the text is whole; with nothing `more` to come it has to be.
    fn read(&mut self, more: bool) -> Result<(), Error> {
        let Self { text, place, keys, page, .. } = self;
        let whole = match str::from_utf8(text) {
            // Cut in the middle of a character.
            Err(error) if more && error.error_len().is_none() => &text[..error.valid_up_to()],
            Err(error) => return Err(Error::custom(error)),
            Ok(_) => text,
        };
        let whole = str::from_utf8(whole).map_err(Error::custom)?;
        let mut cursor = Cursor::new(whole);
        while *place != Place::End {
            let before = cursor;
            match step(*place, &mut cursor, more, keys, page) {
                Ok(next) => *place = next,
                // What is wrong with it is said at the end, unless that mends it.
                Err(_) if more => {
                    cursor = before;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if *place == Place::End && cursor.next().is_some() {
            return Err(Error::custom("something follows what is all"));
        }
        let read = whole.len() - cursor.rest().len();
        text.drain(..read);
        Ok(())
    }
}

/// What the page has when it comes in pieces of `size` bytes, tried with each of them.
#[cfg(any(test, fuzzing))]
pub(super) fn in_pieces<T: Read>(json: &[u8], size: usize) -> Result<Page<T>, Error> {
    let mut page = Arriving::new();
    for piece in json.chunks(size) {
        page.enough = 0;
        page.more(piece)?;
    }
    page.end()
}

/// Reads one thing, or nothing at all; gives what comes then.
fn step<T: Read>(
    place: Place,
    cursor: &mut Cursor<'_>,
    more: bool,
    keys: &mut Vec<String>,
    page: &mut Page<T>,
) -> Result<Place, Error> {
    Ok(match place {
        Place::Start => {
            cursor.expect('{')?;
            let next = if cursor.takes('}') { Place::End } else { Place::Member };
            check_follow(next, cursor, more)?
        }
        Place::Member => {
            let key = cursor.key(keys)?;
            let mut next = Place::AfterMember;
            match &*key {
                "items" if cursor.takes('[') => {
                    next = if cursor.takes(']') { Place::AfterMember } else { Place::Item };
                }
                // Null has none.
                "items" => cursor.value::<()>()?,
                "metadata" => page.metadata = cursor.nullable()?,
                _ => cursor.skip()?,
            }
            check_follow(next, cursor, more)?;
            keys.push(key.into_owned());
            next
        }
        Place::AfterMember if cursor.takes(',') => Place::Member,
        Place::AfterMember => {
            cursor.expect('}')?;
            Place::End
        }
        Place::Item => {
            page.items.push(T::read(cursor)?);
            Place::AfterItem
        }
        Place::AfterItem if cursor.takes(',') => Place::Item,
        Place::AfterItem => {
            cursor.expect(']')?;
            Place::AfterMember
        }
        Place::End => Place::End,
    })
}

/// What comes next, if that is sure: a number may go on, and a bracket that opens be closed at once.
fn check_follow(next: Place, cursor: &mut Cursor<'_>, more: bool) -> Result<Place, Error> {
    match next {
        Place::End => Ok(next),
        _ if more && cursor.next().is_none() => Err(Error::custom("nothing follows")),
        _ => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(json: &[u8], size: usize) -> Result<(String, Vec<Value>), Error> {
        let page = in_pieces::<Json>(json, size)?;
        Ok((page.metadata.next, page.items.into_iter().map(|item| item.0).collect()))
    }

    struct Json(Value);

    impl Read for Json {
        fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
            cursor.value().map(Self)
        }
    }

    #[test]
    fn a_page_is_the_same_however_it_comes() {
        let json = r#" {"kind":"List","n":12,"items" : [ {"a":"ö\"]}"} , {} ],"metadata":{"continue":"ü"}, "x":[1]} "#;
        let whole = read(json.as_bytes(), json.len()).unwrap();
        assert_eq!((whole.0.as_str(), whole.1.len()), ("ü", 2));
        for size in 1..json.len() {
            assert_eq!(read(json.as_bytes(), size).unwrap(), whole, "{size}");
        }
        for json in ["{}", r#"{"items":[]}"#, r#"{"items":null,"metadata":null}"#] {
            for size in 1..=json.len() {
                assert_eq!(read(json.as_bytes(), size).unwrap(), Default::default(), "{json}");
            }
        }
    }

    #[test]
    fn what_is_no_page_is_refused_however_it_comes() {
        for json in [
            "",
            "[]",
            "{",
            r#"{"items":[{}"#,
            r#"{"items":[{},]}"#,
            r#"{"items":[{}}"#,
            r#"{"items":[]]}"#,
            r#"{"items":{}}"#,
            r#"{"items":[],"items":[]}"#,
            r#"{"items":[]} {"#,
            r#"{"items":[],}"#,
            r#"{"metadata":[1]}"#,
        ] {
            for size in 1..=json.len().max(1) {
                assert!(read(json.as_bytes(), size).is_err(), "{json} by {size}");
            }
        }
        assert!(read(b"{\"items\":[\"\xff\"]}", 3).is_err());
    }

    #[test]
    fn an_object_larger_than_a_portion_is_tried_a_few_times_only() {
        let mut page = Arriving::<Json>::new();
        page.more(br#"{"items":[{"a":""#).unwrap();
        let mut tries = 0;
        for _ in 0..1_000 {
            let enough = page.enough;
            page.more(&[b'x'; 10_000]).unwrap();
            tries += usize::from(page.enough != enough);
        }
        assert!((1..10).contains(&tries), "{tries}");
        page.more(br#""}]}"#).unwrap();
        assert_eq!(page.end().unwrap().items.len(), 1);
    }
}
