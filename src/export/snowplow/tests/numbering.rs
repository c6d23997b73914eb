//! Sessions and their numbers: what trackers' own suites ask for, and what only a bridge has to answer.

use serde_json::json;

use super::schemas::assert_good;
use super::*;

/// Behaviours 14 to 17.
#[test]
fn events_of_a_session_count_from_1_and_all_name_its_first_event() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send(&[start(A, None), later(event_of(A), 5), later(event_of(A), 9), start(B, Some(A))]);
    sent.iter().for_each(assert_good);
    let indices: Vec<_> = sent.iter().map(Payload::event_index).collect();
    assert_eq!(indices, [Some(1), Some(2), Some(3), Some(1)]);
    for payload in &sent[..3] {
        assert_eq!(payload.session()["firstEventId"], json!(sent[0].id().to_string()));
        assert_eq!(payload.session()["firstEventTimestamp"], "2023-11-14T22:13:20.000Z");
        assert_eq!(payload.session()["previousSessionId"], json!(null));
        assert_eq!((payload.field("sid"), payload.field("vid")), (Some(A), Some("1")));
        assert_eq!(payload.session()["userId"].as_str(), payload.field("duid"));
    }
    assert_eq!(sent[3].session()["previousSessionId"], A);
    assert_eq!(sent[3].field("vid"), Some("2"));
    assert_eq!(sent[3].session()["firstEventId"], json!(sent[3].id().to_string()));
}

/// Behaviour 21.
#[test]
fn the_first_event_of_a_session_is_not_changed_by_later_ones_and_an_earlier_time() {
    let mut bridge = Bridge::new(MapSettings::default());
    let first = bridge.send_one(later(start(A, None), 50));
    let second = bridge.send_one(event_of(A));
    assert_eq!(second.session()["firstEventId"], first.session()["firstEventId"]);
    assert_eq!(second.session()["firstEventTimestamp"], "2023-11-14T22:13:20.050Z");
}

/// Behaviour 93.
#[test]
fn the_end_of_an_expired_session_carries_that_session_also_after_the_next_one_has_begun() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send(&[start(A, None), event_of(A), start(B, Some(A)), event_of(B), end(A), event_of(B)]);
    sent.iter().for_each(assert_good);
    let end = &sent[4];
    assert_eq!(end.event.as_ref().unwrap().0, "iglu:io.github.otel_session/session_end/jsonschema/1-0-0");
    assert_eq!((end.field("sid"), end.field("vid")), (Some(A), Some("1")));
    assert_eq!(end.event_index(), Some(3));
    assert_eq!(end.session()["firstEventId"], json!(sent[0].id().to_string()));
    assert_eq!(sent[5].event_index(), Some(3), "the end of A takes no number of B");
    assert_eq!(sent[5].field("sid"), Some(B));
}

/// Behaviour 94.
#[test]
fn a_start_that_names_its_predecessor_ends_that_one_once() {
    let mut bridge = Bridge::new(MapSettings::default());
    let told = |bridge: &mut Bridge, record: SdkLogRecord| -> Vec<(bool, String)> {
        bridge.send_one(record);
        bridge.mapped.sessions.iter().map(|it| (it.started, it.state.session_id.to_string())).collect()
    };
    assert_eq!(told(&mut bridge, start(A, None)), [(true, A.to_owned())]);
    assert_eq!(told(&mut bridge, event_of(A)), []);
    assert_eq!(told(&mut bridge, start(B, Some(A))), [(false, A.to_owned()), (true, B.to_owned())]);
    assert_eq!(told(&mut bridge, start(C, Some(A))), [(true, C.to_owned())]);
    assert_eq!(told(&mut bridge, end(A)), [], "an end after an implied end is exported, but not told again");
    assert_eq!(told(&mut bridge, end(B)), [(false, B.to_owned())]);
    assert_eq!(told(&mut bridge, end(B)), []);
    assert_eq!(told(&mut bridge, start(B, None)), [], "a start that comes twice is told once");
}

#[test]
fn an_implied_end_becomes_an_event_only_if_asked_for() {
    let mut bridge = Bridge::new(MapSettings { synthesize_end: true, ..MapSettings::default() });
    bridge.send(&[start(A, None), event_of(A)]);
    let sent = bridge.send(&[later(start(B, Some(A)), 7), end(A)]);
    sent.iter().for_each(assert_good);
    assert_eq!(sent.len(), 3);
    assert_eq!(
        sent[0].data(),
        &json!({"sessionId": A, "implied": true, "scopeName": "shop.cart", "scopeVersion": "2.0"})
    );
    assert_eq!((sent[0].field("sid"), sent[0].event_index()), (Some(A), Some(3)));
    assert_eq!(sent[0].field("dtm"), sent[1].field("dtm"));
    assert_eq!((sent[1].field("sid"), sent[1].event_index()), (Some(B), Some(1)));
    assert_eq!((sent[2].field("sid"), sent[2].event_index()), (Some(A), Some(4)));
    let sent = bridge.send(&[start(C, Some("dddddddd-0000-4000-8000-00000000000d"))]);
    assert_eq!(sent.len(), 1, "of an unknown session there is no end to tell");
}

#[test]
fn an_implied_end_names_who_used_the_session_last() {
    for synthesize_end in [true, false] {
        let mut bridge = Bridge::new(MapSettings { synthesize_end, ..MapSettings::default() });
        bridge.send(&[start(A, None)]);
        let known = bridge.send_one(with(event_of(A), "user.id", "ada"));
        let sent = bridge.send(&[start(B, Some(A))]);
        let told = bridge.mapped.sessions.iter().find(|it| !it.started).unwrap().state.user_id.to_string();
        assert_eq!(known.session()["userId"], json!(told));
        if synthesize_end {
            assert_eq!((&sent[0].session()["userId"], sent[0].field("duid")), (&json!(told), Some(&*told)));
        }
    }
}

/// Behaviour 95.
#[test]
fn a_late_record_takes_the_next_number_of_its_own_session() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None), event_of(A), end(A), start(B, Some(A)), event_of(B)]);
    let late = bridge.send_one(event_of(A));
    assert_eq!((late.field("vid"), late.event_index()), (Some("1"), Some(4)));
    let next = bridge.send_one(event_of(B));
    assert_eq!((next.field("vid"), next.event_index()), (Some("2"), Some(3)));
}

/// Behaviour 97, as far as it is decided here; the rest is delivery's.
#[test]
fn a_batch_that_the_outbox_refuses_takes_no_number() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None), event_of(A)]);
    let refused = bridge.try_send(&[event_of(A), start(B, Some(A)), event_of(B)]);
    assert_eq!(refused[0].event_index(), Some(3));
    bridge.mapper.roll_back();
    let again = bridge.send(&[event_of(A), start(B, Some(A)), event_of(B)]);
    let numbers = |sent: &[Payload]| -> Vec<_> {
        sent.iter().map(|it| (it.field("vid").unwrap().to_owned(), it.event_index())).collect()
    };
    assert_eq!(numbers(&refused), numbers(&again));
    assert_eq!(bridge.mapped.sessions.len(), 2, "the end of A is told with the batch that is taken");
}

/// Behaviour 99.
#[test]
fn a_session_that_follows_itself_has_no_predecessor() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send_one(start(A, Some(&A.to_uppercase())));
    assert_good(&sent);
    assert_eq!(sent.session()["previousSessionId"], json!(null));
    assert_eq!(sent.data().get("previousSessionId"), None, "nor in its data");
    assert_eq!(bridge.lost(Loss::EventField), 1);
    assert_eq!(sent.event_index(), Some(1));
    let sent = bridge.send_one(start("visit", Some("VISIT")));
    assert_eq!(sent.data()["previousSessionId"], "VISIT", "case makes a difference where it is no UUID");
}

/// Behaviour 100.
#[test]
fn records_without_a_session_go_out_without_one_or_not_at_all() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send_one(event([]));
    assert_good(&sent);
    assert_eq!((sent.field("sid"), sent.field("vid"), sent.entity("client_session")), (None, None, None));
    let mut bridge = Bridge::new(MapSettings { skip_without_session: true, ..MapSettings::default() });
    assert!(bridge.send(&[event([])]).is_empty());
    assert_eq!(bridge.lost(Loss::EventWithoutSession), 1);
}

#[test]
fn the_events_of_a_session_are_refused_without_its_id() {
    let mut bridge = Bridge::new(MapSettings::default());
    let nothing = [record(Some("session.start"), []), record(Some("session.end"), [("session.id", "".into())])];
    assert!(bridge.send(&nothing).is_empty());
    assert_eq!(bridge.lost(Loss::EventWithoutSession), 2);
}

#[test]
fn a_session_seen_midway_has_an_index_but_no_event_numbers() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send(&[event_of(A), end(A)]);
    sent.iter().for_each(assert_good);
    for payload in &sent {
        let session = payload.session();
        let numbers = [&session["eventIndex"], &session["firstEventId"], &session["firstEventTimestamp"]];
        assert_eq!(numbers, [&json!(null); 3]);
        assert_eq!(payload.field("vid"), Some("1"));
    }
    let late = bridge.send_one(start(B, None));
    assert_eq!(late.field("vid"), Some("2"));
    let mut bridge = Bridge::new(MapSettings { number_unannounced_sessions: true, ..MapSettings::default() });
    let sent = bridge.send(&[event_of(A), start(A, None), event_of(A)]);
    assert_eq!(sent.iter().map(Payload::event_index).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(sent[2].session()["firstEventId"], json!(sent[0].id().to_string()));
}

#[test]
fn a_start_that_comes_after_other_events_is_the_first_that_has_a_number() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send(&[event_of(A), start(A, None), event_of(A)]);
    assert_eq!(sent.iter().map(Payload::event_index).collect::<Vec<_>>(), [None, Some(1), Some(2)]);
    assert_eq!(sent[2].session()["firstEventId"], json!(sent[1].id().to_string()));
}

#[test]
fn a_start_that_comes_after_other_events_still_says_which_session_was_before() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None), event_of(B)]);
    let sent = bridge.send(&[start(B, Some(A)), event_of(B)]);
    sent.iter().for_each(assert_good);
    assert!(sent.iter().all(|it| it.session()["previousSessionId"] == A));
    let told: Vec<_> = bridge.mapped.sessions.iter().map(|it| it.state.previous_session_id).collect();
    assert_eq!(told, [None, Some(A.parse().unwrap())], "the end of A, the start of B");
    let again = bridge.send_one(start(B, Some(C)));
    assert_eq!(again.session()["previousSessionId"], A, "it is said once");
    bridge.restart();
    assert_eq!(bridge.send_one(event_of(B)).session()["previousSessionId"], A);

    let mut counting = Bridge::new(MapSettings { number_unannounced_sessions: true, ..MapSettings::default() });
    counting.send(&[event_of(C), event_of(B)]);
    let sent = counting.send_one(start(B, Some(A)));
    assert_eq!(sent.session()["previousSessionId"], A, "not the one that was guessed");
}

#[test]
fn the_index_on_the_record_wins_over_counting() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send_one(with(start(A, None), "otel_session.index", 7));
    assert_eq!(sent.field("vid"), Some("7"));
    assert_eq!(sent.data()["sessionIndex"], 7);
    assert_eq!(bridge.send_one(event_of(B)).field("vid"), Some("8"), "counting goes on from it");
    let sent = bridge.send_one(with(start(C, None), "otel_session.index", -3));
    assert_good(&sent);
    assert_eq!((sent.field("vid"), bridge.lost(Loss::EventField)), (Some("9"), 1));
    let sent = bridge.send_one(with(event_of(A), "otel_session.index", 5));
    assert_eq!(sent.field("vid"), Some("7"), "a session keeps its index");
}

#[test]
fn indices_and_predecessors_are_kept_for_each_user() {
    let mut bridge = Bridge::new(MapSettings::default());
    let of = |record, user: &'static str| with(record, "user.id", user);
    let sent = bridge.send(&[
        of(start(A, None), "ada"),
        of(start(B, None), "bob"),
        of(start(C, None), "ada"),
        of(start("dddddddd-0000-4000-8000-00000000000d", None), "bob"),
    ]);
    let seen: Vec<_> = sent.iter().map(|it| (it.field("vid").unwrap(), &it.session()["previousSessionId"])).collect();
    assert_eq!(seen, [("1", &json!(null)), ("1", &json!(null)), ("2", &json!(A)), ("2", &json!(B))]);
}

#[test]
fn filtered_and_refused_records_take_no_number() {
    let filter = super::super::hook::Filter(std::sync::Arc::new(|it| it.name() != Some("cart.secret")));
    let mut bridge = Bridge::new(MapSettings {
        filter: Some(filter),
        session_ids: super::super::SessionIdPolicy::Exact,
        ..MapSettings::default()
    });
    let secret = record(Some("cart.secret"), [("session.id", A.into())]);
    let plain = record(None, [("session.id", A.into())]);
    let sent = bridge.send(&[start(A, None), secret, plain, event_of("not a uuid"), event_of(A)]);
    assert_eq!(sent.iter().map(Payload::event_index).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(bridge.lost(Loss::EventSessionId), 1);
}

#[test]
fn a_restart_with_the_stored_rows_goes_on_with_the_same_numbers() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None), event_of(A), start(B, Some(A))]);
    let before = bridge.send_one(event_of(B));
    bridge.restart();
    let after = bridge.send_one(event_of(B));
    assert_eq!(after.event_index(), Some(3));
    for field in ["userId", "sessionIndex", "previousSessionId", "firstEventId", "firstEventTimestamp"] {
        assert_eq!(after.session()[field], before.session()[field], "{field}");
    }
    assert_eq!(bridge.send_one(event_of(A)).event_index(), Some(3));
    assert_eq!(bridge.send_one(start(C, None)).field("vid"), Some("3"));
}

/// Behaviour 32.
#[test]
fn two_namespaces_on_one_outbox_do_not_share_sessions() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None)]);
    let rows = bridge.stored();
    for namespace in ["ote", "otel2", ""] {
        let settings = MapSettings { state_key: namespace.to_owned(), ..MapSettings::default() };
        let mut other = Bridge::new(settings.clone());
        other.mapper = Mapper::new(settings, &rows);
        assert_eq!(other.send_one(event_of(A)).event_index(), None);
        assert_ne!(other.mapper.default_user(), bridge.mapper.default_user());
    }
}

/// Behaviour 30.
#[test]
fn rows_that_are_broken_or_of_another_version_are_as_if_not_there() {
    let mut bridge = Bridge::new(MapSettings::default());
    bridge.send(&[start(A, None), start(B, Some(A))]);
    let rows = bridge.stored();
    for cut in 0..90 {
        for row in &rows {
            let mut broken = row.clone();
            let value = broken.value.as_mut().unwrap();
            if cut < value.len() {
                value.truncate(cut);
            } else {
                value.push(0);
            }
            let mut newer = row.clone();
            newer.value.as_mut().unwrap()[0] = 9;
            let mut other = Bridge::new(MapSettings::default());
            other.mapper = Mapper::new(MapSettings::default(), &[broken, newer]);
            assert_good(&other.send_one(event_of(A)));
            assert_eq!(other.send_one(event_of(A)).event_index(), None);
        }
    }
}

#[test]
fn the_table_forgets_ended_sessions_first_and_then_idle_ones() {
    let mut bridge = Bridge::new(MapSettings { max_sessions: 2, ..MapSettings::default() });
    bridge.send(&[start(A, None)]);
    bridge.send(&[start(B, None)]);
    bridge.send(&[end(B)]);
    bridge.send(&[start(C, None)]);
    assert_eq!(bridge.send_one(event_of(A)).event_index(), Some(2), "B had ended, so it went");
    assert_eq!(bridge.send_one(event_of(B)).event_index(), None);
    assert_eq!(bridge.send_one(event_of(A)).event_index(), Some(3), "C was idle for longest");
    assert_eq!(bridge.rows.keys().filter(|(table, _)| *table == 1).count(), 2, "and so are the stored rows");
    bridge.settings.max_sessions = 1;
    bridge.restart();
    bridge.send(&[]);
    assert_eq!(bridge.rows.keys().filter(|(table, _)| *table == 1).count(), 1, "a lower limit empties the store");
}

#[test]
fn ids_stand_in_the_body_where_older_conventions_put_them() {
    let mut bridge = Bridge::new(MapSettings::default());
    let mut older = record(None, [("event.name", "session.start".into())]);
    let members = [("session.id", A), ("session.previous_id", B), ("user.id", "ada")];
    older.set_body(AnyValue::Map(Box::new(
        members.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
    )));
    let sent = bridge.send_one(older);
    assert_good(&sent);
    assert_eq!((sent.field("sid"), sent.event_index()), (Some(A), Some(1)));
    assert_eq!(sent.session()["previousSessionId"], B);
    assert_eq!(sent.field("uid"), Some("ada"));
}
