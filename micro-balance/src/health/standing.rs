//! What the answers so far make of an endpoint.

use super::schedule::HealthCheck;

/// Healthy or not, and the answers in a row that say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    healthy: Option<bool>,
    against: u32,
}

impl Standing {
    /// `None` before the first answer.
    pub(super) fn healthy(self) -> Option<bool> {
        self.healthy
    }

    /// Takes an answer, and says whether that changes the standing.
    pub(super) fn take(&mut self, well: bool, schedule: &HealthCheck) -> bool {
        let Some(healthy) = self.healthy else {
            self.healthy = Some(well);
            return true;
        };
        if healthy == well {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < schedule.threshold(healthy) {
            return false;
        }
        *self = Self { healthy: Some(well), against: 0 };
        true
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
                standing.take(answer == '+', schedule);
                if standing.healthy() == Some(true) { 'H' } else { 'U' }
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
}
