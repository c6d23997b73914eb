//! The mapping: records in, payloads out, each checked against Snowplow's schemas and ours and against Enrich's rules.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod generated;
mod hooks;
mod identity;
mod numbering;
mod payload;
mod schemas;
mod shapes;
mod spans;
mod speed;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, SdkLogRecord, SdkLoggerProvider};
use serde_json::Value;
use uuid::Uuid;

use super::map::Mapper;
use super::map_settings::MapSettings;
use super::mapped::{Mapped, Row};
use crate::clock::Moment;
use crate::export::Chunk;
use crate::telemetry::Loss;

/// A mapper and what it made.
struct Bridge {
    mapper: Mapper,
    settings: MapSettings,
    mapped: Mapped,
    rows: HashMap<(u8, Vec<u8>), Vec<u8>>,
    resource: Resource,
}

/// An event, read as a pipeline would.
#[derive(Debug, Clone)]
struct Payload {
    fields: HashMap<String, String>,
    /// Schema and data of a self-describing event.
    event: Option<(String, Value)>,
    entities: Vec<(String, Value)>,
}

impl Bridge {
    fn new(settings: MapSettings) -> Self {
        let resource = Resource::builder_empty().with_service_name("shop").build();
        Self::with_resource(settings, resource)
    }

    fn with_resource(settings: MapSettings, resource: Resource) -> Self {
        let mapper = Mapper::new(settings.clone(), &[]);
        Self { mapper, settings, mapped: Mapped::default(), rows: HashMap::new(), resource }
    }

    /// Maps records as one batch that the outbox takes.
    fn send(&mut self, records: &[SdkLogRecord]) -> Vec<Payload> {
        let payloads = self.try_send(records);
        self.commit();
        payloads
    }

    fn send_one(&mut self, record: SdkLogRecord) -> Payload {
        self.send(&[record]).pop().expect("an event")
    }

    /// Maps records; whether the outbox takes them is for the caller to say.
    fn try_send(&mut self, records: &[SdkLogRecord]) -> Vec<Payload> {
        self.try_send_from(&InstrumentationScope::builder("shop.cart").with_version("2.0").build(), records)
    }

    fn try_send_from(&mut self, scope: &InstrumentationScope, records: &[SdkLogRecord]) -> Vec<Payload> {
        let borrowed: Vec<_> = records.iter().map(|record| (record, scope)).collect();
        let decisions = self.mapper.decider().logs(&LogBatch::new(&borrowed), &self.resource);
        self.mapper.map_logs(&LogBatch::new(&borrowed), decisions, &self.resource, now(), &mut self.mapped);
        self.payloads()
    }

    fn payloads(&self) -> Vec<Payload> {
        let mut events = self.mapped.events.iter();
        let mut payloads = Vec::new();
        for part in &self.mapped.encoded {
            let mut bytes = &*part.bytes;
            for event in events.by_ref().take(part.events) {
                payloads.push(Payload::read(bytes.split_off(..event.len).expect("an event")));
            }
            assert!(bytes.is_empty() && part.events <= Chunk::MAX_EVENTS);
        }
        assert!(events.next().is_none());
        payloads
    }

    fn commit(&mut self) {
        for Row { table, key, value } in self.mapped.rows.drain(..) {
            match value {
                Some(value) => self.rows.insert((table, key), value),
                None => self.rows.remove(&(table, key)),
            };
        }
        self.mapper.commit();
    }

    /// A new mapper that knows only what was stored.
    fn restart(&mut self) {
        self.mapper = Mapper::new(self.settings.clone(), &self.stored());
    }

    fn stored(&self) -> Vec<Row> {
        let row = |((table, key), value): (&(u8, Vec<u8>), &Vec<u8>)| Row {
            table: *table,
            key: key.clone(),
            value: Some(value.clone()),
        };
        self.rows.iter().map(row).collect()
    }

    fn lost(&self, loss: Loss) -> u64 {
        self.settings.losses.read().count(loss)
    }
}

impl Payload {
    fn read(bytes: &[u8]) -> Self {
        let fields: HashMap<String, String> = serde_json::from_slice(bytes)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(bytes)));
        let json = |plain: &str, base64: &str| -> Option<Value> {
            assert!(!(fields.contains_key(plain) && fields.contains_key(base64)), "{plain} and {base64}");
            let text = fields.get(plain).cloned().or_else(|| {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(fields.get(base64)?);
                Some(String::from_utf8(bytes.expect("base64url without padding")).expect("UTF-8"))
            })?;
            Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
        };
        let self_describing =
            |value: &Value| (value["schema"].as_str().expect("a schema").to_owned(), value["data"].clone());
        let event = json("ue_pr", "ue_px").map(|outer| self_describing(&outer["data"]));
        let entities = json("co", "cx").map_or_else(Vec::new, |outer| {
            outer["data"].as_array().expect("a list").iter().map(self_describing).collect()
        });
        Self { fields, event, entities }
    }

    fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    fn id(&self) -> Uuid {
        self.field("eid").expect("eid").parse().expect("a UUID")
    }

    fn data(&self) -> &Value {
        &self.event.as_ref().expect("a self-describing event").1
    }

    fn entity(&self, name: &str) -> Option<&Value> {
        let mut found = self.entities.iter().filter(|(schema, _)| schema.split('/').nth(1) == Some(name));
        let first = found.next();
        assert!(found.next().is_none(), "{name} is there twice");
        first.map(|(_, data)| data)
    }

    fn session(&self) -> &Value {
        self.entity("client_session").expect("a client_session")
    }

    fn event_index(&self) -> Option<u64> {
        self.session()["eventIndex"].as_u64()
    }
}

/// A record of this name, or a plain log without one.
fn record(name: Option<&'static str>, attributes: impl IntoIterator<Item = (&'static str, AnyValue)>) -> SdkLogRecord {
    let logger = SdkLoggerProvider::builder().build().logger("tests");
    let mut record = logger.create_log_record();
    if let Some(name) = name {
        record.set_event_name(name);
    }
    record.set_timestamp(at(0));
    for (key, value) in attributes {
        record.add_attribute(key, value);
    }
    record
}

fn event(attributes: impl IntoIterator<Item = (&'static str, AnyValue)>) -> SdkLogRecord {
    record(Some("cart.add"), attributes)
}

/// An event of this session.
fn event_of(session: &str) -> SdkLogRecord {
    event([("session.id", session.to_owned().into())])
}

fn start(session: &str, previous: Option<&str>) -> SdkLogRecord {
    let mut record = record(Some("session.start"), [("session.id", session.to_owned().into())]);
    if let Some(previous) = previous {
        record.add_attribute("session.previous_id", previous.to_owned());
    }
    record
}

fn end(session: &str) -> SdkLogRecord {
    record(Some("session.end"), [("session.id", session.to_owned().into())])
}

fn with(mut record: SdkLogRecord, key: &'static str, value: impl Into<AnyValue>) -> SdkLogRecord {
    record.add_attribute(key, value);
    record
}

fn later(mut record: SdkLogRecord, millis: u64) -> SdkLogRecord {
    record.set_timestamp(at(millis));
    record
}

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)
}

fn now() -> Moment {
    Moment { boot: 5, wall: 1_700_000_099_000_000_000 }
}

const A: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
const B: &str = "bbbbbbbb-0000-4000-8000-00000000000b";
const C: &str = "cccccccc-0000-4000-8000-00000000000c";
