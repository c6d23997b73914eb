//! The entities of an event: its session, and what else it says about its surroundings.

use opentelemetry_sdk::Resource;
use serde_json::{Value, json};
use uuid::Uuid;

use super::encode::{Encoder, Event, beginning, shows};
use super::fields::{Field, write_key};
use super::hook::SelfDescribing;
use super::ids::dashed;
use super::json::{self, Bounds, Json, Level, cut_chars};
use super::map_settings::MapSettings;
use super::names;
use super::record::{Attribute, Record};
use super::url_safe::{UrlSafe, url_safe};
use super::{Anonymity, Subject};
use crate::calendar::iso_time;
use crate::semconv;

/// The eight fields of `client_session`, as an event carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientSession {
    pub(super) id: Uuid,
    /// The nil UUID for one that is not named.
    pub(super) user: Uuid,
    pub(super) index: u32,
    pub(super) event_index: Option<u32>,
    pub(super) previous: Option<Uuid>,
    pub(super) first: Option<(Uuid, i64)>,
    /// Whether it goes as an entity; `sid` and `vid` go in any case.
    pub(super) attached: bool,
}

/// The constant parts of entities, and the sessions of late.
#[derive(Debug)]
pub(super) struct Pieces {
    /// What stands before each field of the session, and after the last.
    session: [Vec<u8>; 8],
    null: Vec<u8>,
    quote: Vec<u8>,
    trace: [Vec<u8>; 3],
    own: [Vec<u8>; 3],
    base64: Option<UrlSafe>,
    /// In sets: where the text of a session may stand follows from its id.
    recent: Vec<SessionText>,
    /// Which one of a set gives way next.
    next: usize,
}

/// What all events of a session share, written once: of a usual event it is the larger part.
#[derive(Debug, Default)]
pub(super) struct SessionText {
    of: Option<ClientSession>,
    /// `duid`, `sid` and `vid`, each with the comma before it.
    pub(super) fields: Vec<u8>,
    /// The beginning of the contexts, up to the event's index; in base64 if the contexts are.
    pub(super) contexts: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(level: Level, settings: &MapSettings) -> Self {
        let storage = settings.storage.as_str();
        let session = [
            &format!(
                "{{\"schema\":\"{}\",\"data\":[{{\"schema\":\"{}\",\"data\":{{\"userId\":\"",
                names::CONTEXTS,
                names::CLIENT_SESSION
            ),
            "\",\"sessionId\":\"",
            "\",\"sessionIndex\":",
            ",\"previousSessionId\":",
            &format!(",\"storageMechanism\":\"{storage}\",\"firstEventId\":"),
            ",\"firstEventTimestamp\":",
            ",\"eventIndex\":",
            "}}",
        ];
        let vendor = &settings.vendor;
        let version = names::OUR_VERSION;
        let trace = [
            &format!(",{{\"schema\":\"iglu:{vendor}/trace/jsonschema/{version}\",\"data\":{{\"traceId\":"),
            ",\"spanId\":",
            "}}",
        ];
        Self {
            session: session.map(|it: &str| level.piece(it)),
            null: level.piece("null"),
            quote: level.piece("\""),
            trace: trace.map(|it: &str| level.piece(it)),
            own: [",{\"schema\":", ",\"data\":", "}"].map(|it| level.piece(it)),
            base64: settings.base64.then(url_safe),
            recent: Vec::new(),
            next: 0,
        }
    }

    /// Where in [`session_text`](Self::session_text) stands what the events of this session share.
    pub(super) fn place(&mut self, it: &ClientSession) -> usize {
        if self.recent.is_empty() {
            self.recent.resize_with(SETS * WAYS, SessionText::default);
        }
        let shared = ClientSession { event_index: None, attached: true, ..*it };
        let (high, low) = it.id.as_u64_pair();
        // The last bits are random in ids of any version but 1, whose first ones count time.
        let set = usize::try_from(((high >> 32) ^ low) % SETS as u64).unwrap_or(0) * WAYS;
        let known = self.recent[set..set + WAYS].iter().position(|text| text.of.as_ref() == Some(&shared));
        if let Some(way) = known {
            return set + way;
        }
        self.next = (self.next + 1) % WAYS;
        let place = set + self.next;
        let mut text = std::mem::take(&mut self.recent[place]);
        self.describe(&shared, &mut text);
        text.of = Some(shared);
        self.recent[place] = text;
        place
    }

    /// What the events of a session share, by its [place](Self::place).
    pub(super) fn session_text(&self, place: usize) -> &SessionText {
        &self.recent[place]
    }

    fn describe(&self, it: &ClientSession, text: &mut SessionText) {
        let SessionText { fields, contexts: out, .. } = text;
        fields.clear();
        if !it.user.is_nil() {
            write_key(fields, "duid");
            json::write_uuid(fields, it.user);
            fields.push(b'"');
        }
        write_key(fields, "sid");
        json::write_uuid(fields, it.id);
        fields.extend_from_slice(b"\",\"vid\":\"");
        json::write_int(fields, i64::from(it.index));
        fields.push(b'"');

        let [user, id, index, previous, first, first_time, event_index, ..] = &self.session;
        out.clear();
        out.extend_from_slice(user);
        json::write_uuid(out, it.user);
        out.extend_from_slice(id);
        json::write_uuid(out, it.id);
        out.extend_from_slice(index);
        json::write_int(out, i64::from(it.index));
        let quoted = |out: &mut Vec<u8>, value: Option<Uuid>| match value {
            Some(value) => {
                out.extend_from_slice(&self.quote);
                json::write_uuid(out, value);
                out.extend_from_slice(&self.quote);
            }
            None => out.extend_from_slice(&self.null),
        };
        out.extend_from_slice(previous);
        quoted(out, it.previous);
        out.extend_from_slice(first);
        quoted(out, it.first.map(|(id, _)| id));
        out.extend_from_slice(first_time);
        match it.first {
            Some((_, millis)) => {
                out.extend_from_slice(&self.quote);
                out.extend_from_slice(&iso_time(millis));
                out.extend_from_slice(&self.quote);
            }
            None => out.extend_from_slice(&self.null),
        }
        out.extend_from_slice(event_index);
        *out = beginning(std::mem::take(out), self.base64.as_ref());
    }

    /// Goes on after what the events of the session share, to the end of its entity.
    pub(super) fn write_event_index(&self, it: &ClientSession, out: &mut Vec<u8>) {
        match it.event_index {
            Some(index) => json::write_int(out, i64::from(index)),
            None => out.extend_from_slice(&self.null),
        }
        out.extend_from_slice(&self.session[7]);
    }

    pub(super) fn write_trace(&self, record: &Record<'_>, json: &mut Json<'_>) {
        let Some((trace, Some(span))) = record.trace else { return };
        let [before, between, after] = &self.trace;
        json.raw(before);
        json.hex(u128::from_be_bytes(trace.to_bytes()), 32);
        json.raw(between);
        json.hex(u128::from(u64::from_be_bytes(span.to_bytes())), 16);
        json.raw(after);
    }

    /// An entity of the application's own; its schema and its depth have been checked.
    pub(super) fn write_own(&self, entity: &SelfDescribing, json: &mut Json<'_>) {
        let [before, between, after] = &self.own;
        json.raw(before);
        json.string(&entity.schema);
        json.raw(between);
        json.json(&entity.data);
        json.raw(after);
    }
}

/// Appends the entities that a resource gives to every event, each with a comma before it.
pub(super) fn of_resource(
    encoder: &Encoder,
    resource: &Resource,
    settings: &MapSettings,
    anonymity: Anonymity,
    out: &mut Vec<u8>,
) -> u64 {
    let mut cuts = 0;
    let version = resource.get_ref(&semconv::SERVICE_VERSION.into()).map(|version| version.as_str());
    if let Some(version) = version.filter(|version| settings.application_entity && !version.is_empty()) {
        let kept = cut_chars(&version, 255);
        cuts += u64::from(kept.len() < version.len());
        let entity = SelfDescribing::new(names::APPLICATION, json!({ "version": kept }));
        let mut json = Json::new(out, encoder.level, encoder.bounds);
        encoder.entities.write_own(&entity, &mut json);
    }
    if settings.resource_entity && resource.iter().next().is_some() {
        let bounds = Bounds { data: MAX_RESOURCE_BYTES, ..encoder.bounds };
        let mut json = Json::new(out, encoder.level, bounds);
        let head = format!(
            ",{{\"schema\":\"iglu:{}/resource/jsonschema/{}\",\"data\":{{\"attributes\":{{",
            settings.vendor,
            names::OUR_VERSION
        );
        json.raw(&encoder.level.piece(&head));
        let network_user = settings.network_user_attribute.as_deref();
        let mut first = true;
        for (key, value) in resource.iter() {
            if !shows(anonymity, network_user, key.as_str()) || json.is_full() {
                continue;
            }
            json.member_key(&mut first, key.as_str());
            json.value(value);
        }
        json.raw(b"}}}");
        cuts += json.cuts();
    }
    cuts
}

/// What a description of a browser may hold besides; what its schema would refuse is left out.
fn describe_further(it: &Event<'_, '_>, data: &mut Value) {
    let number = |name: &str| {
        let value = it.attribute(name)?;
        let value = value.float().or_else(|| value.int().map(|it| it as f64))?;
        (0.0..=1000.0).contains(&value).then_some(value)
    };
    if let Some(ratio) = number(names::DEVICE_PIXEL_RATIO) {
        data["devicePixelRatio"] = ratio.into();
    }
    if let Some(memory) = number(names::DEVICE_MEMORY) {
        data["deviceMemory"] = memory.into();
    }
    let processors = it.attribute(names::HARDWARE_CONCURRENCY).and_then(Attribute::int);
    if let Some(processors) = processors.filter(|it| (0..=1000).contains(it)) {
        data["hardwareConcurrency"] = processors.into();
    }
    if let Some(webdriver) = it.attribute(names::WEBDRIVER).and_then(Attribute::bool) {
        data["webdriver"] = webdriver.into();
    }
    let text = |name: &str| it.attribute(name).and_then(Attribute::str);
    if let Some(language) = text(names::DOCUMENT_LANGUAGE).filter(|it| it.chars().count() <= 20) {
        data["documentLanguage"] = language.into();
    }
    if let Some(tab) = text(names::TAB_ID).and_then(dashed) {
        data["tabId"] = tab.to_string().into();
    }
}

/// Snowplow's description of a browser, if all six fields that it requires are known: by the record, else by the subject.
pub(super) fn browser_context(it: &Event<'_, '_>, subject: &Subject) -> Option<SelfDescribing> {
    let known = |field: Field| {
        it.record.known.field(field).filter(|value| !value.is_empty()).or_else(|| subject.field(field.key()))
    };
    let field = |field: Field| {
        let value = known(field)?;
        (field.is_valid(value) && value.len() <= 20).then_some(value)
    };
    let flag = |name: &str| it.attribute(name).and_then(Attribute::bool);
    let color_depth: i64 = field(Field::ColorDepth)?.parse().ok().filter(|depth| *depth <= 1000)?;
    let mut data = json!({
        "viewport": field(Field::Viewport)?,
        "documentSize": field(Field::DocumentSize)?,
        "resolution": field(Field::Resolution)?,
        "colorDepth": color_depth,
        "cookiesEnabled": flag(names::COOKIES_ENABLED)?,
        "online": flag(names::ONLINE)?,
    });
    if let Some(language) = known(Field::Language).filter(|it| it.chars().count() <= 20) {
        data["browserLanguage"] = language.into();
    }
    describe_further(it, &mut data);
    Some(SelfDescribing::new(names::BROWSER_CONTEXT, data))
}

/// How many sessions' texts are kept, some 1.5 kB each: several to a set, lest two that follow each other in turn always
/// drive each other out.
const SETS: usize = 64;
const WAYS: usize = 8;

/// When the entity of a resource is full: it goes with every event.
const MAX_RESOURCE_BYTES: usize = 8192;
