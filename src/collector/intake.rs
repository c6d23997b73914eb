//! Where the connections put what they received and the user looks at it.
//!
//! The lock is held for storing and for taking a snapshot (a reference count), never while the user's predicate runs.
//! A snapshot that is still held when the next batch arrives makes that batch copy the list of references, not the
//! records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Source;

use super::contents::Contents;
use super::decode::Batch;
use super::opentracker::OpentrackerRecord;
use super::refusals::Refusal;
use super::snowplow::{self, Verdict};
use super::stream::Stream;

#[derive(Debug)]
pub(super) struct Intake {
    contents: Mutex<Arc<Contents>>,
    arrived: Condvar,
    closed: AtomicBool,
    /// Bodies being read or decoded at one time: with the body limit this bounds the memory of all requests together.
    pub(super) in_flight: Semaphore,
    /// The limit for a body, before and after decompression.
    pub(super) max_body_bytes: usize,
    /// The time for a body.
    pub(super) body_timeout: Duration,
    pub(super) clock: Source,
    pub(super) snowplow: snowplow::Settings,
}

impl Intake {
    pub(super) fn new(
        contents: Contents,
        max_body_bytes: usize,
        body_timeout: Duration,
        clock: Source,
        snowplow: snowplow::Settings,
    ) -> Self {
        Self {
            contents: Mutex::new(Arc::new(contents)),
            arrived: Condvar::new(),
            closed: AtomicBool::new(false),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            max_body_bytes,
            body_timeout,
            clock,
            snowplow,
        }
    }

    pub(super) fn accept(&self, batch: Batch) {
        self.change(|contents| contents.accept(batch));
    }

    pub(super) fn accept_snowplow(&self, verdicts: Vec<Verdict>) {
        self.change(|contents| contents.accept_snowplow(verdicts));
    }

    pub(super) fn reset_snowplow(&self) {
        self.change(Contents::reset_snowplow);
    }

    pub(super) fn accept_opentracker(&self, event: OpentrackerRecord) {
        self.change(|contents| contents.accept_opentracker(event));
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.change(|contents| contents.refuse(refusal));
    }

    pub(super) fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.lock()))
    }

    /// Nothing will arrive any more: nobody may wait for it.
    pub(super) fn close(&self) {
        self.raise(&self.closed);
    }

    /// Raises a flag that waiting threads look at.
    pub(super) fn raise(&self, flag: &AtomicBool) {
        // Under the lock, or a thread between its look at the flag and its wait would miss the call.
        let contents = self.lock();
        flag.store(true, Ordering::Release);
        drop(contents);
        self.arrived.notify_all();
    }

    /// Asks `ready` now and after every arrival until it agrees or `expired` is raised; once more after that.
    pub(super) fn wait(&self, expired: &AtomicBool, mut ready: impl FnMut(&Stream) -> bool) -> bool {
        let over = || expired.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire);
        loop {
            let last = over();
            let stream = self.stream();
            if ready(&stream) {
                return true;
            }
            if last {
                return false;
            }
            let seen = stream.generation();
            drop(stream);
            let unchanged = |contents: &mut Arc<Contents>| contents.generation() == seen && !over();
            drop(self.arrived.wait_while(self.lock(), unchanged).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(Arc::make_mut(&mut self.lock()));
        self.arrived.notify_all();
    }

    /// A panic elsewhere leaves whole records behind: everything is stored after it is built.
    fn lock(&self) -> MutexGuard<'_, Arc<Contents>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_IN_FLIGHT: usize = 16;
