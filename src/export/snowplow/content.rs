//! What the events of a [`SnowplowExporter`](super::SnowplowExporter) say.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::hook::{Candidate, Filter, Mapping, MappingHook};
use super::map_settings::{EventStyle, NonFinite, SessionIdPolicy};
use super::{Anonymity, Platform, SnowplowExporterBuilder, Subject};

/// Where the state of sessions and users is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateStorage {
    /// In the outbox, wherever that is; the default. `storageMechanism` is `SQLITE` for a SQLite file, else
    /// `LOCAL_STORAGE`.
    #[default]
    Outbox,
    /// The same, for sessions whose ids were read from a first-party cookie: `storageMechanism` is `COOKIE_1`.
    Cookie,
    /// Nowhere beyond this process, whose numbers then start anew with it. The outbox must be in memory, and anonymous
    /// session tracking becomes full anonymity: it would need a place for the session.
    None,
}

/// How long the installation id and what is known of users are kept in a durable outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityLifetime {
    /// For so long after the exporter was last built; two years by default, like the browser's cookie.
    For(Duration),
    /// As long as the process: what an earlier one left is forgotten at the start.
    Process,
    /// Not at all: never written to the outbox.
    NotPersisted,
}

impl Default for IdentityLifetime {
    fn default() -> Self {
        Self::For(Duration::from_secs(63_072_000))
    }
}

/// What events say.
impl SnowplowExporterBuilder {
    /// The application's id (`aid`), at most 255 characters; the resource's `service.name` by default.
    pub fn with_app_id(mut self, app_id: impl Into<String>) -> Self {
        self.content.app_id = Some(app_id.into());
        self
    }

    /// The platform (`p`); [`Platform::Server`] by default.
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.content.platform = platform;
        self
    }

    /// Whether the JSON within an event is written in base64. By default it is plain, unless all collectors get events by GET.
    pub fn with_base64(mut self, base64: bool) -> Self {
        self.base64 = Some(base64);
        self
    }

    /// Fields for records that do not carry them; none by default.
    pub fn with_subject(mut self, subject: Subject) -> Self {
        self.content.subject = subject;
        self
    }

    /// What is said of the user; everything by default. It can be changed later on.
    pub fn with_anonymity(mut self, anonymity: Anonymity) -> Self {
        self.content.anonymity = anonymity;
        self
    }

    /// Where the state of sessions is kept; the outbox by default.
    pub fn with_state_storage(mut self, storage: StateStorage) -> Self {
        self.state = storage;
        self
    }

    /// How long the installation id and what is known of users are kept.
    pub fn with_identity_lifetime(mut self, lifetime: IdentityLifetime) -> Self {
        self.identity = lifetime;
        self
    }

    /// What named events become; self-describing events under our schemas by default.
    pub fn with_event_style(mut self, style: EventStyle) -> Self {
        self.content.style = style;
        self
    }

    /// The vendor of our schemas, for registries that keep them under another one: letters, digits, `.`, `-` and `_`.
    pub fn with_vendor(mut self, vendor: impl Into<String>) -> Self {
        self.content.vendor = vendor.into();
        self
    }

    /// What becomes of session ids that are no UUIDs; a UUID made of them by default.
    pub fn with_session_ids(mut self, policy: SessionIdPolicy) -> Self {
        self.content.session_ids = policy;
        self
    }

    /// The namespace of UUIDs made of texts; [`ID_NAMESPACE`](super::ID_NAMESPACE) by default.
    pub fn with_id_namespace(mut self, namespace: Uuid) -> Self {
        self.content.id_namespace = namespace;
        self
    }

    /// Whether events carry `client_session`; they do by default.
    pub fn with_session_context(mut self, attach: bool) -> Self {
        self.content.session_entity = attach;
        self
    }

    /// Whether events carry `application`, if the resource has a `service.version`; they do by default.
    pub fn with_application_context(mut self, attach: bool) -> Self {
        self.content.application_entity = attach;
        self
    }

    /// Whether events carry `browser_context` where all six fields that it requires are known: by the record, else, for sizes
    /// and colour depth, by the subject; off by default.
    pub fn with_browser_context(mut self, attach: bool) -> Self {
        self.content.browser_entity = attach;
        self
    }

    /// Whether events carry the resource as an entity under our schema; off by default.
    pub fn with_resource_context(mut self, attach: bool) -> Self {
        self.content.resource_entity = attach;
        self
    }

    /// Whether events of records with a trace carry it as an entity under our schema; off by default.
    pub fn with_trace_context(mut self, attach: bool) -> Self {
        self.content.trace_entity = attach;
        self
    }

    /// Whether the record's time is also sent as the true one (`ttm`), which then is the derived time at the collector, not
    /// corrected by the time of sending; off by default.
    pub fn with_true_timestamps(mut self, send: bool) -> Self {
        self.content.true_timestamps = send;
        self
    }

    /// Numbers events of sessions whose start was not seen here, too, from the first one seen; off by default.
    pub fn with_number_unannounced_sessions(mut self, number: bool) -> Self {
        self.content.number_unannounced_sessions = number;
        self
    }

    /// Makes an event of an end that only the next session's start tells of; off by default.
    pub fn with_synthesize_end(mut self, synthesize: bool) -> Self {
        self.content.synthesize_end = synthesize;
        self
    }

    /// Takes no records without a session, and counts them as [`Loss::EventWithoutSession`](crate::Loss::EventWithoutSession);
    /// they go out without one by default.
    pub fn with_skip_without_session(mut self, skip: bool) -> Self {
        self.content.skip_without_session = skip;
        self
    }

    /// The most sessions, and the most users, that are remembered; 65,536 by default. Beyond it closed ones are forgotten,
    /// then idle ones.
    pub fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.content.max_sessions = sessions;
        self
    }

    /// Whether logs without an event name become events, and those of `tracing` that are only named after their line
    /// (`info!(..)` without `name:`) or `log event`; off by default.
    pub fn with_logs(mut self, logs: bool) -> Self {
        self.content.logs = logs;
        self
    }

    /// Which records become events, of the kinds that are on; all by default. A record that it refuses takes no index.
    pub fn with_filter(mut self, filter: impl Fn(&Candidate<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.content.filter = Some(Filter(Arc::new(filter)));
        self
    }

    /// What records become, where that should differ, and which entities of yours they carry.
    pub fn with_mapping(mut self, mapping: impl Fn(&Candidate<'_>) -> Mapping + Send + Sync + 'static) -> Self {
        self.content.mapping = Some(MappingHook(Arc::new(mapping)));
        self
    }

    /// The attribute that holds the network user id (`tnuid`); none by default. One that means something already, such as
    /// `app.installation.id`, keeps that meaning.
    pub fn with_network_user_attribute(mut self, attribute: impl Into<String>) -> Self {
        self.content.network_user_attribute = Some(attribute.into());
        self
    }

    /// What infinite numbers and NaN become; texts by default.
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.content.non_finite = non_finite;
        self
    }

    /// The longest text of a value in an event's data, in bytes; 65,535 by default. Longer ones are cut and counted.
    pub fn with_max_text_bytes(mut self, bytes: usize) -> Self {
        self.content.max_text_bytes = bytes;
        self
    }
}
