//! What was heard lately, and how often by whom: so that nothing is done twice, and nobody takes all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::heard::Speaker;

/// The ids that are remembered.
const IDS: usize = 4096;
/// The speakers whose pace is remembered.
const SPEAKERS: usize = 4096;
/// A speaker may say this much at once …
const BURST: f64 = 10.0;
/// … and then one thing in this long.
const EVERY: Duration = Duration::from_secs(1);

/// What was heard lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    seen: HashSet<(&'static str, String)>,
    order: VecDeque<(&'static str, String)>,
    paces: HashMap<(&'static str, String), Pace>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    left: f64,
    at: Instant,
}

/// Why something is not answered as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    /// It was answered before.
    Again,
    /// The speaker says too much.
    TooMuch,
    /// … and was told so already.
    StillTooMuch,
}

impl Recent {
    /// Notes that `speaker` said what is called `id`.
    pub(super) fn hear(&mut self, id: &str, speaker: &Speaker) -> Result<(), Unheard> {
        let key = (speaker.input, id.to_owned());
        if !self.seen.insert(key.clone()) {
            return Err(Unheard::Again);
        }
        self.order.push_back(key);
        if self.order.len() > IDS {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.seen.remove(&oldest));
        }
        self.pace(speaker)
    }

    fn pace(&mut self, speaker: &Speaker) -> Result<(), Unheard> {
        let now = Instant::now();
        if self.paces.len() >= SPEAKERS {
            self.paces.retain(|_, pace| now - pace.at < EVERY.mul_f64(BURST));
        }
        let fresh = Pace { left: BURST, at: now };
        let pace = self.paces.entry((speaker.input, speaker.user.clone())).or_insert(fresh);
        let earned = (now - pace.at).as_secs_f64() / EVERY.as_secs_f64();
        // Below zero it is remembered that the speaker has been told.
        let before = (pace.left + earned).min(BURST);
        *pace = Pace { left: before, at: now };
        if before >= 1.0 {
            pace.left -= 1.0;
            return Ok(());
        }
        if before >= 0.0 {
            pace.left = -1.0;
            return Err(Unheard::TooMuch);
        }
        Err(Unheard::StillTooMuch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_again_is_heard_once() {
        let (mut recent, speaker) = (Recent::default(), Speaker::new("slack", "U1", None));
        assert_eq!(recent.hear("1", &speaker), Ok(()));
        assert_eq!(recent.hear("1", &speaker), Err(Unheard::Again));
        assert_eq!(recent.hear("1", &Speaker::new("xmpp", "U1", None)), Ok(()));
        for id in 0..IDS {
            let _ = recent.hear(&format!("more {id}"), &speaker);
        }
        assert!(recent.seen.len() == IDS && recent.order.len() == IDS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_too_much_is_told_once_and_others_are_heard() {
        let (mut recent, loud) = (Recent::default(), Speaker::new("slack", "U1", None));
        let said: Vec<_> = (0..13).map(|id| recent.hear(&id.to_string(), &loud)).collect();
        assert!(said[..10].iter().all(Result::is_ok));
        assert_eq!(
            said[10..],
            [Err(Unheard::TooMuch), Err(Unheard::StillTooMuch), Err(Unheard::StillTooMuch)]
        );
        assert_eq!(recent.hear("other", &Speaker::new("slack", "U2", None)), Ok(()));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(recent.hear("later", &loud), Ok(()));
    }
}
