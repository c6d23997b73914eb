//! Filters and mappings of the application's own.

use std::sync::Arc;

use serde_json::json;

use super::super::hook::{Candidate, Filter, Mapping, MappingHook, SelfDescribing, StructuredEvent};
use super::schemas::assert_good;
use super::*;

fn mapping(map: impl Fn(&Candidate<'_>) -> Mapping + Send + Sync + 'static) -> MapSettings {
    MapSettings { mapping: Some(MappingHook(Arc::new(map))), ..MapSettings::default() }
}

/// Behaviour 46.
#[test]
fn a_filter_sees_the_record_and_can_drop_it() {
    let filter = Filter(Arc::new(|it| match it {
        Candidate::Log { record, name, .. } => *name == Some("cart.add") && record.attributes_iter().count() == 1,
        Candidate::Span { .. } => false,
    }));
    let mut bridge = Bridge::new(MapSettings { filter: Some(filter), ..MapSettings::default() });
    assert_eq!(bridge.send(&[event_of(A), with(event_of(A), "more", 1), start(B, None)]).len(), 1);
    assert_eq!(bridge.settings.losses.read().total(), 0, "what is not wanted is not lost");
}

#[test]
fn a_mapping_makes_other_events_of_records_also_of_plain_logs() {
    let mut bridge = Bridge::new(mapping(|it| match it.name() {
        None => Mapping::structured(StructuredEvent::new("shop", "log").with_value(0.1).with_label("a\tb")),
        Some("cart.add") => {
            let data = json!({"text": "✓ \"quoted\"", "list": [1, null, {"a": 1.5}]});
            Mapping::self_describing(SelfDescribing::new("iglu:com.acme/add/jsonschema/1-0-0", data))
                .with_entity(SelfDescribing::new("iglu:com.acme/cart/jsonschema/1-0-0", json!({"items": 3})))
        }
        Some("skip") => Mapping::skip(),
        Some(_) => Mapping::usual().with_entity(SelfDescribing::new("iglu:com.acme/x/jsonschema/1-0-0", json!(1))),
    }));
    let sent = bridge.send(&[
        start(A, None),
        record(None, [("session.id", A.into())]),
        record(Some("skip"), [("session.id", A.into())]),
        event_of(A),
    ]);
    sent.iter().for_each(assert_good);
    assert_eq!(sent.iter().map(Payload::event_index).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(sent[0].entity("x"), Some(&json!(1)));
    assert_eq!(
        ["e", "se_ca", "se_va", "se_la"].map(|key| sent[1].field(key)),
        [Some("se"), Some("shop"), Some("0.1"), Some("a b")]
    );
    assert_eq!(sent[2].data(), &json!({"text": "✓ \"quoted\"", "list": [1, null, {"a": 1.5}]}));
    assert_eq!(sent[2].entities.len(), 2);
}

#[test]
fn a_structured_event_without_category_or_action_gets_the_usual_one() {
    let mut bridge = Bridge::new(mapping(|it| {
        let (category, action) = if it.name() == Some("cart.add") { ("\u{1} ", "add") } else { ("shop", "") };
        Mapping::structured(StructuredEvent::new(category, action).with_label("mine"))
    }));
    let sent = bridge.send(&[event_of(A), start(B, None), record(None, [("session.id", A.into())])]);
    sent.iter().for_each(assert_good);
    let said = |it: &Payload| ["se_ca", "se_ac", "se_la"].map(|key| it.field(key).unwrap().to_owned());
    assert_eq!(
        sent.iter().map(said).collect::<Vec<_>>(),
        [["shop.cart", "add", "mine"], ["shop", "session.start", "mine"], ["shop", "log", "mine"]]
    );
    assert_eq!(bridge.lost(Loss::EventField), 3);
}

/// Behaviour 11.
#[test]
fn a_session_entity_of_the_applications_own_replaces_ours() {
    let own =
        json!({"userId": Uuid::nil().to_string(), "sessionId": A, "sessionIndex": 1, "storageMechanism": "COOKIE_1"});
    let entity =
        SelfDescribing::new("iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2", own.clone());
    let mut bridge = Bridge::new(mapping(move |_| Mapping::usual().with_entity(entity.clone())));
    let sent = bridge.send_one(start(A, None));
    assert_eq!(sent.session(), &own);
    assert_eq!(bridge.mapped.events[0].event_index, Some(1), "events are numbered all the same");
}

#[test]
fn what_a_pipeline_could_not_read_is_left_out_and_counted() {
    let mut bridge = Bridge::new(mapping(|it| {
        let deep = (0..50).fold(json!(1), |value, _| json!([value]));
        match it.name() {
            Some("cart.add") => Mapping::self_describing(SelfDescribing::new("com.acme/add", json!({})))
                .with_entity(SelfDescribing::new("iglu:com.acme/deep/jsonschema/1-0-0", deep)),
            _ => Mapping::self_describing(SelfDescribing::new("iglu:a/b/jsonschema/1-0-0", deep)),
        }
    }));
    let sent = bridge.send(&[event_of(A), start(A, None)]);
    sent.iter().for_each(assert_good);
    assert_eq!(sent[0].event.as_ref().unwrap().0, "iglu:io.github.otel_session/event/jsonschema/1-0-0");
    assert_eq!(sent[0].entities.len(), 1);
    assert_eq!(sent[1].event.as_ref().unwrap().0, "iglu:io.github.otel_session/session_start/jsonschema/1-0-0");
    assert_eq!(bridge.lost(Loss::EventField), 3);
}

#[test]
fn a_schema_has_the_versions_that_iglu_has() {
    for (version, exists) in [
        ("1-0-0", true),
        ("12-30-400", true),
        ("0-0-0", false),
        ("01-0-0", false),
        ("1-00-0", false),
        ("1-0-01", false),
        ("1-0", false),
        ("1--0", false),
        ("9999999999-0-0", false),
    ] {
        let schema = format!("iglu:com.acme/cart/jsonschema/{version}");
        let mut bridge =
            Bridge::new(mapping(move |_| Mapping::usual().with_entity(SelfDescribing::new(&schema, json!({})))));
        assert_eq!(bridge.send_one(start(A, None)).entity("cart").is_some(), exists, "{version}");
        assert_eq!(bridge.lost(Loss::EventField), u64::from(!exists), "{version}");
    }
}

#[test]
fn a_filter_or_mapping_that_panics_is_counted_and_gone_without() {
    let mut bridge = Bridge::new(MapSettings {
        filter: Some(Filter(Arc::new(|_| panic!("a filter's own mistake")))),
        ..mapping(|_| panic!("a mapping's own mistake"))
    });
    let sent = bridge.send(&[start(A, None), event_of(A)]);
    sent.iter().for_each(assert_good);
    assert_eq!(sent.iter().map(Payload::event_index).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(bridge.lost(Loss::EventFilterPanic), 4);
}
