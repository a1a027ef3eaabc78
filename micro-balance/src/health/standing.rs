//! What the answers so far make of an endpoint.

use tower::BoxError;

use super::schedule::HealthCheck;
use crate::condition::Condition;

/// Healthy or not, and the answers in a row that say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    condition: Option<Condition>,
    against: u32,
}

impl Standing {
    /// `None` before the first answer.
    pub(super) fn healthy(self) -> Option<bool> {
        self.condition.map(|condition| condition != Condition::Unwell)
    }

    /// Takes an answer, and says whether that changes the standing.
    pub(super) fn take(&mut self, answer: &Result<Condition, BoxError>, schedule: &HealthCheck) -> bool {
        let said = *answer.as_ref().unwrap_or(&Condition::Unwell);
        let well = said != Condition::Unwell;
        if let Some(healthy) = self.healthy()
            && healthy != well
        {
            self.against += 1;
            // What an endpoint says against itself needs no second time.
            let at_once = answer.is_ok() && healthy;
            if !at_once && self.against < schedule.threshold(healthy) {
                return false;
            }
        }
        self.against = 0;
        self.condition.replace(said) != Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standing after each of some answers.
    fn standings(answers: &str, schedule: &HealthCheck) -> String {
        let mut standing = Standing::default();
        answers
            .chars()
            .map(|answer| {
                let answer = match answer {
                    '+' => Ok(Condition::Well),
                    'd' => Ok(Condition::Degraded),
                    'u' => Ok(Condition::Unwell),
                    _ => Err("no answer".into()),
                };
                let before = standing.condition;
                assert_eq!(standing.take(&answer, schedule), standing.condition != before);
                match standing.condition {
                    Some(Condition::Well) => 'H',
                    Some(Condition::Degraded) => 'D',
                    _ => 'U',
                }
            })
            .collect()
    }

    #[test]
    fn the_first_answer_counts_alone() {
        assert_eq!(standings("+", &HealthCheck::default()), "H");
        assert_eq!(standings("-", &HealthCheck::default()), "U");
    }

    #[test]
    fn it_takes_exactly_the_threshold_in_a_row_to_change_sides() {
        let schedule = HealthCheck::default().unhealthy_threshold(3).healthy_threshold(2);
        assert_eq!(standings("+--+---+-++", &schedule), "HHHHHHUUUUH");
        let at_once = HealthCheck::default().unhealthy_threshold(1).healthy_threshold(1);
        assert_eq!(standings("+-+-", &at_once), "HUHU");
    }

    #[test]
    fn what_an_endpoint_says_against_itself_counts_at_once_and_what_it_says_for_itself_takes_the_threshold() {
        let schedule = HealthCheck::default().unhealthy_threshold(3).healthy_threshold(2);
        assert_eq!(standings("+u+u++-u", &schedule), "HUUUUHHU");
    }

    #[test]
    fn degraded_is_healthy_and_changes_with_every_word() {
        let schedule = HealthCheck::default().unhealthy_threshold(2).healthy_threshold(2);
        assert_eq!(standings("d+d-d--d+", &schedule), "DHDDDDUUH");
        assert_eq!(standings("+ud-d+d", &schedule), "HUUUUHD");
    }
}
