//! What an application may say about the mapping: which records become events, and what they become.

use std::fmt;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

/// A record that may become an event, as filters and mappings see it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Candidate<'a> {
    /// A log record or event.
    #[non_exhaustive]
    Log {
        /// The record.
        record: &'a SdkLogRecord,
        /// The scope that emitted it.
        scope: &'a InstrumentationScope,
        /// The resource of its pipeline.
        resource: &'a Resource,
        /// The event's name: the record's own, or its attribute `event.name`. `None` for a plain log.
        name: Option<&'a str>,
    },
    /// A span that has ended.
    #[non_exhaustive]
    Span {
        /// The span.
        span: &'a SpanData,
        /// The resource of its pipeline.
        resource: &'a Resource,
    },
}

impl<'a> Candidate<'a> {
    /// The event's or span's name.
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        match self {
            Self::Log { name, .. } => *name,
            Self::Span { span, .. } => Some(&span.name),
        }
    }
}

/// What a record becomes: returned by a mapping.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    pub(crate) event: MappedEvent,
    pub(crate) entities: Vec<SelfDescribing>,
}

/// The event of a [`Mapping`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum MappedEvent {
    /// What it would be without a mapping.
    #[default]
    Usual,
    /// No event.
    Skip,
    SelfDescribing(SelfDescribing),
    Structured(StructuredEvent),
}

impl Mapping {
    /// The event that the record becomes without a mapping: nothing, for plain logs, unless these are on.
    #[must_use]
    pub fn usual() -> Self {
        Self::default()
    }

    /// No event. The record takes no index of its session.
    #[must_use]
    pub fn skip() -> Self {
        Self { event: MappedEvent::Skip, entities: Vec::new() }
    }

    /// A self-describing event under a schema of your own.
    #[must_use]
    pub fn self_describing(event: SelfDescribing) -> Self {
        Self { event: MappedEvent::SelfDescribing(event), entities: Vec::new() }
    }

    /// A structured event.
    #[must_use]
    pub fn structured(event: StructuredEvent) -> Self {
        Self { event: MappedEvent::Structured(event), entities: Vec::new() }
    }

    /// Attaches an entity, besides those that are attached by settings. A `client_session` of your own replaces ours.
    #[must_use]
    pub fn with_entity(mut self, entity: SelfDescribing) -> Self {
        self.entities.push(entity);
        self
    }
}

/// Data and the schema that describes them.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfDescribing {
    pub(crate) schema: String,
    pub(crate) data: Value,
}

impl SelfDescribing {
    /// Data under a schema such as `iglu:com.acme/checkout/jsonschema/1-0-0`. What does not look like that, and what is
    /// nested too deeply, is left out where it is used and counted as [`Loss::EventField`](crate::Loss::EventField).
    #[must_use]
    pub fn new(schema: impl Into<String>, data: Value) -> Self {
        Self { schema: schema.into(), data }
    }
}

/// A structured event: `e=se`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StructuredEvent {
    pub(crate) category: String,
    pub(crate) action: String,
    pub(crate) label: Option<String>,
    pub(crate) property: Option<String>,
    pub(crate) value: Option<f64>,
}

impl StructuredEvent {
    /// An event of this category (`se_ca`) and action (`se_ac`), each at most 1000 characters. Neither may be blank: in its place
    /// goes what the record's event usually has ([`EventStyle::Structured`](super::EventStyle::Structured)), which is counted as
    /// [`Loss::EventField`](crate::Loss::EventField).
    #[must_use]
    pub fn new(category: impl Into<String>, action: impl Into<String>) -> Self {
        Self { category: category.into(), action: action.into(), ..Self::default() }
    }

    /// `se_la`, at most 4096 characters.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// `se_pr`, at most 1000 characters.
    #[must_use]
    pub fn with_property(mut self, property: impl Into<String>) -> Self {
        self.property = Some(property.into());
        self
    }

    /// `se_va`; left out when it is not finite.
    #[must_use]
    pub fn with_value(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }
}

/// Which records become events.
#[derive(Clone)]
pub(crate) struct Filter(pub(crate) Arc<dyn Fn(&Candidate<'_>) -> bool + Send + Sync>);

/// What records become.
#[derive(Clone)]
pub(crate) struct MappingHook(pub(crate) Arc<dyn Fn(&Candidate<'_>) -> Mapping + Send + Sync>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

impl fmt::Debug for MappingHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MappingHook(..)")
    }
}
