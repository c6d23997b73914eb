//! A log or span, read once: what it says about its session, its user and the fields of a Snowplow event, and the rest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

use opentelemetry::logs::AnyValue;
use opentelemetry::{InstrumentationScope, SpanId, TraceId, Value};
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::fields::Field;
use super::ids::dashed;
use super::names;
use super::shapes::{ReadyText, Shapes};
use crate::event_name::event_name;
use crate::{clock, semconv};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SessionStart,
    SessionEnd,
    Event,
    Log,
    Span,
}

/// A value of a log's or a span's attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    Any(&'a AnyValue),
    Value(&'a Value),
}

/// A record, read.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    /// The event's or span's name; empty for a plain log.
    pub(super) name: &'a str,
    /// When it happened, in milliseconds since 1970; `None` if the record does not know.
    pub(super) millis: Option<i64>,
    pub(super) known: Known<'a>,
    /// The trace, and the span within it if the record says which.
    pub(super) trace: Option<(TraceId, Option<SpanId>)>,
    pub(super) scope: &'a InstrumentationScope,
    pub(super) source: Source<'a>,
    /// Attributes that were given twice; the last one counts.
    pub(super) duplicates: u64,
    /// Which attribute is the network's id of the user, wherever it stands.
    pub(super) network_user: Option<&'a str>,
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Log(&'a SdkLogRecord),
    Span(&'a SpanData),
    /// The end of a session that its successor's start implies.
    Implied,
}

/// The attributes that mean something here.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    pub(super) session_id: Option<&'a str>,
    pub(super) previous_id: Option<&'a str>,
    pub(super) user_id: Option<Cow<'a, str>>,
    /// Only if it is a UUID; any other stays with the rest.
    pub(super) installation_id: Option<Uuid>,
    pub(super) index: Option<i64>,
    pub(super) record_id: Option<&'a str>,
    pub(super) event_name: Option<&'a str>,
    /// Most records have none.
    pub(super) fields: Vec<(Field, Cow<'a, str>)>,
}

/// The attributes that are left; kept over a batch, so that it allocates once.
pub(super) type Rest<'a> = Vec<Left<'a>>;

/// An attribute that means nothing here by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) key: &'a str,
    pub(super) value: Attribute<'a>,
    pub(super) text: ReadyText,
}

/// What an attribute means here, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    None,
    SessionId,
    PreviousId,
    UserId,
    InstallationId,
    Index,
    RecordId,
    EventName,
    Field(Field),
}

impl<'a> Record<'a> {
    /// Reads a log. Fills `rest`.
    pub(super) fn of_log(
        record: &'a SdkLogRecord,
        scope: &'a InstrumentationScope,
        reading: &mut Reading<'a>,
        rest: &mut Rest<'a>,
    ) -> Self {
        let attributes = || record.attributes_iter().map(|(key, value)| (key.as_str(), Attribute::Any(value)));
        let (mut known, mut duplicates) =
            Known::read_as_of_late(record.event_name().unwrap_or(""), attributes, reading, rest);
        known.read_body(record.body());
        let name = event_name(record).filter(|name| !name.is_empty()).or(known.event_name).unwrap_or("");
        duplicates += known.leave_other_name(name, attributes(), rest);
        let kind = match name {
            "" => Kind::Log,
            semconv::EVENT_SESSION_START => Kind::SessionStart,
            semconv::EVENT_SESSION_END => Kind::SessionEnd,
            _ => Kind::Event,
        };
        let millis = record.timestamp().and_then(millis).or_else(|| record.observed_timestamp().and_then(millis));
        let trace = record.trace_context().filter(|it| it.trace_id != TraceId::INVALID);
        let trace = trace.map(|it| (it.trace_id, Some(it.span_id).filter(|span| *span != SpanId::INVALID)));
        let network_user = reading.network_user;
        Self { kind, name, millis, known, trace, scope, source: Source::Log(record), duplicates, network_user }
    }

    /// Reads a span. Fills `rest`.
    pub(super) fn of_span(span: &'a SpanData, reading: &mut Reading<'a>, rest: &mut Rest<'a>) -> Self {
        let attributes = || span.attributes.iter().map(|it| (it.key.as_str(), Attribute::Value(&it.value)));
        let (known, mut duplicates) = Known::read_as_of_late(&span.name, attributes, reading, rest);
        duplicates += known.leave_other_name(&span.name, attributes(), rest);
        let context = &span.span_context;
        Self {
            kind: Kind::Span,
            name: &span.name,
            millis: millis(span.start_time),
            known,
            trace: context.is_valid().then(|| (context.trace_id(), Some(context.span_id()))),
            scope: &span.instrumentation_scope,
            source: Source::Span(span),
            duplicates,
            network_user: reading.network_user,
        }
    }

    /// Whether it is one of the two events of a session.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(self.kind, Kind::SessionStart | Kind::SessionEnd)
    }
}

/// Milliseconds since 1970. The beginning of 1970 is what producers write that do not know the time.
fn millis(time: SystemTime) -> Option<i64> {
    Some(clock::to_nanos(time).div_euclid(1_000_000)).filter(|millis| *millis != 0)
}

/// What reading a record takes besides the record.
#[derive(Debug)]
pub(super) struct Reading<'r> {
    /// The attribute that is the network's id of the user, if the settings name one.
    pub(super) network_user: Option<&'r str>,
    pub(super) shapes: &'r mut Shapes,
}

impl<'a> Known<'a> {
    /// Reads attributes, at once if they look like those of the last record of this name. Fills `rest`; also returns how many
    /// of them were given twice.
    fn read_as_of_late<I: Iterator<Item = (&'a str, Attribute<'a>)>>(
        name: &str,
        attributes: impl Fn() -> I,
        reading: &mut Reading<'_>,
        rest: &mut Rest<'a>,
    ) -> (Self, u64) {
        let (shape, level) = reading.shapes.of(name);
        let mut known = Self::default();
        if shape.read(attributes(), &mut known, rest) {
            return (known, 0);
        }
        known = Self::default();
        let duplicates = known.read(attributes(), reading.network_user, rest);
        // Only what has one meaning, by its names alone, is a shape.
        let is_plain = duplicates == 0
            && attributes().all(|(key, _)| key != semconv::ENDUSER_ID && reading.network_user != Some(key));
        if is_plain {
            shape.learn(level, || attributes().map(|(key, _)| key));
        }
        (known, duplicates)
    }

    /// Reads attributes. Fills `rest`; returns how many of them were given twice.
    fn read(
        &mut self,
        attributes: impl Iterator<Item = (&'a str, Attribute<'a>)>,
        network_user: Option<&str>,
        rest: &mut Rest<'a>,
    ) -> u64 {
        const FEW: usize = 32;
        let mut duplicates = 0;
        let mut places: HashMap<&'a str, usize> = HashMap::new();
        rest.clear();
        for (key, value) in attributes {
            let is_network_user = network_user == Some(key);
            if is_network_user && let Some(text) = value.text() {
                self.set(Field::NetworkUser, text);
            }
            if self.take(key, value) {
                continue;
            }
            // The user by an older convention is looked for among what is left.
            if is_network_user && key != semconv::ENDUSER_ID && value.text().is_some() {
                continue;
            }
            // The last one of a key counts; JSON with a key twice would leave that to whoever reads it.
            let earlier = if rest.len() < FEW {
                rest.iter().position(|earlier| earlier.key == key)
            } else {
                if places.is_empty() {
                    places.extend(rest.iter().enumerate().map(|(place, left)| (left.key, place)));
                }
                let place = places.insert(key, rest.len());
                if let Some(place) = place {
                    places.insert(key, place);
                }
                place
            };
            match earlier {
                Some(place) => {
                    rest[place].value = value;
                    duplicates += 1;
                }
                None => rest.push(Left { key, value, text: ReadyText::default() }),
            }
        }
        if self.user_id.is_none()
            && let Some(place) = rest.iter().position(|left| left.key == semconv::ENDUSER_ID)
            && let Some(user) = rest[place].value.text().filter(|it| !it.is_empty())
        {
            self.user_id = Some(user);
            rest.remove(place);
        }
        duplicates
    }

    /// Takes an attribute that means something here and has the right type; others stay with the rest.
    fn take(&mut self, key: &'a str, value: Attribute<'a>) -> bool {
        match Role::of(key) {
            Role::None => false,
            role => self.fill(role, value),
        }
    }

    /// Takes a value by what its attribute means; false if it is of the wrong type.
    pub(super) fn fill(&mut self, role: Role, value: Attribute<'a>) -> bool {
        match role {
            Role::None => false,
            Role::SessionId => put(&mut self.session_id, value.str().filter(|it| !it.is_empty())),
            Role::PreviousId => put(&mut self.previous_id, value.str().filter(|it| !it.is_empty())),
            Role::UserId => put(&mut self.user_id, value.text().filter(|it| !it.is_empty())),
            Role::InstallationId => put(&mut self.installation_id, value.str().and_then(dashed)),
            Role::Index => put(&mut self.index, value.int()),
            Role::RecordId => put(&mut self.record_id, value.str().filter(|it| !it.is_empty())),
            Role::EventName => put(&mut self.event_name, value.str().filter(|it| !it.is_empty())),
            Role::Field(field) => {
                let Some(text) = value.text() else { return false };
                self.set(field, text);
                true
            }
        }
    }

    /// Leaves an `event.name` that is not what the record is called with the rest. Returns how many were there already, of
    /// another type.
    fn leave_other_name(
        &self,
        name: &str,
        attributes: impl Iterator<Item = (&'a str, Attribute<'a>)>,
        rest: &mut Rest<'a>,
    ) -> u64 {
        if self.event_name.is_none_or(|other| other == name) {
            return 0;
        }
        let Some((key, value)) = attributes.filter(|(key, _)| *key == semconv::EVENT_NAME).last() else { return 0 };
        if let Some(left) = rest.iter_mut().find(|left| left.key == key) {
            left.value = value;
            return 1;
        }
        rest.push(Left { key, value, text: ReadyText::default() });
        0
    }

    fn set(&mut self, field: Field, value: Cow<'a, str>) {
        self.fields.retain(|(known, _)| *known != field);
        self.fields.push((field, value));
    }

    /// What the record says of a field.
    pub(super) fn field(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, value)| &**value)
    }

    /// Reads the ids that no attribute gave from the members of the body, where older conventions put them.
    fn read_body(&mut self, body: Option<&'a AnyValue>) {
        let Some(AnyValue::Map(members)) = body else { return };
        let member = |key: &str| members.get(key).map(Attribute::Any);
        let text = |key: &str| member(key).and_then(Attribute::str).filter(|it| !it.is_empty());
        self.session_id = self.session_id.or_else(|| text(semconv::SESSION_ID));
        self.previous_id = self.previous_id.or_else(|| text(semconv::SESSION_PREVIOUS_ID));
        self.installation_id = self.installation_id.or_else(|| text(semconv::APP_INSTALLATION_ID).and_then(dashed));
        self.index = self.index.or_else(|| member(semconv::OTEL_SESSION_INDEX).and_then(Attribute::int));
        if self.user_id.is_none() {
            let user = |key| member(key).and_then(Attribute::text).filter(|it| !it.is_empty());
            self.user_id = user(semconv::USER_ID).or_else(|| user(semconv::ENDUSER_ID));
        }
    }
}

impl Role {
    /// What an attribute of this name means.
    pub(super) fn of(key: &str) -> Self {
        // By length first: most attributes are told from all of these by it.
        match key.len() {
            7 | 8 | 10 | 14 | 16 | 18 | 19 => {}
            _ if key.starts_with(names::FIELD_PREFIX) => {}
            _ => return Self::None,
        }
        match key {
            semconv::SESSION_ID => Self::SessionId,
            semconv::SESSION_PREVIOUS_ID => Self::PreviousId,
            semconv::USER_ID => Self::UserId,
            semconv::APP_INSTALLATION_ID => Self::InstallationId,
            semconv::OTEL_SESSION_INDEX => Self::Index,
            semconv::LOG_RECORD_UID => Self::RecordId,
            semconv::EVENT_NAME => Self::EventName,
            _ => Field::of_attribute(key).map_or(Self::None, Self::Field),
        }
    }
}

/// Takes a value of the right type.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    if fits {
        *place = value;
    }
    fits
}

impl<'a> Attribute<'a> {
    pub(super) fn str(self) -> Option<&'a str> {
        match self {
            Self::Any(AnyValue::String(text)) | Self::Value(Value::String(text)) => Some(text.as_str()),
            _ => None,
        }
    }

    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Any(AnyValue::Int(value)) | Self::Value(Value::I64(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bool(self) -> Option<bool> {
        match self {
            Self::Any(AnyValue::Boolean(value)) | Self::Value(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn float(self) -> Option<f64> {
        match self {
            Self::Any(AnyValue::Double(value)) | Self::Value(Value::F64(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text, or a whole number as one: user ids and sizes are often numbers.
    fn text(self) -> Option<Cow<'a, str>> {
        self.str().map(Cow::Borrowed).or_else(|| self.int().map(|value| Cow::Owned(value.to_string())))
    }
}
