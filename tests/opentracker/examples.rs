//! The six examples of Opentracker's document, by records through the exporter into the development collector.

use std::sync::{Arc, Mutex};

use opentelemetry::logs::AnyValue;
use otel_session::collector::{DevCollector, OpentrackerRecord};
use otel_session::export::opentracker::Method;
use otel_session::{Loss, OpentrackerExporter};

use crate::records::{event, export};
use crate::{LONG, builder, now};

type Attributes = &'static [(&'static str, &'static str)];

/// A collector, an exporter that sends to it, and the ids that it returned.
struct Rig {
    collector: DevCollector,
    exporter: OpentrackerExporter,
    returned: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new(method: Method) -> Self {
        let collector = DevCollector::start().unwrap();
        let returned = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&returned);
        let exporter = builder(&collector.opentracker_endpoint())
            .with_method(method)
            .with_user_without_session(true)
            .on_event_id(move |_, id| heard.lock().unwrap().push(id.to_owned()))
            .build()
            .unwrap();
        Self { collector, exporter, returned }
    }

    /// Exports one record and waits for its event; the id that the server returned for it.
    fn track(&self, attributes: Attributes) -> String {
        let attributes: Vec<_> = attributes.iter().map(|(key, value)| (*key, AnyValue::from(*value))).collect();
        export(&self.exporter, &[event("example", now(), &attributes)]).unwrap();
        assert!(self.exporter.flush(LONG));
        let returned = self.returned.lock().unwrap();
        returned.last().expect("the collector returned an id").clone()
    }

    fn last_event(&self) -> Arc<OpentrackerRecord> {
        self.collector.stream().opentracker_events().last().expect("an event").clone()
    }
}

/// The record has these properties of the example, the ids among them. The bridge's own come on top.
#[track_caller]
fn check(record: &OpentrackerRecord, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(record.get(name), Some(*value), "{name} of {record:?}");
    }
    const OURS: [&str; 5] = ["unixtimestamp", "ti", "t_ms", "event_id", "proxy"];
    let others = record.properties().filter(|(name, _)| !OURS.contains(name)).count();
    assert_eq!(others, expected.len(), "{record:?}");
    assert!(record.unix_millis() > 0);
}

fn with_each_method(test: impl Fn(&Rig)) {
    for method in [Method::Get, Method::Post] {
        let rig = Rig::new(method);
        test(&rig);
        assert_eq!(rig.exporter.losses().count(Loss::EventField), 0);
        assert_eq!(rig.exporter.losses().total(), 0);
        assert_eq!(rig.collector.stream().refusals().total(), 0);
    }
}

#[test]
fn example_1_a_record_without_ids_gives_its_event_id_to_session_and_user() {
    with_each_method(|rig| {
        let eid = rig.track(&[("message", "Please track me")]);
        let expected = [("message", "Please track me"), ("eid", &eid), ("sid", &eid), ("uid", &eid)];
        let stream = rig.collector.stream();
        check(&rig.last_event(), &expected);
        check(&stream.opentracker_sessions()[0], &expected);
        check(&stream.opentracker_users()[0], &expected);
    });
}

#[test]
fn examples_2_to_4_records_of_a_session_add_up_in_its_session_and_user() {
    with_each_method(|rig| {
        for message in
            [&[("message", "Please track me too!"), SID], &[("message", "Please track a seconds event!"), SID]]
        {
            let eid = rig.track(message);
            let expected = [message[0], ("eid", &eid), ("sid", "1234567890"), ("uid", "1234567890")];
            let stream = rig.collector.stream();
            check(&rig.last_event(), &expected);
            check(&stream.opentracker_sessions()[0], &expected);
            check(&stream.opentracker_users()[0], &expected);
        }
        let eid = rig.track(&[("privateMessage", "Please track a third event!"), SID]);
        let private = ("privateMessage", "Please track a third event!");
        let ids = [("eid", eid.as_str()), ("sid", "1234567890"), ("uid", "1234567890")];
        check(&rig.last_event(), &[&[private], &ids[..]].concat());
        // The document shows the user's privateMessage with the text of the second event, which no event carried as such.
        let both = [&[("message", "Please track a seconds event!"), private], &ids[..]].concat();
        let stream = rig.collector.stream();
        check(&stream.opentracker_sessions()[0], &both);
        check(&stream.opentracker_users()[0], &both);
        assert_eq!((stream.opentracker_sessions().len(), stream.opentracker_users().len()), (1, 1));
    });
}

#[test]
fn example_5_a_record_with_session_and_user_keeps_both() {
    with_each_method(|rig| {
        let eid = rig.track(&[("message", "Please track me too!"), SID, ("user.id", "123456")]);
        let expected = [("message", "Please track me too!"), ("eid", &eid), ("sid", "1234567890"), ("uid", "123456")];
        check(&rig.last_event(), &expected);
    });
}

#[test]
fn example_6_a_user_without_a_session_begins_a_new_one_if_the_exporter_is_told_to_send_it() {
    with_each_method(|rig| {
        let eid = rig.track(&[("message", "Im a new session starting!"), ("user.id", "123456")]);
        let expected = [("message", "Im a new session starting!"), ("eid", &eid), ("sid", &eid), ("uid", "123456")];
        check(&rig.last_event(), &expected);
    });
}

/// The session id of the examples.
const SID: (&str, &str) = ("session.id", "1234567890");
