//! The pipes of one connection to a broker: whom an arriving message is for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::{mpsc, oneshot};

use super::{packet::Packet, progress::Progress};

/// How many chunks may be under way at a time, in each direction.
pub(super) const WINDOW: u64 = 128;

/// The pipes that are open, or being opened.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Mutex<HashMap<u64, Slot>>,
}

/// What the table keeps of a pipe. Dropping it ends the pipe, once that has read what there is.
#[derive(Debug)]
struct Slot {
    arrivals: mpsc::Sender<Arrival>,
    opening: Option<oneshot::Sender<Result<Accepted, &'static str>>>,
    state: Arc<State>,
}

/// What a pipe reads.
#[derive(Debug)]
pub(super) enum Arrival {
    Chunk(u64, Bytes),
    Aside(u64, Bytes),
    End(u64),
}

/// What a server says of a pipe that it has accepted: its number there, and where its messages go.
#[derive(Debug)]
pub(super) struct Accepted {
    #[cfg_attr(not(feature = "rabbitmq"), allow(dead_code, reason = "over NATS, the place says it"))]
    pub(super) pipe: u64,
    pub(super) at: Option<String>,
}

/// What is known of a pipe beside what it reads, as of the last message.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) progress: Arc<Progress>,
    /// How many chunks the peer has used up.
    pub(super) taken: AtomicU64,
    /// Whoever waits for the peer to use up more.
    pub(super) writer: AtomicWaker,
    /// Whether anything has come since this was last asked.
    pub(super) heard: AtomicBool,
    /// Why the pipe is broken.
    pub(super) broken: OnceLock<&'static str>,
}

/// A pipe's place in the table, until this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) state: Arc<State>,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    table: Arc<Table>,
}

impl Table {
    /// Makes a place for one more pipe.
    pub(super) fn insert(self: &Arc<Self>) -> Entry {
        self.insert_opening(None)
    }

    /// The same for one whose peer has still to accept it, and says so through `opening`.
    pub(super) fn insert_opening(
        self: &Arc<Self>,
        opening: Option<oneshot::Sender<Result<Accepted, &'static str>>>,
    ) -> Entry {
        // Nobody is to write to a pipe by counting.
        let id = fastrand::u64(1..);
        // All the chunks of a window, and the end.
        let (sender, arrivals) = mpsc::channel(WINDOW as usize + 1);
        let state = Arc::<State>::default();
        self.slots().insert(id, Slot { arrivals: sender, opening, state: state.clone() });
        Entry { id, state, arrivals, table: self.clone() }
    }

    /// Hands a message to the pipe it is for, with the place that its sender listens at. False if there is no such
    /// pipe, or none any more.
    pub(super) fn deliver(&self, id: u64, packet: Packet, from: Option<&str>) -> bool {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&id) else { return false };
        slot.state.heard.store(true, Relaxed);
        let arrival = match packet {
            Packet::Data { number, chunk } => Arrival::Chunk(number, chunk),
            Packet::Aside { number, message } => Arrival::Aside(number, message),
            Packet::End { sent } => Arrival::End(sent),
            Packet::Taken { chunks } => {
                slot.state.taken.fetch_max(chunks, Relaxed);
                slot.state.writer.wake();
                return true;
            }
            Packet::Accept { pipe } => {
                if let Some(opening) = slot.opening.take() {
                    // Nobody waits any more where that fails; the entry goes with it.
                    let _ = opening.send(Ok(Accepted { pipe, at: from.map(str::to_owned) }));
                }
                return true;
            }
            Packet::Alive { .. } => return true,
            Packet::Reset | Packet::Open { .. } => {
                end(&mut slots, id, "the peer has given the connection up");
                return true;
            }
        };
        if slot.arrivals.try_send(arrival).is_err() {
            end(&mut slots, id, "the peer sends more than it may");
        }
        true
    }

    /// Notes that chunk `number` of a pipe, and all later ones, reached nobody.
    pub(super) fn lose(&self, id: u64, number: u64) {
        if let Some(slot) = self.slots().remove(&id) {
            slot.state.progress.lose(number);
            slot.end("nobody listens there");
        }
    }

    /// Breaks one pipe.
    pub(super) fn end(&self, id: u64, why: &'static str) {
        end(&mut self.slots(), id, why);
    }

    /// Breaks all pipes.
    pub(super) fn end_all(&self, why: &'static str) {
        let slots = std::mem::take(&mut *self.slots());
        slots.into_values().for_each(|slot| slot.end(why));
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(slots: &mut HashMap<u64, Slot>, id: u64, why: &'static str) {
    if let Some(slot) = slots.remove(&id) {
        slot.end(why);
    }
}

impl Slot {
    fn end(self, why: &'static str) {
        // The first reason stands.
        let _ = self.state.broken.set(why);
        self.state.writer.wake();
        if let Some(opening) = self.opening {
            let _ = opening.send(Err(why));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.slots().remove(&self.id);
    }
}
