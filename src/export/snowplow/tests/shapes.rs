//! A record of a known shape is read as it would be by itself.

use opentelemetry::logs::AnyValue;
use proptest::prelude::*;

use super::super::json::Level;
use super::super::record::{Reading, Record, Rest};
use super::super::shapes::Shapes;
use super::*;

/// What two ways of reading a record could tell differently.
fn read(record: &SdkLogRecord, network_user: Option<&str>, shapes: &mut Shapes) -> String {
    let scope = InstrumentationScope::default();
    let mut rest = Rest::new();
    let mut reading = Reading { network_user, shapes };
    let read = Record::of_log(record, &scope, &mut reading, &mut rest);
    let left: Vec<_> = rest.iter().map(|left| (left.key, left.value)).collect();
    for left in &rest {
        if let Some(text) = left.text.of(reading.shapes.texts()) {
            assert_eq!(String::from_utf8_lossy(text), format!(",\"{}\":", left.key));
            assert!(!left.key.contains('"'), "one that has to be escaped is not ready");
        }
    }
    format!("{:?} {} {:?} {} {left:?}", read.kind, read.name, read.known, read.duplicates)
}

const KEYS: [&str; 16] = [
    "",
    "shop.\"order\"",
    "session.id",
    "session.previous_id",
    "user.id",
    "enduser.id",
    "app.installation.id",
    "otel_session.index",
    "log.record.uid",
    "event.name",
    "url.full",
    "snowplow.url",
    "net.user",
    "shop.items",
    "shop.order",
    "shop.delivery.name",
];

fn value() -> impl Strategy<Value = AnyValue> {
    prop_oneof![
        3 => Just(AnyValue::from("6de9024e-17b9-4026-bd4d-efec50ae84cb")),
        1 => Just(AnyValue::from("")),
        1 => Just(AnyValue::from(7_i64)),
        1 => Just(AnyValue::from(true)),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_the_same_whatever_was_read_before_it(
        names in prop::collection::vec(prop::sample::select(vec![None, Some("paid"), Some("diap")]), 1..4),
        // Few sets of keys, in order, so that shapes are met again, with values that fit them or not.
        sets in prop::collection::vec(prop::collection::vec(prop::sample::select(KEYS.to_vec()), 0..6), 1..4),
        records in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(value(), 6)), 1..60),
        network_user in prop::sample::select(vec![None, Some("net.user")]),
    ) {
        let mut shapes = Shapes::new(Level::Plain);
        for (name, set, values) in &records {
            let keys = set.get(&sets);
            let record = record(*name.get(&names), keys.iter().copied().zip(values.iter().cloned()));
            let expected = read(&record, network_user, &mut Shapes::new(Level::Plain));
            prop_assert_eq!(read(&record, network_user, &mut shapes), expected);
        }
    }
}

#[test]
fn a_shape_gives_way_to_another_that_keeps_coming() {
    let mut shapes = Shapes::new(Level::Plain);
    let one = record(Some("paid"), [("shop.order", AnyValue::from("a"))]);
    let other = record(Some("paid"), [("shop.items", AnyValue::from(1_i64))]);
    let is_known = |shapes: &mut Shapes, record: &SdkLogRecord| {
        let attributes =
            record.attributes_iter().map(|(key, value)| (key.as_str(), super::super::record::Attribute::Any(value)));
        shapes.of("paid").0.read(attributes, &mut Default::default(), &mut Rest::new())
    };
    read(&one, None, &mut shapes);
    assert!(is_known(&mut shapes, &one) && !is_known(&mut shapes, &other));
    read(&other, None, &mut shapes);
    assert!(is_known(&mut shapes, &one), "one that looks otherwise is an exception");
    (0..16).for_each(|_| drop(read(&other, None, &mut shapes)));
    assert!(is_known(&mut shapes, &other) && !is_known(&mut shapes, &one));
}
