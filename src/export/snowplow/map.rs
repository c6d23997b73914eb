//! From records to Snowplow events.
//!
//! ```text
//! record ─> filter, mapping ─> read ─> session and user ─> numbers ─> encoded event
//!                     │ none              │ refused         └ undone if the outbox does not take the batch
//! ```
//!
//! A record that becomes no event takes no number. Nothing of one record can keep another from becoming its event.

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::LogBatch;
use opentelemetry_sdk::trace::SpanData;
use uuid::{Builder, Uuid};

use super::decide::{Decider, Decisions};
use super::encode::{Encoder, Event};
use super::entities::ClientSession;
use super::hook::{MappedEvent, Mapping, SelfDescribing};
use super::ids::{Derivation, Randoms, Resolved, dashed, random};
use super::map_settings::MapSettings;
use super::mapped::{Mapped, MappedRecord, Row, SessionChange, SessionState};
use super::record::{Kind, Known, Reading, Record, Rest, Source};
use super::shapes::Shapes;
use super::subject_text::SubjectText;
use super::table::{MAX_INDEX, Session, Sighting, SightingKind, Table};
use super::{Anonymity, Subject, names, rows};
use crate::clock::Moment;
use crate::semconv;
use crate::telemetry::Loss;

/// Turns records into encoded events and numbers them within their sessions. One per exporter, behind its lock.
#[derive(Debug)]
pub(crate) struct Mapper {
    settings: MapSettings,
    shapes: Shapes,
    encoder: Encoder,
    subject: SubjectText,
    table: Table,
    ids: Derivation,
    randoms: Randoms,
    installation: Installation,
}

/// The installation's own UUID, made when it is first needed.
#[derive(Debug, Default)]
struct Installation {
    id: Option<Uuid>,
    stored: bool,
}

impl Mapper {
    /// A mapper that goes on where the rows of an outbox left off. Rows of other namespaces and rows it does not
    /// understand are ignored.
    pub(crate) fn new(settings: MapSettings, rows: &[Row]) -> Self {
        let key = &settings.state_key;
        let mut table = Table::new(settings.max_sessions, settings.number_unannounced_sessions);
        table.load(rows.iter().filter_map(|row| rows::read(key, row)));
        let id = rows.iter().find_map(|row| rows::read_installation(key, row));
        let encoder = Encoder::new(&settings);
        Self {
            shapes: Shapes::new(encoder.level),
            encoder,
            subject: SubjectText::new(&settings.subject, settings.platform),
            table,
            ids: Derivation::new(settings.id_namespace),
            randoms: Randoms::default(),
            installation: Installation { id, stored: id.is_some() },
            settings,
        }
    }

    /// Who decides what records become, before a batch is mapped.
    pub(super) fn decider(&self) -> Decider {
        Decider::new(&self.settings)
    }

    /// Maps a batch of logs as it was decided. Follow it by [`commit`](Self::commit) or [`roll_back`](Self::roll_back).
    pub(crate) fn map_logs(
        &mut self,
        batch: &LogBatch<'_>,
        mut decisions: Decisions,
        resource: &Resource,
        now: Moment,
        out: &mut Mapped,
    ) {
        self.begin(resource, out);
        let network_user = self.settings.network_user_attribute.clone();
        let mut shapes = std::mem::replace(&mut self.shapes, Shapes::new(self.encoder.level));
        let mut reading = Reading { network_user: network_user.as_deref(), shapes: &mut shapes };
        let mut rest = Rest::new();
        for (place, (record, scope)) in batch.iter().enumerate() {
            let read = Record::of_log(record, scope, &mut reading, &mut rest);
            self.map(&read, (&rest, reading.shapes.texts()), decisions.take(place, read.kind), now, out);
        }
        self.shapes = shapes;
        self.finish(out);
    }

    /// Maps ended spans as it was decided. Follow it by [`commit`](Self::commit) or [`roll_back`](Self::roll_back).
    pub(crate) fn map_spans(
        &mut self,
        batch: &[SpanData],
        mut decisions: Decisions,
        resource: &Resource,
        now: Moment,
        out: &mut Mapped,
    ) {
        self.begin(resource, out);
        let network_user = self.settings.network_user_attribute.clone();
        let mut shapes = std::mem::replace(&mut self.shapes, Shapes::new(self.encoder.level));
        let mut reading = Reading { network_user: network_user.as_deref(), shapes: &mut shapes };
        let mut rest = Rest::new();
        for (place, span) in batch.iter().enumerate() {
            let read = Record::of_span(span, &mut reading, &mut rest);
            self.map(&read, (&rest, reading.shapes.texts()), decisions.take(place, read.kind), now, out);
        }
        self.shapes = shapes;
        self.finish(out);
    }

    /// The outbox has taken the batch.
    pub(crate) fn commit(&mut self) {
        self.table.commit();
        self.installation.stored = self.installation.id.is_some();
    }

    /// The outbox has not taken the batch: every number is as it was before.
    pub(crate) fn roll_back(&mut self) {
        self.table.roll_back();
    }

    /// For the batches to come.
    pub(crate) fn set_anonymity(&mut self, anonymity: Anonymity) {
        self.settings.anonymity = anonymity;
    }

    /// For the batches to come; the subject has been checked.
    pub(crate) fn set_subject(&mut self, subject: Subject) {
        self.subject = SubjectText::new(&subject, self.settings.platform);
        self.settings.subject = subject;
    }

    /// Forgets the installation id and every session and user (opt-out). The rows that say so are for the outbox.
    pub(crate) fn forget(&mut self) -> Vec<Row> {
        let key = &self.settings.state_key;
        let mut rows = vec![rows::installation_row(key, None)];
        self.table.forget(key, &mut rows);
        self.installation = Installation::default();
        self.ids = Derivation::new(self.settings.id_namespace);
        rows
    }

    /// Who the user is where no record says it; none before our own installation was first needed.
    pub(crate) fn default_user(&mut self) -> Option<Uuid> {
        self.subject_user().or(self.installation.id)
    }

    fn begin(&mut self, resource: &Resource, out: &mut Mapped) {
        out.clear();
        self.randoms.draw();
        let cuts = self.encoder.read_resource(resource, &self.settings);
        self.lose(Loss::EventField, cuts);
    }

    fn finish(&mut self, out: &mut Mapped) {
        if !self.settings.keeps_rows {
            return;
        }
        if let Some(id) = self.installation.id.filter(|_| !self.installation.stored) {
            out.rows.push(rows::installation_row(&self.settings.state_key, Some(id)));
        }
        self.table.changed_rows(&self.settings.state_key, &mut out.rows);
    }

    fn map(
        &mut self,
        record: &Record<'_>,
        (rest, texts): (&Rest<'_>, &[u8]),
        mapping: Option<Mapping>,
        now: Moment,
        out: &mut Mapped,
    ) {
        let Some(mapping) = mapping else { return };
        let Some(session) = self.resolve_session(record) else { return };
        let anonymity = self.settings.anonymity;
        let user = if anonymity.names_users() { self.user(&record.known) } else { Uuid::nil() };
        let id = match (record.known.record_id, record.source) {
            (Some(text), _) => self.ids.derive_once(text),
            (None, _) => self.randoms.next(),
        };
        let millis = record.millis.unwrap_or(now.wall.div_euclid(1_000_000));
        let sighting = session.and_then(Resolved::id).filter(|_| anonymity.names_sessions()).map(|session| {
            let kind = match record.kind {
                Kind::SessionStart => SightingKind::Start,
                Kind::SessionEnd => SightingKind::End,
                _ => SightingKind::Other,
            };
            let index = self.index(&record.known);
            Sighting { session, user, index, previous: self.previous(record, session), kind, event: id, millis }
        });
        if let Some(Sighting { kind: SightingKind::Start, previous: Some(previous), .. }) = sighting {
            self.close(previous, record, millis, out);
        }
        let numbers = sighting.as_ref().map(|sighting| self.observe(sighting, out));
        let keeps_text = record.is_of_session() || matches!(session, Some(Resolved::Derived(_) | Resolved::Omitted));
        let event = Event {
            id,
            millis,
            record,
            rest,
            texts,
            content: &mapping.event,
            extra: &mapping.entities,
            user: anonymity.names_users().then_some(user),
            user_id: record.known.user_id.as_deref().filter(|_| anonymity.names_users()),
            session: numbers.map(|numbers| ClientSession {
                attached: self.settings.session_entity && !mapping.entities.iter().any(is_client_session),
                ..numbers
            }),
            session_text: record.known.session_id.filter(|_| keeps_text && anonymity.names_sessions()),
            anonymity,
        };
        self.write(&event, out);
    }

    fn write(&mut self, event: &Event<'_, '_>, out: &mut Mapped) {
        let bytes = out.next(event.anonymity.mode());
        let start = bytes.len();
        let cuts = self.encoder.write(event, &self.subject, &self.settings, bytes);
        let len = bytes.len() - start;
        self.lose(Loss::EventField, cuts);
        out.events.push(MappedRecord {
            id: event.id,
            lane: event.session.as_ref().map_or(0, |session| lane(session.id)),
            len,
            session: event.session.as_ref().map(|session| session.id),
            event_index: event.session.as_ref().and_then(|session| session.event_index),
        });
    }

    /// The session of a record: `Some(None)` without one, `None` if the record must not become an event.
    fn resolve_session(&mut self, record: &Record<'_>) -> Option<Option<Resolved>> {
        let Some(text) = record.known.session_id else {
            if record.is_of_session() || self.settings.skip_without_session {
                self.lose(Loss::EventWithoutSession, 1);
                return None;
            }
            return Some(None);
        };
        let resolved = self.ids.session(text, self.settings.session_ids);
        if resolved == Resolved::Refused {
            self.lose(Loss::EventSessionId, 1);
            return None;
        }
        Some(Some(resolved))
    }

    fn previous(&mut self, record: &Record<'_>, session: Uuid) -> Option<Uuid> {
        let text = record.known.previous_id?;
        let previous = self.ids.session(text, self.settings.session_ids).id().filter(|previous| *previous != session);
        self.lose(Loss::EventField, u64::from(previous.is_none()));
        previous
    }

    fn index(&self, known: &Known<'_>) -> Option<u32> {
        let given = known.index?;
        let index = u32::try_from(given).ok().filter(|index| (1..=MAX_INDEX).contains(index));
        self.lose(Loss::EventField, u64::from(index.is_none()));
        index
    }

    /// Who the user is: the installation by the record, else its user, else the subject's device, else its user, else our
    /// own installation.
    fn user(&mut self, known: &Known<'_>) -> Uuid {
        if let Some(id) = known.installation_id {
            return id;
        }
        if let Some(user_id) = known.user_id.as_deref() {
            return self.ids.derive(user_id);
        }
        if let Some(id) = self.subject_user() {
            return id;
        }
        *self.installation.id.get_or_insert_with(|| Builder::from_random_bytes(random().into_bytes()).into_uuid())
    }

    /// The subject's device, else its user.
    fn subject_user(&mut self) -> Option<Uuid> {
        let Self { settings, ids, .. } = self;
        if let Some(id) = settings.subject.field("duid") {
            return Some(dashed(id).unwrap_or_else(|| ids.derive(id)));
        }
        settings.subject.field("uid").map(|user| ids.derive(user))
    }

    /// Numbers an event within its session.
    fn observe(&mut self, sighting: &Sighting, out: &mut Mapped) -> ClientSession {
        let (session, changed) = self.table.observe(sighting);
        let numbered = session.announced || self.settings.number_unannounced_sessions;
        if changed {
            let state = self.state(sighting.session, &session, numbered);
            out.sessions.push(SessionChange { started: sighting.kind == SightingKind::Start, state });
        }
        ClientSession {
            id: sighting.session,
            // The record's own: who is using the session may become known in its course.
            user: sighting.user,
            index: session.index,
            event_index: numbered.then_some(session.events),
            previous: session.previous.filter(|_| self.settings.anonymity.names_users()),
            first: session.first.filter(|_| numbered),
            attached: false,
        }
    }

    fn state(&self, id: Uuid, session: &Session, numbered: bool) -> SessionState {
        let named = self.settings.anonymity.names_users();
        let first = session.first.filter(|_| numbered);
        SessionState {
            user_id: if named { session.user } else { Uuid::nil() },
            session_id: id,
            session_index: session.index,
            event_index: numbered.then_some(session.events),
            previous_session_id: session.previous.filter(|_| named),
            storage_mechanism: self.settings.storage,
            first_event_id: first.map(|(id, _)| id),
            first_event_millis: first.map(|(_, millis)| millis),
        }
    }

    /// Ends a session because `start` has begun the next one.
    fn close(&mut self, id: Uuid, start: &Record<'_>, millis: i64, out: &mut Mapped) {
        let Some(session) = self.table.close(id).cloned() else { return };
        let numbered = session.announced || self.settings.number_unannounced_sessions;
        if !self.settings.synthesize_end {
            let state = self.state(id, &session, numbered);
            out.sessions.push(SessionChange { started: false, state });
            return;
        }
        let anonymity = self.settings.anonymity;
        let user = if anonymity.names_users() { session.user } else { Uuid::nil() };
        let event = self.randoms.next();
        let kind = SightingKind::Other;
        let sighting = Sighting { session: id, user, index: None, previous: None, kind, event, millis };
        let numbers = self.observe(&sighting, out);
        if let Some(session) = self.table.get(id) {
            let state = self.state(id, session, numbered);
            out.sessions.push(SessionChange { started: false, state });
        }
        let record = Record {
            kind: Kind::SessionEnd,
            name: semconv::EVENT_SESSION_END,
            millis: Some(millis),
            known: Known { session_id: start.known.previous_id, ..Known::default() },
            trace: None,
            scope: start.scope,
            source: Source::Implied,
            duplicates: 0,
            network_user: None,
        };
        let event = Event {
            id: event,
            millis,
            record: &record,
            rest: &Rest::new(),
            texts: &[],
            content: &MappedEvent::Usual,
            extra: &[],
            user: anonymity.names_users().then_some(user),
            user_id: None,
            session: Some(ClientSession { attached: self.settings.session_entity, ..numbers }),
            session_text: start.known.previous_id,
            anonymity,
        };
        self.write(&event, out);
    }

    fn lose(&self, loss: Loss, count: u64) {
        if count > 0 {
            self.settings.losses.add(loss, count);
        }
    }
}

/// Events of one session stay in order; all those without one are a session in this respect.
fn lane(session: Uuid) -> u32 {
    let (high, low) = session.as_u64_pair();
    let folded = high ^ low;
    #[allow(clippy::cast_possible_truncation)] // folding
    let lane = (folded ^ (folded >> 32)) as u32;
    lane
}

fn is_client_session(entity: &SelfDescribing) -> bool {
    let prefix = names::CLIENT_SESSION.trim_end_matches("1-0-2");
    entity.schema.starts_with(prefix)
}
