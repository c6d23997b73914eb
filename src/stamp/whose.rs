//! Whose stamp a log carries that comes by the processors of several `Sessions` on one provider: that of the first one
//! registered, its user included, or with no user where that one has none. Beside its id another's user would stand for
//! nobody's session.
//!
//! The SDK gives one record to all processors of a provider, one after the other on one thread. So whoever is done with a
//! record notes that, and who comes by the same record next leaves it as it is. A processor that logs in between hides the
//! note; then the next one takes what it finds for the application's own.
//!
//! Where there never was more than one `Sessions` with log processors, a log pays one relaxed load.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry_sdk::logs::SdkLogRecord;

use super::built::{Built, Provider};
use crate::lifecycle::Core;
use crate::semconv::SESSION_ID;

/// A log processor, as far as the stamps of others go.
#[derive(Debug)]
pub(super) struct Whose {
    core: usize,
    provider: Provider,
}

impl Whose {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        let core = Arc::as_ptr(core).addr();
        let first = FIRST.compare_exchange(0, core, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err_and(|first| first != core) {
            SEVERAL.store(true, Ordering::Release);
        }
        Self { core, provider: Provider::of_new_processor() }
    }

    /// The provider is being built, and comes by all of its processors.
    pub(super) fn provider_is_built(&self) {
        self.provider.is_built();
    }

    /// Whether other sessions on this provider are done with this very record. One without an id is another one, which lies
    /// where theirs lay and which they have not seen.
    pub(super) fn is_of_others(&self, record: &SdkLogRecord) -> bool {
        let is_of = |done: Done| {
            done.core != self.core && done.record == place(record) && Some(done.built) == self.provider.built()
        };
        DONE.get().is_some_and(is_of) && record.attributes_iter().any(|(key, _)| key.as_str() == SESSION_ID)
    }

    /// These sessions are done with a record.
    pub(super) fn done(&self, record: &SdkLogRecord) {
        DONE.set(self.provider.built().map(|built| Done { record: place(record), built, core: self.core }));
    }
}

/// Whether there are `Sessions` that may come by one record.
#[inline]
pub(super) fn are_several() -> bool {
    SEVERAL.load(Ordering::Relaxed)
}

/// The record that was stamped last on a thread.
#[derive(Debug, Clone, Copy)]
struct Done {
    record: usize,
    built: Built,
    core: usize,
}

fn place(record: &SdkLogRecord) -> usize {
    std::ptr::from_ref(record).addr()
}

/// The first `Sessions` that had a log processor.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static SEVERAL: AtomicBool = AtomicBool::new(false);

thread_local! {
    static DONE: Cell<Option<Done>> = const { Cell::new(None) };
}
