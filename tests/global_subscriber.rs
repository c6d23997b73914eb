//! What is traced by threads that end: those of a process-wide subscriber may do so at any time.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod support;

use std::cell::RefCell;

use opentelemetry::Context;
use opentelemetry::trace::{Span as _, Tracer as _};
use support::Rig;
use support::probes::as_the_thread_ends;
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

#[test]
fn a_thread_that_traces_for_the_first_time_as_it_ends_takes_nothing_down() {
    let rig = Rig::new();
    let subscriber = tracing::Dispatch::new(registry().with(rig.sessions.layer()));
    as_the_thread_ends(move || {
        tracing::dispatcher::with_default(&subscriber, || {
            info!("the only words");
            info_span!("scope", session.id = "chat-1").in_scope(|| info!("the last ones"));
        });
    });
    assert!(rig.sessions.current().is_some());
}

#[test]
fn a_span_that_starts_as_its_thread_ends_takes_nothing_down_where_scopes_are_in_use_and_panics_are_traced() {
    let rig = Rig::batched(|builder| builder);
    let subscriber = tracing::Dispatch::new(registry().with(rig.sessions.layer()));
    tracing::dispatcher::with_default(&subscriber, || drop(info_span!("scope", session.id = "chat-1")));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        hook(panic);
    }));
    let tracer = rig.tracer();
    as_the_thread_ends(move || {
        tracing::dispatcher::with_default(&subscriber, || tracer.start_with_context("late", &Context::new()).end());
    });
    assert_eq!(rig.span_id("late").as_deref(), Some(rig.sessions.current().unwrap().id()));
}
