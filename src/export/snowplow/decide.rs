//! What records become, as far as the application has a say: its filter and its mapping.
//!
//! They are the application's code, so they run before the mapper's lock is taken: they may call the exporter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogBatch;
use opentelemetry_sdk::trace::SpanData;

use super::hook::{Candidate, Filter, MappedEvent, Mapping, MappingHook, SelfDescribing};
use super::json::{self, Level};
use super::map_settings::MapSettings;
use super::record::{Kind, Reading, Record, Rest};
use super::shapes::Shapes;
use crate::telemetry::{Loss, LossCounters};

/// The application's say.
#[derive(Debug, Clone)]
pub(super) struct Decider {
    logs: bool,
    filter: Option<Filter>,
    mapping: Option<MappingHook>,
    losses: Arc<LossCounters>,
}

/// What each record of a batch becomes; the usual where the application has no say.
#[derive(Debug)]
pub(crate) enum Decisions {
    /// The usual: nothing for plain logs, unless they are on.
    Usual { logs: bool },
    /// By place in the batch; `None` becomes nothing.
    Each(Vec<Option<Mapping>>),
}

impl Decider {
    pub(super) fn new(settings: &MapSettings) -> Self {
        Self {
            logs: settings.logs,
            filter: settings.filter.clone(),
            mapping: settings.mapping.clone(),
            losses: Arc::clone(&settings.losses),
        }
    }

    fn has_no_say(&self) -> bool {
        self.filter.is_none() && self.mapping.is_none()
    }

    /// Asks for each log.
    pub(super) fn logs(&self, batch: &LogBatch<'_>, resource: &Resource) -> Decisions {
        if self.has_no_say() {
            return Decisions::Usual { logs: self.logs };
        }
        let mut rest = Rest::new();
        let mut reading = Reading { network_user: None, shapes: &mut Shapes::new(Level::Plain) };
        let decide = |(record, scope)| {
            let read = Record::of_log(record, scope, &mut reading, &mut rest);
            let name = Some(read.name).filter(|name| !name.is_empty());
            self.decide(read.kind, &Candidate::Log { record, scope, resource, name })
        };
        Decisions::Each(batch.iter().map(decide).collect())
    }

    /// Asks for each span.
    pub(super) fn spans(&self, batch: &[SpanData], resource: &Resource) -> Decisions {
        if self.has_no_say() {
            return Decisions::Usual { logs: self.logs };
        }
        Decisions::Each(batch.iter().map(|span| self.decide(Kind::Span, &Candidate::Span { span, resource })).collect())
    }

    fn decide(&self, kind: Kind, candidate: &Candidate<'_>) -> Option<Mapping> {
        let usual = kind != Kind::Log || self.logs;
        if !usual && self.mapping.is_none() {
            return None;
        }
        if let Some(filter) = &self.filter {
            let passes = catch_unwind(AssertUnwindSafe(|| (filter.0)(candidate)));
            if !passes.unwrap_or_else(|_| self.went_on_without(true)) {
                return None;
            }
        }
        let Some(hook) = &self.mapping else { return Some(Mapping::usual()) };
        let mapped = catch_unwind(AssertUnwindSafe(|| (hook.0)(candidate)));
        let mut mapping = mapped.unwrap_or_else(|_| self.went_on_without(Mapping::usual()));
        mapping.entities.retain(|entity| self.can_be_sent(entity));
        if let MappedEvent::SelfDescribing(event) = &mapping.event
            && !self.can_be_sent(event)
        {
            mapping.event = MappedEvent::Usual;
        }
        let none = mapping.event == MappedEvent::Skip || mapping.event == MappedEvent::Usual && !usual;
        (!none).then_some(mapping)
    }

    fn went_on_without<T>(&self, value: T) -> T {
        self.losses.add(Loss::EventFilterPanic, 1);
        value
    }

    /// Whether Enrich could look at an application's own data at all; counted if not.
    fn can_be_sent(&self, own: &SelfDescribing) -> bool {
        let can = is_schema(&own.schema) && json::is_shallow(&own.data, json::MAX_DEPTH);
        if !can {
            self.losses.add(Loss::EventField, 1);
        }
        can
    }
}

impl Decisions {
    /// Takes what the record at this place becomes.
    pub(super) fn take(&mut self, place: usize, kind: Kind) -> Option<Mapping> {
        match self {
            Self::Usual { logs } => (kind != Kind::Log || *logs).then(Mapping::usual),
            Self::Each(mappings) => mappings.get_mut(place).and_then(Option::take),
        }
    }
}

/// Whether a schema is named as Iglu names them.
fn is_schema(schema: &str) -> bool {
    let Some(path) = schema.strip_prefix("iglu:") else { return false };
    let parts: Vec<_> = path.split('/').collect();
    let [vendor, name, format, version] = parts[..] else { return false };
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    is_name(&vendor.replace('.', "_")) && is_name(name) && is_name(format) && is_version(version)
}

/// Whether Iglu could have a schema of this version: MODEL-REVISION-ADDITION, the model from 1, no zeros before a number.
pub(super) fn is_version(text: &str) -> bool {
    let is_number = |text: &&str| {
        (1..=9).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    let numbers: Vec<_> = text.split('-').collect();
    numbers.len() == 3 && numbers.iter().all(is_number) && numbers[0] != "0"
}
