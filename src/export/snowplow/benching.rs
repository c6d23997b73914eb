//! Encoding alone, for the benchmark. Not part of the API.

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogBatch;

use super::EventStyle;
use super::map::Mapper;
use super::map_settings::MapSettings;
use super::mapped::Mapped;
use crate::clock::Moment;

/// What an exporter does with records before its outbox gets them: session table, ids, fields, entities, JSON, base64.
#[derive(Debug)]
pub struct Encoding {
    mapper: Mapper,
    mapped: Mapped,
    resource: Resource,
}

impl Encoding {
    /// As an exporter in base64 does it.
    pub fn new(style: EventStyle) -> Self {
        let settings = MapSettings {
            namespace: "bench".to_owned(),
            app_id: Some("shop".to_owned()),
            style,
            base64: true,
            keeps_rows: false,
            ..MapSettings::default()
        };
        let (mapper, mapped) = (Mapper::new(settings, &[]), Mapped::default());
        Self { mapper, mapped, resource: Resource::builder_empty().build() }
    }

    /// How many events the batch became, and in how many bytes.
    pub fn encode(&mut self, batch: &LogBatch<'_>) -> (usize, usize) {
        let decisions = self.mapper.decider().logs(batch, &self.resource);
        self.mapper.map_logs(batch, decisions, &self.resource, NOW, &mut self.mapped);
        self.mapper.commit();
        (self.mapped.events.len(), self.mapped.events.iter().map(|event| event.len).sum())
    }
}

/// A moment like any other: the records have their own, and so the same batch takes the same instructions every time.
const NOW: Moment = Moment { boot: 0, wall: 1_763_625_600_123_000_000 };
