//! Law 2: a signal belongs to the session in which it began.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry::trace::{Span as _, TracerProvider as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SimpleSpanProcessor;
use otel_session::testing::{CapturedLogs, CapturedSpans, ManualClock};

use crate::support::pipelines::KINDS;
use crate::support::*;
use otel_session::{Activity, Loss, Sessions};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn law_2_a_span_belongs_to_the_session_it_started_in_and_its_events_to_theirs() {
    for rig in KINDS.map(Rig::of) {
        let before = rig.sessions.record_activity();
        let mut span = start_span(&rig.tracer(), "long", rig.clock.now());
        span.add_event_with_timestamp("early", rig.clock.now(), vec![]);
        rig.clock.advance(MINUTE);
        let after = rig.sessions.rotate();
        span.add_event_with_timestamp("late", rig.clock.now(), vec![]);
        span.end_with_timestamp(rig.clock.now());
        let spans = rig.finished_spans();
        assert_eq!(session_id(&spans[0].attributes).as_deref(), Some(before.id()));
        assert_eq!(session_id(&spans[0].events.events[0].attributes).as_deref(), Some(before.id()));
        assert_eq!(session_id(&spans[0].events.events[1].attributes).as_deref(), Some(after.id()));
    }
}

#[test]
fn law_2_an_event_after_the_end_starts_nothing_and_has_the_last_id_unless_the_next_is_known_as_it_is_stamped() {
    for (kind, rig) in KINDS.map(|kind| (kind, Rig::of(kind))) {
        let first = rig.sessions.record_activity();
        let mut spans = [(); 2].map(|()| start_span(&rig.tracer(), "long", rig.clock.now()));
        rig.clock.advance(TIMEOUT + MINUTE);
        for span in &mut spans {
            span.add_event_with_timestamp("late", epoch() + TIMEOUT, vec![]);
        }
        let [early, late] = spans;
        drop(early);
        let _ = rig.tracers.force_flush();
        assert!(rig.sessions.current().is_none(), "{kind:?}");
        let second = rig.sessions.record_activity();
        drop(late);
        let ids = rig.finished_spans().into_iter().map(|span| session_id(&span.events.events[0].attributes));
        assert_eq!(ids.collect::<Vec<_>>(), [&first, &second].map(|session| Some(session.id().to_owned())));
    }
}

#[test]
fn law_2_a_log_belongs_by_its_own_time_if_it_has_one_else_by_its_emission() {
    for rig in KINDS.map(Rig::of) {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        let second = rig.sessions.rotate();
        rig.clock.advance(MINUTE);
        let third = rig.sessions.rotate();
        rig.log("now");
        rig.log_at("just before the second", epoch() + MINUTE - Duration::from_nanos(1));
        rig.log_at("as the second began", epoch() + MINUTE);
        rig.log_at("just before the third", epoch() + 2 * MINUTE - Duration::from_nanos(1));
        rig.log_at("as the third began", epoch() + 2 * MINUTE);
        rig.log_at("ahead of time", epoch() + 60 * MINUTE);
        rig.log_at("before all", epoch() - MINUTE);
        let ids = |body| rig.log_id(body).unwrap();
        assert_eq!(ids("now"), third.id());
        assert_eq!(ids("just before the second"), first.id());
        assert_eq!(ids("as the second began"), second.id());
        assert_eq!(ids("just before the third"), second.id());
        assert_eq!(ids("as the third began"), third.id());
        assert_eq!(ids("ahead of time"), third.id());
        assert_eq!(ids("before all"), first.id());
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

/// On the wire zero says that the time is unknown, and adapters of other logs put it there for that.
#[test]
fn law_2_a_log_of_the_time_zero_has_no_time_of_its_own() {
    for rig in KINDS.map(Rig::of) {
        rig.sessions.record_activity();
        for _ in 0..80 {
            rig.clock.advance(MINUTE);
            rig.sessions.rotate();
        }
        let live = rig.sessions.current().unwrap();
        rig.log_at("zero", SystemTime::UNIX_EPOCH);
        rig.log_at("exported as zero", SystemTime::UNIX_EPOCH - SECOND);
        assert_eq!(rig.log_id("zero").as_deref(), Some(live.id()));
        assert_eq!(rig.log_id("exported as zero").as_deref(), Some(live.id()));
        assert_eq!(rig.sessions.losses().total(), 0);
    }
}

#[test]
fn law_2_a_late_span_belongs_to_the_session_of_its_start() {
    for rig in KINDS.map(Rig::of) {
        let first = rig.sessions.record_activity();
        rig.clock.advance(MINUTE);
        rig.sessions.rotate();
        rig.clock.advance(MINUTE);
        let mut span = start_span(&rig.tracer(), "late", epoch() + 30 * SECOND);
        span.add_event_with_timestamp("before all", epoch() - MINUTE, vec![]);
        span.end_with_timestamp(rig.clock.now());
        assert_eq!(rig.span_id("late").as_deref(), Some(first.id()));
        let spans = rig.finished_spans();
        assert_eq!(session_id(&spans[0].events.events[0].attributes).as_deref(), Some(first.id()));
    }
}

#[test]
fn law_2_a_late_signal_may_rotate_and_still_carry_the_old_id() {
    for rig in KINDS.map(Rig::of) {
        let old = rig.sessions.record_activity();
        rig.clock.suspend(TIMEOUT + MINUTE);
        rig.log_at("late", epoch() + MINUTE);
        let new = rig.sessions.current().unwrap();
        assert_eq!(new.previous_id(), Some(old.id()));
        assert_eq!(rig.log_id("late").as_deref(), Some(old.id()));
        rig.clock.suspend(TIMEOUT + MINUTE);
        rig.span_at("late", rig.clock.now() - 2 * MINUTE);
        assert_eq!(rig.sessions.current().unwrap().previous_id(), Some(new.id()));
        assert_eq!(rig.span_id("late").as_deref(), Some(new.id()));
        assert_lawful(&rig.lines());
    }
}

#[test]
fn law_2_times_between_a_deadline_and_the_next_start_belong_to_the_next_session() {
    for rig in KINDS.map(Rig::of) {
        let old = rig.sessions.record_activity();
        assert!(rig.clock.advance(2 * TIMEOUT));
        let new = rig.sessions.record_activity();
        assert_eq!(new.started_at(), epoch() + 2 * TIMEOUT);
        rig.log_at("before the deadline", epoch() + TIMEOUT - Duration::from_nanos(1));
        rig.log_at("at the deadline", epoch() + TIMEOUT);
        rig.span_at("after the deadline", epoch() + TIMEOUT + MINUTE);
        assert_eq!(rig.log_id("before the deadline").as_deref(), Some(old.id()));
        assert_eq!(rig.log_id("at the deadline").as_deref(), Some(new.id()));
        assert_eq!(rig.span_id("after the deadline").as_deref(), Some(new.id()));
    }
}

#[test]
fn law_2_a_new_session_starts_at_its_triggers_own_time_but_not_before_the_old_deadline() {
    type Trigger = fn(&Rig, std::time::SystemTime);
    let triggers: [Trigger; 2] = [|rig, at| rig.log_at("trigger", at), |rig, at| rig.span_at("trigger", at)];
    let now = epoch() + 3 * TIMEOUT;
    for trigger in triggers {
        for (own, start) in [
            (epoch() + 2 * TIMEOUT, epoch() + 2 * TIMEOUT),
            (epoch() + TIMEOUT, epoch() + TIMEOUT),
            (epoch() + MINUTE, epoch() + TIMEOUT),
            (now, now),
            (now + MINUTE, now),
        ] {
            for rig in KINDS.map(Rig::of) {
                let old = rig.sessions.record_activity();
                rig.clock.suspend(3 * TIMEOUT);
                trigger(&rig, own);
                let new = rig.sessions.current().unwrap();
                assert_eq!(new.started_at(), start, "trigger at {own:?}");
                let at = rig.log_id("trigger").or_else(|| rig.span_id("trigger")).unwrap();
                let expected = if own >= epoch() + TIMEOUT { new.id() } else { old.id() };
                assert_eq!(at, expected, "trigger at {own:?}");
            }
        }
    }
}

#[test]
fn law_2_the_first_session_starts_at_its_triggers_own_time() {
    let rig = Rig::new();
    rig.log_at("early", epoch() - MINUTE);
    assert_eq!(rig.sessions.current().unwrap().started_at(), epoch() - MINUTE);
    let rig = Rig::new();
    rig.span_at("early", epoch() - MINUTE);
    assert_eq!(rig.sessions.current().unwrap().started_at(), epoch() - MINUTE);
}

#[test]
fn law_2_expiry_never_uses_a_records_times() {
    let rig = Rig::new();
    rig.log("first");
    let session = rig.sessions.current().unwrap();
    // A log from far ahead extends no more than any other, and one from long ago no less.
    rig.log_at("ahead", epoch() + 10 * TIMEOUT);
    rig.clock.advance(TIMEOUT - SECOND);
    rig.log_at("long ago", epoch() - 10 * TIMEOUT);
    assert_eq!(rig.sessions.current(), Some(session));
    rig.clock.advance(TIMEOUT - SECOND);
    assert_eq!(rig.sessions.current(), Some(session));
    rig.clock.advance(SECOND);
    assert_eq!(rig.sessions.current(), None);
    assert_eq!(rig.lifecycle()[1].at, Some(epoch() + TIMEOUT - SECOND));
}

#[test]
fn law_2_no_record_is_so_old_that_the_session_it_starts_is_over() {
    const MAX: Duration = Duration::from_secs(3_600);
    type Trigger = fn(&Rig, std::time::SystemTime);
    let triggers: [Trigger; 2] = [|rig, at| rig.log_at("trigger", at), |rig, at| rig.span_at("trigger", at)];
    for trigger in triggers {
        for (age, start) in [
            (2 * MAX, epoch()),
            (MAX, epoch()),
            (MAX - Duration::from_nanos(1), epoch() - MAX + Duration::from_nanos(1)),
        ] {
            let rig = Rig::with(|builder| builder.with_inactivity_timeout(MINUTE).with_max_duration(MAX));
            trigger(&rig, epoch() - age);
            let session = rig.sessions.current().unwrap();
            assert_eq!(session.started_at(), start);
            // However many there are, they are the signals of one session.
            for _ in 0..20 {
                trigger(&rig, epoch() - age);
            }
            assert_eq!(rig.sessions.current(), Some(session));
            let at = rig.log_id("trigger").or_else(|| rig.span_id("trigger")).unwrap();
            assert_eq!(at, session.id());
            assert_eq!(rig.lifecycle().len(), 1);
        }
    }
}

#[test]
fn law_2_after_a_long_night_a_late_record_starts_a_session_that_is_live() {
    let rig = Rig::with(|builder| builder.with_max_duration(4 * TIMEOUT));
    let evening = rig.sessions.record_activity();
    assert!(rig.clock.advance(20 * TIMEOUT));
    // The old deadline would be the start, and it lies further back than the maximum duration.
    rig.log_at("late", epoch() + MINUTE);
    let morning = rig.sessions.current().unwrap();
    assert_eq!(morning.started_at(), rig.clock.now());
    rig.log_at("in the night", epoch() + 2 * TIMEOUT);
    assert_eq!(rig.sessions.current().as_ref(), Some(&morning));
    assert_eq!(rig.log_id("late").as_deref(), Some(evening.id()));
    assert_eq!(rig.log_id("in the night").as_deref(), Some(morning.id()));
    assert_lawful(&rig.lines());
}

#[test]
fn law_2_signals_that_are_no_activity_are_stamped_start_sessions_and_extend_none() {
    let rig = Rig::with(|builder| builder.with_activity(Activity::Explicit));
    rig.log("first");
    rig.clock.advance(TIMEOUT - SECOND);
    rig.log("no activity");
    rig.span("no activity");
    rig.clock.advance(SECOND);
    assert_eq!(rig.sessions.current(), None);
    rig.log("next");
    let lifecycle = rig.lifecycle();
    assert_eq!(lifecycle.len(), 3);
    assert_eq!(lifecycle[1].at, Some(epoch()));
    assert_eq!(rig.log_id("no activity"), lifecycle[0].id);
    assert_eq!(rig.span_id("no activity"), lifecycle[0].id);
    assert_eq!(rig.log_id("next"), lifecycle[2].id);
}

#[test]
fn law_2_a_late_log_carries_the_user_of_its_time() {
    let rig = Rig::new();
    rig.sessions.set_user_id(Some("ada"));
    rig.log("ada's");
    rig.clock.advance(MINUTE);
    rig.sessions.set_user_id(Some("bob"));
    rig.log("bob's");
    rig.log_at("late", epoch() + SECOND);
    rig.clock.advance(MINUTE);
    rig.sessions.set_user_id(None);
    rig.log("nobody's");
    let users: Vec<_> = rig.lines()[1..].iter().map(|line| line.user_id.clone()).collect();
    assert_eq!(users, [Some("ada".into()), Some("bob".into()), Some("ada".into()), None]);
    assert_eq!(rig.lifecycle().len(), 1, "a change of user is no rotation");
}

/// Rotates once a step, and returns the ids in order.
fn rotations(rig: &Rig, count: usize, step: Duration) -> Vec<String> {
    (0..count)
        .map(|_| {
            rig.clock.suspend(step);
            rig.sessions.rotate().id().to_owned()
        })
        .collect()
}

#[test]
fn law_2_the_history_holds_sixty_four_sessions_and_beyond_it_the_oldest_id_is_used_and_counted() {
    let rig = Rig::new();
    // 102 sessions, of which 101 have closed, the last more than a minute after the others.
    let mut ids = rotations(&rig, 101, SECOND);
    ids.extend(rotations(&rig, 1, MINUTE));
    let start_of = |number: u32| epoch() + number * SECOND;
    rig.log_at("oldest known", start_of(38));
    rig.log_at("younger", start_of(60));
    assert_eq!(rig.sessions.losses().total(), 0);
    rig.log_at("forgotten", start_of(37));
    assert_eq!(rig.sessions.losses().count(Loss::HistoryForgotten), 1);
    rig.span_at("forgotten", start_of(1));
    assert_eq!(rig.sessions.losses().count(Loss::HistoryForgotten), 2);
    assert_eq!(rig.log_id("oldest known").as_deref(), Some(ids[37].as_str()));
    assert_eq!(rig.log_id("younger").as_deref(), Some(ids[59].as_str()));
    assert_eq!(rig.log_id("forgotten").as_deref(), Some(ids[37].as_str()));
    assert_eq!(rig.span_id("forgotten").as_deref(), Some(ids[37].as_str()));
    assert_eq!(rig.sessions.losses().total(), 2);
}

#[test]
fn law_11_only_what_takes_its_id_or_user_from_the_oldest_session_known_is_counted_and_a_log_once() {
    let clock = ManualClock::new(epoch());
    let sessions = Sessions::builder().with_clock(clock.clone()).build().unwrap();
    let twice = SdkLoggerProvider::builder()
        .with_log_processor(sessions.batch_log_processor(CapturedLogs::default()))
        .with_log_processor(sessions.batch_log_processor(CapturedLogs::default()));
    let tracers = tracers_of(sessions.span_processor(SimpleSpanProcessor::new(CapturedSpans::default())));
    let (loggers, tracer) = (twice.build(), tracers.tracer("test"));
    let log = |attributes: &[(&'static str, &'static str)]| {
        let logger = loggers.logger("test");
        let mut record = logger.create_log_record();
        record.set_timestamp(epoch());
        record.add_attributes(attributes.iter().copied());
        logger.emit(record);
    };
    let span = |own: &[&KeyValue], of_event: &[&KeyValue]| {
        let mut span = start_span(&tracer, "span", epoch());
        span.set_attributes(own.iter().copied().cloned());
        span.add_event_with_timestamp("event", epoch(), of_event.iter().copied().cloned().collect());
        span.end();
    };
    let (id, user) = (("session.id", "own"), ("user.id", "own"));
    let [own_id, own_user] = [id, user].map(|(key, value)| KeyValue::new(key, value));
    let forgotten = || sessions.losses().count(Loss::HistoryForgotten);
    for users in [None, Some("ada")] {
        sessions.set_user_id(users);
        for _ in 0..70 {
            clock.suspend(MINUTE);
            sessions.rotate();
        }
        let before = forgotten();
        log(&[id, user]);
        span(&[&own_id, &own_user], &[&own_user]);
        assert_eq!(forgotten(), before, "nothing is taken");
        log(&[id]);
        span(&[&own_id], &[]);
        span(&[&own_user], &[&own_id, &own_user]);
        assert_eq!(forgotten() - before, if users.is_some() { 4 } else { 1 }, "only the user is, and an id");
        log(&[]);
        log(&[user]);
        span(&[], &[]);
        assert_eq!(forgotten() - before, if users.is_some() { 8 } else { 5 });
    }
}

#[test]
fn law_2_the_history_holds_every_session_younger_than_a_minute() {
    let rig = Rig::new();
    // The first one ended at the second rotation, 59.99 s before the last.
    let ids = rotations(&rig, 6_001, Duration::from_millis(10));
    rig.log_at("first", epoch() + Duration::from_millis(10));
    rig.log_at("middle", epoch() + Duration::from_millis(25_000));
    assert_eq!(rig.log_id("first"), ids.first().cloned());
    assert_eq!(rig.log_id("middle"), ids.get(2_499).cloned());
    assert_eq!(rig.sessions.losses().total(), 0);
}

#[test]
fn law_2_the_history_never_holds_more_than_65_536_sessions() {
    let rig = Rig::new();
    let ids = rotations(&rig, 65_546, Duration::from_micros(1));
    // 65,545 have closed, so nine are forgotten.
    rig.log_at("tenth", epoch() + Duration::from_micros(10));
    assert_eq!(rig.sessions.losses().total(), 0);
    rig.log_at("ninth", epoch() + Duration::from_micros(9));
    assert_eq!(rig.sessions.losses().count(Loss::HistoryForgotten), 1);
    assert_eq!(rig.log_id("tenth").as_deref(), Some(ids[9].as_str()));
    assert_eq!(rig.log_id("ninth").as_deref(), Some(ids[9].as_str()));
}

#[test]
fn law_2_no_number_of_changes_of_the_user_makes_a_session_forgotten() {
    let rig = Rig::with(|builder| builder.with_user_id("u"));
    let first = rig.sessions.record_activity();
    rig.clock.suspend(SECOND);
    let second = rig.sessions.rotate();
    for number in 0..140_000 {
        if number % 10_000 == 0 {
            rig.clock.suspend(SECOND);
        }
        rig.sessions.set_user_id(Some(if number % 2 == 0 { "v" } else { "u" }));
    }
    rig.log_at("of the first", epoch());
    rig.log_at("youngest", rig.clock.now() - Duration::from_nanos(1));
    assert_eq!(rig.log_id("of the first").as_deref(), Some(first.id()));
    assert_eq!(rig.log_id("youngest").as_deref(), Some(second.id()));
    assert_eq!(rig.sessions.losses().total(), 0);
    // Which user the second session had when is another matter: what is not known any more is counted.
    rig.log_at("of the second", epoch() + SECOND);
    assert_eq!(rig.log_id("of the second").as_deref(), Some(second.id()));
    assert_eq!(rig.sessions.losses().count(Loss::HistoryForgotten), 1);
}

#[test]
fn law_2_a_backward_step_of_the_wall_clock_discards_the_history_before_it() {
    for noticed_by_signal in [true, false] {
        let rig = Rig::new();
        let ids = rotations(&rig, 10, MINUTE);
        rig.clock.step_wall(epoch());
        if noticed_by_signal {
            rig.log("a signal notices the step");
        } else {
            rig.sessions.rotate();
        }
        let live = rig.sessions.current().unwrap();
        // The same wall time comes again: it must not be taken for the first time it was.
        rig.clock.advance(3 * MINUTE);
        rig.log_at("again", epoch() + 3 * MINUTE);
        assert_eq!(rig.log_id("again").as_deref(), Some(live.id()));
        assert_ne!(rig.log_id("again").as_ref(), ids.get(2));
    }
}

#[test]
fn law_2_a_backward_step_that_a_rotation_notices_leaves_what_came_after_it() {
    for signal_first in [true, false] {
        let rig = Rig::new();
        let ids = rotations(&rig, 10, MINUTE);
        rig.clock.step_wall(epoch() + 5 * MINUTE);
        if signal_first {
            rig.log("a signal notices the step");
        }
        rig.clock.suspend(MINUTE);
        let next = rig.sessions.rotate();
        // The tenth session lived through these minutes for the second time; the fifth had them the first time.
        rig.log_at("the tenth's", epoch() + 5 * MINUTE + 30 * SECOND);
        rig.log_at("the next's", epoch() + 6 * MINUTE);
        assert_eq!(rig.log_id("the tenth's").as_ref(), ids.last());
        assert_eq!(rig.log_id("the next's").as_deref(), Some(next.id()));
        assert_lawful(&rig.lines());
    }
}

#[test]
fn law_2_a_backward_step_is_noticed_by_a_span_that_ends_although_no_signal_came_since() {
    let rig = Rig::new();
    let first = rig.sessions.record_activity();
    rig.clock.advance(10 * MINUTE);
    let second = rig.sessions.rotate();
    let mut span = start_span(&rig.tracer(), "span", rig.clock.now());
    rig.clock.step_wall(epoch() + 5 * MINUTE);
    // The first session had this minute, and the second has it again.
    span.add_event_with_timestamp("again", rig.clock.now(), Vec::new());
    span.end_with_timestamp(rig.clock.now());
    let spans = rig.finished_spans();
    let again = session_id(&spans[0].events[0].attributes);
    assert_eq!(again.as_deref(), Some(second.id()));
    assert_ne!(again.as_deref(), Some(first.id()));
}

/// Sessions of `u1` that no idleness ends.
fn of_u1() -> Rig {
    Rig::with(|builder| builder.with_inactivity_timeout(100_000 * SECOND).with_user_id("u1"))
}

#[test]
fn law_2_a_step_back_to_before_a_change_of_user_discards_what_came_before_the_change() {
    let rig = of_u1();
    rig.log("first");
    rig.clock.advance(10 * SECOND);
    // Nothing but the change of user sees the clock ahead.
    rig.clock.step_wall(epoch() + 3_600 * SECOND);
    rig.sessions.set_user_id(Some("u2"));
    rig.clock.step_wall(epoch() + 11 * SECOND);
    rig.clock.advance(10 * SECOND);
    rig.span_at("after", epoch() + 21 * SECOND);
    let spans = rig.finished_spans();
    assert_eq!(attribute(&spans[0].attributes, "user.id").as_deref(), Some("u2"));
}

#[test]
fn law_2_a_step_back_before_a_change_of_user_leaves_what_came_after_the_step() {
    let rig = of_u1();
    rig.log("first");
    rig.clock.step_wall(epoch() - 500 * SECOND);
    rig.clock.advance(10 * SECOND);
    rig.sessions.set_user_id(Some("u2"));
    rig.clock.advance(10 * SECOND);
    rig.log_at("late", epoch() - 495 * SECOND);
    let lines = rig.lines();
    assert_eq!(lines.last().unwrap().user_id.as_deref(), Some("u1"));
}

#[test]
fn law_2_small_backward_steps_that_add_up_to_more_than_a_second_are_one() {
    for active in [true, false] {
        let rig = Rig::with(|builder| {
            let activity = if active { Activity::EverySignal } else { Activity::Explicit };
            builder.with_activity(activity)
        });
        rig.log("first");
        rig.clock.advance(10 * SECOND);
        let second = rig.sessions.rotate();
        for _ in 0..9 {
            rig.clock.step_wall(rig.clock.now() - Duration::from_millis(900));
            rig.log("between");
        }
        rig.clock.advance(SECOND);
        rig.span("after");
        assert_eq!(rig.span_id("after").as_deref(), Some(second.id()));
    }
}

#[test]
fn law_2_small_backward_steps_with_a_session_each_add_up_too() {
    let rig = Rig::new();
    rig.log("first");
    rig.clock.advance(10 * SECOND);
    rig.sessions.rotate();
    for _ in 0..8 {
        rig.clock.step_wall(rig.clock.now() - Duration::from_millis(900));
        rig.sessions.rotate();
    }
    let before = rig.sessions.current().unwrap();
    rig.clock.advance(20 * SECOND);
    rig.sessions.rotate();
    // The first session, and others, had these times too, before the steps.
    for millis in (2_850..10_000).step_by(50) {
        rig.log_at("again", epoch() + Duration::from_millis(millis));
        assert_eq!(rig.log_id("again").as_deref(), Some(before.id()), "{millis} ms");
    }
}

#[test]
fn law_2_a_step_back_is_seen_by_a_signal_although_the_clock_is_right_again_later() {
    let rig = Rig::new();
    rig.log("first");
    rig.clock.advance(MINUTE);
    let second = rig.sessions.rotate();
    rig.clock.step_wall(epoch() + SECOND);
    rig.log("a signal notices the step");
    rig.clock.step_wall(epoch() + 2 * MINUTE);
    rig.span_at("of both", epoch() + SECOND);
    assert_eq!(rig.span_id("of both").as_deref(), Some(second.id()));
}

#[test]
fn law_2_a_clock_that_went_ahead_and_came_back_between_two_changes_costs_no_history() {
    let rig = Rig::new();
    let first = rig.sessions.record_activity();
    rig.clock.advance(MINUTE);
    rig.sessions.rotate();
    rig.clock.step_wall(epoch() + 60 * MINUTE);
    rig.log("ahead");
    rig.clock.step_wall(epoch() + 2 * MINUTE);
    rig.log("back");
    // No moment that is remembered came twice.
    rig.log_at("late", epoch() + SECOND);
    assert_eq!(rig.log_id("late").as_deref(), Some(first.id()));
}
