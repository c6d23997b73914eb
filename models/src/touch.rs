//! Signals that race: for the first session, and at the deadline of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use loom::thread::spawn;

use crate::rig::{Rig, TIMEOUT, Told, explore};
use crate::session::{EndReason, IdSource};

pub(crate) fn two_threads_that_touch_an_expired_session_rotate_it_once() {
    explore(None, || touch_an_expired_session(2));
}

pub(crate) fn three_threads_that_touch_an_expired_session_rotate_it_once() {
    explore(4, || touch_an_expired_session(3));
}

fn touch_an_expired_session(threads: usize) {
    let (rig, old) = Rig::started();
    rig.clock.move_to(TIMEOUT);
    let ids = touch_at_once(&rig, threads);
    assert_ne!(ids[0], old);
    assert!(ids.iter().all(|id| *id == ids[0]), "everybody gets the new id");
    assert_eq!(rig.counts(), (2, 1));
    assert_eq!(rig.current.peek().expect("live").id(), ids[0]);
}

pub(crate) fn threads_that_race_to_be_first_share_one_session() {
    explore(4, || {
        let rig = Rig::new();
        let ids = touch_at_once(&rig, 3);
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(rig.counts(), (1, 0));
    });
}

/// Either the signal extended the session, and it goes on; or the end came first, and the signal is in a linked next one.
pub(crate) fn a_touch_at_the_deadline_extends_the_session_or_starts_the_next() {
    explore(None, || {
        let (rig, old) = Rig::started();
        rig.clock.move_to(TIMEOUT - 1);
        let keeper = spawn({
            let rig = rig.clone();
            move || {
                rig.clock.move_to(TIMEOUT);
                rig.current.end_if_due();
            }
        });
        let touched = rig.touch();
        let peeked = rig.current.peek().map(|session| session.id().to_owned());
        keeper.join().expect("no panic");
        match rig.counts() {
            (1, 0) => assert_eq!(touched, old),
            (2, 1) => {
                assert_ne!(touched, old);
                let transitions = rig.transitions();
                let ended = transitions.iter().find_map(|it| it.transition.ended()).expect("one end");
                assert_eq!(ended.reason(), EndReason::Inactivity);
                assert_eq!(transitions.last().and_then(|it| it.transition.started()).expect("one").id(), touched);
            }
            counts => panic!("{counts:?}"),
        }
        assert_eq!(peeked.as_deref(), Some(touched));
    });
}

/// Both read the clock before they act: the late one decides under the lock that the session is over while the early one
/// still extends it.
pub(crate) fn a_signal_before_the_deadline_and_one_after_it_leave_no_session_without_an_end() {
    explore(None, || {
        let (rig, old) = Rig::started();
        rig.clock.move_to(TIMEOUT - 1);
        let late = spawn({
            let rig = rig.clone();
            move || {
                rig.clock.move_to(TIMEOUT);
                rig.touch()
            }
        });
        let early = rig.touch();
        let late = late.join().expect("no panic");
        match rig.counts() {
            (1, 0) => assert_eq!((early, late), (old, old)),
            (2, 1) => assert!(early == late && late != old),
            counts => panic!("{counts:?}"),
        }
    });
}

pub(crate) fn a_slow_id_generator_is_called_once_and_everybody_waits_for_it() {
    explore(4, || {
        let calls = Arc::new(AtomicU64::new(0));
        let ids = IdSource::User(Arc::new({
            let calls = calls.clone();
            move || {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                loom::thread::yield_now();
                format!("given {call}")
            }
        }));
        let rig = Rig::with(ids, Told::default());
        let ids = touch_at_once(&rig, 3);
        assert_eq!(ids, ["given 0"; 3]);
        assert_eq!(rig.counts(), (1, 0));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    });
}

/// The ids that this many threads get that touch at once.
fn touch_at_once(rig: &Arc<Rig>, threads: usize) -> Vec<&'static str> {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let rig = rig.clone();
            spawn(move || rig.touch())
        })
        .collect();
    let mut ids = vec![rig.touch()];
    ids.extend(others.into_iter().map(|other| other.join().expect("no panic")));
    ids
}
