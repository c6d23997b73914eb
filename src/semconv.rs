//! Names of attributes, events and metrics, and the values of our enumerations.
//!
//! Generated from the registry in `semconv/`; do not edit. After a change of the registry:
//! `OTEL_SESSION_BLESS=1 cargo test --test semconv`.

/// The attribute `log.record.uid`, a string: a globally unique id of a log record.
pub const LOG_RECORD_UID: &str = "log.record.uid";
/// The attribute `event.name`, a string: an event's name, where producers put it before records had a field for it.
pub const EVENT_NAME: &str = "event.name";
/// The attribute `service.name`, a string: the name of the service.
pub const SERVICE_NAME: &str = "service.name";
/// The attribute `service.version`, a string: the version of the service.
pub const SERVICE_VERSION: &str = "service.version";
/// The attribute `user_agent.original`, a string: the user agent as the client sent it.
pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";
/// The attribute `client.address`, a string: the address of the client, without its port.
pub const CLIENT_ADDRESS: &str = "client.address";
/// The attribute `browser.language`, a string: the language that the user prefers.
pub const BROWSER_LANGUAGE: &str = "browser.language";
/// The attribute `url.full`, a string: the whole URL of a request or page.
pub const URL_FULL: &str = "url.full";
/// The attribute `enduser.id`, a string: the end user by an older convention; `user.id` wins.
pub const ENDUSER_ID: &str = "enduser.id";
/// The attribute `device.id`, a string: the device that a signal comes from.
pub const DEVICE_ID: &str = "device.id";
/// The attribute `network.peer.address`, a string: the address of the other end of a connection.
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
/// The attribute `source.address`, a string: the address of whoever sent something, without its port.
pub const SOURCE_ADDRESS: &str = "source.address";
/// The attribute `session.id`, a string: a unique id of a session.
pub const SESSION_ID: &str = "session.id";
/// The attribute `session.previous_id`, a string: the id of the session that came before, when known.
pub const SESSION_PREVIOUS_ID: &str = "session.previous_id";
/// The attribute `user.id`, a string: the user that a signal belongs to.
pub const USER_ID: &str = "user.id";
/// The attribute `app.installation.id`, a string: the installation of the application, the same across its sessions and
/// users.
pub const APP_INSTALLATION_ID: &str = "app.installation.id";
/// The attribute `otel.component.name`, a string: a component of the telemetry, told apart from others of its kind in
/// the process.
pub const OTEL_COMPONENT_NAME: &str = "otel.component.name";
/// The attribute `otel_session.index`, an integer: the session's number in its chain, from 1.
///
/// A gap between the numbers of two sessions linked by `session.previous_id` means that a session is missing.
pub const OTEL_SESSION_INDEX: &str = "otel_session.index";
/// The attribute `otel_session.end.reason`, one of a list of strings: why a session ended.
pub const OTEL_SESSION_END_REASON: &str = "otel_session.end.reason";
/// The attribute `otel_session.duration`, a floating-point number: a session's length in seconds, from its start to its
/// end.
///
/// Never negative. The end is the one that the reason implies, not the moment at which it was noticed.
pub const OTEL_SESSION_DURATION: &str = "otel_session.duration";
/// The attribute `otel_session.storage`, one of a list of strings: where the session is kept.
pub const OTEL_SESSION_STORAGE: &str = "otel_session.storage";
/// The attribute `otel_session.sampled`, a boolean: the session's sampling decision, one for all its signals.
pub const OTEL_SESSION_SAMPLED: &str = "otel_session.sampled";
/// The attribute `otel_session.loss.reason`, one of a list of strings: why something was lost, or is not as exact as
/// promised.
pub const OTEL_SESSION_LOSS_REASON: &str = "otel_session.loss.reason";
/// The event `session.start`: a new session has begun.
///
/// Emitted each time a session is created. With both ids it also says that the previous session has ended: if no
/// `session.end` was seen for it, treat this event as that end and this start.
///
/// Attributes: `session.id` (required), `session.previous_id` (if the session continues a previous one; then it differs
/// from `session.id`), `otel_session.index` (required), `user.id` (if a user is set when the session begins),
/// `app.installation.id` (if an installation id is known), `otel_session.storage` (recommended), `otel_session.sampled`
/// (if the session has a sampling decision).
pub const EVENT_SESSION_START: &str = "session.start";
/// The event `session.end`: a session has ended.
///
/// Emitted each time a session ends, before the `session.start` of the one that continues it.
///
/// Attributes: `session.id` (required), `otel_session.index` (required), `otel_session.end.reason` (required),
/// `otel_session.duration` (required), `session.previous_id` (if the session that has ended continued a previous one),
/// `user.id` (if a user was set when the session ended), `app.installation.id` (if an installation id is known),
/// `otel_session.storage` (recommended), `otel_session.sampled` (if the session has a sampling decision).
pub const EVENT_SESSION_END: &str = "session.end";
/// The metric `otel_session.losses`, a counter in `{loss}`: losses of otel-session, by reason.
///
/// A healthy process has no series of it. It never carries `session.id`, which would make one series of each session.
/// Where a process has several `Sessions`, the scopes after the first carry `otel.component.name`.
pub const METRIC_OTEL_SESSION_LOSSES: &str = "otel_session.losses";

/// The values of [`OTEL_SESSION_END_REASON`].
pub mod end_reason {
    /// No activity for the inactivity timeout; the end is the last activity.
    pub const INACTIVITY: &str = "inactivity";
    /// The session reached its maximum duration; the end is its start plus that duration.
    pub const MAX_DURATION: &str = "max_duration";
    /// The application asked for a new session.
    pub const ROTATED: &str = "rotated";
    /// The application ended the session; the next one is not linked to it.
    pub const ENDED: &str = "ended";
    /// The application shut down, or the last log pipeline did.
    pub const SHUTDOWN: &str = "shutdown";
    /// A stored session lay in the future of the clock, so its idle time could not be known.
    pub const CLOCK_JUMP: &str = "clock_jump";
    /// The process went away without ending the session; written at the next start.
    pub const CRASH: &str = "crash";
}

/// The values of [`OTEL_SESSION_STORAGE`].
pub mod storage {
    /// In the process only; lost when it goes away.
    pub const MEMORY: &str = "memory";
    /// In a file, so that a restart resumes or ends it.
    pub const SQLITE: &str = "sqlite";
    /// On a Redis server, shared by processes and machines.
    pub const REDIS: &str = "redis";
}

/// The values of [`OTEL_SESSION_LOSS_REASON`].
pub mod loss_reason {
    /// A lifecycle record was dropped, together with its pair, because its queue was full.
    pub const LIFECYCLE_QUEUE_FULL: &str = "lifecycle_queue_full";
    /// A lifecycle record, or a log that waited for one, was dropped because a processor or exporter of the pipeline
    /// panicked.
    pub const LIFECYCLE_PANIC: &str = "lifecycle_panic";
    /// A lifecycle record was in a batch whose export failed.
    pub const LIFECYCLE_EXPORT: &str = "lifecycle_export";
    /// A lifecycle record was still waiting when its pipeline shut down, or no pipeline was ever attached.
    pub const LIFECYCLE_UNDELIVERED: &str = "lifecycle_undelivered";
    /// A log went out before the lifecycle records that should stand before it, or not at all.
    pub const ORDER: &str = "order";
    /// An ordinary log found the queue of the batch processor full, or its thread ended by a panic.
    pub const LOG_QUEUE_FULL: &str = "log_queue_full";
    /// An ordinary log was emitted while its batch processor shut down, too late to be exported, or after that.
    pub const LOG_AFTER_SHUTDOWN: &str = "log_after_shutdown";
    /// A signal was older than the history of sessions; it carries the oldest id known, or the oldest user known of its
    /// session.
    pub const HISTORY_FORGOTTEN: &str = "history_forgotten";
    /// The id generator returned an id that is not valid or repeats the previous one; one of our own was used.
    pub const INVALID_ID: &str = "invalid_id";
    /// The id generator panicked or took too long; an id of our own was used.
    pub const ID_GENERATOR: &str = "id_generator";
    /// An observer of transitions panicked.
    pub const OBSERVER_PANIC: &str = "observer_panic";
    /// A transition was not told to an observer, because too many were waiting.
    pub const OBSERVER_QUEUE_FULL: &str = "observer_queue_full";
    /// An activity filter panicked; the signal was taken for activity.
    pub const FILTER_PANIC: &str = "filter_panic";
    /// A session id from outside was not valid and was ignored.
    pub const INVALID_SCOPE: &str = "invalid_scope";
    /// A log processor was given a second resource and kept the first.
    pub const RESOURCE_IGNORED: &str = "resource_ignored";
    /// A span was in a batch whose export failed.
    pub const SPAN_EXPORT: &str = "span_export";
    /// An ordinary log was in a batch whose export failed.
    pub const LOG_EXPORT: &str = "log_export";
    /// A user id could not be exported as it is; signals carry none instead.
    pub const INVALID_USER: &str = "invalid_user";
    /// A span found the queue of the batch processor full, or its thread ended by a panic.
    pub const SPAN_QUEUE_FULL: &str = "span_queue_full";
    /// An event was dropped because the outbox of a bridge was full.
    pub const OUTBOX_FULL: &str = "outbox_full";
    /// An event was dropped because it waited in the outbox of a bridge for longer than the age limit.
    pub const OUTBOX_AGE: &str = "outbox_age";
    /// An event was not accepted because the outbox of a bridge could not store it, or its bridge had shut down.
    pub const OUTBOX_ERROR: &str = "outbox_error";
    /// An event was dropped because it alone is larger than a request may be.
    pub const EVENT_TOO_LARGE: &str = "event_too_large";
    /// An event was dropped because the collector answered its request with a status that is not retried.
    pub const EVENT_REJECTED: &str = "event_rejected";
    /// A lifecycle event without a session id, or any record without one where those are skipped, was not accepted by a
    /// bridge.
    pub const EVENT_WITHOUT_SESSION: &str = "event_without_session";
    /// An event was not accepted by a bridge because its session id is not what the policy demands.
    pub const EVENT_SESSION_ID: &str = "event_session_id";
    /// A value of an event was cut, replaced or left out, because its destination allows no such value.
    pub const EVENT_FIELD: &str = "event_field";
    /// A filter, mapping or callback of a bridge panicked.
    pub const EVENT_FILTER_PANIC: &str = "event_filter_panic";
    /// An event was still waiting in an outbox that is not durable when its bridge shut down.
    pub const EVENT_UNDELIVERED: &str = "event_undelivered";
    /// A record lay further back in time than its destination keeps events; it was not accepted, or sent all the same.
    pub const EVENT_TOO_OLD: &str = "event_too_old";
}
