//! Delivery against a server that misbehaves.

use std::time::Duration;

use self::rig::{Told, rig};
use self::server::Answer;
use crate::telemetry::Loss;

mod rig;
#[path = "../../../../tests/support/fault_server.rs"]
mod server;

#[test]
fn events_arrive_once_and_in_order() {
    let mut rig = rig(|_| ());
    rig.accept(3);
    rig.settle();
    rig.accept(2);
    rig.settle();
    assert_eq!(rig.requests(), [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(rig.pending(), 0);
    assert_eq!(rig.told(), [Told::Delivered(vec![0, 1, 2], 200), Told::Delivered(vec![3, 4], 200)]);
    assert_eq!(rig.protocol.replies.lock().as_slice(), [b"ok", b"ok"]);
}

#[test]
fn a_failure_is_retried_after_the_backoff_and_nothing_newer_goes_first() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::status(500), Answer::status(503)]);
    rig.accept(2);
    rig.settle();
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.requests(), [[0, 1]], "the backoff holds newer events back");
    rig.advance(Duration::from_millis(500));
    rig.advance(Duration::from_secs(1));
    assert_eq!(rig.requests(), [vec![0, 1], vec![0, 1, 2], vec![0, 1, 2]]);
    assert_eq!(rig.pending(), 0);
    assert_eq!(
        rig.told(),
        [
            Told::Failed(vec![0, 1], Some(500), true),
            Told::Failed(vec![0, 1, 2], Some(503), true),
            Told::Delivered(vec![0, 1, 2], 200),
        ]
    );
}

#[test]
fn an_event_that_is_not_retried_is_dropped_and_counted() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::status(422)]);
    rig.accept(2);
    rig.settle();
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.requests(), [vec![0, 1], vec![2]]);
    assert_eq!(rig.lost(Loss::EventRejected), 2);
    assert_eq!(rig.told(), [Told::Failed(vec![0, 1], Some(422), false), Told::Delivered(vec![2], 200)]);
}
