//! Tab in the shell: how a line that is being typed may go on.

use std::ffi::OsString;
use std::sync::Arc;

use clap::{Args as _, Command, Subcommand as _};
use clap_complete::engine;
use rustyline::Helper;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use tokio::runtime::Handle;

use super::complete::{Line, Names, known, with_names};
use super::shell::Written;
use crate::command::{Context, Request};

/// Of more nothing is said until another letter is typed: rustyline panics where it counts beyond 16 bits.
const MOST: usize = 10_000;

/// Completes commands, flags, and what the registry has.
pub(super) struct Tab {
    names: Names,
}

impl Tab {
    /// Asks what `context` works on in `runtime`, which another thread drives.
    pub(super) fn new(context: Context, runtime: Handle) -> Self {
        let names: Names = Arc::new(move |line, about| runtime.block_on(known(&context, line, about)));
        Self { names }
    }

    /// Where the last word of `typed` begins, and what may stand there.
    fn candidates(&self, typed: &str) -> (usize, Vec<Pair>) {
        let start = last_word(typed);
        let (Some(mut words), Some(last)) = (shlex::split(&typed[..start]), shlex::split(&typed[start..]))
        else {
            return (start, Vec::new());
        };
        // Behind what is no command clap begins anew with all of them.
        if words.first().is_some_and(|first| commands().find_subcommand(first).is_none()) {
            return (start, Vec::new());
        }
        words.insert(0, "micro".to_owned());
        words.push(last.into_iter().next().unwrap_or_default());
        let line: Line = words.into();
        let mut command = with_names(commands(), &line, &self.names);
        let words: Vec<OsString> = line.iter().map(Into::into).collect();
        let last = words.len() - 1;
        let mut found = engine::complete(&mut command, words, last, None).unwrap_or_default();
        if found.iter().any(|candidate| !candidate.is_hide_set()) {
            found.retain(|candidate| !candidate.is_hide_set());
        }
        if found.len() > MOST {
            return (start, Vec::new());
        }
        let found = found.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned());
        let mut pairs: Vec<_> = found.filter_map(pair).collect();
        if let [only] = pairs.as_mut_slice()
            && !only.replacement.ends_with('=')
        {
            only.replacement.push(' ');
        }
        (start, pairs)
    }
}

/// What the shell runs, and the word that ends it.
fn commands() -> Command {
    let own = Command::new("micro").subcommand(Command::new("quit").about("End the shell"));
    Written::augment_args(Request::augment_subcommands(own))
}

fn pair(display: String) -> Option<Pair> {
    let replacement = shlex::try_quote(&display).ok()?.into_owned();
    Some(Pair { display, replacement })
}

/// Where the last word of `typed` begins, as a shell reads words; behind a space it is an empty one.
fn last_word(typed: &str) -> usize {
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, c) in typed.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_whitespace() => start = at + c.len_utf8(),
            _ => {}
        }
    }
    start
}

impl Completer for Tab {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.candidates(&line[..at]))
    }
}

impl Hinter for Tab {
    type Hint = String;
}

impl Highlighter for Tab {}

impl Validator for Tab {}

impl Helper for Tab {}

#[cfg(test)]
mod tests {
    use super::super::complete::About;
    use super::*;

    fn typed(line: &str) -> (usize, Vec<String>) {
        let names: Names = Arc::new(|line, about| match about {
            About::Services => vec!["greeter".to_owned(), "two words".to_owned()],
            About::Methods if line[2] == "greeter" => vec!["/greeter.Greeter/Hello".to_owned()],
            _ => Vec::new(),
        });
        let (start, pairs) = Tab { names }.candidates(line);
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_word_goes_on_as_far_as_one_thing_only_can_be_meant() {
        assert_eq!(typed("dereg"), (0, words(&["deregister "])));
        assert_eq!(typed("q"), (0, words(&["quit", "query"])));
        assert_eq!(typed("call gre"), (5, words(&["greeter "])));
        assert_eq!(typed("call greeter Greeter.H"), (13, words(&["Greeter.Hello "])));
        assert_eq!(typed("call greeter Greeter.Hello --each-n"), (27, words(&["--each-node "])));
        assert_eq!(typed("call 'two w"), (5, words(&[])));
        assert_eq!(typed("call two"), (5, words(&["'two words' "])));
        assert_eq!(typed("nothing of the kind "), (20, words(&[])));
    }

    #[test]
    fn words_are_a_shells() {
        for (line, start) in
            [("", 0), ("a", 0), ("a ", 2), ("a 'b c", 2), ("a b\\ c", 2), ("a \"b' c\" d", 9)]
        {
            assert_eq!(last_word(line), start, "{line}");
        }
    }
}
