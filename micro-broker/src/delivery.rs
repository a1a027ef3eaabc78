//! One event in hand: to be acknowledged, handed back, or put aside.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderName, HeaderValue};

use crate::confirm::Confirm;
use crate::error::Error;
use crate::event::Event;
use crate::member::Hand;
use crate::policy::Policy;
use crate::settle::Settle;
use crate::subscribe::Subscribe;
use crate::topic::DEAD_PREFIX;

/// Header of a dead letter: why it was put aside.
pub const DEAD_REASON: HeaderName = HeaderName::from_static("micro-dead-reason");
/// Header of a dead letter: how many times it was tried.
pub const DEAD_ATTEMPTS: HeaderName = HeaderName::from_static("micro-dead-attempts");
/// Header of a dead letter: the topic it was published to.
pub const DEAD_TOPIC: HeaderName = HeaderName::from_static("micro-dead-topic");
/// Header of a dead letter: the group that could not handle it.
pub const DEAD_GROUP_NAME: HeaderName = HeaderName::from_static("micro-dead-group");

/// How long a dead letter may take to be confirmed before its event is handed back instead.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of an event that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is delivered again, after this long.
    Again(Duration),
    /// It went to the dead letters.
    Dead,
}

/// One event in hand. Dropped unsettled, it is handed back and delivered again.
#[derive(Debug)]
pub struct Delivery {
    // `None` only once settled: every method that takes it consumes the delivery.
    event: Option<Event>,
    origin: Origin,
}

/// Where an event came from, and what becomes of it there. A delivery from a queue of this process holds one thing
/// that others hold, and not two: each costs it two writes that others must see.
#[derive(Debug)]
pub(crate) enum Origin {
    Queue(Arc<Hand<Policy>>),
    Backend(Arc<dyn Settle>, Arc<Policy>),
}

impl Delivery {
    pub(crate) fn new(event: Event, origin: Origin) -> Self {
        Self { event: Some(event), origin }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        self.event.as_ref().expect("only the methods that consume a delivery take its event")
    }

    /// Says that the event was handled. It does not come again once the broker has heard it, for which
    /// [`Broker::flush`](crate::Broker::flush) waits.
    ///
    /// # Errors
    ///
    /// When the broker cannot hear it: the event will be delivered again.
    pub fn ack(mut self) -> Confirm {
        self.event = None;
        self.settle().ack()
    }

    /// Says that the event was not handled, and why. It is delivered again after the subscription's back-off; after
    /// the last attempt it goes to the dead letters with the reason.
    ///
    /// # Errors
    ///
    /// When the broker cannot hear it: the event will be delivered again.
    pub async fn nack(self, reason: impl Into<String>) -> Result<Fate, Error> {
        if self.event().attempt >= self.policy().subscribe.attempts {
            return self.reject(reason).await;
        }
        self.again().await
    }

    /// Puts the event aside at once, with the reason: it is published to its topic with [`DEAD_PREFIX`] before it is
    /// acknowledged, so that it is never in nothing. A dead letter that fails again stays where dead letters go. Where an
    /// event leaves no room in a message for what its letter adds, the reason is cut, or nothing is added.
    ///
    /// # Errors
    ///
    /// When the broker cannot hear it: the event will be delivered again.
    pub async fn reject(mut self, reason: impl Into<String>) -> Result<Fate, Error> {
        let reason = reason.into();
        let event = self.event();
        let letters = [Telling::Everything, Telling::Why, Telling::Nothing]
            .map(|telling| dead_letter(event, &reason, &self.policy().subscribe, telling));
        let (topic, id, attempt) = (event.topic.clone(), event.id.clone(), event.attempt);
        // If this future is dropped while the dead letter is on its way, `self` hands the event back.
        if let Err(error) = self.put_aside(letters).await {
            tracing::warn!(%topic, %id, %error, "a dead letter could not be published; its event is handed back");
            return self.again().await;
        }
        tracing::warn!(%topic, %id, attempt, reason, "event put aside among the dead letters");
        self.event = None;
        self.settle().ack().await.map(|()| Fate::Dead)
    }

    /// Publishes the first of `letters` that the backend does not refuse, as it does what is too large.
    async fn put_aside(&self, letters: [Event; 3]) -> Result<(), Error> {
        let mut put = Ok(());
        for letter in letters {
            put = self.policy().letters.put(letter, DEAD_LETTER_TIMEOUT).await;
            if !matches!(put, Err(Error::Invalid { .. })) {
                break;
            }
        }
        put
    }

    /// Hands the event back to come again after the back-off, whatever its number of attempts.
    async fn again(mut self) -> Result<Fate, Error> {
        let event = self.event.take().expect("only the methods that consume a delivery take its event");
        let after = self.policy().subscribe.backoff.wait(event.attempt, fastrand::f64());
        self.settle().nack(event, after).await.map(|()| Fate::Again(after))
    }

    /// Why the event must not be handed to a handler, if so.
    pub(crate) fn unfit(&self) -> Option<String> {
        let (event, attempts) = (self.event(), self.policy().subscribe.attempts);
        if event.attempt > attempts {
            Some(format!("delivered {} times without an answer", event.attempt - 1))
        } else if event.remaining(SystemTime::now()).is_some_and(|left| left.is_zero()) {
            Some("its deadline passed before it was handled".to_owned())
        } else {
            None
        }
    }

    pub(crate) fn settle(&self) -> &dyn Settle {
        match &self.origin {
            Origin::Queue(hand) => &**hand,
            Origin::Backend(settle, _) => &**settle,
        }
    }

    fn policy(&self) -> &Policy {
        match &self.origin {
            Origin::Queue(hand) => hand.policy(),
            Origin::Backend(_, policy) => policy,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.settle().release(event);
        }
    }
}

/// How much a dead letter says beside what its event did.
#[derive(Clone, Copy, PartialEq)]
enum Telling {
    Everything,
    /// The beginning of the reason.
    Why,
    Nothing,
}

/// The event as it is published to the dead letters. Its id stays, so it can be traced, deduplicated and sent again.
fn dead_letter(event: &Event, reason: &str, subscribe: &Subscribe, telling: Telling) -> Event {
    let mut letter = event.clone();
    letter.attempt = 0;
    // The deadline was for handlers; a dead letter is for people.
    letter.headers.remove(crate::event::DEADLINE);
    let first = !letter.headers.contains_key(&DEAD_REASON) && !event.topic.starts_with(DEAD_PREFIX);
    if first {
        letter.topic = format!("{DEAD_PREFIX}{}", event.topic).into();
    }
    match telling {
        Telling::Everything => {
            if first {
                letter.headers.insert(DEAD_TOPIC, readable(&event.topic, LONGEST));
                if let Some(group) = &subscribe.group {
                    letter.headers.insert(DEAD_GROUP_NAME, readable(group, LONGEST));
                }
            }
            letter.headers.insert(DEAD_REASON, readable(reason, LONGEST));
            letter.headers.insert(DEAD_ATTEMPTS, HeaderValue::from(event.attempt));
        }
        Telling::Why => drop(letter.headers.insert(DEAD_REASON, readable(reason, BRIEF))),
        Telling::Nothing => {}
    }
    letter
}

/// How many characters a header of a dead letter has at most, and how many where there is little room.
const LONGEST: usize = 1024;
const BRIEF: usize = 32;

/// Any text as a header value of at most so many characters: what a header cannot hold becomes a question mark.
fn readable(text: &str, most: usize) -> HeaderValue {
    let plain: String =
        text.chars().take(most).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    HeaderValue::from_str(&plain).unwrap_or_else(|_| HeaderValue::from_static("?"))
}
