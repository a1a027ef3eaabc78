//! Path templates of `google.api.http`: `/v1/{name=shelves/*/books/**}:verb`.
//!
//! The grammar is that of <https://github.com/googleapis/googleapis/blob/master/google/api/http.proto>.

use std::cmp::Ordering;
use std::collections::HashSet;

/// A template, which paths match or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    /// Itself.
    Literal(String),
    /// One segment, whatever it is.
    One,
    /// All that is left, be it nothing.
    Rest,
}

/// A field, and the segments that it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Variable {
    field: String,
    first: usize,
    /// Behind its last segment.
    end: usize,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{template:?} is no path template: {what}")]
pub struct InvalidTemplate {
    template: String,
    what: &'static str,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |what| InvalidTemplate { template: text.to_owned(), what };
        let mut parser = Parser { rest: text, segments: Vec::new(), variables: Vec::new() };
        parser.expect('/').map_err(invalid)?;
        parser.segments(false).map_err(invalid)?;
        let verb = match parser.take(':') {
            true => Some(parser.literal().map_err(invalid)?),
            false => None,
        };
        if !parser.rest.is_empty() {
            return Err(invalid("there is more behind it"));
        }
        let Parser { segments, variables, .. } = parser;
        let rest = segments.iter().position(|segment| *segment == Segment::Rest);
        if rest.is_some_and(|at| at + 1 < segments.len()) {
            return Err(invalid("** is not at its end"));
        }
        let mut fields = HashSet::new();
        if !variables.iter().all(|variable| fields.insert(&variable.field)) {
            return Err(invalid("a field is bound twice"));
        }
        Ok(Self { segments, verb, variables })
    }

    /// The fields that paths give, each with its value in `path`; none where `path` does not match.
    pub(super) fn matches(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let path = path.strip_prefix('/')?;
        let path = match &self.verb {
            Some(verb) => path.strip_suffix(verb)?.strip_suffix(':')?,
            None => path,
        };
        let parts: Vec<&str> = path.split('/').collect();
        let rest = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(rest);
        if parts.len() < fixed || (!rest && parts.len() > fixed) {
            return None;
        }
        for (segment, part) in self.segments.iter().zip(&parts) {
            match segment {
                Segment::Literal(literal) if *literal != decode(part, false)? => return None,
                Segment::One if part.is_empty() => return None,
                _ => {}
            }
        }
        let value = |variable: &Variable| {
            let end = if rest && variable.end == self.segments.len() { parts.len() } else { variable.end };
            let single = self.segments[variable.first..variable.end] == [Segment::One];
            // What stands for several segments keeps a slash that was hidden apart from those between them.
            decode(&parts[variable.first..end.max(variable.first)].join("/"), !single)
        };
        self.variables.iter().map(|variable| Some((variable.field.as_str(), value(variable)?))).collect()
    }

    /// The first segment of every path that matches; none where it may be any.
    pub(super) fn first(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(literal)) => Some(literal),
            _ => None,
        }
    }

    /// Which of two templates is asked first: the one that says more.
    pub(super) fn before(&self, other: &Self) -> Ordering {
        let verb = other.verb.is_some().cmp(&self.verb.is_some());
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Rest => 2,
        };
        let segments = self.segments.iter().map(rank).cmp(other.segments.iter().map(rank));
        verb.then(segments).then_with(|| self.segments.cmp(&other.segments))
    }
}

struct Parser<'a> {
    rest: &'a str,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), &'static str> {
        if self.take(wanted) { Ok(()) } else { Err("a slash, a brace or a segment is missing") }
    }

    fn segments(&mut self, inside: bool) -> Result<(), &'static str> {
        loop {
            if self.rest.starts_with('{') && !inside {
                self.variable()?;
            } else if self.rest.starts_with("**") {
                self.rest = &self.rest[2..];
                self.segments.push(Segment::Rest);
            } else if self.take('*') {
                self.segments.push(Segment::One);
            } else if self.rest.is_empty() && self.segments.is_empty() {
                // The template "/".
                self.segments.push(Segment::Literal(String::new()));
            } else {
                let literal = self.literal()?;
                self.segments.push(Segment::Literal(literal));
            }
            if !self.take('/') {
                return Ok(());
            }
        }
    }

    fn variable(&mut self) -> Result<(), &'static str> {
        self.expect('{')?;
        let end = self.rest.find(['=', '}']).ok_or("a brace is not closed")?;
        let field = self.rest[..end].to_owned();
        let name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !field.split('.').all(name) {
            return Err("a field is not named by letters, digits and lines");
        }
        self.rest = &self.rest[end..];
        let first = self.segments.len();
        match self.take('=') {
            true => self.segments(true)?,
            false => self.segments.push(Segment::One),
        }
        self.expect('}')?;
        self.variables.push(Variable { field, first, end: self.segments.len() });
        Ok(())
    }

    fn literal(&mut self) -> Result<String, &'static str> {
        let end = self.rest.find(['/', ':', '{', '}', '*', '=']).unwrap_or(self.rest.len());
        let literal = decode(&self.rest[..end], false).filter(|literal| !literal.is_empty());
        self.rest = &self.rest[end..];
        literal.ok_or("a segment is empty or has a broken percent-encoding")
    }
}

/// Undoes percent-encoding; `keep` leaves hidden slashes hidden. None where it is broken, or not UTF-8.
pub(super) fn decode(text: &str, keep: bool) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let byte = (digit(0)? * 16 + digit(1)?) as u8;
        rest = after;
        match byte {
            b'/' if keep => bytes.extend_from_slice(b"%2F"),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let matched = template.matches(path)?;
        Some(matched.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    #[test]
    fn a_path_gives_the_fields_it_holds() {
        let cases = [
            ("/", "/", vec![]),
            ("/v1/a", "/v1/a", vec![]),
            ("/v1/{name}", "/v1/x%20y", vec![("name", "x y")]),
            ("/v1/{name}", "/v1/x%2Fy", vec![("name", "x/y")]),
            ("/v1/{name}", "/v1/x:y", vec![("name", "x:y")]),
            ("/v1/{a.b}/c/{d}", "/v1/1/c/2", vec![("a.b", "1"), ("d", "2")]),
            ("/v1/{name=shelves/*}", "/v1/shelves/3", vec![("name", "shelves/3")]),
            ("/v1/{name=shelves/*}/books", "/v1/shelves/3/books", vec![("name", "shelves/3")]),
            (
                "/v1/{name=shelves/*/books/**}",
                "/v1/shelves/3/books/a/b",
                vec![("name", "shelves/3/books/a/b")],
            ),
            (
                "/v1/{name=shelves/*/books/**}",
                "/v1/shelves/3/books/a%2Fb",
                vec![("name", "shelves/3/books/a%2Fb")],
            ),
            ("/v1/{name=**}", "/v1/a/b", vec![("name", "a/b")]),
            ("/v1/{name=**}:go", "/v1/a/b:go", vec![("name", "a/b")]),
            ("/v1/**", "/v1/a/b/c", vec![]),
            ("/v1/*/x", "/v1/a/x", vec![]),
            ("/v1/{name}:go", "/v1/a:go", vec![("name", "a")]),
            ("/v1/a:go", "/v1/a:go", vec![]),
        ];
        for (template, path, fields) in cases {
            let fields: Vec<_> = fields.into_iter().map(|(f, v)| (f.to_owned(), v.to_owned())).collect();
            assert_eq!(matched(template, path), Some(fields), "{template} {path}");
        }
    }

    #[test]
    fn other_paths_do_not_match() {
        for (template, path) in [
            ("/v1/a", "/v1/b"),
            ("/v1/a", "/v1"),
            ("/v1/a", "/v1/a/"),
            ("/v1/{name}", "/v1/"),
            ("/v1/{name}", "/v1/a/b"),
            ("/v1/{name=shelves/*}", "/v1/other/3"),
            ("/v1/{name}:go", "/v1/a"),
            ("/v1/{name}:go", "/v1/a:stop"),
            ("/v1/{name}", "/v1/%zz"),
            ("/v1/{name}", "/v1/%ff"),
        ] {
            assert_eq!(matched(template, path), None, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for text in [
            "",
            "v1",
            "/v1/",
            "/{",
            "/{}",
            "/{a",
            "/{a=}",
            "/{a={b}}",
            "/{1a}",
            "/{a-b}",
            "/**/x",
            "/{a=**}/x",
            "/{a}/{a}",
            "/a:",
            "/a}",
            "/%zz",
            "//a",
            "/a//b",
        ] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn who_says_more_is_asked_first() {
        let mut templates = ["/v1/{a=**}", "/v1/{a}", "/v1/x", "/v1/{a}:go", "/v1/{a}/y"]
            .map(|t| Template::parse(t).unwrap());
        templates.sort_by(Template::before);
        let expected = ["/v1/{a}:go", "/v1/x", "/v1/{a}", "/v1/{a}/y", "/v1/{a=**}"]
            .map(|t| Template::parse(t).unwrap());
        assert_eq!(templates, expected);
    }
}
