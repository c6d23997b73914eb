//! What a depot with a durable store does about removals, failures and restarts.

use super::shelf::{Shelf, Trouble};
use super::*;
use crate::telemetry::Loss;
use crate::testing::ManualClock;

fn start() -> (Arc<Depot>, Arc<LossCounters>, Shelf, ManualClock) {
    let (shelf, clock) = (Shelf::default(), ManualClock::new(std::time::SystemTime::UNIX_EPOCH));
    let (depot, losses) = open(Outbox::custom(shelf.clone()), &clock.clone().into_source());
    (depot, losses, shelf, clock)
}

fn deliver(depot: &Depot, max_events: usize) -> Vec<u128> {
    let taken = depot.take(0, &Want { max_events, ..ALL });
    depot.settle(0, &tickets(&taken), Outcome::Delivered);
    numbers(&taken)
}

#[test]
fn removals_wait_for_the_next_commit_and_no_longer_than_100_ms_or_512_events() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..2_000)], Vec::new()).unwrap();
    assert_eq!((shelf.commits(), shelf.chunks()), (1, 40));

    deliver(&depot, 512);
    assert_eq!(depot.tend(), Some(Duration::from_millis(100)));
    clock.advance(Duration::from_millis(60));
    assert_eq!(depot.tend(), Some(Duration::from_millis(40)));
    assert_eq!((shelf.commits(), shelf.chunks()), (1, 40));
    clock.advance(Duration::from_millis(40));
    assert_eq!(depot.tend(), Some(days(30) - Duration::from_millis(100)), "then the age limit is next");
    assert_eq!((shelf.commits(), shelf.chunks()), (2, 30));

    deliver(&depot, 512);
    depot.accept(vec![chunk(1, [1])], Vec::new()).unwrap();
    assert_eq!((shelf.commits(), shelf.chunks()), (3, 21), "fused into the commit of new events");

    deliver(&depot, 513);
    depot.tend();
    assert_eq!((shelf.commits(), shelf.chunks()), (4, 11));

    deliver(&depot, 60);
    depot.sync().unwrap();
    depot.sync().unwrap();
    assert_eq!((shelf.commits(), shelf.chunks()), (5, 10));
}

#[test]
fn a_removal_need_not_reach_the_disk_while_a_batch_is_in_the_making_whose_commit_will() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..3_000)], Vec::new()).unwrap();

    let batch = depot.expect();
    deliver(&depot, 513);
    assert_eq!(depot.tend(), Some(Duration::from_millis(100)), "looks whether the batch has come");
    assert_eq!((shelf.lazy(), shelf.commits(), shelf.chunks()), (1, 2, 50), "but it is not put off");
    depot.accept(vec![chunk(1, [1])], Vec::new()).unwrap();
    assert_eq!((shelf.lazy(), shelf.commits()), (1, 3));
    drop(batch);
    assert_eq!(depot.tend(), Some(days(30)), "nothing more to do: the batch has brought the removal to the disk");

    deliver(&depot, 513);
    depot.tend();
    assert_eq!((shelf.lazy(), shelf.commits()), (1, 4), "no batch is in the making");

    let batch = depot.expect();
    deliver(&depot, 513);
    depot.tend();
    drop(batch);
    assert_eq!((shelf.lazy(), shelf.commits()), (2, 5));
    clock.advance(Duration::from_millis(60));
    assert_eq!(depot.tend(), Some(Duration::from_millis(40)));
    clock.advance(Duration::from_millis(40));
    depot.tend();
    assert_eq!((shelf.lazy(), shelf.commits()), (2, 6), "the batch has come to nothing: a commit of nothing");
    depot.sync().unwrap();
    assert_eq!(shelf.commits(), 6);
}

#[test]
fn removals_that_need_not_reach_the_disk_yet_do_so_within_100_ms_however_long_a_batch_is_in_the_making() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..3_000)], Vec::new()).unwrap();
    let _batch = depot.expect();
    deliver(&depot, 513);
    depot.tend();
    clock.advance(Duration::from_millis(99));
    deliver(&depot, 513);
    assert_eq!(depot.tend(), Some(Duration::from_millis(1)));
    assert_eq!((shelf.lazy(), shelf.commits()), (2, 3));
    clock.advance(Duration::from_millis(1));
    depot.tend();
    assert_eq!((shelf.lazy(), shelf.commits()), (2, 4));

    // A flush, and the end.
    deliver(&depot, 513);
    depot.tend();
    assert_eq!((shelf.lazy(), shelf.commits()), (3, 5));
    depot.sync().unwrap();
    assert_eq!((shelf.lazy(), shelf.commits()), (3, 6));
}

#[test]
fn where_removals_fail_to_reach_the_disk_nothing_is_sent_and_it_is_tried_again_after_a_second() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..3_000)], Vec::new()).unwrap();
    let batch = depot.expect();
    deliver(&depot, 513);
    depot.tend();
    drop(batch);
    shelf.has(Some(Trouble::Commits));
    clock.advance(Duration::from_millis(100));
    assert_eq!(depot.tend(), Some(Duration::from_secs(1)));
    assert!(depot.is_stopped());
    shelf.has(None);
    let _batch = depot.expect();
    clock.advance(Duration::from_secs(1));
    depot.tend();
    assert!(!depot.is_stopped());
    assert_eq!((shelf.lazy(), shelf.commits()), (1, 3));

    // A failed removal too: only the disk tells whether it is well again.
    deliver(&depot, 513);
    shelf.has(Some(Trouble::Commits));
    depot.tend();
    assert!(depot.is_stopped());
    shelf.has(None);
    clock.advance(Duration::from_secs(1));
    depot.tend();
    assert!(!depot.is_stopped());
    assert_eq!((shelf.lazy(), shelf.commits()), (1, 4));
}

#[test]
fn where_the_expected_batch_fails_a_commit_of_nothing_brings_the_removals_to_the_disk() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..3_000)], Vec::new()).unwrap();
    let batch = depot.expect();
    deliver(&depot, 513);
    depot.tend();
    shelf.has(Some(Trouble::Commits));
    assert!(depot.accept(vec![chunk(1, [1])], Vec::new()).is_err());
    drop(batch);
    shelf.has(None);
    assert_eq!(depot.tend(), Some(Duration::from_millis(100)));
    clock.advance(Duration::from_millis(100));
    depot.tend();
    assert_eq!((shelf.lazy(), shelf.commits()), (1, 3));
    shelf.lose_power();
    assert_eq!(shelf.chunks(), 50);
}

#[test]
fn the_store_is_closed_when_the_last_delivery_thread_has_ended_and_not_before() {
    let (depot, _, shelf, _) = start();
    depot.accept(vec![chunk(0, 0..3), chunk(1, 3..5)], Vec::new()).unwrap();
    depot.leave();
    deliver(&depot, 3);
    depot.sync().unwrap();
    assert_eq!(shelf.chunks(), 1, "there is another thread");
    depot.leave();
    let error = depot.accept(Vec::new(), vec![StateRow::new(1, vec![1], None)]).unwrap_err();
    assert!(error.to_string().contains("has shut down"), "{error}");
    assert_eq!(shelf.commits(), 2);
}

#[test]
fn a_failed_removal_stops_sending_until_a_commit_succeeds() {
    let (depot, losses, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..200)], Vec::new()).unwrap();
    deliver(&depot, 120);
    shelf.has(Some(Trouble::Commits));
    assert!(depot.sync().is_err());
    assert!(depot.is_stopped());
    assert!(deliver(&depot, 10).is_empty());
    assert_eq!(depot.tend(), Some(Duration::from_secs(1)), "tried again after a second");
    clock.advance(Duration::from_secs(1));
    assert_eq!(depot.tend(), Some(Duration::from_secs(1)));
    assert!(depot.is_stopped());

    shelf.has(None);
    clock.advance(Duration::from_secs(1));
    let (woken, waking) = std::sync::mpsc::channel();
    depot.on_work(0, Arc::new(move || woken.send(()).unwrap()));
    depot.tend();
    assert!(!depot.is_stopped());
    assert!(waking.try_recv().is_ok(), "whoever found it stopped is told");
    assert_eq!(shelf.chunks(), 2);
    assert_eq!(deliver(&depot, 2), [120, 121]);
    assert_eq!(losses.read().total(), 0);
}

#[test]
fn a_chunk_whose_rest_is_delivered_while_a_removal_fails_is_removed_and_not_noted_in_part() {
    let (depot, _, shelf, _) = start();
    depot.accept(vec![chunk(0, 0..50)], Vec::new()).unwrap();
    deliver(&depot, 20);
    let rest = tickets(&depot.take(0, &ALL));
    let settling = Arc::clone(&depot);
    shelf.meanwhile(move || settling.settle(0, &rest, Outcome::Delivered));
    shelf.has(Some(Trouble::Commits));
    assert!(depot.sync().is_err());
    shelf.has(None);
    depot.sync().unwrap();
    assert_eq!((shelf.commits(), shelf.chunks()), (2, 0));
}

#[test]
fn a_stopped_outbox_goes_on_after_a_commit_of_new_events() {
    let (depot, _, shelf, _) = start();
    depot.accept(vec![chunk(0, 0..100)], Vec::new()).unwrap();
    deliver(&depot, 75);
    shelf.has(Some(Trouble::Commits));
    assert!(depot.sync().is_err());
    shelf.has(None);
    depot.accept(vec![chunk(0, 100..101)], Vec::new()).unwrap();
    assert!(!depot.is_stopped());
    assert_eq!(shelf.chunks(), 2);
    assert_eq!(deliver(&depot, usize::MAX).len(), 26);
}

#[test]
fn a_failed_commit_changes_nothing_and_is_counted() {
    for trouble in [Trouble::Commits, Trouble::Panic] {
        let clock = ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
        let shelf = Shelf::default();
        let (depot, losses) = open(Outbox::custom(shelf.clone()).with_max_events(100), &clock.into_source());
        depot.accept(vec![chunk(0, 0..80)], vec![StateRow::new(1, vec![1], Some(vec![1]))]).unwrap();
        deliver(&depot, 10);
        let before = depot.pending(0);
        shelf.has(Some(trouble));
        let rows = vec![StateRow::new(1, vec![1], Some(vec![2]))];
        assert!(depot.accept(vec![chunk(0, 100..150)], rows).is_err());
        assert_eq!(depot.pending(0), before);
        assert_eq!((losses.read().count(Loss::OutboxError), losses.read().total()), (50, 50));
        shelf.has(None);
        assert_eq!(shelf.state()[0].value, Some(vec![1]));
        assert_eq!(deliver(&depot, usize::MAX), (10..80).collect::<Vec<_>>());
    }
}

#[test]
fn a_restart_brings_back_what_was_not_removed_in_its_order_and_with_its_age() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..120)], Vec::new()).unwrap();
    let taken = depot.take(0, &ALL);
    // Removed: the first chunk. Stored as done: a part of the second.
    depot.settle(0, &tickets(&taken[..70]), Outcome::Delivered);
    depot.sync().unwrap();
    // Settled, but not stored.
    shelf.has(Some(Trouble::Commits));
    depot.settle(0, &tickets(&taken[70..90]), Outcome::Delivered);
    drop(depot);
    shelf.has(None);

    clock.advance(days(30) - Duration::from_secs(60));
    let (depot, losses) = open(Outbox::custom(shelf.clone()), &clock.clone().into_source());
    assert_eq!(numbers(&depot.take(0, &ALL)), (70..120).collect::<Vec<_>>());
    drop(depot);

    let (depot, _) = open(Outbox::custom(shelf.clone()), &clock.clone().into_source());
    assert_eq!(depot.tend(), Some(Duration::from_secs(60)));
    clock.advance(Duration::from_secs(60));
    depot.tend();
    assert_eq!(depot.pending(0).events, 0);
    depot.sync().unwrap();
    assert_eq!(shelf.chunks(), 0);
    assert_eq!(losses.read().total(), 0, "counted by the one that dropped them");
}

#[test]
fn what_was_stored_for_a_collector_that_is_gone_waits_for_its_age_and_is_not_sent_to_another() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..5), chunk(1, 5..9)], Vec::new()).unwrap();
    drop(depot);
    let losses = Arc::new(LossCounters::default());
    let source = clock.clone().into_source();
    let (depot, _) = Depot::open(Outbox::custom(shelf.clone()), 1, source, Arc::clone(&losses)).unwrap();
    assert_eq!(deliver(&depot, usize::MAX), [0, 1, 2, 3, 4]);
    assert!(depot.take(1, &ALL).is_empty());
    assert_eq!(shelf.chunks(), 2);
    clock.advance(days(30));
    depot.tend();
    depot.sync().unwrap();
    assert_eq!((shelf.chunks(), losses.read().count(Loss::OutboxAge)), (0, 4));
}

#[test]
fn payloads_that_left_memory_are_read_back_in_order() {
    let (depot, _, shelf, _) = start();
    let long = vec![b'x'; 20_000];
    for from in (0..2_000).step_by(50) {
        let mut chunk = Chunk::new(0, 0, 0);
        (from..from + 50).for_each(|number| chunk.push(id(number), 0, &long));
        depot.accept(vec![chunk], Vec::new()).unwrap();
    }
    // 40 MB wait, at most 8 MiB of them in memory.
    shelf.has(Some(Trouble::Reads));
    let there = deliver(&depot, usize::MAX);
    assert!(!there.is_empty() && there.len() < 420, "{}", there.len());
    assert_eq!(depot.tend(), Some(Duration::from_millis(100)), "the removals");
    depot.sync().unwrap();
    assert!(deliver(&depot, usize::MAX).is_empty());
    assert_eq!(depot.tend(), Some(Duration::from_secs(1)), "the read");
    shelf.has(None);
    let mut all = there;
    while all.len() < 2_000 {
        let taken = depot.take(0, &Want { max_bytes: 1_000_000, ..ALL });
        assert_eq!(taken.len(), 50);
        depot.settle(0, &tickets(&taken), Outcome::Delivered);
        all.extend(numbers(&taken));
    }
    assert_eq!(all, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn a_chunk_that_cannot_be_read_is_given_up_and_counted() {
    let (depot, _, shelf, clock) = start();
    depot.accept(vec![chunk(0, 0..70)], Vec::new()).unwrap();
    drop(depot);
    let (depot, losses) = open(Outbox::custom(shelf.clone()), &clock.into_source());
    shelf.has(Some(Trouble::Corruption));
    assert!(depot.take(0, &Want { max_events: 1, ..ALL }).is_empty());
    assert_eq!(depot.pending(0).events, 0);
    assert_eq!(losses.read().count(Loss::OutboxError), 70);
    depot.sync().unwrap();
    assert_eq!(shelf.chunks(), 0);
}

#[test]
fn a_commit_under_way_keeps_nobody_from_taking_and_settling() {
    for works in [true, false] {
        let clock = ManualClock::new(std::time::SystemTime::UNIX_EPOCH);
        let shelf = Shelf::default();
        let (depot, losses) = open(Outbox::custom(shelf.clone()).with_max_events(10), &clock.into_source());
        depot.accept(vec![chunk(0, 0..10)], Vec::new()).unwrap();
        let first = depot.take(0, &Want { max_events: 4, ..ALL });
        let worker = Arc::downgrade(&depot);
        shelf.meanwhile(move || {
            let depot = worker.upgrade().unwrap();
            // The others are about to be dropped. Should they stay after all, nothing may have overtaken them.
            assert!(depot.take(0, &ALL).is_empty());
            depot.settle(0, &tickets(&first), Outcome::Delivered);
            assert_eq!(depot.pending(0).events, 6);
        });
        shelf.has((!works).then_some(Trouble::Commits));
        assert_eq!(depot.accept(vec![chunk(0, 10..16)], Vec::new()).is_ok(), works);
        shelf.has(None);
        let rest = depot.take(0, &ALL);
        assert_eq!(numbers(&rest), if works { (10..16).collect::<Vec<_>>() } else { (4..10).collect() });
        assert_eq!(losses.read().total(), 6, "dropped or not accepted");
        depot.settle(0, &tickets(&rest), Outcome::Delivered);
        depot.sync().unwrap();
        assert_eq!(shelf.chunks(), 0);
    }
}

#[test]
fn what_may_stay_after_all_is_the_first_that_waits() {
    let shelf = Shelf::default();
    let (depot, _) = open(Outbox::custom(shelf.clone()).with_max_events(10), &SystemClock.into_source());
    depot.accept(vec![fresh(0, 0..4)], Vec::new()).unwrap();
    depot.accept(vec![fresh(0, 4..10)], Vec::new()).unwrap();
    let first = depot.first_waiting(0);
    let worker = Arc::downgrade(&depot);
    // Who is to wake the delivery thread must know that it has been waiting for this one, and not for those behind it.
    shelf.meanwhile(move || assert_eq!(worker.upgrade().unwrap().first_waiting(0), first));
    shelf.has(Some(Trouble::Commits));
    let refused = depot.accept(vec![fresh(0, 10..14)], Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("no room"), "{refused}");
    assert_eq!(depot.first_waiting(0), first);
}

/// A store that says this of itself when it is opened.
#[derive(Debug)]
struct Says(Opened);

impl OutboxStore for Says {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, _: &Commit<'_>) -> Result<(), OutboxError> {
        Ok(())
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        Err(OutboxError::Store(format!("no chunk {chunk}").into()))
    }
}

#[test]
fn a_store_whose_numbers_cannot_be_counted_on_from_is_refused() {
    let stored = |number, bytes| Stored { bytes, ..Stored::new(number, &chunk(0, 0..3), Vec::new()) };
    let cases = [
        Opened::new(Vec::new(), Vec::new(), u64::MAX),
        Opened::new(vec![stored(1, u64::MAX), stored(2, u64::MAX)], Vec::new(), 3),
        Opened::new(vec![stored(2, 30), stored(1, 30)], Vec::new(), 3),
        Opened::new(vec![stored(1, 30), stored(1, 30)], Vec::new(), 3),
        Opened::new(vec![stored(3, 30)], Vec::new(), 3),
    ];
    for opened in cases {
        let outbox = Outbox::custom(Says(opened.clone()));
        let error = Depot::open(outbox, 2, SystemClock.into_source(), Arc::default()).unwrap_err();
        assert!(error.to_string().contains("corrupt"), "{opened:?}: {error}");
    }
    let (depot, _) =
        open(Outbox::custom(Says(Opened::new(Vec::new(), Vec::new(), u64::MAX / 2))), &SystemClock.into_source());
    depot.accept(vec![chunk(0, 0..70)], Vec::new()).unwrap();
    assert_eq!(numbers(&depot.take(0, &ALL)), (0..70).collect::<Vec<_>>());
}

#[test]
fn state_alone_is_committed_too() {
    let (depot, _, shelf, _) = start();
    depot.accept(Vec::new(), vec![StateRow::new(3, b"installation".to_vec(), Some(b"id".to_vec()))]).unwrap();
    assert_eq!((shelf.commits(), shelf.state().len()), (1, 1));
    depot.accept(Vec::new(), Vec::new()).unwrap();
    assert_eq!(shelf.commits(), 1);
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}
