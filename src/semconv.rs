//! Names of attributes and events, from the registry in `semconv/`.

/// The attribute `session.id`: a unique id of a session.
pub const SESSION_ID: &str = "session.id";
/// The attribute `session.previous_id`: the id of the session that came before, when known.
pub const SESSION_PREVIOUS_ID: &str = "session.previous_id";
/// The attribute `user.id`: the user that a signal belongs to.
pub const USER_ID: &str = "user.id";
/// The attribute `app.installation.id`: the installation of the application.
pub const APP_INSTALLATION_ID: &str = "app.installation.id";
/// The attribute `otel_session.index`: the session's number in its chain, from 1.
pub const OTEL_SESSION_INDEX: &str = "otel_session.index";
/// The attribute `otel_session.end.reason`: why a session ended.
pub const OTEL_SESSION_END_REASON: &str = "otel_session.end.reason";
/// The attribute `otel_session.duration`: a session's length in seconds.
pub const OTEL_SESSION_DURATION: &str = "otel_session.duration";
/// The attribute `otel_session.storage`: where the session is kept.
pub const OTEL_SESSION_STORAGE: &str = "otel_session.storage";
/// The attribute `otel_session.sampled`: the session's sampling decision.
pub const OTEL_SESSION_SAMPLED: &str = "otel_session.sampled";
/// The event `session.start`: a new session has begun.
pub const EVENT_SESSION_START: &str = "session.start";
/// The event `session.end`: a session has ended.
pub const EVENT_SESSION_END: &str = "session.end";
/// The metric `otel_session.losses`: losses by reason.
pub const METRIC_OTEL_SESSION_LOSSES: &str = "otel_session.losses";
/// The attribute `otel_session.loss.reason`: why something was lost.
pub const OTEL_SESSION_LOSS_REASON: &str = "otel_session.loss.reason";
