//! Lines of text, for faces without a command line: chat, a terminal in a page, the interactive shell.

use clap::Parser;
use clap::error::ErrorKind;

use super::failure::{Failure, Kind};
use super::request::Request;

#[derive(Debug, Parser)]
#[command(name = "micro", no_binary_name = true, disable_version_flag = true, color = clap::ColorChoice::Never)]
struct Line {
    #[command(subcommand)]
    request: Request,
}

/// Reads a line as a shell would read it behind `micro`: words, and quotes around those that have spaces.
///
/// # Errors
///
/// [`Kind::Help`] with the text that was asked for; [`Kind::Usage`] with what is wrong with the line.
pub fn parse(line: &str) -> Result<Request, Failure> {
    let words = shlex::split(line).ok_or_else(|| Failure::new(Kind::Usage, "a quote is not closed"))?;
    parse_words(words)
}

/// The same, of words.
///
/// # Errors
///
/// As for [`parse`].
pub fn parse_words(words: impl IntoIterator<Item = String>) -> Result<Request, Failure> {
    match Line::try_parse_from(words) {
        Ok(line) => Ok(line.request),
        Err(error) => {
            let text = error.to_string();
            let kind = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Kind::Help,
                _ => Kind::Usage,
            };
            Err(Failure::new(kind, text.trim_start_matches("error: ").trim_end()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        let Ok(Request::Call(call)) = parse(r#"call greeter Greeter.Hello '{"name": "John"}'"#) else {
            panic!("a call")
        };
        assert_eq!(call.words, ["greeter", "Greeter.Hello", r#"{"name": "John"}"#]);
        let Ok(Request::Call(call)) = parse(r#"query greeter Greeter.Hello name="John Doe""#) else {
            panic!("a call")
        };
        assert_eq!(call.words[2], "name=John Doe");
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
