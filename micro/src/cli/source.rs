//! Reads an argument from where it says: `@file`, `-` for standard input, or itself.

use std::io::{self, Read};

use crate::command::{Failure, Kind};

/// A record is 1 MiB at most.
const LARGEST: u64 = 1 << 20;

/// What `text` stands for.
pub(super) fn read(text: &str) -> Result<String, Failure> {
    let (from, content) = if text == "-" {
        ("standard input".to_owned(), limited(io::stdin().lock()))
    } else if let Some(path) = text.strip_prefix('@') {
        (format!("the file {path:?}"), std::fs::File::open(path).and_then(limited))
    } else {
        return Ok(text.to_owned());
    };
    let content = content.map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read the record from {from}")).source(error)
    })?;
    if !content.trim_start().starts_with('{') {
        let what = format!("{from} does not hold a record: JSON that starts with {{");
        return Err(Failure::new(Kind::Usage, what));
    }
    Ok(content)
}

fn limited(from: impl Read) -> io::Result<String> {
    let mut content = String::new();
    let read = from.take(LARGEST + 1).read_to_string(&mut content)?;
    if read as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {LARGEST} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_limit_is_not_read() {
        assert!(limited(io::repeat(b'x')).unwrap_err().to_string().contains("more than"));
        assert_eq!(limited(&b"{}"[..]).unwrap(), "{}");
    }
}
