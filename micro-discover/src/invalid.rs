//! The one error of everything that is checked on its way in.

use std::fmt;

/// What is wrong with a name, an address, a record or a URL, and where.
///
/// Reads like `endpoint "a" of service "greeter": port 70000 is not in 1..=65535`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    place: String,
    what: String,
}

impl Invalid {
    /// `what` is wrong, as a registry of one's own says it in [`Error::Invalid`](crate::Error::Invalid).
    pub fn new(what: impl Into<String>) -> Self {
        Self { place: String::new(), what: what.into() }
    }

    /// Says where: the innermost place is given first, an outer one reads `inner of outer`.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place =
            if self.place.is_empty() { place.to_string() } else { format!("{} of {place}", self.place) };
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for Invalid {}

/// Checks a name that may end up in a path, a subject or a DNS label.
pub(crate) fn check_name(name: &str, most: usize) -> Result<(), Invalid> {
    // Most names need no look into Unicode's tables: there are many to check.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\');
    let mut dots = 0;
    let mut single = |byte: u8| {
        dots = if byte == b'.' { dots + 1 } else { 0 };
        dots < 2
    };
    if (1..=most).contains(&name.len()) && name != "." && name.bytes().all(|byte| plain(byte) && single(byte))
    {
        return Ok(());
    }
    let problem = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > most {
        format!("it has {} bytes, the limit is {most}", name.len())
    } else if name.contains('/') || name.contains('\\') {
        "it contains a slash".to_owned()
    } else if name == "." || name.contains("..") {
        "it contains \"..\" or is \".\"".to_owned()
    } else if let Some(control) = name.chars().find(|c| c.is_control()) {
        format!("it contains the control character U+{:04X}", u32::from(control))
    } else {
        return Ok(());
    };
    Err(Invalid::new(problem))
}

/// `text` as it may stand in a message: quoted, escaped, and short.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for bad in ["", ".", "..", "a/b", "../a", "a\\b", "a\0b", "a\nb", "a..b", &"x".repeat(10_000)] {
            assert!(check_name(bad, 255).is_err(), "{bad:?}");
        }
        for good in ["greeter", "go.micro.srv.greeter", "topic:hello", "Grüße 1", &"x".repeat(255)] {
            assert_eq!(check_name(good, 255), Ok(()));
        }
    }

    #[test]
    fn a_message_names_the_place_from_the_inside_out() {
        let error = Invalid::new("port 0 is not in 1..=65535").at("endpoint \"a\"").at("service \"greeter\"");
        assert_eq!(error.to_string(), "endpoint \"a\" of service \"greeter\": port 0 is not in 1..=65535");
    }

    #[test]
    fn what_is_quoted_is_short_and_has_no_control_characters() {
        assert_eq!(quoted("a\0b"), "\"a\\0b\"");
        assert!(quoted(&"é".repeat(10_000)).len() < 200);
    }
}
