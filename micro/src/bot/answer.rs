//! What the bot says.

/// What the bot says to one message: a short text, and all of it as a file where it was too long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// What is shown at once.
    pub text: String,
    /// The whole, where `text` is only its beginning.
    pub whole: Option<String>,
    /// Whether `text` is a table or other preformatted text.
    pub preformatted: bool,
}

/// Longer answers are cut for a chat, after this many lines or bytes.
const LINES: usize = 40;
const BYTES: usize = 3000;

impl Answer {
    /// A sentence.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), whole: None, preformatted: false }
    }

    /// What a command has written, which may be long.
    pub fn output(whole: impl Into<String>) -> Self {
        let whole = whole.into();
        let mut text = String::new();
        for line in whole.lines().take(LINES) {
            if text.len() + line.len() > BYTES {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        if text.trim_end().len() == whole.trim_end().len() {
            let text = whole.trim_end().to_owned();
            return Self { text, whole: None, preformatted: true };
        }
        text.push_str(&format!("… {} lines in all", whole.lines().count()));
        Self { text, whole: Some(whole), preformatted: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_cut_and_whole_beside() {
        assert_eq!(Answer::output("a\nb\n"), Answer { text: "a\nb".into(), whole: None, preformatted: true });
        let long = "line\n".repeat(100);
        let answer = Answer::output(long.clone());
        assert!(answer.text.ends_with("… 100 lines in all") && answer.text.lines().count() == LINES + 1);
        assert_eq!(answer.whole, Some(long));
        let wide = "é".repeat(5000);
        assert_eq!(Answer::output(wide.clone()).whole, Some(wide));
    }
}
