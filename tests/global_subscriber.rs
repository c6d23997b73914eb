//! The layer in the process-wide subscriber, whose threads may end at any time.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::cell::RefCell;

use support::Rig;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

/// Uses `tracing` as it goes.
struct LastWords(Option<tracing::span::EnteredSpan>);

impl Drop for LastWords {
    fn drop(&mut self) {
        info!("last words");
        drop(self.0.take());
    }
}

thread_local! {
    static LAST_WORDS: RefCell<LastWords> = const { RefCell::new(LastWords(None)) };
}

#[test]
fn a_thread_that_ends_may_still_trace() {
    let rig = Rig::new();
    registry().with(rig.sessions.layer()).init();
    std::thread::spawn(|| {
        // First in, last out: what the layer keeps for the thread is gone before it.
        LAST_WORDS.with(|_| ());
        let entered = info_span!("scope", session.id = "chat-1").entered();
        info!("first words");
        LAST_WORDS.with(|words| words.borrow_mut().0 = Some(entered));
    })
    .join()
    .unwrap();
    assert!(rig.sessions.current().is_some());
}
