//! JSON texts that differ only in a few strings: the next one is compared with the last, and only those are read.

/// A text with holes, each for one of `N` strings.
#[derive(Debug)]
pub(crate) struct Template<const N: usize> {
    /// What stands before each hole, and for which string it is, in the order of the text.
    holes: Vec<(Box<str>, usize)>,
    end: Box<str>,
}

/// The strings of a text, those that have a hole, and what follows the text.
pub(crate) type Filled<'a, const N: usize> = ([Option<&'a str>; N], &'a str);

impl<const N: usize> Template<N> {
    /// `json` with a hole for each of `strings`. None when one of them is not a slice of it, but a copy without escapes.
    pub(crate) fn new(json: &str, strings: [Option<&str>; N]) -> Option<Self> {
        let mut places = Vec::with_capacity(N);
        for (whose, string) in strings.into_iter().enumerate() {
            let Some(string) = string else { continue };
            let start = string.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
            let after = json.as_bytes().get(start + string.len())?;
            if *after != b'"' {
                return None;
            }
            places.push((start, start + string.len(), whose));
        }
        places.sort_unstable();
        let (mut holes, mut end) = (Vec::with_capacity(places.len()), 0);
        for (from, to, whose) in places {
            holes.push((json[end..from].into(), whose));
            end = to;
        }
        Some(Self { holes, end: json[end..].into() })
    }

    /// What fills the holes, when `json` starts with this text; otherwise it has to be read.
    pub(crate) fn fill<'a>(&self, json: &'a str) -> Option<Filled<'a, N>> {
        let (mut strings, mut rest) = ([None; N], json);
        for (before, whose) in &self.holes {
            rest = rest.strip_prefix(&**before)?;
            let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
            let (string, after) = rest.split_at(end);
            if !after.starts_with('"') {
                return None;
            }
            strings[*whose] = Some(string);
            rest = after;
        }
        Some((strings, rest.strip_prefix(&*self.end)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::text::Text;

    #[derive(serde::Deserialize)]
    struct Pair<'a> {
        #[serde(borrow)]
        a: Text<'a>,
        #[serde(borrow)]
        b: Text<'a>,
    }

    fn template(json: &str) -> Option<Template<3>> {
        let Pair { a, b } = serde_json::from_str(json).unwrap();
        Template::new(json, [Some(&b.0), None, Some(&a.0)])
    }

    #[test]
    fn texts_alike_are_read_by_their_holes_and_no_others() {
        let template = template(r#"{"a":"one","x":[1],"b":""}"#).unwrap();
        let alike = r#"{"a":"","x":[1],"b":"twö"}, and so on"#;
        assert_eq!(template.fill(alike).unwrap(), ([Some("twö"), None, Some("")], ", and so on"));
        for other in [
            r#"{"a":"one","x":[2],"b":""}"#,
            r#"{"a":"o\"ne","x":[1],"b":""}"#,
            r#"{"a":"one","x":[1],"b":"two"#,
            r#"{"b":"one","x":[1],"a":""}"#,
            "{\"a\":\"o\nne\",\"x\":[1],\"b\":\"\"}",
            "",
        ] {
            assert!(template.fill(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_has_escapes_makes_no_template() {
        assert!(template(r#"{"a":"one","b":"t\u0077o"}"#).is_none());
        assert!(Template::new(r#"{"a":"one"}"#, [Some("one")]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn what_fills_the_holes_is_what_serde_reads(a in ".{0,8}", b in "[a-z\"\\\\\u{7f}é]{0,8}", junk in ".{0,4}") {
            let template = template(r#"{"a":"one","b":"two"}"#).unwrap();
            let json = format!(r#"{{"a":{},"b":"{b}{junk}"}}"#, serde_json::json!(a));
            let read = serde_json::from_str::<Value>(&json);
            if let Some((strings, rest)) = template.fill(&json) {
                let value: Value = serde_json::from_str(json.strip_suffix(rest).unwrap()).unwrap();
                proptest::prop_assert_eq!(strings[2], value["a"].as_str());
                proptest::prop_assert_eq!(strings[0], value["b"].as_str());
            } else {
                // Only what has escapes, or is no JSON, is not read so.
                proptest::prop_assert!(read.is_err() || json.contains('\\'));
            }
        }
    }
}
