//! What a mapper is told once: plain data that the exporter's builder fills and checks.

use std::sync::Arc;

use uuid::Uuid;

use super::hook::{Filter, MappingHook};
use super::{Anonymity, Platform, Subject};
use crate::export::namespace::ID_NAMESPACE;
use crate::telemetry::LossCounters;

/// The settings of a [`Mapper`](super::map::Mapper). The builder has checked them; the mapper trusts them, and cuts what
/// would still be too long for its field.
#[derive(Debug, Clone)]
pub(crate) struct MapSettings {
    /// `tna`.
    pub(crate) namespace: String,
    /// The prefix of the keys of our rows in the outbox: exporters that use a file in turn do not share sessions.
    pub(crate) state_key: String,
    /// `aid`; `None` takes the resource's `service.name`.
    pub(crate) app_id: Option<String>,
    /// `p`, unless the subject has one.
    pub(crate) platform: Platform,
    /// `tv`.
    pub(crate) tracker_version: String,
    /// The vendor of our schemas.
    pub(crate) vendor: String,
    /// What named events become.
    pub(crate) style: EventStyle,
    /// `ue_px` and `cx` (base64url, unpadded) instead of `ue_pr` and `co`.
    pub(crate) base64: bool,
    /// What becomes of session ids that are not UUIDs.
    pub(crate) session_ids: SessionIdPolicy,
    /// The namespace of ids that are derived from texts.
    pub(crate) id_namespace: Uuid,
    /// Fields for records that do not carry them.
    pub(crate) subject: Subject,
    /// What is said of the user at first; [`Mapper::set_anonymity`](super::map::Mapper::set_anonymity) changes it.
    pub(crate) anonymity: Anonymity,
    /// `storageMechanism` of the session entity: where the outbox keeps the table.
    pub(crate) storage: StorageMechanism,
    /// Whether changes of the table are handed out as rows. Off saves the work where nothing survives anyway.
    pub(crate) keeps_rows: bool,
    /// Gives event index and first event also to sessions whose start was not seen here, from the first event seen.
    pub(crate) number_unannounced_sessions: bool,
    /// The most sessions in the table, and the most users. Beyond it, closed and then idle ones are forgotten.
    pub(crate) max_sessions: usize,
    /// Logs without an event name are events, too.
    pub(crate) logs: bool,
    /// Which records become events; `None` takes all of the kinds that are on.
    pub(crate) filter: Option<Filter>,
    /// What a record becomes, for records that should be something else than by default.
    pub(crate) mapping: Option<MappingHook>,
    /// Attach `client_session`.
    pub(crate) session_entity: bool,
    /// Attach `application` when the resource has a `service.version`.
    pub(crate) application_entity: bool,
    /// Attach our entity `resource`.
    pub(crate) resource_entity: bool,
    /// Attach our entity `trace` to records that have a trace.
    pub(crate) trace_entity: bool,
    /// Attach `browser_context` when its six required fields are known.
    pub(crate) browser_entity: bool,
    /// `ttm` beside `dtm`.
    pub(crate) true_timestamps: bool,
    /// A `session.start` that ends its predecessor without a `session.end` also makes an event of that end.
    pub(crate) synthesize_end: bool,
    /// Records without a session become no events.
    pub(crate) skip_without_session: bool,
    /// Which attribute is the network user id (`tnuid`), if any.
    pub(crate) network_user_attribute: Option<String>,
    /// What infinite numbers and NaN become.
    pub(crate) non_finite: NonFinite,
    /// The longest text of a value in an event's data, in bytes.
    pub(crate) max_text_bytes: usize,
    /// Where what is cut, refused or left out is counted.
    pub(crate) losses: Arc<LossCounters>,
}

impl Default for MapSettings {
    fn default() -> Self {
        Self {
            namespace: "otel".to_owned(),
            state_key: "otel".to_owned(),
            app_id: None,
            platform: Platform::Server,
            tracker_version: TRACKER_VERSION.to_owned(),
            vendor: DEFAULT_VENDOR.to_owned(),
            style: EventStyle::SelfDescribing,
            base64: false,
            session_ids: SessionIdPolicy::UuidV5,
            id_namespace: ID_NAMESPACE,
            subject: Subject::new(),
            anonymity: Anonymity::off(),
            storage: StorageMechanism::LocalStorage,
            keeps_rows: true,
            number_unannounced_sessions: false,
            max_sessions: DEFAULT_MAX_SESSIONS,
            logs: false,
            filter: None,
            mapping: None,
            session_entity: true,
            application_entity: true,
            resource_entity: false,
            trace_entity: false,
            browser_entity: false,
            true_timestamps: false,
            synthesize_end: false,
            skip_without_session: false,
            network_user_attribute: None,
            non_finite: NonFinite::Text,
            max_text_bytes: DEFAULT_MAX_TEXT_BYTES,
            losses: Arc::default(),
        }
    }
}

/// What named OpenTelemetry events become at Snowplow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventStyle {
    /// Self-describing events under our schemas: `session_start`, `session_end` and `event` for all others; the default.
    /// The schemas have to be in the pipeline's registry.
    #[default]
    SelfDescribing,
    /// Like [`SelfDescribing`](Self::SelfDescribing), but an event other than the two of a session goes under a schema of its
    /// own name: `iglu:<vendor>/<name>/jsonschema/<version>`, in which every character of the name that a schema's may not
    /// have is `_`. Its data are the record's attributes, with its body as `body` unless an attribute has that name, and with a
    /// session's id that is no UUID as `session.id`. You write these schemas.
    SchemaPerName {
        /// The vendor of the schemas, of letters, digits, `.`, `-` and `_`.
        vendor: String,
        /// Their version, such as `1-0-0`: three numbers without leading zeros, the first from 1.
        version: String,
    },
    /// Structured events (`e=se`), which need no schema and work on every pipeline.
    Structured,
}

/// What becomes of a session id that is no UUID, or the nil UUID. UUIDs with dashes are sent in lower case.
///
/// Snowplow fails events whose `sid` is no UUID; OpenTelemetry's `session.id` is any text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionIdPolicy {
    /// It becomes the UUID of version 5 of the text, in the namespace [`ID_NAMESPACE`] or one of your own; the event's data
    /// keep the text. The default.
    #[default]
    UuidV5,
    /// The event is not accepted, and counted as [`Loss::EventSessionId`](crate::Loss::EventSessionId).
    Exact,
    /// The event goes out without a session; the event's data keep the text.
    Omit,
}

/// What an infinite number or NaN becomes, which JSON cannot say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonFinite {
    /// `"NaN"`, `"Infinity"` or `"-Infinity"`, as in OTLP; the default.
    #[default]
    Text,
    /// `null`.
    Null,
}

/// Where a session is kept, in the words of `client_session`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageMechanism {
    /// `SQLITE`: an outbox in a SQLite file.
    Sqlite,
    /// `LOCAL_STORAGE`: memory, or a store of your own; there is no closer word.
    #[default]
    LocalStorage,
    /// `COOKIE_1`: a first-party cookie that a server reads.
    Cookie,
}

impl StorageMechanism {
    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLITE",
            Self::LocalStorage => "LOCAL_STORAGE",
            Self::Cookie => "COOKIE_1",
        }
    }
}

/// The vendor of our schemas, unless another one is set.
pub const DEFAULT_VENDOR: &str = "io.github.otel_session";

/// `tv`, unless another one is set.
const TRACKER_VERSION: &str = concat!("rust-otel-session-", env!("CARGO_PKG_VERSION"));

/// Some 10 MB, as far as they are used.
const DEFAULT_MAX_SESSIONS: usize = 65_536;

/// What a text column of the common warehouses takes.
const DEFAULT_MAX_TEXT_BYTES: usize = 65_535;
