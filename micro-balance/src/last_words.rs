//! What a request was waiting for when it was given up: said by what is dropped, to whoever drops it.
//!
//! A timeout knows how long it has waited and not for whom; the balancer within it knows that, and is gone as soon as the
//! time is over. So it is told while it goes.

use std::{cell::RefCell, sync::Arc};

thread_local! {
    static EAR: RefCell<Ear> = const { RefCell::new(Ear::Deaf) };
}

enum Ear {
    /// Nobody listens: a request that is dropped owes nobody a word.
    Deaf,
    /// Somebody does, and has heard this.
    Listening(Option<Words>),
}

/// What a request was waiting for.
pub(crate) struct Words {
    pub(crate) text: Arc<str>,
    /// Whether no endpoint has had it, in no attempt, as far as one notes that.
    pub(crate) unsent: bool,
}

/// Carries `drop` out, which drops what is given up, and gives the first that is said meanwhile.
///
/// Of requests that found no endpoint ready a balancer says so, with the last reason why it could not connect. One that an
/// endpoint has not answered had its time: whoever drops it otherwise may have changed its mind, see
/// [`Ejection`](crate::Ejection).
pub fn last_words(drop: impl FnOnce()) -> Option<Arc<str>> {
    hear(drop).map(|words| words.text)
}

/// The same, with what follows from it.
pub(crate) fn hear(drop: impl FnOnce()) -> Option<Words> {
    let before = Restore(EAR.replace(Ear::Listening(None)));
    drop();
    let heard = EAR.replace(Ear::Deaf);
    std::mem::drop(before);
    match heard {
        Ear::Listening(words) => words,
        Ear::Deaf => None,
    }
}

/// Whether somebody listens, who drops what is given up as its time is over.
pub(crate) fn is_listening() -> bool {
    EAR.try_with(|ear| matches!(*ear.borrow(), Ear::Listening(_))).unwrap_or(false)
}

/// Says `words` to whoever listens.
pub(crate) fn say(words: impl FnOnce() -> Words) {
    let wanted = EAR.try_with(|ear| matches!(*ear.borrow(), Ear::Listening(None)));
    if wanted.is_ok_and(|wanted| wanted) {
        EAR.set(Ear::Listening(Some(words())));
    }
}

/// Whoever listened before goes on, also where a drop panics.
struct Restore(Ear);

impl Drop for Restore {
    fn drop(&mut self) {
        EAR.set(std::mem::replace(&mut self.0, Ear::Deaf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words { text: text.into(), unsent: false }
    }

    #[test]
    fn what_is_dropped_is_heard_by_whoever_drops_it_and_by_nobody_else() {
        say(|| unreachable!("nobody listens"));
        let heard = last_words(|| {
            say(|| words("the first"));
            say(|| unreachable!("enough was heard"));
        });
        assert_eq!(heard.as_deref(), Some("the first"));
        assert_eq!(last_words(|| ()), None);
    }

    #[test]
    fn what_is_dropped_knows_that_somebody_listens_before_and_after_it_has_said_something() {
        assert!(!is_listening());
        last_words(|| {
            assert!(is_listening());
            say(|| words("the first"));
            assert!(is_listening());
        });
        assert!(!is_listening());
    }

    #[test]
    fn who_listened_first_goes_on_after_one_that_listened_meanwhile() {
        let mut inner = None;
        let outer = last_words(|| {
            inner = last_words(|| say(|| words("within")));
            say(|| words("around"));
        });
        assert_eq!((inner.as_deref(), outer.as_deref()), (Some("within"), Some("around")));
    }
}
