//! What a request to Opentracker looks like.
//!
//! ```text
//! GET   <endpoint>/?<query>          one event; a URL longer than allowed becomes a POST
//! POST  <endpoint>/    <query>       the same text as `application/x-www-form-urlencoded`
//! ```
//!
//! The reply's body is the id that the server gave the event.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Uri};
use uuid::Uuid;

use crate::export::delivery::Protocol;
use crate::export::outbox::{Parcel, Want};
use crate::telemetry::{Loss, LossCounters};

/// How events travel to Opentracker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// In the URL; one that is longer than [`with_max_get_bytes`](crate::OpentrackerExporterBuilder::with_max_get_bytes)
    /// goes by POST. The default.
    #[default]
    Get,
    /// In the body, as a form.
    Post,
}

/// Told of the id that the server gave an event: our id, its id.
pub(super) type OnEventId = Arc<dyn Fn(Uuid, &str) + Send + Sync>;

/// The requests to Opentracker.
pub(super) struct OpentrackerProtocol {
    pub(super) method: Method,
    /// The root, with its `/`.
    pub(super) root: Uri,
    pub(super) headers: HeaderMap,
    pub(super) max_get_bytes: usize,
    pub(super) on_event_id: Option<OnEventId>,
    pub(super) losses: Arc<LossCounters>,
}

impl fmt::Debug for OpentrackerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpentrackerProtocol")
            .field("method", &self.method)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl OpentrackerProtocol {
    fn get(&self, query: &[u8]) -> Option<Request<Bytes>> {
        let query = std::str::from_utf8(query).ok()?;
        let url = format!("{}?{query}", self.root);
        if url.len() > self.max_get_bytes {
            return None;
        }
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.parse().ok()?;
        Some(request)
    }

    fn post(&self, query: &[u8]) -> Request<Bytes> {
        let mut request = Request::new(Bytes::copy_from_slice(query));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.root.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        request
    }
}

impl Protocol for OpentrackerProtocol {
    fn want(&self) -> Want {
        Want { max_events: 1, max_bytes: MAX_REQUEST_BYTES, fixed: 0, per_event: 0, one_per_lane: true }
    }

    fn request(&self, parcels: &[Parcel], _now: i64) -> Request<Bytes> {
        let query = parcels.first().map_or(&[][..], Parcel::bytes);
        let get = (self.method == Method::Get).then(|| self.get(query)).flatten();
        let mut request = get.unwrap_or_else(|| self.post(query));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        request.headers_mut().extend(self.headers.clone());
        request
    }

    fn delivered(&self, parcels: &[Parcel], reply: &[u8]) {
        let (Some(callback), [parcel]) = (&self.on_event_id, parcels) else { return };
        let Some(id) = returned_id(reply) else { return };
        if catch_unwind(AssertUnwindSafe(|| callback(parcel.id(), id))).is_err() {
            self.losses.add(Loss::EventFilterPanic, 1);
        }
    }

    fn max_request_bytes(&self) -> usize {
        MAX_REQUEST_BYTES
    }
}

/// The server's id of an event: a UUID as text, which is all of the reply but for blanks around it.
pub(super) fn returned_id(reply: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(reply).ok()?.trim();
    Uuid::try_parse(text).ok()?;
    Some(text)
}

/// What an event can take at most; the builder's own limit is below it.
pub(super) const MAX_REQUEST_BYTES: usize = 1_000_000;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
