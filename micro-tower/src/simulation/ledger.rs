//! What happened to every call, and what must never have.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

/// No bytes are under way for longer than this, unless a node is frozen.
pub(super) const LONGEST_WAY: Duration = Duration::from_millis(200);

/// One call, by what is known of it.
#[derive(Clone, Debug)]
struct Call {
    repeatable: bool,
    begun: Instant,
    /// When its caller had an answer, or gave up.
    over: Option<Instant>,
    /// Which nodes began to carry it out, and when.
    carried_out: Vec<(usize, Instant)>,
}

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered { node: usize },
    Failed(String),
    GaveUp,
}

/// What is written down of a run. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    calls: BTreeMap<u64, Call>,
    /// Until when a node was last frozen: what it gets then may be old.
    thawed: BTreeMap<usize, Instant>,
    answers: BTreeMap<usize, usize>,
    failed: Vec<(u64, Instant, String)>,
    wrong: Vec<String>,
    busy: BTreeMap<usize, usize>,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub(super) fn begin(&self, call: u64, repeatable: bool) {
        let call_of = Call { repeatable, begun: Instant::now(), over: None, carried_out: Vec::new() };
        self.book().calls.insert(call, call_of);
    }

    /// A node begins to carry a call out; the guard lives as long as it does.
    pub(super) fn carry_out(&self, call: u64, node: usize) -> Busy {
        let mut book = self.book();
        let now = Instant::now();
        *book.busy.entry(node).or_default() += 1;
        let thawed = book.thawed.get(&node).copied();
        if let Some(known) = book.calls.get_mut(&call) {
            known.carried_out.push((node, now));
            let known = known.clone();
            let frozen = thawed.is_some_and(|thawed| thawed + LONGEST_WAY >= known.begun);
            match known.over {
                Some(over) if now > over + LONGEST_WAY && !frozen => {
                    let late = now - over;
                    book.wrong.push(format!("call {call} reached node {node} {late:?} after it was over"));
                }
                _ => {}
            }
            if !known.repeatable && known.carried_out.len() > 1 {
                book.wrong.push(format!("call {call} was carried out by {:?}", known.carried_out));
            }
        } else {
            book.wrong.push(format!("node {node} was asked for call {call}, which nobody made"));
        }
        Busy { ledger: self.clone(), node }
    }

    pub(super) fn end(&self, call: u64, end: End, limit: Duration) {
        let mut book = self.book();
        let now = Instant::now();
        let Some(known) = book.calls.get_mut(&call) else { return };
        known.over = Some(now);
        let known = known.clone();
        let took = now - known.begun;
        if took > limit + Duration::from_millis(50) {
            book.wrong.push(format!("call {call} took {took:?} of {limit:?}"));
        }
        match end {
            End::Answered { node } => {
                *book.answers.entry(node).or_default() += 1;
                if !known.carried_out.iter().any(|(by, _)| *by == node) {
                    book.wrong.push(format!("call {call} has an answer of node {node}, which never saw it"));
                }
            }
            End::Failed(why) => book.failed.push((call, now, why)),
            End::GaveUp => {}
        }
    }

    pub(super) fn thaw(&self, node: usize) {
        self.book().thawed.insert(node, Instant::now());
    }

    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.book().wrong.push(what.into());
    }

    /// Calls that are being carried out.
    pub(super) fn busy(&self) -> usize {
        self.book().busy.values().sum()
    }

    pub(super) fn busy_at(&self, node: usize) -> usize {
        self.book().busy.get(&node).copied().unwrap_or_default()
    }

    /// Repeatable calls that failed and began within `from..`, with the reason.
    pub(super) fn failures(&self, from: Instant) -> Vec<String> {
        let book = self.book();
        let repeatable =
            |call: &u64| book.calls.get(call).filter(|call| call.repeatable && call.begun >= from);
        let told = book.failed.iter().filter_map(|(call, at, why)| {
            let known = repeatable(call)?;
            Some(format!("call {call}, {:?} after it began: {why}", *at - known.begun))
        });
        told.collect()
    }

    /// How many answers each node gave so far.
    pub(super) fn answers(&self) -> BTreeMap<usize, usize> {
        self.book().answers.clone()
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        self.book().wrong.clone()
    }

    /// The whole run in one text, the same for the same seed.
    pub(super) fn transcript(&self, from: Instant) -> String {
        let book = self.book();
        let mut text = String::new();
        for (number, call) in &book.calls {
            let at = |instant: Instant| (instant - from).as_micros();
            let carried_out: Vec<_> = call.carried_out.iter().map(|(node, when)| (node, at(*when))).collect();
            let _ = writeln!(text, "{number} {} {:?} {carried_out:?}", at(call.begun), call.over.map(at));
        }
        text
    }
}

/// A node is at work on a call.
pub(super) struct Busy {
    ledger: Ledger,
    node: usize,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(busy) = self.ledger.book().busy.get_mut(&self.node) {
            *busy -= 1;
        }
    }
}
