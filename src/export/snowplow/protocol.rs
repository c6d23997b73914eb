//! What a request to a Snowplow collector looks like.
//!
//! ```text
//! POST  <endpoint>/com.snowplowanalytics.snowplow/tp2   {"schema":"iglu:..payload_data..","data":[<event>,<event>]}
//! GET   <endpoint>/i?stm=..&e=ue&..                      one event, unless its URL is longer than allowed: then a POST
//! ```
//!
//! An event waits in the outbox as the JSON object it was accepted as; an attempt only adds `stm`, the time of sending in
//! milliseconds. So the size of a request is known before it is built, to the byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::anonymity::MODE_SERVER_ANONYMOUS;
use crate::export::delivery::Protocol;
use crate::export::http::Bodies;
use crate::export::outbox::{Parcel, Want};
use crate::sync::Mutex;

/// How events travel to a collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// One event a request, in the URL.
    Get,
    /// Many events a request, in the body; the default.
    #[default]
    Post,
}

/// The requests to one collector.
#[derive(Debug)]
pub(super) struct SnowplowProtocol {
    target: Mutex<Arc<Target>>,
    headers: HeaderMap,
    limits: Limits,
    bodies: Bodies,
}

/// Where a collector listens.
#[derive(Debug)]
pub(super) struct Target {
    /// Complete, with the path.
    pub(super) post: Uri,
    /// Without the query.
    pub(super) get: String,
}

/// How large a request may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) method: Method,
    pub(super) max_post_bytes: usize,
    pub(super) max_get_bytes: usize,
    pub(super) max_batch_events: usize,
    /// Whether a GET carries `stm`.
    pub(super) sent_timestamp: bool,
    /// Whether several requests may be under way, so that each must hold only one session's next events.
    pub(super) several_in_flight: bool,
}

impl SnowplowProtocol {
    pub(super) fn new(target: Target, headers: HeaderMap, limits: Limits) -> Self {
        Self { target: Mutex::new(Arc::new(target)), headers, limits, bodies: Bodies::default() }
    }

    /// Sends later requests elsewhere.
    pub(super) fn set_target(&self, target: Target) {
        *self.target.lock() = Arc::new(target);
    }

    fn post(&self, target: &Target, parcels: &[Parcel], stm: &[u8]) -> Request<Bytes> {
        let size: usize = parcels.iter().map(|it| it.bytes().len() + stm.len() + 1).sum();
        let body = self.bodies.write(ENVELOPE.len() + size + END.len(), |body| {
            body.extend_from_slice(ENVELOPE);
            for (index, parcel) in parcels.iter().enumerate() {
                if index > 0 {
                    body.extend_from_slice(b",");
                }
                // The stamp takes the place of the brace that ends the object, and brings one of its own.
                let event = parcel.bytes();
                body.extend_from_slice(event.strip_suffix(b"}").unwrap_or(event));
                body.extend_from_slice(stm);
            }
            body.extend_from_slice(END);
        });
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = target.post.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        request
    }

    /// Nothing if the event's URL is longer than allowed, or none.
    fn get(&self, target: &Target, parcel: &Parcel, millis: i64) -> Option<Request<Bytes>> {
        let mut fields: BTreeMap<String, String> = serde_json::from_slice(parcel.bytes()).ok()?;
        let mut url = format!("{}?", target.get);
        if self.limits.sent_timestamp {
            url.push_str(&format!("stm={millis}&"));
        }
        // Contexts come last, so that a URL cut off by somebody on the way still holds what the event is.
        let contexts = ["co", "cx"].map(|key| fields.remove(key).map(|value| (key.to_owned(), value)));
        for (key, value) in fields.into_iter().chain(contexts.into_iter().flatten()) {
            url.extend([key.as_str(), "="]);
            url.extend(utf8_percent_encode(&value, QUERY_VALUE));
            url.push('&');
        }
        url.pop();
        if url.len() > self.limits.max_get_bytes {
            return None;
        }
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.parse().ok()?;
        Some(request)
    }
}

impl Protocol for SnowplowProtocol {
    fn want(&self) -> Want {
        let limits = &self.limits;
        let max_events = match limits.method {
            Method::Get => 1,
            Method::Post => limits.max_batch_events,
        };
        Want {
            max_events,
            max_bytes: limits.max_post_bytes,
            fixed: FIXED_BYTES,
            per_event: EVENT_BYTES,
            one_per_lane: limits.several_in_flight,
        }
    }

    fn request(&self, parcels: &[Parcel], now: i64) -> Request<Bytes> {
        let target = Arc::clone(&self.target.lock());
        let millis = now.max(0) / 1_000_000;
        let mut stm = Vec::with_capacity(EVENT_BYTES + 2);
        let _ = write!(stm, ",\"stm\":\"{millis}\"}}");
        let get = match (self.limits.method, parcels) {
            (Method::Get, [parcel]) => self.get(&target, parcel, millis),
            _ => None,
        };
        let mut request = get.unwrap_or_else(|| self.post(&target, parcels, &stm));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.extend(self.headers.clone());
        if parcels.first().is_some_and(|it| it.mode() & MODE_SERVER_ANONYMOUS != 0) {
            headers.insert(HeaderName::from_static(ANONYMOUS), HeaderValue::from_static("*"));
        }
        request
    }

    fn max_request_bytes(&self) -> usize {
        MAX_REQUEST_BYTES
    }
}

/// The header by which a collector is asked for anonymity.
pub(super) const ANONYMOUS: &str = "sp-anonymous";

/// What a collector takes in one body; an event that is larger than this is dropped by name.
pub(super) const MAX_REQUEST_BYTES: usize = 1_000_000;

/// The longest URL of a GET. A collector answers a longer request line than it reads with a 414, which no attempt after it
/// would get past; method and version stand in that line, too.
pub(super) const MAX_GET_BYTES: usize = MAX_REQUEST_LINE - "GET  HTTP/1.1".len();

/// The longest request line that a collector reads.
pub(super) const MAX_REQUEST_LINE: usize = 20_480;

/// What a POST costs beside its events. The comma that the last event does without is taken off here.
pub(super) const FIXED_BYTES: usize = ENVELOPE.len() + END.len() - 1;

/// What an event costs beside its own bytes: its stamp and a comma.
const EVENT_BYTES: usize = ",\"stm\":\"1700000000000\"".len() + 1;

const ENVELOPE: &[u8] = br#"{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":["#;
const END: &[u8] = b"]}";

/// All that JavaScript's `encodeURIComponent` leaves alone stays.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
