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

    /// Whether the last answers speak against it, but are too few yet.
    pub(super) fn is_doubted(self) -> bool {
        self.against > 0
    }

    /// Takes an answer, and says whether that changes the standing.
    pub(super) fn take(&mut self, answer: &Result<Condition, BoxError>, schedule: &HealthCheck) -> bool {
        let said = *answer.as_ref().unwrap_or(&Condition::Unwell);
        let well = said != Condition::Unwell;
        if let Some(healthy) = self.healthy()
            && healthy != well
        {
            self.against = self.against.saturating_add(1);
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
    use std::time::Duration;

    use super::*;

    fn answer(answer: char) -> Result<Condition, BoxError> {
        match answer {
            '+' => Ok(Condition::Well),
            'd' => Ok(Condition::Degraded),
            'u' => Ok(Condition::Unwell),
            _ => Err("no answer".into()),
        }
    }

    /// The standing after each of some answers.
    fn standings(answers: &str, schedule: &HealthCheck) -> String {
        let mut standing = Standing::default();
        answers
            .chars()
            .map(|answer| {
                let answer = self::answer(answer);
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
    fn standings_and_waits_are_those_of_envoys_tests() {
        let table = include_str!("../../tests/data/envoy_health.json");
        let table: serde_json::Value = serde_json::from_str(table).unwrap();
        for case in table["cases"].as_array().unwrap() {
            let of = &case["of"];
            let threshold = |place: usize| case["thresholds"][place].as_u64().unwrap() as u32;
            let mut schedule = HealthCheck::default().jitter(0.0);
            schedule = schedule.unhealthy_threshold(threshold(0)).healthy_threshold(threshold(1));
            for (name, set) in [
                ("interval_ms", HealthCheck::interval as fn(HealthCheck, Duration) -> HealthCheck),
                ("unhealthy_interval_ms", HealthCheck::unhealthy_interval),
                ("unhealthy_edge_interval_ms", HealthCheck::unhealthy_edge_interval),
                ("healthy_edge_interval_ms", HealthCheck::healthy_edge_interval),
                ("idle_interval_ms", HealthCheck::idle_interval),
            ] {
                schedule =
                    case[name].as_u64().map_or(schedule, |ms| set(schedule, Duration::from_millis(ms)));
            }
            let answers = case["answers"].as_str().unwrap();
            assert_eq!(standings(answers, &schedule), case["standings"].as_str().unwrap(), "{of}");
            let mut standing = Standing::default();
            for (place, wait) in case["waits_ms"].as_array().into_iter().flatten().enumerate() {
                standing.take(&answer(answers.as_bytes()[place].into()), &schedule);
                let idle = place == 0 && case["idle_first"] == true;
                let waits = schedule.wait(standing, idle, 0.5).as_millis() as u64;
                assert_eq!(Some(waits), wait.as_u64(), "{of}, {place}");
            }
        }
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
