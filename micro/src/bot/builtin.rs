//! Commands that a bot has beside those of the toolkit.

use std::time::SystemTime;

use super::answer::Answer;

const LAWS: &str = "\
0. A robot may not harm humanity, or, by inaction, allow humanity to come to harm.
1. A robot may not injure a human being or, through inaction, allow a human being to come to harm.
2. A robot must obey the orders given it by human beings except where such orders would conflict with the First Law.
3. A robot must protect its own existence as long as such protection does not conflict with the First or Second Laws.";

/// Usage and description of each, as `help` lists them.
pub(super) const USAGES: [(&str, &str); 6] = [
    ("echo [text]", "Returns the [text]"),
    ("hello", "Returns a greeting"),
    ("help", "Returns this"),
    ("ping", "Returns pong"),
    ("the three laws", "Returns the three laws of robotics"),
    ("time", "Returns the server time"),
];

/// The answer to a line that is one of them; `help` is not answered here.
pub(super) fn answer(line: &str) -> Option<Answer> {
    if let Some(rest) = word(line, "echo") {
        return Some(Answer::text(if rest.is_empty() { "echo what?" } else { rest }));
    }
    Some(match line {
        "time" => Answer::text(format!("Server time is: {}", httpdate::fmt_http_date(SystemTime::now()))),
        "hello" => Answer::text("hey what's up?"),
        "ping" => Answer::text("pong"),
        "three laws" | "the three laws" | "three laws of robotics" | "the three laws of robotics" => {
            Answer::text(LAWS)
        }
        _ => return None,
    })
}

/// What stands behind the first word of `line`, if that is `word`.
pub(super) fn word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talk_is_answered_as_ever() {
        for (line, said) in
            [("ping", "pong"), ("hello", "hey what's up?"), ("echo a  b", "a  b"), ("echo", "echo what?")]
        {
            assert_eq!(answer(line), Some(Answer::text(said)), "{line}");
        }
        assert!(answer("time").unwrap().text.starts_with("Server time is: "));
        assert!(answer("three laws of robotics").unwrap().text.contains("obey"));
        assert!(answer("echoes").is_none() && answer("list").is_none() && answer("pings").is_none());
    }
}
