//! What a log record means to Opentracker: one event, as the query of one request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLogRecord;
use uuid::Uuid;

use super::anonymity::Anonymity;
use super::ids::{self, Ids};
use super::properties::{MAX_TITLE_BYTES, Origin, Properties};
use super::query::Query;
use super::value::{Text, beginning, cut, text_of};
use crate::clock::to_nanos;
use crate::event_name::event_name;
use crate::semconv::{
    ENDUSER_ID, EVENT_NAME, EVENT_SESSION_END, EVENT_SESSION_START, LOG_RECORD_UID, SESSION_ID, USER_ID,
};
use crate::telemetry::{Loss, LossCounters};

/// Chooses the records that become events.
pub(super) type Filter = Arc<dyn Fn(&SdkLogRecord, &InstrumentationScope) -> bool + Send + Sync>;

/// Changes the properties of an event before it is accepted.
pub(super) type Hook = Arc<dyn Fn(&SdkLogRecord, &InstrumentationScope, &mut Properties) + Send + Sync>;

/// What becomes of a record that is older than [`with_max_age`](crate::OpentrackerExporterBuilder::with_max_age) allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OldRecords {
    /// It is not sent, and counted as [`Loss::EventTooOld`]: Opentracker would lose it anyway.
    #[default]
    Drop,
    /// It is sent all the same, and counted as [`Loss::EventTooOld`] as a warning.
    Send,
}

/// What a mapper is told once. The builder has checked it.
pub(super) struct Mapper {
    pub(super) site: String,
    pub(super) proxy: bool,
    pub(super) logs: bool,
    pub(super) skip_without_session: bool,
    /// Records without a session carry the user alone.
    pub(super) user_without_session: bool,
    /// In nanoseconds.
    pub(super) max_age: i64,
    pub(super) old_records: OldRecords,
    pub(super) max_event_bytes: usize,
    pub(super) filter: Option<Filter>,
    pub(super) hook: Option<Hook>,
    /// On every event, unless the record says otherwise.
    pub(super) properties: Vec<(String, String)>,
    /// The property that stands for an attribute, where it is not the attribute's own name.
    pub(super) renamed: HashMap<String, String>,
    /// Attributes of the resource that every event carries.
    pub(super) resource_attributes: Vec<String>,
    pub(super) losses: Arc<LossCounters>,
    pub(super) warned_of_age: AtomicBool,
}

/// An event as it waits in the outbox.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: Uuid,
    pub(super) lane: u32,
    pub(super) query: Vec<u8>,
}

impl fmt::Debug for Mapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapper")
            .field("site", &self.site)
            .field("proxy", &self.proxy)
            .field("logs", &self.logs)
            .field("max_age", &self.max_age)
            .field("filter", &self.filter.is_some())
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}

impl Mapper {
    /// The event that a record becomes; none if it is not to be sent, or was counted as refused.
    pub(super) fn map(
        &self,
        record: &SdkLogRecord,
        scope: &InstrumentationScope,
        resource: &Resource,
        anonymity: Anonymity,
        now: i64,
    ) -> Option<Event> {
        let record = Read::of(record, scope);
        if !self.selects(&record) {
            return None;
        }
        let time = record.time(now);
        if now.saturating_sub(time) > self.max_age {
            self.note_old_record();
            if self.old_records == OldRecords::Drop {
                return None;
            }
        }
        let ids = self.ids(&record, anonymity)?;
        let mut properties = self.properties(&record, &ids, resource, anonymity);
        self.consult_hook(&record, &mut properties);

        let id = record.event_id();
        let mut query = Query::new(self.max_event_bytes);
        query.push("si", &self.site);
        query.push("ti", properties.title());
        if let Some(session) = &ids.session {
            query.push("sid", session);
        }
        if let Some(user) = &ids.user {
            query.push("uid", user);
        }
        query.push("t_ms", &time.div_euclid(1_000_000).to_string());
        query.push("event_id", &id.to_string());
        if self.proxy {
            query.push("proxy", "true");
        }
        let mut losses = ids.losses + properties.losses();
        losses += record.fields().into_iter().map(|(name, text)| query.push_text(name, text)).sum::<u64>();
        losses += properties.iter().map(|(name, value)| u64::from(!query.push(name, value))).sum::<u64>();
        if losses > 0 {
            self.losses.add(Loss::EventField, losses);
        }
        let lane = ids.session.as_deref().map_or_else(|| ids::lane(id.as_bytes()), |id| ids::lane(id.as_bytes()));
        Some(Event { id, lane, query: query.into_bytes() })
    }

    /// Counts every old record, and warns of the first.
    fn note_old_record(&self) {
        self.losses.add(Loss::EventTooOld, 1);
        if !self.warned_of_age.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "otel_session",
                "a record is older than Opentracker keeps data (with_max_age); this is said once, and every one is counted"
            );
        }
    }

    /// Named records, plain logs if they are on; then the filter decides. One that panics has not refused anything.
    fn selects(&self, record: &Read<'_>) -> bool {
        if record.name.is_none() && !self.logs {
            return false;
        }
        let Some(filter) = &self.filter else { return true };
        catch_unwind(AssertUnwindSafe(|| filter(record.record, record.scope))).unwrap_or_else(|_| {
            self.losses.add(Loss::EventFilterPanic, 1);
            true
        })
    }

    /// The ids to send. None if the record is refused for them.
    fn ids(&self, record: &Read<'_>, anonymity: Anonymity) -> Option<Ids> {
        let Some(session) = record.value(SESSION_ID) else {
            if record.is_lifecycle() || self.skip_without_session {
                self.losses.add(Loss::EventWithoutSession, 1);
                return None;
            }
            // A user alone opens a session at Opentracker with every event.
            return Some(if self.user_without_session { record.user(anonymity) } else { Ids::default() });
        };
        let Some(session) = ids::session_id(session) else {
            self.losses.add(Loss::EventSessionId, 1);
            return None;
        };
        let session = anonymity.names_sessions().then_some(session);
        Some(Ids { session, is_of_session: true, ..record.user(anonymity) })
    }

    fn properties(&self, record: &Read<'_>, ids: &Ids, resource: &Resource, anonymity: Anonymity) -> Properties {
        let Text { text: title, losses } = record.title();
        let mut properties = Properties::new(title.unwrap_or_default());
        properties.lose(losses);
        // Or refused, and counted as that.
        let sent_already = |key: &str| match key {
            SESSION_ID => ids.is_of_session,
            // One that stands beside the attribute which names the user is empty.
            USER_ID => ids.user_from.is_some(),
            ENDUSER_ID => ids.user_from == Some(ENDUSER_ID),
            EVENT_NAME => record.is_named_by_attribute,
            _ => false,
        };
        let wanted = |key: &str| !sent_already(key) && anonymity.permits(key);
        for (key, value) in record.record.attributes_iter().filter(|(key, _)| wanted(key.as_str())) {
            self.add(&mut properties, Origin::Attribute, key.as_str(), text_of(value));
        }
        for (key, value) in record.body_map.iter().filter(|(key, _)| wanted(key)) {
            self.add(&mut properties, Origin::BodyMap, key, text_of(value));
        }
        for key in self.resource_attributes.iter().filter(|key| wanted(key)) {
            if let Some(value) = resource.get(&opentelemetry::Key::from(key.clone())) {
                self.add(&mut properties, Origin::Resource, key, cut(&value.as_str(), super::value::MAX_VALUE_BYTES));
            }
        }
        for (name, value) in &self.properties {
            properties.add(Origin::Builder, name, Text { text: Some(value.clone()), losses: 0 });
        }
        properties
    }

    fn add(&self, properties: &mut Properties, origin: Origin, key: &str, value: Text) {
        match self.renamed.get(key) {
            Some(name) => properties.add_as(origin, key, name.clone(), value),
            None => properties.add(origin, key, value),
        }
    }

    /// A hook that panics has changed nothing.
    fn consult_hook(&self, record: &Read<'_>, properties: &mut Properties) {
        let Some(hook) = &self.hook else { return };
        let mut changed = properties.clone();
        match catch_unwind(AssertUnwindSafe(|| hook(record.record, record.scope, &mut changed))) {
            Ok(()) => *properties = changed,
            Err(_) => self.losses.add(Loss::EventFilterPanic, 1),
        }
    }
}

/// A record and what was looked up in it once.
struct Read<'a> {
    record: &'a SdkLogRecord,
    scope: &'a InstrumentationScope,
    name: Option<&'a str>,
    is_named_by_attribute: bool,
    /// The entries of a body that is a map, as older conventions for events have it; sorted, since maps have no order.
    body_map: BTreeMap<&'a str, &'a AnyValue>,
}

impl<'a> Read<'a> {
    fn of(record: &'a SdkLogRecord, scope: &'a InstrumentationScope) -> Self {
        let body_map = match record.body() {
            Some(AnyValue::Map(map)) => map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            _ => BTreeMap::new(),
        };
        let own = event_name(record).filter(|name| !name.trim().is_empty());
        let by_attribute = || match attribute(record, EVENT_NAME) {
            Some(AnyValue::String(name)) if !name.as_str().trim().is_empty() => Some(name.as_str()),
            _ => None,
        };
        let name = own.or_else(by_attribute);
        Self { record, scope, name, is_named_by_attribute: own.is_none() && name.is_some(), body_map }
    }

    /// A value by its key, from the attributes or else from the body's map.
    fn value(&self, key: &str) -> Option<&'a AnyValue> {
        attribute(self.record, key).or_else(|| self.body_map.get(key).copied())
    }

    /// The user to send, if there is one. An empty `user.id` leaves it to `enduser.id`.
    fn user(&self, anonymity: Anonymity) -> Ids {
        let given = |key| self.value(key).map(|value| (key, value));
        let is_empty = |value: &AnyValue| matches!(value, AnyValue::String(text) if text.as_str().is_empty());
        let user = match (given(USER_ID), given(ENDUSER_ID)) {
            (Some((_, user)), Some(enduser)) if is_empty(user) => Some(enduser),
            (user, enduser) => user.or(enduser),
        };
        let Some((key, value)) = user.filter(|_| anonymity.names_users()) else { return Ids::default() };
        let user = ids::user_id(value);
        Ids { losses: u64::from(user.is_none()), user, user_from: Some(key), ..Ids::default() }
    }

    fn is_lifecycle(&self) -> bool {
        matches!(self.name, Some(EVENT_SESSION_START | EVENT_SESSION_END))
    }

    /// When it happened: its own time, else when it was observed, else now. In nanoseconds since 1970; time zero is none.
    fn time(&self, now: i64) -> i64 {
        let known = |time: Option<std::time::SystemTime>| time.map(to_nanos).filter(|nanos| *nanos != 0);
        known(self.record.timestamp()).or_else(|| known(self.record.observed_timestamp())).unwrap_or(now)
    }

    /// The event's id for ever: made of `log.record.uid` if there is one, so that a replayed record is the same event.
    fn event_id(&self) -> Uuid {
        match self.value(LOG_RECORD_UID) {
            Some(AnyValue::String(uid)) if !uid.as_str().is_empty() => ids::event_id(uid.as_str()),
            _ => Uuid::new_v4(),
        }
    }

    /// The event's name, else the beginning of the body.
    fn title(&self) -> Text {
        if let Some(name) = self.name {
            return cut(name, MAX_TITLE_BYTES);
        }
        match self.body_text() {
            Some(body) if body.is_title() => body,
            // What the title cuts off is sent as `log.body`, and what that lost is counted there.
            body => {
                let text = body.and_then(|body| body.text).filter(|text| !text.trim().is_empty());
                let title = text.as_deref().map_or(UNTITLED, |text| beginning(text, MAX_TITLE_BYTES));
                Text { text: Some(title.to_owned()), losses: 0 }
            }
        }
    }

    /// The record's own fields, as far as the title does not say them.
    fn fields(&self) -> Vec<(&'static str, Text)> {
        let mut fields = Vec::new();
        let severity = self.record.severity_text().filter(|text| !text.is_empty());
        if let Some(severity) = severity.or_else(|| self.record.severity_number().map(|number| number.name())) {
            fields.push(("log.severity", cut(severity, MAX_TITLE_BYTES)));
        }
        // The entries of a map are properties, the body of a plain log is its title.
        let said = |body: &Text| self.name.is_none() && body.is_title();
        if let Some(body) = self.body_text().filter(|body| !said(body)) {
            fields.push(("log.body", body));
        }
        fields
    }

    fn body_text(&self) -> Option<Text> {
        match self.record.body()? {
            AnyValue::Map(_) => None,
            body => Some(text_of(body)),
        }
    }
}

impl Text {
    /// Whether a title can say it as it is.
    fn is_title(&self) -> bool {
        self.text.as_deref().is_some_and(|text| text.len() <= MAX_TITLE_BYTES && !text.trim().is_empty())
    }
}

/// The last of a key's values: an attribute that is set twice has the later value.
fn attribute<'a>(record: &'a SdkLogRecord, key: &str) -> Option<&'a AnyValue> {
    record.attributes_iter().filter(|(name, _)| name.as_str() == key).last().map(|(_, value)| value)
}

/// The title of a record that has neither name nor body.
const UNTITLED: &str = "log";
