//! What became of a tracker's requests: good events and bad rows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::columns::{self, Column};
use super::payload::RequestFacts;

/// An event that passed the validation.
///
/// `Debug` leaves out the request's headers, which may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct SnowplowEvent {
    /// The arrival number, from 1, over all records of this collector.
    pub sequence: u64,
    pub(super) request: Arc<RequestFacts>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) event_type: &'static str,
    pub(super) schema: String,
    pub(super) self_describing: Option<Json>,
    pub(super) contexts: Vec<(String, Json)>,
    pub(super) columns: Vec<Column>,
    pub(in crate::collector) size: usize,
}

impl SnowplowEvent {
    /// The parameters as they were sent, those of a POST's query merged in.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// The event id, in lower case; made here when none was sent.
    pub fn event_id(&self) -> &str {
        self.text("event_id").unwrap_or_default()
    }

    /// `page_view`, `page_ping`, `struct`, `unstruct`, `transaction`, `transaction_item` or `ad_impression`.
    pub fn event_type(&self) -> &str {
        self.event_type
    }

    /// The Iglu address of what the event says: that of the inner event for `unstruct`, a fixed one for the others.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The inner event, `{"schema": .., "data": ..}`, of an `unstruct` event.
    pub fn self_describing(&self) -> Option<&Json> {
        self.self_describing.as_ref()
    }

    /// The entities in the order they were sent: Iglu address and data.
    pub fn contexts(&self) -> &[(String, Json)] {
        &self.contexts
    }

    /// The first `client_session` entity. `None` when there is none.
    pub fn client_session(&self) -> Option<ClientSession> {
        let entity = self.contexts.iter().find(|(schema, _)| schema.starts_with(CLIENT_SESSION))?;
        Some(ClientSession::read(&entity.1))
    }

    /// `domain_sessionid`, in lower case: the parameter `sid`.
    pub fn session_id(&self) -> Option<&str> {
        self.text("domain_sessionid")
    }

    /// `network_userid`: the parameter `tnuid`, else `nuid`, else the cookie, else one made here; the nil UUID for
    /// anonymous requests that name none.
    pub fn network_user_id(&self) -> &str {
        self.text("network_userid").unwrap_or_default()
    }

    /// Whether the request carried the header `SP-Anonymous`.
    pub fn is_anonymous(&self) -> bool {
        self.request.anonymous
    }

    /// The request's headers as `name: value`, without those that `SP-Anonymous` strips.
    pub fn headers(&self) -> &[String] {
        &self.request.headers
    }

    /// One of the 131 canonical columns, such as `app_id` or `derived_tstamp`. `None` when it is empty or unknown.
    pub fn column(&self, name: &str) -> Option<&Json> {
        self.columns.iter().find(|(column, _)| *column == name).map(|(_, value)| value)
    }

    /// The columns that are known, with their names.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.columns.iter().map(|(name, value)| (*name, value))
    }

    /// The canonical event: all 131 columns by name, `null` where nothing is known.
    pub fn canonical(&self) -> Json {
        columns::complete(&self.columns, self.self_describing.as_ref(), &self.contexts)
    }

    pub(in crate::collector) fn request(&self) -> &RequestFacts {
        &self.request
    }

    fn text(&self, column: &str) -> Option<&str> {
        self.column(column).and_then(Json::as_str)
    }
}

impl fmt::Debug for SnowplowEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowplowEvent")
            .field("sequence", &self.sequence)
            .field("event_type", &self.event_type)
            .field("schema", &self.schema)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// A request or an event that failed the validation.
///
/// `Debug` leaves out the request's headers, which may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct SnowplowBad {
    /// The arrival number, from 1, over all records of this collector.
    pub sequence: u64,
    pub(super) request: Arc<RequestFacts>,
    pub(super) parameters: Option<BTreeMap<String, String>>,
    /// Whether the request could be kept as a whole; a body above the size limit is not.
    pub(super) kept: bool,
    pub(super) errors: Vec<String>,
    pub(in crate::collector) size: usize,
}

impl SnowplowBad {
    /// What is wrong, a sentence each; at least one.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// The parameters of the event. `None` when the request as a whole is bad.
    pub fn parameters(&self) -> Option<&BTreeMap<String, String>> {
        self.parameters.as_ref()
    }

    /// The vendor and the version of the path, such as `com.snowplowanalytics.snowplow` and `tp2`.
    pub fn api(&self) -> (&str, &str) {
        (&self.request.vendor, &self.request.version)
    }

    pub(in crate::collector) fn request(&self) -> &RequestFacts {
        &self.request
    }

    pub(in crate::collector) fn is_kept(&self) -> bool {
        self.kept
    }
}

impl fmt::Debug for SnowplowBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowplowBad")
            .field("sequence", &self.sequence)
            .field("errors", &self.errors)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// The entity `client_session`: who and which session, as the sender sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSession {
    /// The user; the nil UUID for anonymous events.
    pub user_id: String,
    /// The session.
    pub session_id: String,
    /// The session's number for this user, from 1.
    pub session_index: u32,
    /// The event's number in its session, from 1.
    pub event_index: Option<u32>,
    /// The session before.
    pub previous_session_id: Option<String>,
    /// `SQLITE`, `COOKIE_1`, `COOKIE_3`, `LOCAL_STORAGE` or `FLASH_LSO`.
    pub storage_mechanism: String,
    /// The id of the session's first event.
    pub first_event_id: Option<String>,
    /// The time of the session's first event, in ISO 8601.
    pub first_event_timestamp: Option<String>,
}

impl ClientSession {
    /// The schema has been checked already; what it leaves out stays empty.
    fn read(data: &Json) -> Self {
        let text = |key: &str| data.get(key).and_then(Json::as_str).map(str::to_owned);
        let number = |key: &str| data.get(key).and_then(Json::as_u64).and_then(|number| u32::try_from(number).ok());
        Self {
            user_id: text("userId").unwrap_or_default(),
            session_id: text("sessionId").unwrap_or_default(),
            session_index: number("sessionIndex").unwrap_or_default(),
            event_index: number("eventIndex"),
            previous_session_id: text("previousSessionId"),
            storage_mechanism: text("storageMechanism").unwrap_or_default(),
            first_event_id: text("firstEventId"),
            first_event_timestamp: text("firstEventTimestamp"),
        }
    }
}

/// An estimate of the memory that a JSON value takes.
pub(super) fn json_size(value: &Json) -> usize {
    let inner = match value {
        Json::String(text) => text.len(),
        Json::Array(values) => values.iter().map(json_size).sum(),
        Json::Object(map) => object_size(map),
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    };
    size_of::<Json>() + inner
}

fn object_size(map: &Map<String, Json>) -> usize {
    // A key, its hash and its place in the index.
    map.iter().map(|(key, value)| key.len() + 48 + json_size(value)).sum()
}

pub(super) fn parameters_size(parameters: &BTreeMap<String, String>) -> usize {
    parameters.iter().map(|(key, value)| key.len() + value.len() + 64).sum()
}

const CLIENT_SESSION: &str = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/";
