//! Settings that cannot work, the age limit, and the memory that an outage takes.

use super::*;
use crate::telemetry::Loss;
use crate::testing::ManualClock;

fn refused(outbox: Outbox) -> String {
    let losses = Arc::new(LossCounters::default());
    Depot::open(outbox, 1, SystemClock.into_source(), losses).unwrap_err().to_string()
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    assert!(refused(Outbox::memory().with_max_events(0)).starts_with("with_max_events(0): "));
    assert!(refused(Outbox::memory().with_max_bytes(0)).starts_with("with_max_bytes(0): "));
    assert!(refused(Outbox::memory().with_max_age(Duration::ZERO)).starts_with("with_max_age(0ns): "));
}

#[cfg(feature = "sqlite")]
#[test]
fn a_setting_of_sqlite_is_refused_elsewhere() {
    let message = refused(Outbox::memory().with_synchronous(Synchronous::Normal));
    assert!(message.starts_with("with_synchronous(Normal): ") && message.contains("Outbox::sqlite"), "{message}");
}

#[test]
fn events_older_than_the_limit_are_dropped_but_not_while_in_flight() {
    let clock = ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
    let minute = Duration::from_secs(60);
    let (depot, losses) = open(Outbox::memory().with_max_age(10 * minute), &clock.clone().into_source());
    let accept = |numbers: std::ops::Range<u128>| {
        let mut chunk = chunk(0, numbers);
        chunk.accepted_at = clock.clone().into_source().moment().wall;
        depot.accept(vec![chunk], Vec::new()).unwrap();
    };
    accept(0..3);
    clock.advance(4 * minute);
    accept(3..5);
    assert_eq!(depot.tend(), Some(6 * minute));
    let sent = depot.take(0, &Want { max_events: 1, ..ALL });
    clock.advance(6 * minute);
    assert_eq!(depot.tend(), Some(4 * minute));
    assert_eq!(losses.read().count(Loss::OutboxAge), 2);
    depot.settle(0, &tickets(&sent), Outcome::Again);
    assert_eq!(depot.tend(), Some(4 * minute));
    assert_eq!(losses.read().count(Loss::OutboxAge), 3);
    // The wall clock says that they are years old; they are not.
    clock.step_wall(std::time::SystemTime::UNIX_EPOCH + 1_000_000 * minute);
    depot.tend();
    assert_eq!(numbers(&depot.take(0, &ALL)), [3, 4]);
    assert_eq!(depot.tend(), Some(4 * minute));
}

#[test]
fn an_event_for_which_there_is_just_room_is_accepted_whatever_is_spare_in_the_memory_it_came_in() {
    let (depot, losses) = open(Outbox::memory().with_max_bytes(80_000), &SystemClock.into_source());
    // Two queues share it.
    let len = (80_000 - 80_000 / 32) / 2 - 1_000;
    for spare in [0, len / 10] {
        depot.accept(vec![fresh(1, 0..40)], Vec::new()).unwrap();
        let mut large = Chunk::new(1, 0, now());
        large.bytes = Vec::with_capacity(len + spare);
        large.push(id(1), 0, &vec![b'x'; len]);
        depot.accept(vec![large], Vec::new()).unwrap();
        let taken = depot.take(1, &ALL);
        assert_eq!(taken.iter().map(|parcel| parcel.bytes().len()).collect::<Vec<_>>(), [len], "{spare} spare");
        depot.settle(1, &tickets(&taken), Outcome::Delivered);
    }
    assert_eq!(losses.read().count(Loss::OutboxFull), 80, "those that made room");
}

/// The counted bytes must be what the allocator gives: this asks the allocator.
#[test]
fn a_million_events_against_64_mib_stay_below_in_real_memory() {
    let now = now();
    let mut depot = None;
    let memory = allocation_counter::measure(|| {
        let (opened, _) = open(Outbox::memory(), &SystemClock.into_source());
        for batch in 0..1_000_000 / 500 {
            let chunks = (0..10).map(|chunk| {
                let mut events = Chunk::new(0, 0, now);
                for event in 0..50 {
                    events.push(id(batch * 500 + chunk * 50 + event), 0, &[b'x'; 300]);
                }
                events
            });
            opened.accept(chunks.collect(), Vec::new()).unwrap();
        }
        depot = Some(opened);
    });
    let depot = depot.unwrap();
    let pending = depot.pending(0);
    // Two queues share the limit.
    assert!(pending.bytes <= 32 << 20 && pending.events > 90_000, "{pending:?}");
    assert!(memory.bytes_max <= 32 << 20, "{memory:?} for {pending:?}");
    assert!(memory.bytes_current > 30 << 20, "{memory:?} for {pending:?}");
}
