//! What a server does not let its client do: it says so on the side, and to nobody who waits for an answer.

use std::collections::VecDeque;

/// The last refusals, in the words of the server, each with its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    count: u64,
    last: VecDeque<(u64, String)>,
}

/// How many are remembered: whoever asks may have inboxes that nothing can be sent to.
const MOST: usize = 64;
const REFUSED: &str = "Permissions Violation";

impl Refusals {
    /// Notes what the server has said, if it is a refusal.
    pub(super) fn note(&mut self, said: &str) {
        let Some(at) = said.find(REFUSED) else { return };
        let said = &said[at..];
        if !self.last.iter().any(|(_, known)| known == said) {
            tracing::warn!(registry = super::BACKEND, said, "the server refuses");
        }
        self.count += 1;
        self.last.truncate(MOST - 1);
        self.last.push_front((self.count, said.to_owned()));
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What was said last of publishing to each of `subjects`, if that was refused after so many refusals.
    pub(super) fn of_all(&self, subjects: &[String], after: u64) -> Option<String> {
        let of = |subject: &String| {
            let said = format!("Publish to \"{subject}\"");
            self.last.iter().find(|(number, known)| *number > after && known.contains(&said))
        };
        subjects.iter().map(of).collect::<Option<Vec<_>>>()?.first().map(|(_, said)| said.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_everywhere_is_told_and_what_was_before_is_not() {
        let refusal = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
        let (subjects, mut refusals) = (["a", "b"].map(str::to_owned), Refusals::default());
        refusals.note(&format!("nats: {}", refusal("a")));
        refusals.note("nats: stale connection");
        assert_eq!((refusals.of_all(&subjects, 0), refusals.count()), (None, 1));
        refusals.note(&refusal("b"));
        assert_eq!(refusals.of_all(&subjects, 0), Some(refusal("a")));
        assert_eq!(refusals.of_all(&subjects, 1), None);
        for n in 0..1_000 {
            refusals.note(&refusal(&n.to_string()));
        }
        assert_eq!(refusals.last.len(), MOST);
        subjects.iter().for_each(|subject| refusals.note(&refusal(subject)));
        assert!(refusals.of_all(&subjects, 1_002).is_some());
    }
}
