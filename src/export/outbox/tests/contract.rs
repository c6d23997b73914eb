//! What every outbox does, whatever its store: run against memory, SQLite and a store of a user's own.

use super::shelf::Shelf;
use super::*;
use crate::export::outbox::parcel::Pending;
use crate::telemetry::Loss;

/// An outbox of each kind, made anew for each case.
fn each(case: impl Fn(&str, &dyn Fn() -> Outbox)) {
    case("memory", &Outbox::memory);
    let shelf = Shelf::default();
    case("shelf", &|| Outbox::custom(shelf.clone()));
    #[cfg(feature = "sqlite")]
    {
        static CASES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = CASES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = sqlite::Folder::new(&format!("contract-{number}"));
        case("sqlite", &|| Outbox::sqlite(folder.file()));
    }
}

fn start(outbox: Outbox) -> (Arc<Depot>, Arc<LossCounters>) {
    open(outbox, &SystemClock.into_source())
}

#[test]
fn events_leave_in_the_order_of_acceptance_and_only_when_settled() {
    each(|kind, outbox| {
        let (depot, losses) = start(outbox());
        depot.accept(vec![fresh(0, 1..=3), fresh(1, 10..=11), fresh(0, 4..=5)], Vec::new()).unwrap();
        let first = depot.take(0, &Want { max_events: 4, ..ALL });
        assert_eq!(numbers(&first), [1, 2, 3, 4], "{kind}");
        assert_eq!(numbers(&depot.take(0, &ALL)), [5], "{kind}");
        assert!(depot.take(0, &ALL).is_empty(), "{kind}");
        depot.settle(0, &tickets(&first[1..3]), Outcome::Again);
        assert_eq!(numbers(&depot.take(0, &ALL)), [2, 3], "{kind}");
        depot.settle(0, &tickets(&first), Outcome::Delivered);
        depot.settle(0, &tickets(&first), Outcome::Delivered);
        let pending = depot.pending(0);
        assert_eq!((pending.events, pending.in_flight), (1, 1), "{kind}");
        assert_eq!(numbers(&depot.take(1, &ALL)), [10, 11], "{kind}");
        assert_eq!(losses.read().total(), 0, "{kind}");
    });
}

#[test]
fn what_is_empty_again_takes_no_room() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        depot.accept(vec![fresh(0, 1..=130)], Vec::new()).unwrap();
        assert!(depot.pending(0).bytes >= 1_300, "{kind}");
        let taken = depot.take(0, &ALL);
        assert_eq!(numbers(&taken), (1..=130).collect::<Vec<_>>(), "{kind}: chunks longer than a row are cut");
        depot.settle(0, &tickets(&taken), Outcome::Delivered);
        assert_eq!(depot.pending(0), Pending::default(), "{kind}");
    });
}

#[test]
fn modes_do_not_mix_and_lanes_wait_for_their_own_event() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        let mut other = fresh(0, [3]);
        other.mode = 1;
        depot.accept(vec![fresh(0, 1..=2), other, fresh(0, [4])], Vec::new()).unwrap();
        let modes = [&[1, 2][..], &[3], &[4]].map(|expected| {
            let taken = depot.take(0, &ALL);
            assert_eq!(numbers(&taken), expected, "{kind}");
            taken[0].mode()
        });
        assert_eq!(modes, [0, 1, 0], "{kind}");

        let mut laned = Chunk::new(1, 0, now());
        for (number, lane) in [(1, 7), (2, 7), (3, 8), (4, 7), (5, 9)] {
            laned.push(id(number), lane, b"{}");
        }
        depot.accept(vec![laned], Vec::new()).unwrap();
        let want = Want { one_per_lane: true, max_events: 2, ..ALL };
        let first = depot.take(1, &want);
        assert_eq!(numbers(&first), [1, 2], "{kind}: one request keeps the order of a lane");
        let others = depot.take(1, &want);
        assert_eq!(numbers(&others), [3, 5], "{kind}");
        assert_eq!(others[0].lane(), 8, "{kind}");
        assert!(depot.take(1, &want).is_empty(), "{kind}");
        depot.settle(1, &tickets(&first[..1]), Outcome::Again);
        assert!(depot.take(1, &want).is_empty(), "{kind}: the other event of the lane is still in flight");
        depot.settle(1, &tickets(&first[1..]), Outcome::Again);
        assert_eq!(numbers(&depot.take(1, &want)), [1, 2], "{kind}");
        depot.settle(1, &tickets(&first), Outcome::Delivered);
        assert_eq!(numbers(&depot.take(1, &want)), [4], "{kind}");
    });
}

#[test]
fn a_long_line_behind_one_busy_lane_is_not_searched_to_its_end() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        let laned = |numbers: std::ops::Range<u128>, lane| {
            let mut chunk = Chunk::new(0, 0, now());
            numbers.for_each(|number| chunk.push(id(number), lane, b"{}"));
            chunk
        };
        let want = Want { max_events: 1, one_per_lane: true, ..ALL };
        depot.accept((0..63).map(|place| laned(place * 50..place * 50 + 50, 1)).collect(), Vec::new()).unwrap();
        depot.accept(vec![laned(9_000..9_001, 2)], Vec::new()).unwrap();
        assert_eq!(numbers(&depot.take(0, &want)), [0], "{kind}");
        let other = depot.take(0, &want);
        assert_eq!(numbers(&other), [9_000], "{kind}: the 64th chunk is looked at");
        depot.settle(0, &tickets(&other), Outcome::Again);
        depot.accept(vec![laned(8_000..8_050, 1), laned(8_050..8_100, 1), laned(9_001..9_002, 3)], Vec::new()).unwrap();
        assert_eq!(numbers(&depot.take(0, &want)), [9_000], "{kind}");
        assert!(depot.take(0, &want).is_empty(), "{kind}: what comes later has to wait");
    });
}

/// As a simple processor makes them: how many events a chunk holds must not limit what a request does.
#[test]
fn chunks_of_one_event_fill_requests_beside_busy_lanes() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        for number in 0..1_000 {
            let mut chunk = Chunk::new(0, 0, now());
            chunk.push(id(number), u32::try_from(number % 100).unwrap(), b"{}");
            depot.accept(vec![chunk], Vec::new()).unwrap();
        }
        let few = Want { max_events: 40, one_per_lane: true, ..ALL };
        assert_eq!(numbers(&depot.take(0, &few)), (0..40).collect::<Vec<_>>(), "{kind}");
        assert_eq!(numbers(&depot.take(0, &few)), (40..80).collect::<Vec<_>>(), "{kind}");
        let rest: Vec<_> = (80..1_000).filter(|number| number % 100 >= 80).collect();
        assert_eq!(numbers(&depot.take(0, &Want { one_per_lane: true, ..ALL })), rest, "{kind}");
    });
}

#[test]
fn a_request_is_filled_to_the_byte_and_never_beyond_but_by_a_single_event() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        depot.accept(vec![fresh(0, 1..=9)], Vec::new()).unwrap();
        // Ten bytes an event.
        let want = |max_bytes| Want { max_bytes, fixed: 7, per_event: 3, ..ALL };
        assert_eq!(numbers(&depot.take(0, &want(7 + 3 * 13))), [1, 2, 3], "{kind}");
        assert_eq!(numbers(&depot.take(0, &want(7 + 3 * 13 - 1))), [4, 5], "{kind}");
        assert_eq!(numbers(&depot.take(0, &want(1))), [6], "{kind}");
        assert_eq!(numbers(&depot.take(0, &Want { max_events: 0, ..ALL })), [7], "{kind}");
    });
}

#[test]
fn a_full_outbox_drops_the_oldest_but_nothing_in_flight() {
    each(|kind, outbox| {
        let (depot, losses) = start(outbox().with_max_events(4));
        depot.accept(vec![fresh(0, 1..=4)], Vec::new()).unwrap();
        let sent = depot.take(0, &Want { max_events: 1, ..ALL });
        depot.accept(vec![fresh(0, 5..=6)], Vec::new()).unwrap();
        depot.settle(0, &tickets(&sent), Outcome::Again);
        assert_eq!(numbers(&depot.take(0, &ALL)), [1, 4, 5, 6], "{kind}");
        assert_eq!(losses.read().count(Loss::OutboxFull), 2, "{kind}");
        depot.accept(vec![fresh(0, 7..=20)], Vec::new()).unwrap();
        assert_eq!(losses.read().count(Loss::OutboxFull), 16, "{kind}: all places are in flight");
        assert_eq!(depot.pending(0).events, 4, "{kind}");
    });
}

#[test]
fn a_full_outbox_may_refuse_the_newest_instead() {
    each(|kind, outbox| {
        let (depot, losses) = start(outbox().with_max_events(4).with_overflow(Overflow::DropNewest));
        depot.accept(vec![fresh(0, 1..=3), fresh(0, 4..=6)], Vec::new()).unwrap();
        assert_eq!(numbers(&depot.take(0, &ALL)), [1, 2, 3, 4], "{kind}");
        assert_eq!(losses.read().count(Loss::OutboxFull), 2, "{kind}");
    });
}

#[test]
fn the_byte_limit_holds_and_a_queue_that_is_down_costs_the_others_nothing() {
    each(|kind, outbox| {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let (depot, losses) = start(outbox().with_max_bytes(64 << 10).with_overflow(overflow));
            depot.accept(vec![fresh(1, 1..=20)], Vec::new()).unwrap();
            let mut accepted = depot.pending(0).events;
            for number in 0..200 {
                accepted += 47;
                depot.accept(vec![fresh(0, number * 47 + 1..=(number + 1) * 47)], Vec::new()).unwrap();
                assert!(depot.pending(0).bytes <= 32 << 10, "{kind}: half of 64 kB for each of two queues");
            }
            let pending = depot.pending(0);
            assert!(pending.bytes > 28 << 10, "{kind} {overflow:?}: {pending:?}");
            assert_eq!(losses.read().count(Loss::OutboxFull), accepted - pending.events, "{kind} {overflow:?}");
            assert_eq!(depot.pending(1).events, 20, "{kind}");
            for queue in [0, 1] {
                let taken = depot.take(queue, &ALL);
                depot.settle(queue, &tickets(&taken), Outcome::Delivered);
            }
        }
    });
}

#[test]
fn an_event_that_no_room_would_be_enough_for_goes_alone() {
    each(|kind, outbox| {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let (depot, losses) = start(outbox().with_max_bytes(32 << 10).with_overflow(overflow));
            depot.accept(vec![fresh(0, 1..=10)], Vec::new()).unwrap();
            let mut mixed = fresh(0, [11]);
            mixed.push(id(12), 0, &[b'x'; 20 << 10]);
            mixed.push(id(13), 0, format!("{:10}", 13).as_bytes());
            depot.accept(vec![mixed], Vec::new()).unwrap();
            let taken = depot.take(0, &ALL);
            let expected: Vec<u128> = (1..=11).chain([13]).collect();
            assert_eq!(numbers(&taken), expected, "{kind} {overflow:?}");
            assert_eq!(losses.read().count(Loss::OutboxFull), 1, "{kind} {overflow:?}");
            depot.settle(0, &tickets(&taken), Outcome::Delivered);
        }
    });
}

#[test]
fn a_batch_larger_than_the_limit_is_cut_to_the_newest_or_the_oldest() {
    each(|kind, outbox| {
        for (overflow, first) in [(Overflow::DropOldest, false), (Overflow::DropNewest, true)] {
            let (depot, losses) = start(outbox().with_max_bytes(8 << 10).with_overflow(overflow));
            depot.accept(vec![fresh(0, 1..=40), fresh(0, 41..=80), fresh(0, 81..=300)], Vec::new()).unwrap();
            let taken = depot.take(0, &ALL);
            let numbers = numbers(&taken);
            assert_eq!(losses.read().count(Loss::OutboxFull), 300 - numbers.len() as u64, "{kind}");
            assert!(numbers.len() > 50, "{kind} {overflow:?}: {numbers:?}");
            assert_eq!((numbers[0] == 1, numbers[numbers.len() - 1] == 300), (first, !first), "{kind} {overflow:?}");
            depot.settle(0, &tickets(&taken), Outcome::Delivered);
        }
    });
}

#[test]
fn what_is_dropped_by_the_delivery_is_counted_once() {
    each(|kind, outbox| {
        let (depot, losses) = start(outbox());
        depot.accept(vec![fresh(0, 1..=5)], Vec::new()).unwrap();
        let taken = depot.take(0, &ALL);
        depot.settle(0, &tickets(&taken[..2]), Outcome::Dropped(Loss::EventRejected));
        depot.settle(0, &tickets(&taken), Outcome::Dropped(Loss::EventTooLarge));
        let losses = losses.read();
        assert_eq!(
            (losses.count(Loss::EventRejected), losses.count(Loss::EventTooLarge), losses.total()),
            (2, 3, 5),
            "{kind}"
        );
    });
}

#[test]
fn each_event_is_found_once_in_every_balance_whatever_is_going_on() {
    const EVENTS: u64 = 3_000;
    const OUTCOMES: [Outcome; 3] = [Outcome::Delivered, Outcome::Dropped(Loss::EventRejected), Outcome::Again];
    let (depot, losses) = start(Outbox::memory());
    depot.accept(vec![fresh(0, 1..=EVENTS.into())], Vec::new()).unwrap();
    let settled = std::thread::scope(|scope| {
        let settling = scope.spawn(|| {
            for outcome in OUTCOMES.iter().cycle().take(1_000) {
                depot.settle(0, &tickets(&depot.take(0, &Want { max_events: 2, ..ALL })), *outcome);
            }
        });
        loop {
            let over = settling.is_finished();
            let (balance, lost) = depot.balance();
            assert_eq!(balance[0].delivered + balance[0].pending + lost.total(), EVENTS);
            if over {
                break balance[0];
            }
        }
    });
    assert_eq!((settled.delivered, losses.read().total()), (668, 666));
}

#[test]
fn what_was_counted_as_lost_at_the_end_is_not_counted_as_anything_else() {
    let (depot, losses) = start(Outbox::memory());
    depot.accept(vec![fresh(0, 1..=5)], Vec::new()).unwrap();
    let taken = depot.take(0, &ALL);
    depot.settle(0, &tickets(&taken[..2]), Outcome::Delivered);
    depot.forsake(0);
    depot.settle(0, &tickets(&taken[2..3]), Outcome::Delivered);
    depot.settle(0, &tickets(&taken[3..]), Outcome::Dropped(Loss::EventRejected));
    depot.forsake(0);
    let (balance, _) = depot.balance();
    assert_eq!((balance[0].delivered, balance[0].pending), (2, 3));
    assert_eq!((losses.read().count(Loss::EventUndelivered), losses.read().total()), (3, 3));
}

#[test]
fn bytes_wait_until_all_of_their_chunk_is_in_flight() {
    each(|kind, outbox| {
        let (depot, _) = start(outbox());
        depot.accept(vec![fresh(0, 1..=5), fresh(0, 6..=8)], Vec::new()).unwrap();
        let waiting = [3, 2, 3].map(|events| {
            let waiting = depot.payload(0);
            depot.take(0, &Want { max_events: events, ..ALL });
            waiting
        });
        assert_eq!((waiting, depot.payload(0)), ([80, 80, 30], 0), "{kind}");
    });
}

#[test]
fn what_was_counted_as_lost_at_the_end_is_not_sent_any_more() {
    let (depot, losses) = start(Outbox::memory());
    depot.accept(vec![fresh(0, 1..=5)], Vec::new()).unwrap();
    let taken = depot.take(0, &Want { max_events: 2, ..ALL });
    depot.forsake(0);
    assert_eq!(depot.take(0, &ALL).len(), 0, "by a thread that has not seen that its time is over");
    depot.settle(0, &tickets(&taken), Outcome::Again);
    assert_eq!(depot.take(0, &ALL).len(), 0);
    assert_eq!((depot.pending(0).events, losses.read().total()), (5, 5));
}

#[test]
fn a_chunk_for_a_collector_that_does_not_exist_is_an_error_and_changes_nothing() {
    each(|kind, outbox| {
        let (depot, losses) = start(outbox());
        assert!(depot.accept(vec![fresh(0, 1..=5), fresh(2, 6..=7)], Vec::new()).is_err(), "{kind}");
        assert_eq!(depot.pending(0), Pending::default(), "{kind}");
        assert_eq!(losses.read().count(Loss::OutboxError), 7, "{kind}");
    });
}

#[test]
fn accepting_wakes_and_many_threads_lose_and_double_nothing() {
    const THREADS: u128 = 4;
    const EACH: u128 = 40;
    each(|kind, outbox| {
        let (depot, losses) = start(outbox());
        let bell = Arc::new((crate::sync::Mutex::new(0_u64), crate::sync::Condvar::new()));
        let ring = Arc::clone(&bell);
        depot.on_work(
            0,
            Arc::new(move || {
                *ring.0.lock() += 1;
                ring.1.notify_all();
            }),
        );
        let accept = |thread: u128| {
            for batch in 0..EACH {
                let from = (thread * EACH + batch) * 60;
                depot.accept(vec![fresh(0, from..from + 60)], Vec::new()).unwrap();
            }
        };
        let deliver = |turn: usize| {
            let (mut seen, mut delivered) = (0, Vec::new());
            while depot.pending(0).events > 0 || *bell.0.lock() < (THREADS * EACH) as u64 {
                let taken = depot.take(0, &Want { max_events: 33, ..ALL });
                let (again, done) = taken.split_at(taken.len().min(turn));
                depot.settle(0, &tickets(again), Outcome::Again);
                depot.settle(0, &tickets(done), Outcome::Delivered);
                delivered.extend(numbers(done));
                depot.tend();
                if taken.is_empty() {
                    let wait = Duration::from_millis(20);
                    seen = *bell.1.wait_until(bell.0.lock(), wait, |rings| *rings != seen).0;
                }
            }
            delivered
        };
        let mut delivered = std::thread::scope(|scope| {
            (0..THREADS).for_each(|thread| _ = scope.spawn(move || accept(thread)));
            let workers: Vec<_> = (0..3).map(|turn| scope.spawn(move || deliver(turn))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        delivered.sort_unstable();
        assert_eq!(delivered, (0..THREADS * EACH * 60).collect::<Vec<_>>(), "{kind}");
        assert_eq!(depot.pending(0), Pending::default(), "{kind}");
        assert_eq!(losses.read().total(), 0, "{kind}");
    });
}
