//! When a provider was built, which tells its processors from those of others: all of them are made before, and told of the
//! build one after the other on one thread.
//!
//! Where the processors of two providers are made first, and then both are built on one thread, they count alike.

use std::cell::Cell;

use crate::sync::{Mutex, ThreadId, this_thread};

/// On this thread, after so many processors had been made there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Built {
    thread: ThreadId,
    made: u64,
}

/// When the provider of a processor was built.
#[derive(Debug)]
pub(super) struct Provider(Mutex<Option<Built>>);

impl Provider {
    /// That of a processor that is made now.
    pub(super) fn of_new_processor() -> Self {
        MADE.set(MADE.get() + 1);
        Self(Mutex::default())
    }

    /// It is being built, and comes by all of its processors. Told last counts: whoever made the processor may have told it
    /// before.
    pub(super) fn is_built(&self) {
        *self.0.lock() = Some(Built { thread: this_thread(), made: MADE.get() });
    }

    /// None if the processor was not told.
    pub(super) fn built(&self) -> Option<Built> {
        *self.0.lock()
    }
}

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
}
