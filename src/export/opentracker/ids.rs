//! The ids that an event carries.

use opentelemetry::logs::AnyValue;
use uuid::Uuid;

use crate::error::MAX_ID_BYTES;
use crate::export::namespace::ID_NAMESPACE;

/// The ids that are sent with an event.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) session: Option<String>,
    /// Never alone on a record that has a session.
    pub(super) user: Option<String>,
    /// The attribute that names the user, whether it could be sent as `uid` or not.
    pub(super) user_from: Option<&'static str>,
    /// Ids that could not be sent as they are.
    pub(super) losses: u64,
    /// Whether the record has a session, sent or not.
    pub(super) is_of_session: bool,
}

/// The event id of a record with this `log.record.uid`.
pub(super) fn event_id(log_record_uid: &str) -> Uuid {
    Uuid::new_v5(&ID_NAMESPACE, log_record_uid.as_bytes())
}

/// A session id as it is sent: copied as it is. None if it is no text, or one that no session has.
pub(super) fn session_id(value: &AnyValue) -> Option<String> {
    id(value, MAX_ID_BYTES)
}

pub(super) fn user_id(value: &AnyValue) -> Option<String> {
    id(value, MAX_USER_BYTES)
}

fn id(value: &AnyValue, max_bytes: usize) -> Option<String> {
    let text = match value {
        AnyValue::String(text) => text.as_str().to_owned(),
        // The reference's own examples are numbers.
        AnyValue::Int(number) => number.to_string(),
        _ => return None,
    };
    let is_valid = (1..=max_bytes).contains(&text.len()) && !text.chars().any(char::is_control);
    is_valid.then_some(text)
}

/// Which of the lanes the events of a session take: a hash that is the same in every process, since it is stored (FNV-1a).
pub(super) fn lane(id: &[u8]) -> u32 {
    id.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// As long as the text columns of the common analytics tools.
const MAX_USER_BYTES: usize = 255;
