//! Law 1: id, previous id, start, index and user are published together.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::*;
use otel_session::Sessions;
use otel_session::testing::ManualClock;

#[test]
fn law_1_no_reader_sees_a_mix_of_two_sessions() {
    // Each id tells the index, and each user the index at which it was set: a mix would not fit together.
    let clock = ManualClock::new(epoch());
    let next = std::sync::atomic::AtomicU64::new(1);
    let sessions = Sessions::builder()
        .with_clock(clock.clone())
        .with_id_generator(move || format!("session-{}", next.fetch_add(1, Ordering::SeqCst)))
        .build()
        .unwrap();
    sessions.rotate();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let session = sessions.current().unwrap();
                    assert_eq!(session.id(), format!("session-{}", session.index()));
                    let previous = session.index() - 1;
                    assert_eq!(
                        session.previous_id().map(str::to_owned),
                        (previous > 0).then(|| format!("session-{previous}"))
                    );
                    assert_eq!(session.started_at(), epoch() + MINUTE * u32::try_from(previous).unwrap());
                }
            });
        }
        for _ in 0..2_000 {
            clock.suspend(MINUTE);
            sessions.rotate();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(sessions.losses().count(otel_session::Loss::InvalidId), 0);
}

#[test]
fn law_1_a_snapshot_stays_what_it_was() {
    let rig = Rig::with(|builder| builder.with_user_id("ada").with_installation_id("here"));
    let before = rig.sessions.record_activity();
    let copy = before;
    rig.sessions.set_user_id(Some("bob"));
    let after = rig.sessions.current().unwrap();
    rig.sessions.rotate();
    assert_eq!(before, copy);
    assert_eq!((before.user_id(), after.user_id()), (Some("ada"), Some("bob")));
    assert_eq!((before.id(), before.started_at(), before.index()), (after.id(), after.started_at(), after.index()));
    assert_eq!(after.installation_id(), Some("here"));
}

#[test]
fn law_1_reading_creates_nothing_and_extends_nothing() {
    let rig = Rig::new();
    assert_eq!(rig.sessions.current(), None);
    assert!(rig.lines().is_empty());
    let session = rig.sessions.record_activity();
    for _ in 0..30 {
        assert_eq!(rig.sessions.current(), Some(session));
        rig.clock.advance(MINUTE);
    }
    assert_eq!(rig.sessions.current(), None);
}
