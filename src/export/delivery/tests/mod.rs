//! Delivery against a server that misbehaves: batches here, faults, flush and shutdown, and a model in files of their own.

use std::sync::Arc;
use std::time::Duration;

use self::rig::{ANONYMOUS, FIXED, PER_EVENT, Told, events, rig};
use self::server::Answer;
use crate::export::delivery::Callbacks;
use crate::telemetry::Loss;

mod ending;
mod faults;
mod model;
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
    assert_eq!(rig.delivered(), 5);
    assert_eq!(rig.told(), [Told::Delivered(vec![0, 1, 2], 200), Told::Delivered(vec![3, 4], 200)]);
    assert_eq!(rig.protocol.replies.lock().as_slice(), [b"ok", b"ok"]);
}

#[test]
fn connections_are_used_again() {
    let mut rig = rig(|_| ());
    for _ in 0..5 {
        rig.accept(1);
        rig.settle();
    }
    rig.server.script([Answer::status(500)]);
    rig.accept(1);
    rig.settle();
    rig.advance(Duration::from_secs(1));
    let connections: Vec<u64> = rig.server.received().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [0; 7]);
}

#[test]
fn below_the_batch_size_nothing_is_sent_and_at_it_everything_in_one_request() {
    let mut rig = rig(|plan| plan.settings.batch_size = 10);
    rig.accept(9);
    rig.settle();
    rig.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(rig.server.count(), 0, "without a schedule delay only the size counts");
    rig.accept(10);
    rig.settle();
    assert_eq!(rig.requests(), [(0..19).collect::<Vec<_>>()]);
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.server.count(), 1, "a new batch begins");
}

#[test]
fn what_is_accepted_while_a_batch_is_under_way_waits_for_a_batch_of_its_own() {
    for (requests, most, flush_bytes) in [(1, 10, None), (1, 5, None), (2, 10, None), (2, 5, None), (2, 10, Some(459))]
    {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (there, arrived) = std::sync::mpsc::channel();
        let wait = crate::sync::Mutex::new(wait);
        let mut rig = rig(|plan| {
            plan.settings.batch_size = 10;
            plan.settings.flush_bytes = flush_bytes;
            plan.settings.max_in_flight = requests;
            plan.want.max_events = most;
            plan.callbacks = Some(Callbacks {
                on_success: Some(Arc::new(move |_| {
                    let _ = there.send(());
                    let _ = wait.lock().recv();
                })),
                on_failure: None,
            });
        });
        // 153 bytes each.
        rig.accept_each(0, 10, |_| 0, 89);
        arrived.recv().unwrap();
        rig.accept_each(0, 2, |_| 0, 89);
        drop(go);
        rig.settle();
        // Of two requests either may arrive first.
        let sent = |rig: &rig::Rig| rig.requests().into_iter().flatten().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sent(&rig), (0..10).collect(), "{requests}, {most}, {flush_bytes:?}");
        rig.accept_each(0, 8, |_| 0, 89);
        rig.settle();
        assert_eq!(sent(&rig), (0..20).collect());
        assert_eq!(rig.server.count(), 20 / most);
    }
}

#[test]
fn the_event_that_fills_a_batch_wakes_the_worker() {
    for _ in 0..50 {
        let mut rig = rig(|plan| plan.settings.batch_size = 5);
        // Nobody moves the clock, which would wake it too.
        for _ in 0..5 {
            rig.accept(1);
        }
        rig.server.wait_for(1);
        assert_eq!(rig.requests(), [[0, 1, 2, 3, 4]]);
    }
}

#[test]
fn so_many_bytes_are_sent_at_once_although_the_batch_is_not_full() {
    let mut rig = rig(|plan| {
        plan.settings.batch_size = 10;
        plan.settings.flush_bytes = Some(459);
    });
    // 153 bytes each.
    for sent in [0, 0, 1, 1, 1, 2] {
        rig.accept_each(0, 1, |_| 0, 90);
        rig.settle();
        assert_eq!(rig.server.count(), sent);
    }
    assert_eq!(rig.requests(), [[0, 1, 2], [3, 4, 5]]);
}

#[test]
fn an_event_waits_no_longer_for_others_than_the_schedule_delay() {
    let mut rig = rig(|plan| {
        plan.settings.batch_size = 10;
        plan.settings.schedule_delay = Duration::from_secs(5);
    });
    rig.accept(1);
    rig.settle();
    rig.advance(Duration::from_secs(3));
    rig.accept(1);
    rig.advance(Duration::from_millis(1999));
    assert_eq!(rig.server.count(), 0);
    rig.advance(Duration::from_millis(1));
    assert_eq!(rig.requests(), [[0, 1]], "the first one decides");
    rig.accept(1);
    rig.settle();
    rig.advance(Duration::from_millis(4999));
    assert_eq!(rig.server.count(), 1);
    rig.advance(Duration::from_millis(1));
    assert_eq!(rig.requests(), [vec![0, 1], vec![2]]);
}

#[test]
fn the_most_events_of_a_request_cut_a_backlog_into_requests_in_sequence() {
    let mut rig = rig(|plan| {
        plan.settings.batch_size = 40;
        plan.want.max_events = 20;
    });
    rig.accept(40);
    rig.settle();
    assert_eq!(rig.requests(), [(0..20).collect::<Vec<_>>(), (20..40).collect()]);
}

#[test]
fn requests_are_filled_to_the_byte_limit_and_never_over_it() {
    const LIMIT: usize = 1000;
    let mut rig = rig(|plan| plan.want.max_bytes = LIMIT);
    rig.accept(100);
    rig.settle();
    let received = rig.server.received();
    let event = (received[0].body.len() - FIXED) / rig.requests()[0].len();
    for (place, request) in received.iter().enumerate() {
        assert!(request.body.len() <= LIMIT, "{}", request.body.len());
        let full = request.body.len() + 2 * event.max(PER_EVENT) > LIMIT;
        assert!(full || place == received.len() - 1, "request {place} has {} bytes", request.body.len());
    }
    assert_eq!(rig.requests().concat(), (0..100).collect::<Vec<_>>());
}

#[test]
fn with_a_tiny_byte_limit_each_event_is_a_request_of_its_own() {
    let mut rig = rig(|plan| plan.want.max_bytes = 1);
    rig.accept(3);
    rig.settle();
    assert_eq!(rig.requests(), [[0], [1], [2]]);
    assert_eq!(rig.lost(Loss::EventTooLarge), 0);
}

#[test]
fn an_event_above_the_greatest_request_is_dropped_unsent_and_its_neighbours_go() {
    let mut rig = rig(|plan| {
        plan.want.max_bytes = 500;
        plan.max_request_bytes = 2000;
    });
    rig.accept(1);
    rig.accept_each(0, 1, |_| 0, 2000);
    rig.accept_each(0, 1, |_| 0, 1000);
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.requests().concat(), [0, 2, 3]);
    assert_eq!(rig.lost(Loss::EventTooLarge), 1);
    assert!(rig.told().contains(&Told::Failed(vec![1], None, false)));
    assert_eq!(rig.pending(), 0);
}

#[test]
fn events_of_different_modes_never_share_a_request() {
    let mut rig = rig(|plan| plan.settings.batch_size = 4);
    rig.accept_each(0, 1, |_| 0, 10);
    rig.accept_each(1, 2, |_| 0, 10);
    rig.accept_each(0, 1, |_| 0, 10);
    rig.settle();
    assert_eq!(rig.requests(), [vec![0], vec![1, 2], vec![3]]);
    let modes: Vec<_> = rig.server.received().iter().map(|it| it.header("mode").unwrap().to_owned()).collect();
    assert_eq!(modes, ["0", "1", "0"]);
}

#[test]
fn eight_hundred_events_arrive_in_batches_of_fifty() {
    let mut rig = rig(|plan| {
        plan.settings.batch_size = 50;
        plan.want.max_events = 50;
    });
    for _ in 0..80 {
        rig.accept(10);
    }
    rig.settle();
    assert_eq!(rig.requests().concat(), (0..800).collect::<Vec<_>>());
    assert!(rig.requests().iter().all(|request| request.len() <= 50));
}

#[test]
fn every_attempt_says_when_it_was_sent_and_nothing_else_changes() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::status(500), Answer::status(500)]);
    rig.accept(2);
    rig.settle();
    rig.advance(Duration::from_secs(7));
    rig.advance(Duration::from_secs(9));
    let received = rig.server.received();
    let stm: Vec<_> = received.iter().map(|it| events(it)[0]["stm"].as_str().unwrap().to_owned()).collect();
    assert_eq!(stm, ["1700000000000", "1700000007000", "1700000016000"]);
    let rest = |place: usize| {
        let mut events = events(&received[place]);
        events.iter_mut().for_each(|event| _ = event.as_object_mut().unwrap().remove("stm"));
        events
    };
    assert_eq!(rest(0), rest(1));
    assert_eq!(rest(0), rest(2));
}

#[test]
fn several_requests_in_flight_keep_the_order_of_each_lane() {
    let mut rig = rig(|plan| {
        plan.settings.max_in_flight = 8;
        plan.want.max_events = 1;
        plan.want.one_per_lane = true;
    });
    rig.server.script((0..40).map(|place| Answer::status(if place % 3 == 0 { 500 } else { 200 })));
    rig.accept_each(0, 60, |number| u32::try_from(number % 7).unwrap(), 10);
    for _ in 0..60 {
        rig.advance(Duration::from_secs(61));
    }
    assert_eq!(rig.pending(), 0);
    let mut arrived: Vec<u64> = Vec::new();
    for request in rig.server.received() {
        let number = rig::numbers(&request)[0];
        if !arrived.contains(&number) {
            let lane = |it: u64| it % 7;
            let before = (0..number).filter(|it| lane(*it) == lane(number));
            assert!(before.into_iter().all(|it| arrived.contains(&it)), "{number} came too early: {arrived:?}");
            arrived.push(number);
        }
    }
    assert_eq!(arrived.len(), 60);
    let connections: std::collections::BTreeSet<u64> = rig.server.received().iter().map(|it| it.connection).collect();
    assert!(connections.len() > 1, "nothing was in flight together");
}

#[test]
fn a_callback_that_panics_is_counted_and_does_no_harm() {
    let mut rig = rig(|plan| {
        plan.callbacks = Some(crate::export::delivery::Callbacks {
            on_success: Some(Arc::new(|_| panic!("a success"))),
            on_failure: Some(Arc::new(|_| panic!("a failure"))),
        });
    });
    rig.server.script([Answer::status(500)]);
    rig.accept(1);
    rig.settle();
    rig.advance(Duration::from_secs(1));
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.requests(), [[0], [0], [1]]);
    assert_eq!(rig.lost(Loss::EventFilterPanic), 3);
    assert_eq!(rig.pending(), 0);
}

#[test]
fn cookies_go_back_to_the_collector_only_if_asked_for_and_not_on_anonymous_requests() {
    for jar in [true, false] {
        let mut rig = rig(|plan| plan.settings.cookie_jar = jar);
        rig.server.script([
            Answer::with_header(200, "Set-Cookie", "sp=1; Path=/; Secure"),
            Answer::status(200),
            Answer::with_header(200, "Set-Cookie", "sp=; Max-Age=0"),
        ]);
        for mode in [0, 0, ANONYMOUS, 0] {
            rig.accept_each(mode, 1, |_| 0, 10);
            rig.settle();
        }
        let cookies: Vec<_> = rig.server.received().iter().map(|it| it.header("cookie").map(str::to_owned)).collect();
        let known = jar.then(|| "sp=1".to_owned());
        assert_eq!(cookies, [None, known.clone(), None, known]);
    }
}

#[test]
fn an_event_of_which_no_request_can_be_made_does_not_stop_its_neighbours() {
    let mut rig = rig(|_| ());
    rig.accept_each(0, 1, |_| 0, 10);
    rig.settle();
    rig.courier.pause();
    rig.accept(2);
    // Mode 9 makes the protocol panic.
    rig.accept_each(9, 2, |_| 0, 10);
    rig.accept(1);
    rig.courier.resume();
    rig.settle();
    assert_eq!(rig.requests().concat(), [0, 1, 2, 5]);
    assert_eq!(rig.lost(Loss::OutboxError), 2);
    assert_eq!(rig.pending(), 0);
}
