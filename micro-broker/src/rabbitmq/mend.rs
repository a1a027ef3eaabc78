//! Makes a message's names text, and its tables shallow, where they are not. What is wrong becomes something else of the same
//! length; what is so wrong that nobody could say where it ends is left to the client.

/// The methods that bring messages, by their class and number: `basic.return`, `basic.deliver` and `basic.get-ok`.
const RETURN: &[u8] = &[0, 60, 0, 50];
const DELIVER: &[u8] = &[0, 60, 0, 60];
const GOT: &[u8] = &[0, 60, 0, 71];

/// How deep tables and arrays may be in one another.
const DEEPEST: usize = 32;

/// A class, a weight and the body's length, before the properties of a message and the flags that tell which there are.
const BEFORE_FLAGS: usize = 12;

/// Properties, from the highest bit of their flags on.
const PROPERTIES: [Property; 14] = {
    use Property::{Bytes, Short, Table};
    [
        Short,
        Short,
        Table,
        Bytes(1),
        Bytes(1),
        Short,
        Short,
        Short,
        Short,
        Bytes(8),
        Short,
        Short,
        Short,
        Short,
    ]
};

#[derive(Clone, Copy)]
enum Property {
    Short,
    Table,
    Bytes(usize),
}

/// Whether frames of this kind are to be mended, which takes all of their payload.
pub(super) fn is_mended(kind: u8) -> bool {
    matches!(kind, 1 | 2)
}

pub(super) fn mend(kind: u8, payload: &mut [u8]) {
    // Whether it came to the end is the client's business.
    let _ = if kind == 1 { method(payload) } else { properties(payload) };
}

fn method(payload: &mut [u8]) -> Option<()> {
    let (method, mut rest) = payload.split_at_mut_checked(4)?;
    match &*method {
        RETURN => {
            rest = rest.get_mut(2..)?;
            short(&mut rest)?;
        }
        DELIVER => {
            short(&mut rest)?;
            rest = rest.get_mut(9..)?;
        }
        GOT => rest = rest.get_mut(9..)?,
        _ => return None,
    }
    // The exchange and the routing key.
    short(&mut rest)?;
    short(&mut rest)
}

fn properties(payload: &mut [u8]) -> Option<()> {
    let (flags, mut rest) = payload.get_mut(BEFORE_FLAGS..)?.split_first_chunk_mut()?;
    let flags = u16::from_be_bytes(*flags);
    for (index, property) in PROPERTIES.into_iter().enumerate() {
        if flags & (0x8000 >> index) == 0 {
            continue;
        }
        match property {
            Property::Short => short(&mut rest)?,
            Property::Table => table(long(&mut rest)?, DEEPEST),
            Property::Bytes(length) => drop(take(&mut rest, length)?),
        }
    }
    Some(())
}

fn take<'a>(rest: &mut &'a mut [u8], length: usize) -> Option<&'a mut [u8]> {
    rest.split_off_mut(..length)
}

fn short(rest: &mut &mut [u8]) -> Option<()> {
    let length = *rest.first()?;
    let text = take(rest, 1 + usize::from(length))?.get_mut(1..)?;
    while let Err(error) = std::str::from_utf8(text) {
        *text.get_mut(error.valid_up_to())? = b'?';
    }
    Some(())
}

fn long<'a>(rest: &mut &'a mut [u8]) -> Option<&'a mut [u8]> {
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    take(rest, 4 + usize::try_from(length).ok()?)?.get_mut(4..)
}

fn table(content: &mut [u8], depth: usize) {
    let mut begin = 0;
    while begin < content.len() {
        let mut rest = &mut content[begin..];
        let entry = short(&mut rest).and_then(|()| value(&mut rest, depth));
        let left = rest.len();
        if entry.is_none() {
            return blank(&mut content[begin..]);
        }
        begin = content.len() - left;
    }
}

fn array(content: &mut [u8], depth: usize) {
    let mut begin = 0;
    while begin < content.len() {
        let mut rest = &mut content[begin..];
        let value = value(&mut rest, depth);
        let left = rest.len();
        if value.is_none() {
            return content[begin..].fill(b'V');
        }
        begin = content.len() - left;
    }
}

/// Fills a table with names of nothing. One byte holds none.
fn blank(mut content: &mut [u8]) {
    if content.len() % 2 == 1
        && let Some(entry) = content.split_off_mut(..3)
    {
        entry.copy_from_slice(&[1, b'?', b'V']);
    }
    content.chunks_exact_mut(2).for_each(|entry| entry.copy_from_slice(&[0, b'V']));
}

/// A value of a table or an array, as RabbitMQ marks them.
fn value(rest: &mut &mut [u8], depth: usize) -> Option<()> {
    let length = match take(rest, 1)?.first()? {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' => return long(rest).map(drop),
        b'F' if depth > 0 => return long(rest).map(|content| table(content, depth - 1)),
        b'A' if depth > 0 => return long(rest).map(|content| array(content, depth - 1)),
        _ => return None,
    };
    take(rest, length).map(drop)
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic::parse_properties;
    use lapin::types::AMQPValue;

    use super::*;

    /// The payload of a header frame with nothing but this table.
    fn header(table: &[u8]) -> Vec<u8> {
        let length = u32::try_from(table.len()).unwrap().to_be_bytes();
        [&[0; BEFORE_FLAGS][..], &[0x20, 0], &length, table].concat()
    }

    fn nested(mark: u8, depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inner, level| {
            let name: &[u8] = if mark == b'F' || level == depth - 1 { b"\x01a" } else { b"" };
            [name, &[mark], &u32::try_from(inner.len()).unwrap().to_be_bytes(), &inner].concat()
        })
    }

    /// What the client reads of a table once it is mended.
    fn read(table: &[u8]) -> Vec<(String, AMQPValue)> {
        let mut payload = header(table);
        mend(2, &mut payload);
        let (rest, properties) = parse_properties(&payload[BEFORE_FLAGS..]).unwrap();
        assert!(rest.is_empty());
        let table = properties.headers().as_ref().unwrap().inner();
        table.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    #[test]
    fn what_is_text_and_shallow_stays_as_it_is() {
        let values = b"\x01at\x01\x01bS\0\0\0\x01\xff\x01cA\0\0\0\x02tt\x01dF\0\0\0\x04\x02\xc3\xbcV\x01eT\0\0\0\0\0\0\0\0\x01fD\0\0\0\0\0";
        for table in [&values[..], b"", &nested(b'F', DEEPEST), &nested(b'A', DEEPEST)] {
            let (before, mut after) = (header(table), header(table));
            mend(2, &mut after);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_name_that_is_no_text_gets_question_marks() {
        assert_eq!(read(b"\x02\xfcaV\x02\xc3\xbct\x01").len(), 2);
        assert_eq!(read(b"\x02\xfcaV")[0], ("?a".to_owned(), AMQPValue::Void));
        assert_eq!(read(b"\x01aF\0\0\0\x03\x01\xffV").len(), 1);
    }

    #[test]
    fn a_table_that_is_too_deep_or_wrong_is_emptied_and_the_rest_is_read() {
        for mark in [b'F', b'A'] {
            for depth in [DEEPEST + 1, 100, 15_000] {
                let table = [&nested(mark, depth)[..], b"\x01bt\x01"].concat();
                assert_eq!(
                    read(&table).last().unwrap(),
                    &("b".to_owned(), AMQPValue::Boolean(true)),
                    "{depth}"
                );
            }
        }
        let before = b"\x01bt\x01";
        for wrong in
            [&b"\x01a?"[..], b"\x09a", b"\x01aS\0\0\0\x09", b"\x01aI\0", b"\x01aF\xff\xff\xff\xff\0\0"]
        {
            assert_eq!(read(&[before, wrong].concat())[..].iter().filter(|(name, _)| name == "b").count(), 1);
        }
    }

    #[test]
    fn whatever_a_frame_holds_nothing_panics() {
        let mut random = fastrand::Rng::with_seed(7);
        let marks = b"VtbBsuUIifDLldTSxFA\0\x01\x02\x04<\xff";
        for _ in 0..100_000 {
            let mut payload = vec![0; random.usize(..80)];
            payload.fill_with(|| marks[random.usize(..marks.len())]);
            if random.bool() && payload.len() > 18 {
                payload[12..18].copy_from_slice(&[0x20, 0, 0, 0, 0, 60]);
            }
            let length = payload.len();
            mend(1 + random.u8(..2), &mut payload);
            assert_eq!(payload.len(), length);
        }
    }
}
