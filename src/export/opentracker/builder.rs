//! How an [`OpentrackerExporter`] is configured.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::SdkLogRecord;
use uuid::Uuid;

use super::map::{Filter, Hook};
use super::protocol::OnEventId;
use super::{Anonymity, Method, OldRecords, OpentrackerExporter, Properties};
use crate::clock::{Clock, Source};
use crate::error::BuildError;
use crate::export::delivery::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::export::endpoint::Address;
use crate::export::opt_out::OptOut;
use crate::export::{Delivered, Failed, HttpClient, Outbox, RetryPolicy};

/// Configures an [`OpentrackerExporter`]. Only the site is required.
///
/// Every setting is checked by [`build`](Self::build): what cannot work is refused there, by the name of its method, and
/// nothing is refused later.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct OpentrackerExporterBuilder {
    pub(super) namespace: String,
    pub(super) content: Content,
    pub(super) transport: Transport,
    pub(super) outbox: Outbox,
    pub(super) source: Source,
    pub(super) hooks: Hooks,
}

/// What events say.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) site: String,
    pub(super) proxy: bool,
    pub(super) logs: bool,
    pub(super) skip_without_session: bool,
    pub(super) user_without_session: bool,
    pub(super) max_age: Duration,
    pub(super) old_records: OldRecords,
    pub(super) max_event_bytes: usize,
    pub(super) anonymity: Anonymity,
    pub(super) properties: Vec<(String, String)>,
    pub(super) renamed: HashMap<String, String>,
    pub(super) resource_attributes: Vec<String>,
}

/// How requests are made.
pub(super) struct Transport {
    pub(super) endpoint: String,
    pub(super) method: Method,
    pub(super) headers: Vec<(String, String)>,
    pub(super) client: Option<Arc<dyn HttpClient>>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) max_get_bytes: usize,
    pub(super) max_in_flight: usize,
}

/// What the application is told and asked.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) filter: Option<Filter>,
    pub(super) mapping: Option<Hook>,
    pub(super) opt_out: Vec<OptOut>,
    pub(super) do_not_track: bool,
    pub(super) on_event_id: Option<OnEventId>,
    pub(super) on_success: Option<Arc<OnSuccess>>,
    pub(super) on_failure: Option<Arc<OnFailure>>,
}

type OnSuccess = dyn Fn(&Delivered<'_>) + Send + Sync;
type OnFailure = dyn Fn(&Failed<'_>) + Send + Sync;

impl fmt::Debug for Transport {
    /// Header values may be secrets: only their names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Transport")
            .field("endpoint", &Address(&self.endpoint))
            .field("method", &self.method)
            .field("headers", &names)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("filter", &self.filter.is_some())
            .field("mapping", &self.mapping.is_some())
            .field("opt_out", &self.opt_out)
            .field("do_not_track", &self.do_not_track)
            .finish_non_exhaustive()
    }
}

impl Default for OpentrackerExporterBuilder {
    fn default() -> Self {
        let content = Content {
            site: String::new(),
            proxy: true,
            logs: false,
            skip_without_session: false,
            user_without_session: false,
            max_age: Duration::from_secs(60 * 24 * 60 * 60),
            old_records: OldRecords::Drop,
            max_event_bytes: 65_536,
            anonymity: Anonymity::Off,
            properties: Vec::new(),
            renamed: HashMap::new(),
            resource_attributes: Vec::new(),
        };
        let transport = Transport {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            method: Method::Get,
            headers: Vec::new(),
            client: None,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            retry: RetryPolicy::default(),
            max_get_bytes: 8_000,
            max_in_flight: 8,
        };
        Self {
            namespace: "opentracker".to_owned(),
            content,
            transport,
            outbox: Outbox::memory(),
            source: Source::System,
            hooks: Hooks::default(),
        }
    }
}

/// What events say.
impl OpentrackerExporterBuilder {
    /// The site for which data are inserted, as it is registered at Opentracker: the property `si`. Required.
    pub fn with_site(mut self, site: impl Into<String>) -> Self {
        self.content.site = site.into();
        self
    }

    /// Whether events carry `proxy=true`: the sender is a server, from whose address and client Opentracker must not infer
    /// the user's place and browser. Default: true. Switch it off only in a program that runs on the user's own machine.
    pub fn with_proxy(mut self, proxy: bool) -> Self {
        self.content.proxy = proxy;
        self
    }

    /// Whether plain logs are sent, too: records without an event name, and those of `tracing` that are only named after
    /// their line (`info!(..)` without `name:`) or `log event`. Default: no. Their title is the beginning of their
    /// body.
    pub fn with_logs(mut self, logs: bool) -> Self {
        self.content.logs = logs;
        self
    }

    /// Whether records without `session.id` are skipped, and counted as
    /// [`Loss::EventWithoutSession`](crate::Loss::EventWithoutSession). By default they are sent without any id, so that
    /// Opentracker makes each of them a session and a user of its own. A `session.start` or `session.end` without id is
    /// always refused.
    pub fn with_skip_without_session(mut self, skip: bool) -> Self {
        self.content.skip_without_session = skip;
        self
    }

    /// Whether records without `session.id` that name a user carry `uid` alone, so that Opentracker begins a new session of
    /// that user with each of them. Default: no; then `user.id` is an ordinary property of such records.
    pub fn with_user_without_session(mut self, send: bool) -> Self {
        self.content.user_without_session = send;
        self
    }

    /// How old a record may be when it is accepted. Default: 60 days, after which Opentracker deletes its data; zero is
    /// refused. What is older is treated as [`with_old_records`](Self::with_old_records) says.
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.content.max_age = age;
        self
    }

    /// What becomes of records that are older than that. Default: they are dropped and counted.
    pub fn with_old_records(mut self, old: OldRecords) -> Self {
        self.content.old_records = old;
        self
    }

    /// The most bytes of an encoded event: 8,192 to 900,000, by default 65,536. Properties that do not fit are left out, the
    /// last ones first, and counted as [`Loss::EventField`](crate::Loss::EventField).
    pub fn with_max_event_bytes(mut self, bytes: usize) -> Self {
        self.content.max_event_bytes = bytes;
        self
    }

    /// How much events say about the user. Default: everything. [`OpentrackerExporter::set_anonymous`] changes it later.
    pub fn with_anonymity(mut self, anonymity: Anonymity) -> Self {
        self.content.anonymity = anonymity;
        self
    }

    /// Adds a property to every event that has no attribute of that name. The name is ASCII without spaces, and none of
    /// [`RESERVED_NAMES`](super::RESERVED_NAMES).
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.content.properties.push((name.into(), value.into()));
        self
    }

    /// Sends an attribute under another name, for example `url.full` as Opentracker's own `lc`.
    pub fn with_renamed_attribute(mut self, attribute: impl Into<String>, name: impl Into<String>) -> Self {
        self.content.renamed.insert(attribute.into(), name.into());
        self
    }

    /// Sends an attribute of the resource, such as `service.name`, with every event that has no attribute of that name.
    pub fn with_resource_attribute(mut self, attribute: impl Into<String>) -> Self {
        self.content.resource_attributes.push(attribute.into());
        self
    }

    /// Chooses among the records that would be sent. What it refuses is no loss. One that panics has refused nothing; the
    /// panic is counted as [`Loss::EventFilterPanic`](crate::Loss::EventFilterPanic).
    pub fn with_filter(
        mut self,
        filter: impl Fn(&SdkLogRecord, &InstrumentationScope) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.hooks.filter = Some(Arc::new(filter));
        self
    }

    /// Changes title and properties of an event before it is accepted. If it panics the event is sent unchanged, and the
    /// panic counted as [`Loss::EventFilterPanic`](crate::Loss::EventFilterPanic).
    pub fn with_mapping(
        mut self,
        mapping: impl Fn(&SdkLogRecord, &InstrumentationScope, &mut Properties) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.mapping = Some(Arc::new(mapping));
        self
    }
}

/// How they get there.
impl OpentrackerExporterBuilder {
    /// Where requests go: a full URL, or `host[:port][/prefix]`, which means https. Default: `https://log.opentracker.net/`.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.transport.endpoint = endpoint.into();
        self
    }

    /// GET or POST. Default: GET, as in Opentracker's reference.
    pub fn with_method(mut self, method: Method) -> Self {
        self.transport.method = method;
        self
    }

    /// The most bytes of a GET's URL: 1,000 to 60,000, by default 8,000. A longer one goes by POST.
    pub fn with_max_get_bytes(mut self, bytes: usize) -> Self {
        self.transport.max_get_bytes = bytes;
        self
    }

    /// How many requests may be under way at once: 1 to 64, by default 8, since a request carries one event. The order within
    /// a session is kept.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.transport.max_in_flight = requests;
        self
    }

    /// Adds a header to every request. Names that the exporter writes itself, and those that decide how a request is read, are
    /// refused; values are never shown.
    pub fn with_custom_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.transport.headers.push((name.into(), value.into()));
        self
    }

    /// A client of your own makes the requests. Timeouts for connecting are then its own.
    pub fn with_http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.transport.client = Some(Arc::new(client));
        self
    }

    /// The longest that connecting may take. Default: 5 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport.connect_timeout = timeout;
        self
    }

    /// The longest that a request may take, its reply included. Default: 10 s. An event whose reply did not come in time is
    /// sent again; Opentracker may then have it twice, told apart by nothing but the property `event_id`, which is the same.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.transport.request_timeout = timeout;
        self
    }

    /// What is tried again, and when.
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.transport.retry = retry;
        self
    }

    /// Where accepted events wait. Default: 64 MiB of memory.
    pub fn with_outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }

    /// Where time comes from. Default: the system's clocks.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.source = clock.into_source();
        self
    }

    /// The exporter's name in its debug output; it is not sent. Default: `opentracker`; 1 to 128 bytes without control
    /// characters.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }
}

/// What the application is told and asked. Callbacks run outside of all locks; a panic in one is caught and counted.
impl OpentrackerExporterBuilder {
    /// Drops everything if the environment asks for it at `build()`: `DO_NOT_TRACK` (set, and neither `0` nor `false`) or
    /// `OTEL_SDK_DISABLED=true`. Default: no.
    pub fn with_do_not_track(mut self, respect: bool) -> Self {
        self.hooks.do_not_track = respect;
        self
    }

    /// Asked before each batch whether the user has opted out: if so, it is dropped. A panic counts as an opt-out.
    pub fn with_opt_out(mut self, is_out: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.hooks.opt_out.push(OptOut::Asked(Arc::new(is_out)));
        self
    }

    /// The same: as long as this file exists, the user has opted out. An empty path is refused.
    pub fn with_opt_out_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.hooks.opt_out.push(OptOut::File(path.into()));
        self
    }

    /// Called with the id that Opentracker gave an event (its `eid`), after our own id of it (the property `event_id`). A
    /// reply without a UUID, or of more than 1 MiB, tells nothing.
    pub fn on_event_id(mut self, callback: impl Fn(Uuid, &str) + Send + Sync + 'static) -> Self {
        self.hooks.on_event_id = Some(Arc::new(callback));
        self
    }

    /// Called after each request that was answered with a 2xx.
    pub fn on_request_success(mut self, callback: impl Fn(&Delivered<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_success = Some(Arc::new(callback));
        self
    }

    /// Called after each request that failed, with what failed and whether it will be tried again.
    pub fn on_request_failure(mut self, callback: impl Fn(&Failed<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_failure = Some(Arc::new(callback));
        self
    }

    /// Checks everything, opens the outbox and starts delivering what still waits there.
    ///
    /// # Errors
    /// [`BuildError::Setting`] for what cannot work, [`BuildError::Outbox`] for an outbox that cannot be opened,
    /// [`BuildError::Thread`] if no thread can be started.
    pub fn build(self) -> Result<OpentrackerExporter, BuildError> {
        super::exporter::start(self)
    }
}

/// Where Opentracker takes events.
const DEFAULT_ENDPOINT: &str = "https://log.opentracker.net/";
