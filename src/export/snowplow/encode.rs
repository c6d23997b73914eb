//! The text of an event: one element of a request's `data`, in one pass.
//!
//! What is the same for every event is made once and copied; what differs is written in its place. Without base64 the inner
//! JSON goes straight into the payload, escaped as it is written (see [`json`](super::json)).

use opentelemetry_sdk::Resource;
use uuid::Uuid;

use super::fields::{Field, write_key, write_text};
use super::hook::{MappedEvent, SelfDescribing};
use super::json::{self, Bounds, Json, Level, MAX_DATA_BYTES};
use super::map_settings::MapSettings;
use super::record::{Attribute, Kind, Record, Rest};
use super::shapes::{place, same};
use super::subject_text::SubjectText;
use super::url_safe::{self, UrlSafe, url_safe};
use super::{Anonymity, EventStyle, data, entities, names, structured};
use crate::semconv;

/// Writes events; made of the settings once.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) level: Level,
    pub(super) bounds: Bounds,
    base64: bool,
    true_timestamps: bool,
    /// `tv`, `tna`; then `aid`, once a resource was read.
    constant: Vec<u8>,
    /// How much of it is there without a resource.
    tracker_end: usize,
    unstruct: Unstruct,
    heads: Heads,
    contexts_head: Vec<u8>,
    contexts_tail: Vec<u8>,
    pub(super) entities: entities::Pieces,
    resource: Option<(Resource, ResourceText)>,
    engine: UrlSafe,
    scratch: Vec<u8>,
}

/// The beginnings and the end of self-describing events.
#[derive(Debug)]
struct Unstruct {
    /// By [`Kind`], each a [`beginning`].
    heads: [Vec<u8>; 5],
    /// Up to the schema, for events under other schemas.
    before_schema: Vec<u8>,
    after_schema: Vec<u8>,
    tail: Vec<u8>,
}

/// What a resource says, written once.
#[derive(Debug, Default)]
pub(super) struct ResourceText {
    /// Entities with a comma before each.
    entities: Vec<u8>,
    /// The same for events that do not name their user.
    masked_entities: Vec<u8>,
    /// The same for events that do not name their session either.
    hidden_entities: Vec<u8>,
}

impl ResourceText {
    fn entities(&self, anonymity: Anonymity) -> &[u8] {
        match (anonymity.names_users(), anonymity.names_sessions()) {
            (true, _) => &self.entities,
            (false, true) => &self.masked_entities,
            (false, false) => &self.hidden_entities,
        }
    }
}

/// An event to be written.
#[derive(Debug)]
pub(super) struct Event<'e, 'a> {
    pub(super) id: Uuid,
    pub(super) millis: i64,
    pub(super) record: &'e Record<'a>,
    pub(super) rest: &'e Rest<'a>,
    /// The texts that are ready of what is left.
    pub(super) texts: &'e [u8],
    pub(super) content: &'e MappedEvent,
    pub(super) extra: &'e [SelfDescribing],
    /// `duid`.
    pub(super) user: Option<Uuid>,
    /// `uid`, if it is not the subject's.
    pub(super) user_id: Option<&'e str>,
    pub(super) session: Option<entities::ClientSession>,
    /// The session's id as the record has it, where the data keep it.
    pub(super) session_text: Option<&'e str>,
    pub(super) anonymity: Anonymity,
}

impl Encoder {
    pub(super) fn new(settings: &MapSettings) -> Self {
        let level = if settings.base64 { Level::Plain } else { Level::Quoted };
        let mut constant = Vec::new();
        write_text(&mut constant, "tv", &settings.tracker_version, 100);
        write_text(&mut constant, "tna", &settings.namespace, 128);
        Self {
            level,
            bounds: Bounds { text: settings.max_text_bytes, data: MAX_DATA_BYTES, non_finite: settings.non_finite },
            base64: settings.base64,
            true_timestamps: settings.true_timestamps,
            tracker_end: constant.len(),
            constant,
            unstruct: Unstruct::new(level, &settings.vendor, settings.base64.then(url_safe).as_ref()),
            heads: Heads::default(),
            contexts_head: level.piece(&format!("{{\"schema\":\"{}\",\"data\":[", names::CONTEXTS)),
            contexts_tail: level.piece("]}"),
            entities: entities::Pieces::new(level, settings),
            resource: None,
            engine: url_safe(),
            scratch: Vec::new(),
        }
    }

    /// Writes what a resource says, unless it is the one of the batch before.
    pub(super) fn read_resource(&mut self, resource: &Resource, settings: &MapSettings) -> u64 {
        if self.resource.as_ref().is_some_and(|(known, _)| known == resource) {
            return 0;
        }
        let mut text = ResourceText::default();
        let service = resource.get_ref(&semconv::SERVICE_NAME.into()).map(|name| name.as_str());
        let app_id = settings.app_id.as_deref().or(service.as_deref()).unwrap_or("");
        self.constant.truncate(self.tracker_end);
        let mut cuts = u64::from(write_text(&mut self.constant, "aid", app_id, 255));
        cuts += entities::of_resource(self, resource, settings, Anonymity::off(), &mut text.entities);
        entities::of_resource(self, resource, settings, Anonymity::with_session_tracking(), &mut text.masked_entities);
        entities::of_resource(self, resource, settings, Anonymity::full(), &mut text.hidden_entities);
        self.resource = Some((resource.clone(), text));
        cuts
    }

    /// Appends an event; returns how many of its values were cut, replaced or left out.
    pub(super) fn write(
        &mut self,
        it: &Event<'_, '_>,
        subject: &SubjectText,
        settings: &MapSettings,
        out: &mut Vec<u8>,
    ) -> u64 {
        let structured = structured::of(it, settings);
        out.extend_from_slice(if structured.is_some() {
            b"{\"e\":\"se\",\"eid\":\""
        } else {
            b"{\"e\":\"ue\",\"eid\":\""
        });
        json::write_uuid(out, it.id);
        out.extend_from_slice(b"\",\"dtm\":\"");
        json::write_int(out, it.millis);
        out.push(b'"');
        if self.true_timestamps {
            write_key(out, "ttm");
            json::write_int(out, it.millis);
            out.push(b'"');
        }
        out.extend_from_slice(&self.constant);
        let place = it.session.as_ref().map(|session| self.entities.place(session));
        let mut cuts = atomic_fields(it, subject, place.map(|place| self.entities.session_text(place)), out);
        cuts += match structured {
            Some(event) => structured::write(it, &event, out),
            None => self.write_unstruct(it, settings, out),
        };
        cuts += self.write_contexts(it, settings, place, out);
        out.push(b'}');
        cuts
    }

    fn write_unstruct(&mut self, it: &Event<'_, '_>, settings: &MapSettings, out: &mut Vec<u8>) -> u64 {
        self.open(out, b",\"ue_px\":\"", b",\"ue_pr\":\"");
        let by_name = match &settings.style {
            EventStyle::SchemaPerName { vendor, version } if it.record.kind == Kind::Event => Some((vendor, version)),
            _ => None,
        };
        match (it.content, by_name) {
            (MappedEvent::SelfDescribing(_), _) => {}
            (_, Some((vendor, version))) => {
                let Self { unstruct, heads, level, base64, engine, .. } = self;
                let write =
                    |name: &str| beginning(unstruct.head(*level, vendor, name, version), base64.then_some(engine));
                out.extend_from_slice(heads.of(it.record.name, write));
            }
            (_, None) => out.extend_from_slice(&self.unstruct.heads[it.record.kind as usize]),
        }
        self.close(out, |encoder, out| {
            let Self { unstruct, level, bounds, .. } = encoder;
            let mut json = Json::new(out, *level, *bounds);
            match it.content {
                MappedEvent::SelfDescribing(own) => {
                    json.raw(&unstruct.before_schema);
                    json.string(&own.schema);
                    json.raw(&unstruct.after_schema);
                    json.json(&own.data);
                }
                _ if by_name.is_some() => data::write_attributes_as_data(&mut json, it),
                _ => data::write(&mut json, it),
            }
            json.raw(&unstruct.tail);
            json.cuts()
        })
    }

    fn write_contexts(
        &mut self,
        it: &Event<'_, '_>,
        settings: &MapSettings,
        place: Option<usize>,
        out: &mut Vec<u8>,
    ) -> u64 {
        let resource = self.resource.as_ref().map_or(&[][..], |(_, text)| text.entities(it.anonymity));
        let trace = settings.trace_entity && it.record.trace.is_some_and(|(_, span)| span.is_some());
        let browser = settings.browser_entity.then(|| entities::browser_context(it, &settings.subject)).flatten();
        let session = it.session.as_ref().zip(place).filter(|(session, _)| session.attached);
        if session.is_none() && resource.is_empty() && !trace && browser.is_none() && it.extra.is_empty() {
            return 0;
        }
        self.open(out, b",\"cx\":\"", b",\"co\":\"");
        if let Some((_, place)) = session {
            out.extend_from_slice(&self.entities.session_text(place).contexts);
        }
        self.close(out, |encoder, out| {
            match session {
                Some((session, _)) => encoder.entities.write_event_index(session, out),
                None => out.extend_from_slice(&encoder.contexts_head),
            }
            let first = out.len();
            if let Some((_, text)) = &encoder.resource {
                append(out, text.entities(it.anonymity));
            }
            let mut json = Json::new(out, encoder.level, encoder.bounds);
            if trace {
                encoder.entities.write_trace(it.record, &mut json);
            }
            for entity in browser.iter().chain(it.extra) {
                encoder.entities.write_own(entity, &mut json);
            }
            let cuts = json.cuts();
            // Each further entity has a comma before it.
            if session.is_none() && out.len() > first {
                out.remove(first);
            }
            out.extend_from_slice(&encoder.contexts_tail);
            cuts
        })
    }

    /// Begins the value of a key that is JSON: in base64url under the first, as a string under the second.
    #[inline]
    fn open<const N: usize>(&self, out: &mut Vec<u8>, base64: &[u8; N], plain: &[u8; N]) {
        out.extend_from_slice(if self.base64 { base64 } else { plain });
    }

    /// Writes the rest of such a value, after a [`beginning`] or from the start.
    #[inline]
    fn close(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Self, &mut Vec<u8>) -> u64) -> u64 {
        let cuts;
        if self.base64 {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            cuts = write(self, &mut scratch);
            url_safe::append(out, &self.engine, &mut scratch);
            self.scratch = scratch;
        } else {
            cuts = write(self, out);
        }
        out.push(b'"');
        cuts
    }
}

/// JSON up to where a number or an object begins, as it stands before that; in base64, if there is an engine.
///
/// Blanks before a value mean nothing; with them the base64 of what follows can be written after this one's.
pub(super) fn beginning(mut json: Vec<u8>, engine: Option<&UrlSafe>) -> Vec<u8> {
    let Some(engine) = engine else { return json };
    json.resize(json.len().next_multiple_of(3), b' ');
    let mut out = Vec::with_capacity(json.len() / 3 * 4);
    json::append_base64(&mut out, engine, &json);
    out
}

impl Unstruct {
    fn new(level: Level, vendor: &str, engine: Option<&UrlSafe>) -> Self {
        let before = format!("{{\"schema\":\"{}\",\"data\":{{\"schema\":", names::UNSTRUCT_EVENT);
        let head = |name: &str| {
            let schema = format!("\"iglu:{vendor}/{name}/jsonschema/{}\"", names::OUR_VERSION);
            beginning(level.piece(&format!("{before}{schema},\"data\":")), engine)
        };
        Self {
            heads: ["session_start", "session_end", "event", "log", "span"].map(head),
            before_schema: level.piece(&before),
            after_schema: level.piece(",\"data\":"),
            tail: level.piece("}}"),
        }
    }

    /// The beginning of an event under the schema of its name.
    fn head(&self, level: Level, vendor: &str, name: &str, version: &str) -> Vec<u8> {
        let schema = level.piece(&format!("\"{}\"", schema_of_name(vendor, name, version)));
        [&*self.before_schema, &schema, &self.after_schema].concat()
    }
}

/// The beginnings of the latest events under schemas of their names: a stream has few names.
#[derive(Debug, Default)]
struct Heads(Vec<(Box<str>, Vec<u8>)>);

impl Heads {
    const MOST: usize = 64;

    fn of(&mut self, name: &str, write: impl FnOnce(&str) -> Vec<u8>) -> &[u8] {
        if self.0.is_empty() {
            self.0.resize_with(Self::MOST, Default::default);
        }
        // What a schema takes of a name, which bounds what is kept here.
        let name = json::cut_chars(name, MAX_SCHEMA_NAME);
        let place = usize::from(place(name));
        let (known, head) = &mut self.0[place % Self::MOST];
        if head.is_empty() || !same(known, name) {
            *known = name.into();
            *head = write(name);
        }
        head
    }
}

/// The schema of an event's name: what a schema's name may not hold becomes `_`.
fn schema_of_name(vendor: &str, name: &str, version: &str) -> String {
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    let name: String = name.chars().take(MAX_SCHEMA_NAME).map(|char| if fits(char) { char } else { '_' }).collect();
    format!("iglu:{vendor}/{name}/jsonschema/{version}")
}

/// Appends what is mostly empty: then without the call of a function that copies nothing.
fn append(out: &mut Vec<u8>, piece: &[u8]) {
    if !piece.is_empty() {
        out.extend_from_slice(piece);
    }
}

/// Platform, user, session, and what the record or the subject says of the device.
fn atomic_fields(
    it: &Event<'_, '_>,
    subject: &SubjectText,
    session: Option<&entities::SessionText>,
    out: &mut Vec<u8>,
) -> u64 {
    let mut cuts = 0;
    let named = it.anonymity.names_users();
    out.extend_from_slice(&subject.platform);
    match it.user_id {
        Some(user_id) => cuts += u64::from(write_text(out, "uid", user_id, 255)),
        None if named => append(out, &subject.user_id),
        None => {}
    }
    if let Some(session) = session {
        out.extend_from_slice(&session.fields);
    } else if let Some(user) = it.user {
        write_key(out, "duid");
        json::write_uuid(out, user);
        out.push(b'"');
    }
    let has_none = it.session.is_none() && it.record.known.session_id.is_none();
    if has_none && it.anonymity.names_sessions() {
        out.extend_from_slice(&subject.session);
    }
    if it.record.known.fields.is_empty() {
        append(out, if named { &subject.fields } else { &subject.masked_fields });
        return cuts;
    }
    for field in Field::ALL {
        if field.is_personal() && !named {
            continue;
        }
        match it.record.known.field(field) {
            Some(value) if !value.is_empty() => cuts += u64::from(field.write(out, value)),
            _ => out.extend_from_slice(&subject.by_field[field as usize]),
        }
    }
    cuts
}

/// Whether an attribute may stand in events of this anonymity. What could not be taken for a field of the user, by its type or
/// its place, says no less who that is.
pub(super) fn shows(anonymity: Anonymity, network_user: Option<&str>, key: &str) -> bool {
    let is_personal = || names::is_personal(key) || network_user == Some(key);
    (anonymity.names_users() || !is_personal()) && (anonymity.names_sessions() || !names::is_of_session(key))
}

impl Event<'_, '_> {
    /// Whether an attribute may stand in the event.
    pub(super) fn shows(&self, key: &str) -> bool {
        shows(self.anonymity, self.record.network_user, key)
    }

    /// An attribute that is left.
    pub(super) fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.rest.iter().find(|left| left.key == name).map(|left| left.value)
    }
}

/// The longest name that a schema is made of.
const MAX_SCHEMA_NAME: usize = 255;
