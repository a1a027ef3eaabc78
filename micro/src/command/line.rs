//! Lines of text, for faces without a command line: chat, a terminal in a page, the interactive shell.

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::value::RawValue;

use super::failure::{Failure, Kind};
use super::request::Request;

#[derive(Debug, Parser)]
#[command(name = "micro", no_binary_name = true, disable_version_flag = true, color = clap::ColorChoice::Never)]
struct Line {
    #[command(subcommand)]
    request: Request,
}

/// Reads a line as a shell would read it behind `micro`: words, and quotes around those that have spaces. JSON needs none:
/// in a chat nobody thinks of a shell.
///
/// # Errors
///
/// [`Kind::Help`] with the text that was asked for; [`Kind::Usage`] with what is wrong with the line.
pub fn parse(line: &str) -> Result<Request, Failure> {
    parse_words(words(line)?)
}

/// The words of a line, as [`parse`] reads them.
pub(crate) fn words(line: &str) -> Result<Vec<String>, Failure> {
    let split = |text| shlex::split(text).ok_or_else(|| Failure::new(Kind::Usage, "a quote is not closed"));
    let Some((before, json, behind)) = json(line) else { return split(line) };
    let mut all = split(before)?;
    all.push(json.to_owned());
    all.extend(words(behind)?);
    Ok(all)
}

/// The first object or list of JSON that stands in `line` as a word of its own, outside of quotes.
fn json(line: &str) -> Option<(&str, &str, &str)> {
    line.char_indices().filter(|(_, c)| matches!(c, '{' | '[')).find_map(|(at, _)| {
        let (before, rest) = line.split_at(at);
        if !before.is_empty() && !before.ends_with(char::is_whitespace) {
            return None;
        }
        shlex::split(before)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let json = values.next()?.ok()?.get();
        let behind = &rest[values.byte_offset()..];
        (behind.is_empty() || behind.starts_with(char::is_whitespace)).then_some((before, json, behind))
    })
}

/// The same, of words.
///
/// # Errors
///
/// As for [`parse`].
pub fn parse_words(words: impl IntoIterator<Item = String>) -> Result<Request, Failure> {
    read::<Line>(words).map(|line| line.request)
}

/// Reads words as a `P`, whose failures are told as those of a line.
pub(crate) fn read<P: Parser>(words: impl IntoIterator<Item = String>) -> Result<P, Failure> {
    match P::try_parse_from(words) {
        Ok(line) => Ok(line),
        Err(error) => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            Err(match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    Failure::new(Kind::Help, text)
                }
                _ => Failure::new(Kind::Usage, what(text)),
            })
        }
    }
}

/// What is wrong, without what a command line would say of it: there is no program here to be called again.
fn what(text: &str) -> String {
    let said =
        text.split("\n\n").filter(|part| !part.starts_with("Usage: ") && !part.starts_with("For more "));
    let parts: Vec<_> = said.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        let Ok(Request::Call(call)) = parse(r#"call greeter Greeter.Hello '{"name": "John"}'"#) else {
            panic!("a call")
        };
        assert_eq!(call.ask.words, ["greeter", "Greeter.Hello", r#"{"name": "John"}"#]);
        let Ok(Request::Call(call)) = parse(r#"query greeter Greeter.Hello name="John Doe""#) else {
            panic!("a call")
        };
        assert_eq!(call.ask.words[2], "name=John Doe");
    }

    #[test]
    fn json_needs_no_quotes_and_may_have_them() {
        let json = r#"{"name": "it's", "in": {"x": [1]}}"#;
        for line in [
            format!("call greeter Hello {json} --timeout 2s"),
            format!("call greeter 'Hello' {json} -v {json}"),
        ] {
            assert_eq!(words(&line).unwrap()[3], json, "{line}");
        }
        let quoted = r#"call greeter Hello '{"in": {"x": 1}}'"#;
        assert_eq!(words(quoted).unwrap()[3], r#"{"in": {"x": 1}}"#);
        assert_eq!(words("call a b {x} tags:=[1]").unwrap(), ["call", "a", "b", "{x}", "tags:=[1]"]);
        assert!(words("call a b '{").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_and_help_is_no_mistake() {
        for (line, kind, text) in [
            ("lst", Kind::Usage, "'list'"),
            ("list 'x", Kind::Usage, "quote"),
            ("call", Kind::Usage, "SERVICE METHOD"),
            ("help", Kind::Help, "publish"),
            ("call --help", Kind::Help, "--each-node"),
        ] {
            let failure = parse(line).unwrap_err();
            assert_eq!(failure.kind(), kind, "{line}: {failure}");
            assert!(failure.to_string().contains(text), "{line}: {failure}");
        }
    }
}
