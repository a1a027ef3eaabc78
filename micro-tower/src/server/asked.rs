//! A waker that notes that it was called, for what is polled inside a task beside other things.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, SeqCst},
        },
    },
    task::{Wake, Waker},
};

/// What one part of a task is polled with.
pub(super) struct Part {
    asked: Arc<Asked>,
    waker: Waker,
}

impl Default for Part {
    fn default() -> Self {
        let asked = Arc::<Asked>::default();
        Self { waker: asked.clone().into(), asked }
    }
}

impl Part {
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }
}

/// Whether something asked to be polled since it was last looked for. Nothing has been yet, which is to be.
pub(super) struct Asked {
    is: AtomicBool,
    /// Whether the task is looking at it just now, and need not be told.
    seen: AtomicBool,
    task: Mutex<Waker>,
}

impl Default for Asked {
    fn default() -> Self {
        let task = Mutex::new(Waker::noop().clone());
        Self { is: AtomicBool::new(true), seen: AtomicBool::new(false), task }
    }
}

impl Asked {
    /// From now on `task` is told.
    pub(super) fn tell(&self, task: &Waker) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(task);
    }

    /// Whether it was asked for, which is forgotten. Mostly it was not, and to look takes no locked instruction.
    pub(super) fn take(&self) -> bool {
        self.is.load(Acquire) && self.is.swap(false, SeqCst)
    }

    /// Whether it was asked for.
    pub(super) fn is(&self) -> bool {
        self.is.load(Acquire)
    }

    /// Until [`unsee`](Self::unsee) the task is not told, as it looks by itself.
    pub(super) fn see(&self) {
        self.seen.store(true, SeqCst);
    }

    /// The task is told again. Whether it was asked for in between, of which it was not.
    pub(super) fn unsee(&self) -> bool {
        self.seen.store(false, SeqCst);
        self.is.load(SeqCst)
    }
}

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is told: it looks at this as soon as it is.
        self.is.store(true, SeqCst);
        if !self.seen.load(SeqCst) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}
