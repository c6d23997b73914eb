//! Spans as events.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::decide::Decider;
use super::exporter::Shared;
use super::map::Mapper;
use super::mapped::Mapped;

/// Exports spans through a [`SnowplowExporter`](super::SnowplowExporter): made by its
/// [`span_exporter`](super::SnowplowExporter::span_exporter).
#[derive(Debug)]
pub struct SnowplowSpanExporter {
    shared: Arc<Shared>,
    resource: Resource,
}

impl SnowplowSpanExporter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, resource: Resource::builder_empty().build() }
    }
}

impl SpanExporter for SnowplowSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let decide = |decider: &Decider| decider.spans(&batch, &self.resource);
        let map = |mapper: &mut Mapper, decisions, now, mapped: &mut Mapped| {
            mapper.map_spans(&batch, decisions, &self.resource, now, mapped);
        };
        self.shared.accept(decide, map)
    }

    /// Flushes, within `timeout`. The exporter that it belongs to goes on.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.shared.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}
