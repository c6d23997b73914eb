//! A request as the collector keeps it, and the events that its envelope holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::entities::depth_error;
use super::registry::{Address, Registry};

/// What is known of a request besides its events.
///
/// `Debug` leaves out the headers, which may hold secrets.
#[derive(Clone, Default)]
pub(in crate::collector) struct RequestFacts {
    pub(in crate::collector) vendor: String,
    pub(in crate::collector) version: String,
    /// In lower case, as the collector passes it on.
    pub(in crate::collector) content_type: Option<String>,
    pub(in crate::collector) hostname: Option<String>,
    /// When the request arrived, in milliseconds since 1970.
    pub(in crate::collector) arrived_millis: i64,
    pub(in crate::collector) ip_address: String,
    pub(in crate::collector) user_agent: Option<String>,
    pub(in crate::collector) referer: Option<String>,
    /// `Name: value`.
    pub(in crate::collector) headers: Vec<String>,
    /// The collector's own id of the browser: `nuid`, the cookie, or a new one.
    pub(in crate::collector) network_user_id: String,
    pub(in crate::collector) anonymous: bool,
}

impl RequestFacts {
    /// An estimate of the memory that it takes.
    pub(super) fn size(&self) -> usize {
        let optional = [&self.content_type, &self.hostname, &self.user_agent, &self.referer];
        let optional: usize = optional.into_iter().flatten().map(String::len).sum();
        let names = self.vendor.len() + self.version.len() + self.ip_address.len() + self.network_user_id.len();
        let headers: usize = self.headers.iter().map(|header| size_of::<String>() + header.len()).sum();
        size_of::<Self>() + optional + names + headers
    }
}

impl fmt::Debug for RequestFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vendor, version, content_type, .. } = self;
        write!(f, "RequestFacts({vendor}/{version}, {content_type:?})")
    }
}

/// A request with its events still packed.
#[derive(Clone, Debug, Default)]
pub(in crate::collector) struct Payload {
    pub(in crate::collector) facts: Arc<RequestFacts>,
    pub(in crate::collector) query: Arc<[(String, String)]>,
    pub(in crate::collector) body: Bytes,
}

/// The parameters of one event.
pub(super) type Parameters = BTreeMap<String, String>;

impl Payload {
    /// The events in the envelope, or all that is wrong with it: one fault spoils the request.
    pub(super) fn events(&self, registry: &Registry) -> Result<Vec<Parameters>, Vec<String>> {
        let Self { facts, query, body } = self;
        let query: Parameters = query.iter().cloned().collect();
        match (facts.vendor.as_str(), facts.version.as_str()) {
            (VENDOR, "tp1") if query.is_empty() => Err(sentence("the query string is empty: it cannot hold an event")),
            (VENDOR, "tp1") => Ok(vec![query]),
            (VENDOR, "tp2") if body.is_empty() && query.is_empty() => {
                Err(sentence("body and query string are both empty: one of them must hold an event"))
            }
            (VENDOR, "tp2") if body.is_empty() && facts.content_type.is_some() => {
                Err(sentence("there is a content type and no body"))
            }
            (VENDOR, "tp2") if body.is_empty() => Ok(vec![query]),
            (VENDOR, "tp2") => self.envelope(&query, registry),
            (vendor, version) => {
                Err(sentence(&format!("there is no adapter for payloads of {vendor:?} version {version:?}")))
            }
        }
    }

    /// The same request once for each of its events; a sentence when it cannot be split.
    pub(super) fn split(&self) -> Result<Vec<Payload>, String> {
        let unreadable = || "not a list of events, which could be split".to_owned();
        let document: Json = serde_json::from_slice(&self.body).map_err(|_| unreadable())?;
        let (schema, data) = described(&document).ok_or_else(unreadable)?;
        // Each part repeats the address, which a hostile sender can make as long as half a body.
        if Address::parse(schema).is_none() || schema.len() > MAX_ADDRESS_BYTES {
            return Err(unreadable());
        }
        let events = data.as_array().ok_or_else(unreadable)?;
        self.check_repeated(events.len())?;
        let part = |event: &Json| {
            let body = serde_json::json!({ "schema": schema, "data": [event] }).to_string();
            Payload { body: body.into(), ..self.clone() }
        };
        Ok(events.iter().map(part).collect())
    }

    fn envelope(&self, query: &Parameters, registry: &Registry) -> Result<Vec<Parameters>, Vec<String>> {
        match self.facts.content_type.as_deref() {
            None => return Err(sentence("there is a body and no content type: application/json is expected")),
            Some(known) if CONTENT_TYPES.contains(&known) => {}
            Some(other) => return Err(sentence(&format!("content type {other:?}: application/json is expected"))),
        }
        let document: Json =
            serde_json::from_slice(&self.body).map_err(|error| sentence(&format!("not JSON: {error}")))?;
        if let Some(error) = depth_error(&document) {
            return Err(vec![error]);
        }
        let (schema, data) = described(&document)
            .ok_or_else(|| sentence("the body is no self-describing JSON: exactly schema and data are expected"))?;
        if !schema.starts_with(PAYLOAD_DATA) {
            return Err(sentence(&format!("the envelope is {schema:?}: {PAYLOAD_DATA}* is expected")));
        }
        let errors = registry.errors(schema, data);
        if !errors.is_empty() {
            return Err(errors);
        }
        let events = data.as_array().map(Vec::as_slice).unwrap_or_default();
        self.check_repeated(events.len()).map_err(|error| vec![error])?;
        Ok(events.iter().filter_map(Json::as_object).map(|event| parameters(event, query)).collect())
    }

    /// Each event gets a copy of the query and of some headers, most of which fill up to three columns.
    fn check_repeated(&self, events: usize) -> Result<(), String> {
        let headers = [&self.facts.user_agent, &self.facts.referer].into_iter().flatten().map(|it| 3 * it.len());
        let query = self.query.iter().map(|(key, value)| key.len() + 3 * value.len());
        let repeated: usize = query.chain(headers).sum();
        if events.saturating_mul(repeated) > MAX_REPEATED_BYTES {
            return Err(
                "too many events for so long a query string and headers, which count for each of them".to_owned()
            );
        }
        Ok(())
    }
}

/// The parts of `{"schema": .., "data": ..}` with nothing beside them.
pub(super) fn described(document: &Json) -> Option<(&str, &Json)> {
    let object = document.as_object().filter(|object| object.len() == 2)?;
    Some((object.get("schema")?.as_str()?, object.get("data")?))
}

/// The query of a POST counts for each of its events, and wins.
fn parameters(event: &Map<String, Json>, query: &Parameters) -> Parameters {
    let own = event.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    own.chain(query.clone()).collect()
}

fn sentence(text: &str) -> Vec<String> {
    vec![super::registry::shorten(text.to_owned())]
}

pub(super) const VENDOR: &str = "com.snowplowanalytics.snowplow";
const PAYLOAD_DATA: &str = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-";
const CONTENT_TYPES: [&str; 2] = ["application/json", "application/json; charset=utf-8"];
const MAX_REPEATED_BYTES: usize = 64 << 20;
const MAX_ADDRESS_BYTES: usize = 200;
