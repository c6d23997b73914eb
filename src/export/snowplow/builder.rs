//! How a [`SnowplowExporter`] is configured: which collectors it serves, and how events get there. What they say is in
//! [`content`](super::content).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::SessionState;
use super::callbacks::SessionCallback;
use super::collector::Header;
use super::map_settings::MapSettings;
use super::{AcceptedEvent, Collector, IdentityLifetime, Method, SnowplowExporter, StateStorage};
use crate::clock::{Clock, Source};
use crate::error::BuildError;
use crate::export::delivery::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::export::endpoint::Address;
use crate::export::opt_out::OptOut;
use crate::export::{Delivered, Failed, HttpClient, Outbox, RetryPolicy};

/// Configures a [`SnowplowExporter`]. Only an endpoint is required.
///
/// Every setting is checked by [`build`](Self::build): what cannot work is refused there, by the name of its method, and
/// nothing is refused later.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct SnowplowExporterBuilder {
    pub(super) collectors: Vec<Collector>,
    pub(super) namespace: Option<String>,
    /// What events say, in the mapper's own words.
    pub(super) content: MapSettings,
    /// `None`: plain for POST, base64 where all collectors get events by GET.
    pub(super) base64: Option<bool>,
    pub(super) state: StateStorage,
    pub(super) identity: IdentityLifetime,
    pub(super) outbox: Outbox,
    pub(super) max_queue_events: Option<u64>,
    pub(super) source: Source,
    pub(super) transport: Transport,
    pub(super) hooks: Hooks,
}

/// How requests are made.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) method: Method,
    pub(super) post_path: Option<String>,
    pub(super) headers: Vec<Header>,
    pub(super) cookie_jar: bool,
    pub(super) client: Option<Arc<dyn HttpClient>>,
    pub(super) id_service: Option<Address<String>>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) batch_size: usize,
    pub(super) max_batch_events: usize,
    pub(super) flush_bytes: Option<usize>,
    pub(super) schedule_delay: Duration,
    pub(super) max_post_bytes: usize,
    pub(super) max_get_bytes: usize,
    pub(super) max_in_flight: usize,
    pub(super) sent_timestamp: bool,
}

/// What the application is told and asked.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) opt_out: Vec<OptOut>,
    pub(super) do_not_track: bool,
    pub(super) on_success: Option<Arc<OnSuccess>>,
    pub(super) on_failure: Option<Arc<OnFailure>>,
    pub(super) on_accepted: Option<Arc<OnAccepted>>,
    pub(super) on_session_start: Option<SessionCallback>,
    pub(super) on_session_end: Option<SessionCallback>,
}

type OnSuccess = dyn Fn(&Delivered<'_>) + Send + Sync;
type OnFailure = dyn Fn(&Failed<'_>) + Send + Sync;
type OnAccepted = dyn Fn(&AcceptedEvent) + Send + Sync;

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("opt_out", &self.opt_out)
            .field("do_not_track", &self.do_not_track)
            .field("on_success", &self.on_success.is_some())
            .field("on_failure", &self.on_failure.is_some())
            .field("on_accepted", &self.on_accepted.is_some())
            .field("on_session_start", &self.on_session_start.is_some())
            .field("on_session_end", &self.on_session_end.is_some())
            .finish()
    }
}

impl Default for SnowplowExporterBuilder {
    fn default() -> Self {
        Self {
            collectors: Vec::new(),
            namespace: None,
            content: MapSettings::default(),
            base64: None,
            state: StateStorage::default(),
            identity: IdentityLifetime::default(),
            outbox: Outbox::memory(),
            max_queue_events: None,
            source: Source::System,
            transport: Transport::default(),
            hooks: Hooks::default(),
        }
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            method: Method::Post,
            post_path: None,
            headers: Vec::new(),
            cookie_jar: false,
            client: None,
            id_service: None,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            retry: RetryPolicy::default(),
            batch_size: 1,
            max_batch_events: 10_000,
            flush_bytes: None,
            schedule_delay: Duration::from_secs(1),
            max_post_bytes: 40_000,
            max_get_bytes: 16_384,
            max_in_flight: 1,
            sent_timestamp: true,
        }
    }
}

/// Where events go.
impl SnowplowExporterBuilder {
    /// Adds a collector: a full URL, or `host[:port][/prefix]`, which means https. Required, and may be repeated: each
    /// collector gets every event, from a queue of its own.
    ///
    /// A durable outbox knows a collector by its place among the others, so that one may move. To leave one out, or to change
    /// their order, [`flush`](SnowplowExporter::flush) first: what waits for the first goes to whichever is the first at the
    /// next start, and what waits for a place that is not taken then waits until it is, or is dropped by its age.
    pub fn with_endpoint(self, endpoint: impl Into<String>) -> Self {
        self.with_collector(Collector::new(endpoint))
    }

    /// Adds a collector with settings of its own.
    pub fn with_collector(mut self, collector: Collector) -> Self {
        self.collectors.push(collector);
        self
    }

    /// The exporter's name: `tna` of every event, its key in the registry, and the key of its sessions in an outbox. 1 to 128
    /// characters, no `:`, `;` or control characters; unique in the process. By default `otel-session`, then
    /// `otel-session-2` and so on, in the order of building; in outboxes, each of which has one exporter at a time, the key is
    /// then `otel-session` without a number.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// GET or POST; POST by default.
    pub fn with_method(mut self, method: Method) -> Self {
        self.transport.method = method;
        self
    }

    /// The path of POST requests, `/com.snowplowanalytics.snowplow/tp2` by default. The collector must be configured for
    /// any other. What is not ASCII has to be percent-encoded.
    pub fn with_post_path(mut self, path: impl Into<String>) -> Self {
        self.transport.post_path = Some(path.into());
        self
    }

    /// Adds a header to every request. Names that the exporter writes itself, and those that decide how a request is read, are
    /// refused; values are never shown.
    pub fn with_custom_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.transport.headers.push(Header(name.into(), value.into()));
        self
    }

    /// Adds several headers to every request.
    pub fn with_custom_headers<N: Into<String>, V: Into<String>>(
        mut self,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.transport.headers.extend(headers.into_iter().map(|(name, value)| Header(name.into(), value.into())));
        self
    }

    /// Keeps the collector's cookies, so that its network user id stays the same from request to request. Off by default:
    /// a server sends for many users.
    pub fn with_cookie_jar(mut self, keep: bool) -> Self {
        self.transport.cookie_jar = keep;
        self
    }

    /// A client of your own makes the requests. The time for connecting is then its own; the time for a request, and the
    /// cookies if [`with_cookie_jar`](Self::with_cookie_jar) keeps them, are as set here.
    pub fn with_http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.transport.client = Some(Arc::new(client));
        self
    }

    /// A URL that is asked once by GET before the first request, so that a service of yours can set its cookie, which
    /// [`with_cookie_jar`](Self::with_cookie_jar) keeps; once for each collector, since each has a jar of its own. Until it has
    /// answered with a 2xx, events wait. Where the first requests are anonymous it is asked anonymously, and once more before the
    /// first that is not. Without a scheme it is https.
    pub fn with_id_service(mut self, url: impl Into<String>) -> Self {
        self.transport.id_service = Some(Address(url.into()));
        self
    }
}

/// When and how they are sent.
impl SnowplowExporterBuilder {
    /// The longest that connecting may take; 5 s by default.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport.connect_timeout = timeout;
        self
    }

    /// The longest that a request may take, its reply included; 10 s by default. Events of a request that took longer are
    /// sent again, under the same ids.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.transport.request_timeout = timeout;
        self
    }

    /// What is tried again, and when.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.transport.retry = retry;
        self
    }

    /// Changes the policy that is there.
    pub(super) fn change_retry(mut self, change: impl FnOnce(RetryPolicy) -> RetryPolicy) -> Self {
        self.transport.retry = change(std::mem::take(&mut self.transport.retry));
        self
    }

    /// How many waiting events start a request; 1 by default: at once. With a backlog requests are filled to the byte limit,
    /// however small this is. Zero is refused.
    pub fn with_batch_size(mut self, events: usize) -> Self {
        self.transport.batch_size = events;
        self
    }

    /// The most events of a request; 10,000 by default, which leaves it to the byte limit.
    pub fn with_max_batch_events(mut self, events: usize) -> Self {
        self.transport.max_batch_events = events;
        self
    }

    /// So many waiting bytes start a request, too; without it only their number counts.
    pub fn with_flush_bytes(mut self, bytes: usize) -> Self {
        self.transport.flush_bytes = Some(bytes);
        self
    }

    /// The longest that events wait for others when they are fewer than the batch size; 1 s by default, at most a day. Zero is
    /// no such limit: they wait until the batch is full, or for a flush.
    pub fn with_schedule_delay(mut self, delay: Duration) -> Self {
        self.transport.schedule_delay = delay;
        self
    }

    /// The most bytes of a POST's body, exactly: envelope, commas and times of sending included. 40,000 by default, as the
    /// browser's tracker has it; a collector takes 1,000,000. An event that is larger goes alone, up to 1,000,000 bytes; a
    /// still larger one is dropped and counted as [`Loss::EventTooLarge`](crate::Loss::EventTooLarge).
    pub fn with_max_post_bytes(mut self, bytes: usize) -> Self {
        self.transport.max_post_bytes = bytes;
        self
    }

    /// The most bytes of a GET's URL; 16,384 by default. What is longer goes by POST. More than 20,467 are refused: with
    /// method and version that is the longest request line that a collector reads.
    pub fn with_max_get_bytes(mut self, bytes: usize) -> Self {
        self.transport.max_get_bytes = bytes;
        self
    }

    /// How many requests to one collector may be under way at once; 1 by default, which keeps the order of all events. With
    /// more, only the order within a session is kept.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.transport.max_in_flight = requests;
        self
    }

    /// Whether GET requests carry the time of sending (`stm`); they do by default. POST requests always do.
    pub fn with_sent_timestamp(mut self, send: bool) -> Self {
        self.transport.sent_timestamp = send;
        self
    }

    /// Where accepted events wait; 64 MiB of memory by default.
    pub fn with_outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// The most events that wait for each collector; the outbox's own limit otherwise.
    pub fn with_max_queue_events(mut self, events: u64) -> Self {
        self.max_queue_events = Some(events);
        self
    }

    /// Where time comes from; the system's clocks by default.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.source = clock.into_source();
        self
    }
}

/// What the application is told and asked. Callbacks run outside of all locks; a panic in one is caught and counted.
/// They run where events are exported or delivered, and there the SDK drops what is emitted: a callback that tracks
/// an event hands it to another thread.
impl SnowplowExporterBuilder {
    /// Drops everything and forgets the users as long as the environment asks for it at start: `DO_NOT_TRACK` (set, and
    /// neither `0` nor `false`) or `OTEL_SDK_DISABLED=true`. Off by default.
    pub fn with_do_not_track(mut self, respect: bool) -> Self {
        self.hooks.do_not_track = respect;
        self
    }

    /// Asked before each batch whether the user has opted out: if so, it is dropped, and users and sessions are forgotten.
    /// A panic counts as an opt-out.
    pub fn with_opt_out(mut self, is_out: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.hooks.opt_out.push(OptOut::Asked(Arc::new(is_out)));
        self
    }

    /// The same: as long as this file exists, the user has opted out. An empty path is refused.
    pub fn with_opt_out_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.hooks.opt_out.push(OptOut::File(path.into()));
        self
    }

    /// Called after each request that a collector took.
    pub fn on_request_success(mut self, callback: impl Fn(&Delivered<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_success = Some(Arc::new(callback));
        self
    }

    /// Called after each request that failed, with what failed and whether it will be tried again.
    pub fn on_request_failure(mut self, callback: impl Fn(&Failed<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_failure = Some(Arc::new(callback));
        self
    }

    /// Called for each accepted event, before `export()` returns: the id under which it will arrive.
    pub fn on_accepted(mut self, callback: impl Fn(&AcceptedEvent) + Send + Sync + 'static) -> Self {
        self.hooks.on_accepted = Some(Arc::new(callback));
        self
    }

    /// Called when the `session.start` of a session was accepted, once a session, before `export()` returns. Never while events
    /// do not name their sessions.
    pub fn on_session_start(mut self, callback: impl Fn(&SessionState) + Send + Sync + 'static) -> Self {
        self.hooks.on_session_start = Some(SessionCallback::new(callback));
        self
    }

    /// Called for each session that ended, by its `session.end` or by its successor's start; once a session.
    pub fn on_session_end(mut self, callback: impl Fn(&SessionState) + Send + Sync + 'static) -> Self {
        self.hooks.on_session_end = Some(SessionCallback::new(callback));
        self
    }

    /// Checks everything, opens the outbox and starts delivering what still waits there.
    ///
    /// # Errors
    /// [`BuildError::Setting`] for what cannot work, [`BuildError::Outbox`] for an outbox that cannot be opened,
    /// [`BuildError::Thread`] if no thread can be started.
    pub fn build(self) -> Result<SnowplowExporter, BuildError> {
        super::start::start(self)
    }
}
