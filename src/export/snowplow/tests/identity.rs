//! Who the user is, which session it is, and what is said of both under anonymity.

use serde_json::json;

use super::super::{Anonymity, ID_NAMESPACE, SessionIdPolicy, StorageMechanism, Subject};
use super::schemas::assert_good;
use super::*;

const INSTALLATION: &str = "2AB2916D-A51F-4AC8-80EE-45AC31A28092";

#[test]
fn the_user_is_the_installation_else_derived_from_the_user_id_else_our_own_installation() {
    let mut bridge = Bridge::new(MapSettings::default());
    let ada = Uuid::new_v5(&ID_NAMESPACE, b"ada").to_string();
    let known = with(with(event_of(A), "app.installation.id", INSTALLATION), "user.id", "ada");
    let sent = bridge.send_one(known);
    assert_good(&sent);
    assert_eq!(sent.field("duid"), Some(INSTALLATION.to_lowercase().as_str()));
    assert_eq!(sent.field("uid"), Some("ada"));
    let sent = bridge.send_one(with(with(event_of(A), "app.installation.id", "not a uuid"), "user.id", "ada"));
    assert_good(&sent);
    assert_eq!(sent.field("duid"), Some(ada.as_str()));
    assert_eq!(sent.session()["userId"], ada);
    assert_eq!(sent.data()["attributes"]["app.installation.id"], "not a uuid", "what is not used is kept");
    assert_eq!(bridge.mapper.default_user(), None, "it is made when it is needed");
    let own = bridge.send_one(event_of(A));
    assert_good(&own);
    assert_eq!(own.field("duid"), bridge.mapper.default_user().map(|it| it.to_string()).as_deref());
    assert_eq!(own.field("uid"), None);
    bridge.restart();
    assert_eq!(bridge.send_one(event_of(A)).field("duid"), own.field("duid"), "it is stored");
}

#[test]
fn the_user_by_the_older_name_counts_where_there_is_no_other() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send_one(with(event_of(A), "enduser.id", "ada"));
    assert_good(&sent);
    let ada = Uuid::new_v5(&ID_NAMESPACE, b"ada").to_string();
    assert_eq!((sent.field("uid"), sent.field("duid")), (Some("ada"), Some(ada.as_str())));
    assert_eq!(sent.data()["attributes"]["enduser.id"], json!(null), "it is said already");
    for keys in [["enduser.id", "user.id"], ["user.id", "enduser.id"]] {
        let values = keys.map(|key| if key == "user.id" { "bob" } else { "ada" });
        let sent = bridge.send_one(with(with(event_of(A), keys[0], values[0]), keys[1], values[1]));
        assert_good(&sent);
        assert_eq!((sent.field("uid"), &sent.data()["attributes"]["enduser.id"]), (Some("bob"), &json!("ada")));
    }
}

#[test]
fn a_refused_batch_does_not_make_a_second_installation_id() {
    let mut bridge = Bridge::new(MapSettings::default());
    let first = bridge.try_send(&[event_of(A)]);
    bridge.mapper.roll_back();
    let second = bridge.send_one(event_of(A));
    assert_eq!(first[0].field("duid"), second.field("duid"));
    bridge.restart();
    assert_eq!(bridge.send_one(event_of(A)).field("duid"), second.field("duid"));
}

#[test]
fn a_subject_names_the_user_where_records_do_not() {
    let subject = Subject::new().with_domain_user_id(INSTALLATION);
    let mut bridge = Bridge::new(MapSettings { subject, ..MapSettings::default() });
    let sent = bridge.send_one(event_of(A));
    assert_good(&sent);
    assert_eq!(sent.field("duid"), Some(INSTALLATION.to_lowercase().as_str()));
    bridge.mapper.set_subject(Subject::new().with_user_id("ada"));
    let sent = bridge.send_one(event_of(A));
    assert_good(&sent);
    assert_eq!(sent.field("duid"), Some(Uuid::new_v5(&ID_NAMESPACE, b"ada").to_string().as_str()));
    bridge.mapper.set_subject(Subject::new().with_domain_user_id("any text").with_user_id("ada"));
    let sent = bridge.send_one(event_of(A));
    assert_good(&sent);
    assert_eq!(sent.field("duid"), Some(Uuid::new_v5(&ID_NAMESPACE, b"any text").to_string().as_str()));
    let sent = bridge.send_one(with(event_of(A), "user.id", "bob"));
    assert_eq!(sent.field("duid"), Some(Uuid::new_v5(&ID_NAMESPACE, b"bob").to_string().as_str()));
}

/// Behaviour 96.
#[test]
fn session_ids_that_are_not_uuids_follow_the_policy() {
    let bad =
        ["1234567891234", "00000000-0000-0000-0000-000000000000", "aaaaaaaa00004000800000000000000a", "a\nb\u{1}"];
    for id in bad {
        for (policy, expected) in [
            (SessionIdPolicy::UuidV5, Some(Some(Uuid::new_v5(&ID_NAMESPACE, id.as_bytes()).to_string()))),
            (SessionIdPolicy::Exact, None),
            (SessionIdPolicy::Omit, Some(None)),
        ] {
            let mut bridge = Bridge::new(MapSettings { session_ids: policy, ..MapSettings::default() });
            let sent = bridge.send(&[start(id, None), event_of(id)]);
            sent.iter().for_each(assert_good);
            for payload in &sent {
                assert_eq!(payload.data()["sessionId"], id, "the data keep the text");
                assert_eq!(
                    payload.entity("client_session").is_some(),
                    expected == Some(payload.field("sid").map(str::to_owned)) && policy != SessionIdPolicy::Omit
                );
            }
            let sids: Vec<_> = sent.iter().map(|it| it.field("sid").map(str::to_owned)).collect();
            assert_eq!(sids, expected.map_or(vec![], |id| vec![id.clone(), id]), "{id:?} {policy:?}");
            assert_eq!(bridge.lost(Loss::EventSessionId), if policy == SessionIdPolicy::Exact { 2 } else { 0 });
        }
    }
    let mut bridge = Bridge::new(MapSettings { session_ids: SessionIdPolicy::Exact, ..MapSettings::default() });
    let sent = bridge.send_one(start(&A.to_uppercase(), None));
    assert_good(&sent);
    assert_eq!(sent.field("sid"), Some(A), "case is not a reason to refuse");
    assert_eq!(bridge.send_one(event_of(A)).event_index(), Some(2), "nor to tell sessions apart");
}

/// Behaviours 9 and 33.
#[test]
fn with_session_tracking_events_and_stored_rows_say_the_session_but_not_the_user() {
    let settings = MapSettings { anonymity: Anonymity::with_session_tracking(), ..personal() };
    let mut bridge = Bridge::new(settings);
    let sent = bridge.send(&[personal_record(start(A, None)), personal_record(start(B, Some(A))), event_of(B)]);
    for (payload, index) in sent.iter().zip(["1", "2", "2"]) {
        assert_good(payload);
        assert_eq!(payload.session()["userId"], Uuid::nil().to_string());
        assert_eq!(payload.session()["previousSessionId"], json!(null));
        assert_eq!(payload.field("vid"), Some(index));
        assert_nothing_personal(payload);
    }
    assert_eq!(sent[2].event_index(), Some(2));
    bridge.mapper.set_subject(Subject::new());
    assert_eq!(bridge.mapper.default_user(), None, "nobody needed an installation");
    let ada = Uuid::new_v5(&ID_NAMESPACE, b"ada");
    // Rows have their session's or user's id as the key. Nothing may lead from B to A, or from either to the user.
    let session_a: Uuid = A.parse().unwrap();
    for row in bridge.stored() {
        let value = row.value.unwrap();
        for secret in [session_a, ada, INSTALLATION.parse().unwrap()] {
            let holds = |bytes: &[u8]| bytes.windows(16).any(|it| it == secret.as_bytes());
            assert!(!holds(&value), "{secret} in a row of table {}", row.table);
            assert!(!holds(&row.key) || secret == session_a, "{secret} is the key of a row of table {}", row.table);
        }
    }
}

/// Behaviour 10.
#[test]
fn full_anonymity_says_neither_and_stores_nothing() {
    let mut bridge = Bridge::new(MapSettings { anonymity: Anonymity::full(), ..personal() });
    let sent = bridge.send(&[personal_record(start(A, None)), personal_record(event_of("7")), event_of(A), end(A)]);
    assert_eq!(sent.len(), 4);
    for payload in &sent {
        assert_good(payload);
        assert_eq!((payload.field("sid"), payload.field("vid"), payload.entity("client_session")), (None, None, None));
        assert_nothing_personal(payload);
        assert!(!format!("{payload:?}").contains(A), "{payload:?}");
    }
    assert_eq!(bridge.mapped.sessions, []);
    assert!(bridge.rows.is_empty());
}

/// Behaviour 22.
#[test]
fn the_session_goes_on_when_anonymity_ends_and_events_keep_the_mode_they_came_in() {
    let mut bridge = Bridge::new(MapSettings::default());
    let first = bridge.send_one(start(A, None));
    assert_eq!(bridge.mapped.encoded[0].mode, 0);
    let anonymity = Anonymity::full().with_server_anonymisation();
    bridge.mapper.set_anonymity(anonymity);
    assert_eq!(bridge.send_one(event_of(A)).field("sid"), None);
    assert_eq!(bridge.mapped.encoded[0].mode, anonymity.mode());
    bridge.mapper.set_anonymity(Anonymity::off());
    let last = bridge.send_one(event_of(A));
    assert_eq!((last.field("duid"), last.event_index()), (first.field("duid"), Some(2)));
}

#[test]
fn opting_out_forgets_every_id_also_in_storage() {
    let mut bridge = Bridge::new(MapSettings::default());
    let before = bridge.send_one(start(A, None));
    for row in bridge.mapper.forget() {
        assert_eq!(row.value, None);
        bridge.rows.remove(&(row.table, row.key));
    }
    assert!(bridge.rows.is_empty());
    let after = bridge.send_one(event_of(A));
    assert_ne!(after.field("duid"), before.field("duid"));
    assert_eq!(after.event_index(), None);
}

/// Behaviour 12, as far as it is decided here.
#[test]
fn the_storage_mechanism_is_that_of_the_outbox() {
    for (storage, expected) in [
        (StorageMechanism::Sqlite, "SQLITE"),
        (StorageMechanism::LocalStorage, "LOCAL_STORAGE"),
        (StorageMechanism::Cookie, "COOKIE_1"),
    ] {
        let mut bridge = Bridge::new(MapSettings { storage, ..MapSettings::default() });
        let sent = bridge.send_one(start(A, None));
        assert_good(&sent);
        assert_eq!(sent.session()["storageMechanism"], expected);
        assert_eq!(bridge.mapped.sessions[0].state.storage_mechanism, storage);
    }
}

fn personal() -> MapSettings {
    let subject = Subject::new()
        .with_user_id("zora")
        .with_domain_user_id(INSTALLATION)
        .with_ip_address("203.0.113.7")
        .with_network_user_id("network")
        .with_language("en");
    MapSettings { subject, resource_entity: true, ..MapSettings::default() }
}

fn personal_record(mut record: SdkLogRecord) -> SdkLogRecord {
    for key in ["user.id", "user.email", "enduser.id", "device.id"] {
        record.add_attribute(key, "zora");
    }
    record.add_attribute("client.address", "203.0.113.7");
    record.add_attribute("app.installation.id", INSTALLATION);
    record.add_attribute("shown", 1);
    let members = [("user.id", "zora"), ("session.previous_id", A), ("fine", "yes")];
    record.set_body(AnyValue::Map(Box::new(
        members.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
    )));
    record
}

fn assert_nothing_personal(payload: &Payload) {
    for key in ["uid", "duid", "tnuid", "nuid", "ip"] {
        assert_eq!(payload.field(key), None, "{key}");
    }
    assert_eq!(payload.field("lang"), Some("en"), "the rest of the subject stays");
    let text = format!("{:?} {:?}", payload.fields, payload.event);
    for secret in ["zora", "203.0.113.7", INSTALLATION, &INSTALLATION.to_lowercase()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    if payload.data()["attributes"] != json!(null) {
        assert_eq!(payload.data()["attributes"], json!({"shown": 1}));
        assert_eq!(payload.data()["body"], json!({"fine": "yes"}));
    }
}

/// As wherever it could not be taken for the field: of another type, in a body, on an event or a link of a span.
#[test]
fn an_anonymous_event_keeps_what_would_fill_a_field_of_the_user_out_of_its_data_too() {
    let of_the_user = ["snowplow.tnuid", "snowplow.fp", "snowplow.ip", "acme.visitor"];
    let number = || of_the_user.map(|key| (key, AnyValue::from(22.5)));
    let mut with_body = event_of(A);
    with_body.set_body(AnyValue::Map(Box::new(number().map(|(key, value)| (key.into(), value)).into())));
    let records = [event(number().into_iter().chain([("session.id", AnyValue::from(A))])), with_body];
    for (anonymity, shown) in [(Anonymity::off(), 4), (Anonymity::with_session_tracking(), 0), (Anonymity::full(), 0)] {
        let network_user_attribute = Some("acme.visitor".to_owned());
        let mut bridge = Bridge::new(MapSettings { anonymity, network_user_attribute, ..MapSettings::default() });
        for payload in bridge.send(&records) {
            let data = payload.event.unwrap().1.to_string();
            assert_eq!(data.matches("22.5").count(), shown, "{anonymity:?}: {data}");
        }
    }
}

#[test]
fn the_attribute_of_the_network_user_keeps_the_meaning_that_it_has_besides() {
    for (attribute, besides) in
        [("app.installation.id", "duid"), ("user.id", "uid"), ("enduser.id", "uid"), ("client.address", "ip")]
    {
        let network_user_attribute = Some(attribute.to_owned());
        let mut bridge = Bridge::new(MapSettings { network_user_attribute, ..MapSettings::default() });
        let payload = bridge.send_one(event([("session.id", AnyValue::from(A)), (attribute, AnyValue::from(B))]));
        for key in ["tnuid", besides] {
            assert_eq!(payload.fields.get(key).map(String::as_str), Some(B), "{attribute}: {key}");
        }
    }
}

#[test]
fn a_callback_is_told_of_the_user_whom_the_event_names() {
    let mut bridge = Bridge::new(MapSettings::default());
    let sent = bridge.send(&[start(A, None), with(end(A), "user.id", "ada"), start(B, None)]);
    let [begun, ended, next] = sent.as_slice() else { panic!("{sent:?}") };
    assert_ne!(ended.session()["userId"], begun.session()["userId"], "ada has logged in");
    let told: Vec<_> = bridge.mapped.sessions.iter().map(|it| json!(it.state.user_id.to_string())).collect();
    assert_eq!(told, [begun, ended, next].map(|it| it.session()["userId"].clone()));
}
