//! Random faults, clocks and flushes against what must always hold: every accepted event arrives at least once or is a
//! counted, named drop; first arrivals keep the order; attempts differ only in `stm`; callbacks tell the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{Rig, Told, events, numbers, rig};
use super::server::{Answer, Received};
use crate::telemetry::Loss;

#[derive(Debug, Clone)]
enum Step {
    /// Events of this mode, with padding of this size.
    Accept(u8, u64, usize),
    Answers(Vec<Answer>),
    /// Time passes: milliseconds.
    Advance(u64),
    Flush,
    Pause(bool),
}

fn answer() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![
        4 => Just(200_u16), 1 => Just(204), 2 => Just(500), 1 => Just(503), 1 => Just(408), 1 => Just(301), 1 => Just(400),
        1 => Just(422), 2 => Just(413),
    ];
    prop_oneof![
        8 => status.prop_map(Answer::status),
        1 => Just(Answer::with_header(429, "Retry-After", "5")),
        1 => Just(Answer::with_header(503, "Retry-After", "Tue, 14 Nov 2023 22:14:00 GMT")),
        1 => Just(Answer::ResetMidBody),
        1 => Just(Answer::Close),
        1 => Just(Answer::Truncated(200)),
        1 => Just(Answer::TruncatedChunks(201)),
        1 => Just(Answer::Garbage(b"\0\x01nonsense\r\n\r\n".to_vec())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_u8, 1..30_u64, prop_oneof![3 => 0..50_usize, 1 => 500..3000_usize])
            .prop_map(|(mode, events, padding)| Step::Accept(mode, events, padding)),
        3 => prop::collection::vec(answer(), 1..6).prop_map(Step::Answers),
        3 => (1..90_000_u64).prop_map(Step::Advance),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(Step::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_under_another_id_or_reordered(
        steps in prop::collection::vec(step(), 1..25),
        batch_size in 1..20_usize,
        max_bytes in 100..4000_usize,
        in_flight in 1..4_usize,
    ) {
        let mut rig = rig(|plan| {
            plan.settings.batch_size = batch_size;
            plan.settings.max_in_flight = in_flight;
            plan.settings.request_timeout = Duration::from_secs(2);
            plan.want.max_bytes = max_bytes;
            plan.want.one_per_lane = in_flight > 1;
            plan.max_request_bytes = 2500;
        });
        let mut accepted = 0;
        let mut too_large = 0;
        for step in steps {
            match step {
                Step::Accept(mode, events, padding) => {
                    rig.accept_each(mode, events, |number| u32::try_from(number % 5).unwrap(), padding);
                    accepted += events;
                    // The event is 80 bytes and its number besides the padding; the limit is between the two sizes of padding.
                    too_large += if padding > 2450 { events } else { 0 };
                }
                Step::Answers(answers) => rig.server.script(answers),
                Step::Advance(millis) => rig.advance(Duration::from_millis(millis)),
                Step::Flush => _ = rig.courier.flush(Duration::from_secs(5)),
                Step::Pause(true) => rig.courier.pause(),
                Step::Pause(false) => rig.courier.resume(),
            }
        }
        // The collector recovers.
        rig.server.unscript();
        rig.courier.resume();
        prop_assert!(rig.courier.flush(Duration::from_secs(5)) || drained(&rig));
        check(&rig, accepted, too_large, in_flight);
    }
}

fn drained(rig: &Rig) -> bool {
    rig.advance(Duration::from_secs(3600));
    rig.courier.flush(Duration::from_secs(5)) && rig.pending() == 0
}

fn check(rig: &Rig, accepted: u64, too_large: u64, in_flight: usize) {
    assert_eq!(rig.pending(), 0);
    let received = rig.server.received();
    let confirmed: BTreeSet<u64> = received.iter().filter(|it| confirms(it)).flat_map(numbers).collect();
    let losses = rig.losses.read();
    let (rejected, large) = (losses.count(Loss::EventRejected), losses.count(Loss::EventTooLarge));
    assert_eq!(confirmed.len() as u64 + rejected + large, accepted, "{losses}");
    assert_eq!(losses.total(), rejected + large, "{losses}");
    assert!(large >= too_large, "{large} of {too_large}");
    assert_eq!(rig.delivered(), confirmed.len() as u64);

    // The order of first arrivals.
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for number in received.iter().flat_map(numbers) {
        if seen.insert(number) {
            let lane = if in_flight > 1 { number % 5 } else { 0 };
            let before = last.insert(lane, number);
            assert!(before < Some(number), "{number} after {before:?}");
        }
    }

    // The same bytes in every attempt, but for the time of sending.
    let mut first: BTreeMap<u64, serde_json::Value> = BTreeMap::new();
    for request in &received {
        for (number, mut event) in numbers(request).into_iter().zip(events(request)) {
            event.as_object_mut().unwrap().remove("stm").expect("a time of sending");
            assert_eq!(*first.entry(number).or_insert_with(|| event.clone()), event);
        }
    }

    // What the callbacks said: the last word on every event is final, and only the last one.
    let mut last_word: BTreeMap<u64, bool> = BTreeMap::new();
    for told in rig.told() {
        let (numbers, is_final) = match told {
            Told::Delivered(numbers, _) => (numbers, true),
            Told::Failed(numbers, _, will_retry) => (numbers, !will_retry),
        };
        for number in numbers {
            assert_ne!(last_word.insert(number, is_final), Some(true), "{number} was told of after its end");
        }
    }
    assert_eq!(last_word.len() as u64, accepted);
    assert!(last_word.values().all(|is_final| *is_final));
}

fn confirms(request: &Received) -> bool {
    matches!(request.answer, Answer::Reply(200..=299, _, _))
}
