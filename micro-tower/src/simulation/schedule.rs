//! What goes wrong in a run, and when: made of a seed, readable, and the same each time.

use std::{fmt, time::Duration};

use super::{
    network::Weather,
    node::{Mood, NEAR, WELL},
    registry::Health,
};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    Kill,
    Terminate,
    Start { same_place: bool },
    Weather(Weather),
    Reset,
    Mood(Mood),
    Registry(Health),
}

/// Something that happens at a time, to a node where it is about one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) node: usize,
    pub(super) event: Event,
}

/// A run: how many nodes, and everything that happens to them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    /// Whether one trouble is over, and a while has passed, before the next begins.
    pub(super) gentle: bool,
    pub(super) steps: Vec<Step>,
    pub(super) end: Duration,
}

impl Schedule {
    /// Every other seed is gentle.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let gentle = seed.is_multiple_of(2);
        let nodes = random.usize(3..7);
        let (mut steps, mut at) = (Vec::new(), Duration::from_secs(2));
        for _ in 0..random.usize(3..9) {
            let (trouble, over) = trouble(&mut random, nodes, at);
            steps.extend(trouble);
            at = if gentle { over + Duration::from_secs(6) } else { at + millis(random.u64(0..3000)) };
        }
        steps.sort_by_key(|step| step.at);
        let last = steps.iter().map(|step| step.at).max().unwrap_or(at);
        Self { seed, nodes, gentle, steps, end: last + Duration::from_secs(2) }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Something that goes wrong at `at`, and is mended; and when it is.
fn trouble(random: &mut fastrand::Rng, nodes: usize, at: Duration) -> (Vec<Step>, Duration) {
    let node = random.usize(0..nodes);
    let over = at + millis(random.u64(100..5000));
    let (begin, end) = match random.u32(0..10) {
        0 | 1 => (Event::Kill, Event::Start { same_place: random.bool() }),
        2 => (Event::Terminate, Event::Start { same_place: random.bool() }),
        3 => (Event::Weather(Weather::Frozen), Event::Weather(Weather::Clear(NEAR))),
        4 => (Event::Weather(Weather::Hole), Event::Weather(Weather::Clear(NEAR))),
        5 => {
            let far = millis(random.u64(5..100));
            (Event::Weather(Weather::Clear(far)), Event::Weather(Weather::Clear(NEAR)))
        }
        6 => (Event::Reset, Event::Reset),
        7 => (Event::Mood(mood(random)), Event::Mood(WELL)),
        8 => (Event::Registry(Health::Fails), Event::Registry(Health::Well)),
        _ => (Event::Registry(Health::Hangs), Event::Registry(Health::Well)),
    };
    (vec![Step { at, node, event: begin }, Step { at: over, node, event: end }], over)
}

fn mood(random: &mut fastrand::Rng) -> Mood {
    match random.u32(0..5) {
        0 => Mood::Refuses(1.0),
        1 => Mood::Refuses(random.f64()),
        2 => Mood::Resets(random.f64()),
        3 => Mood::Hangs,
        _ => Mood::Answers(millis(random.u64(20..500))),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = if self.gentle { "one trouble at a time" } else { "any number of troubles at a time" };
        writeln!(f, "seed {}: {} nodes, {manner}", self.seed, self.nodes)?;
        for Step { at, node, event } in &self.steps {
            match event {
                Event::Registry(_) => writeln!(f, "  {at:>9.3?}  {event:?}")?,
                _ => writeln!(f, "  {at:>9.3?}  node {node}: {event:?}")?,
            }
        }
        write!(f, "  {:>9.3?}  all is well again", self.end)
    }
}
