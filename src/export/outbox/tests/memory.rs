//! The memory outbox, by example.

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::telemetry::Loss;

fn memory(outbox: Outbox) -> (Arc<Depot>, Arc<LossCounters>) {
    open(outbox, &SystemClock.into_source())
}

fn now() -> i64 {
    SystemClock.into_source().moment().wall
}

fn fresh(queue: u16, numbers: impl IntoIterator<Item = u128>) -> Chunk {
    let mut chunk = chunk(queue, numbers);
    chunk.accepted_at = now();
    chunk
}

#[test]
fn events_leave_in_the_order_of_acceptance_and_only_when_settled() {
    let (depot, losses) = memory(Outbox::memory());
    depot.accept(vec![fresh(0, 1..=3), fresh(1, 10..=11), fresh(0, 4..=5)], Vec::new()).unwrap();
    let first = depot.take(0, &Want { max_events: 4, ..ALL });
    assert_eq!(numbers(&first), [1, 2, 3, 4]);
    assert_eq!(numbers(&depot.take(0, &ALL)), [5]);
    assert!(depot.take(0, &ALL).is_empty());
    depot.settle(0, &tickets(&first[1..3]), Outcome::Again);
    assert_eq!(numbers(&depot.take(0, &ALL)), [2, 3]);
    depot.settle(0, &tickets(&first), Outcome::Delivered);
    let pending = depot.pending(0);
    assert_eq!((pending.events, pending.in_flight), (1, 1));
    assert_eq!(numbers(&depot.take(1, &ALL)), [10, 11]);
    assert_eq!(losses.read().total(), 0);
}

#[test]
fn a_full_outbox_drops_the_oldest_but_nothing_in_flight() {
    let (depot, losses) = memory(Outbox::memory().with_max_events(4));
    depot.accept(vec![fresh(0, 1..=4)], Vec::new()).unwrap();
    let sent = depot.take(0, &Want { max_events: 1, ..ALL });
    depot.accept(vec![fresh(0, 5..=6)], Vec::new()).unwrap();
    depot.settle(0, &tickets(&sent), Outcome::Again);
    assert_eq!(numbers(&depot.take(0, &ALL)), [1, 4, 5, 6]);
    assert_eq!(losses.read().count(Loss::OutboxFull), 2);
}

#[test]
fn a_full_outbox_may_refuse_the_newest_instead() {
    let (depot, losses) = memory(Outbox::memory().with_max_events(4).with_overflow(Overflow::DropNewest));
    depot.accept(vec![fresh(0, 1..=3), fresh(0, 4..=6)], Vec::new()).unwrap();
    assert_eq!(numbers(&depot.take(0, &ALL)), [1, 2, 3, 4]);
    assert_eq!(losses.read().count(Loss::OutboxFull), 2);
}
