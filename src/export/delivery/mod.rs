//! Delivery: one thread a collector that takes events out of the outbox and sends them until they have arrived.
//!
//! ```text
//! accept ──wakes──> worker ─ take ─> Protocol::request ─> HttpClient ─> reply ─ RetryPolicy ─> settle: gone, or back in place
//!                     ^                                                   │
//!        flush, shutdown, pause, ManualClock                              └─ 2xx · drop · retry later · halve
//! ```
//!
//! What holds:
//! - An event leaves the outbox only by a 2xx whose reply was read to its end (or, by the default client, to 1 MiB, where
//!   it stops reading), or by a drop that is counted by name.
//! - After a failure nothing newer is sent before it: with one request in flight nothing at all, with several nothing of
//!   the same lane.
//! - Waits between attempts (backoff, `Retry-After`, the schedule delay) are boot time of the exporter's clock, in
//!   nanoseconds; timeouts of requests and of `shutdown` are real time.
//! - A worker with nothing to do is parked without a timer. It runs in a telemetry-suppressed scope, so that what it does
//!   is no activity and does not feed itself.
//! - Nothing here panics into the application or blocks it longer than the time it gave: a client or callback that panics
//!   is caught, one that never returns is left behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::endpoint::Endpoint;
use super::http::HttpClient;
use super::outbox::{Parcel, Want};
use super::retry::RetryPolicy;
use crate::error::BuildError;

mod courier;
mod shared;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod worker;

pub(crate) use courier::Courier;
#[cfg_attr(not(feature = "snowplow"), allow(unused_imports, reason = "used where there are several collectors"))]
pub(crate) use courier::FAREWELL;

/// How a kind of collector is spoken to.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// What fits into one request.
    fn want(&self) -> Want;

    /// The complete request, headers included; `now` is the wall time of this attempt, in nanoseconds since 1970.
    fn request(&self, parcels: &[Parcel], now: i64) -> http::Request<Bytes>;

    /// A 2xx and its body, at most 64 kB of it; nothing of a body longer than 1 MiB.
    fn delivered(&self, parcels: &[Parcel], reply: &[u8]) {
        let _ = (parcels, reply);
    }

    /// An event whose request alone is larger (its body, or its URI when it has none) is dropped without being sent.
    fn max_request_bytes(&self) -> usize;
}

/// How one collector is delivered to.
#[derive(Clone)]
pub(crate) struct DeliverySettings {
    pub(crate) endpoint: Endpoint,
    /// Instead of the default client.
    pub(crate) client: Option<Arc<dyn HttpClient>>,
    /// Real time; of the default client only. 5 s.
    pub(crate) connect_timeout: Duration,
    /// From the first byte of a request to the last one of its reply; real time. 10 s.
    pub(crate) request_timeout: Duration,
    /// So many waiting events are sent at once, and with them all others that wait. 1: every event as soon as possible.
    pub(crate) batch_size: usize,
    /// So many encoded bytes of waiting events are sent at once, too.
    pub(crate) flush_bytes: Option<usize>,
    /// The longest that an event waits for others. Zero: until the batch is full, or a flush.
    pub(crate) schedule_delay: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) retry: RetryPolicy,
    /// Whether cookies of the collector are kept in memory and sent back.
    pub(crate) cookie_jar: bool,
}

impl DeliverySettings {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            client: None,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            batch_size: 1,
            flush_bytes: None,
            schedule_delay: Duration::from_secs(1),
            max_in_flight: 1,
            retry: RetryPolicy::default(),
            cookie_jar: false,
        }
    }

    /// # Errors
    ///
    /// Zeroes where there must be something, https without the feature `tls`, and what [`RetryPolicy`] refuses.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let refuse =
            |setting, value: String, fix: &str| Err(BuildError::Setting { setting, value, fix: fix.to_owned() });
        if self.connect_timeout.is_zero() || self.connect_timeout > LONGEST_TIMEOUT {
            return refuse("with_connect_timeout", format!("{:?}", self.connect_timeout), "use from 1 ns to an hour");
        }
        if self.request_timeout.is_zero() || self.request_timeout > LONGEST_TIMEOUT {
            return refuse("with_request_timeout", format!("{:?}", self.request_timeout), "use from 1 ns to an hour");
        }
        if self.batch_size == 0 {
            return refuse("with_batch_size", "0".to_owned(), "use at least 1, which sends every event at once");
        }
        if self.flush_bytes == Some(0) {
            return refuse("with_flush_bytes", "0".to_owned(), "use at least 1 byte, or leave it out");
        }
        if self.max_in_flight == 0 || self.max_in_flight > MOST_IN_FLIGHT {
            return refuse("with_max_in_flight", self.max_in_flight.to_string(), "use from 1 to 64 requests");
        }
        if self.client.is_none() {
            self.endpoint.check_tls()?;
        }
        self.retry.check()
    }
}

impl fmt::Debug for DeliverySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliverySettings").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What a user is told of requests. The calls come from the delivery thread, outside all locks; a panic is caught and
/// counted.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    pub(crate) on_success: Option<Arc<OnSuccess>>,
    pub(crate) on_failure: Option<Arc<OnFailure>>,
}

type OnSuccess = dyn Fn(&Delivered<'_>) + Send + Sync;
type OnFailure = dyn Fn(&Failed<'_>) + Send + Sync;

/// A request that its collector has confirmed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Delivered<'a> {
    /// The ids of its events, in order.
    pub events: &'a [Uuid],
    /// The status, a 2xx.
    pub status: u16,
}

/// A request that failed, or an event that was not sent at all because it is too large.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Failed<'a> {
    /// The ids of its events, in order.
    pub events: &'a [Uuid],
    /// The status of the reply; none if there was no complete reply.
    pub status: Option<u16>,
    /// What happened, in words.
    pub message: &'a str,
    /// True: the events are still in the outbox and are sent again. False: they were dropped, and counted by name.
    pub will_retry: bool,
}

/// The default of `with_connect_timeout`.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of `with_request_timeout`.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const MOST_IN_FLIGHT: usize = 64;
