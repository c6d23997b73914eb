//! The exporter: from a batch of records to the outbox, in one transaction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};

use super::map::Mapper;
use super::protocol::OpentrackerProtocol;
use super::{Anonymity, OpentrackerExporterBuilder, settings};
use crate::clock::Source;
use crate::error::BuildError;
use crate::export::delivery::{Callbacks, Courier, DeliverySettings};
use crate::export::endpoint::Endpoint;
use crate::export::opt_out::{OptOut, environment_opts_out};
use crate::export::outbox::Depot;
use crate::export::{Chunk, ExportReport};
use crate::sync::Mutex;
use crate::telemetry::{self, LossCounters, Losses};

/// Exports logs with a `session.id` to Opentracker, from any log pipeline; also the handle to what it does.
///
/// A log provider takes the exporter for itself, so keep a clone: clones are handles to one exporter.
///
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
/// use otel_session::{OpentrackerExporter, Sessions};
/// use std::time::Duration;
///
/// let exporter = OpentrackerExporter::builder().with_site("example.com").with_endpoint("http://127.0.0.1:8080").build()?;
/// let sessions = Sessions::builder().build()?;
/// let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(exporter.clone())).build();
/// // ...
/// # drop(loggers);
/// let report = exporter.shutdown(Duration::from_millis(10));
/// println!("{report}");
/// # Ok::<(), otel_session::BuildError>(())
/// ```
///
/// What it accepts is in its outbox when `export()` returns, and `export()` never waits for the network. When the last clone
/// is dropped, it shuts down as by [`shutdown`](Self::shutdown) with a short timeout.
#[derive(Clone)]
pub struct OpentrackerExporter {
    shared: Arc<Shared>,
    /// That of the provider which took this handle; each may have its own.
    resource: Resource,
}

/// What the handles of an exporter share.
struct Shared {
    namespace: String,
    mapper: Mapper,
    anonymity: AtomicU8,
    /// The environment asked not to be tracked.
    suppressed: bool,
    /// Held while a batch is accepted: what is said here holds from then on.
    opted_out: Mutex<bool>,
    opt_out: Vec<OptOut>,
    depot: Arc<Depot>,
    courier: Courier,
    losses: Arc<LossCounters>,
    source: Source,
    closed: AtomicBool,
}

impl OpentrackerExporter {
    /// Configures an exporter.
    pub fn builder() -> OpentrackerExporterBuilder {
        OpentrackerExporterBuilder::default()
    }

    /// Sends what waits. True once everything that was accepted before the call has left, also if that is nothing; false as
    /// soon as it is clear that events will be left after `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let sent = self.shared.courier.flush(timeout);
        self.shared.depot.sync().is_ok() && sent
    }

    /// Accepts nothing more (what still comes is counted as [`Loss::OutboxError`](crate::Loss::OutboxError)), sends what waits
    /// for at most `timeout`, and says what became of everything. What is then left
    /// stays in a durable outbox; what is left in memory is counted as
    /// [`Loss::EventUndelivered`](crate::Loss::EventUndelivered).
    pub fn shutdown(&self, timeout: Duration) -> ExportReport {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.depot.close();
        let courier = &self.shared.courier;
        courier.shutdown(timeout);
        // A store that cannot remove keeps what was delivered, and sends it again after the next start.
        let _ = self.shared.depot.sync();
        let (balance, lost) = self.shared.depot.balance();
        ExportReport::new(lost, vec![courier.report(&balance)])
    }

    /// How many events wait.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.courier.pending()
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared.losses.read()
    }

    /// Exports the losses as the observable counter `otel_session.losses`. Give it a meter of its own, such as
    /// `provider.meter("otel_session.opentracker")`: of several such counters in one scope, other exporters' or that of
    /// [`Sessions`](crate::Sessions) (`otel_session`), the SDK keeps the value that was observed last.
    pub fn observe(&self, meter: &Meter) {
        telemetry::observe(meter, &self.shared.losses);
    }

    /// Changes what is said of the user, for the batches to come: also for what was emitted before and waits in the queue of the
    /// SDK. Call `force_flush()` of the logger provider first. What was accepted before is sent as it was accepted.
    pub fn set_anonymous(&self, anonymity: Anonymity) {
        self.shared.anonymity.store(anonymity.to_number(), Ordering::Release);
    }

    /// As long as it is set, every batch is dropped; that is no loss. What was accepted before is still delivered.
    pub fn set_opt_out(&self, opt_out: bool) {
        *self.shared.opted_out.lock() = opt_out;
    }

    /// Stops sending; events go on being accepted and wait.
    pub fn pause(&self) {
        self.shared.courier.pause();
    }

    /// Sends again.
    pub fn resume(&self) {
        self.shared.courier.resume();
    }
}

impl fmt::Debug for OpentrackerExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpentrackerExporter")
            .field("namespace", &self.shared.namespace)
            .field("site", &self.shared.mapper.site)
            .field("courier", &self.shared.courier)
            .field("pending", &self.pending())
            .field("losses", &self.losses().to_string())
            .finish_non_exhaustive()
    }
}

impl LogExporter for OpentrackerExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.shared.accept(&batch, &self.resource)
    }

    /// Flushes, within `timeout`; the other handles go on.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

impl Shared {
    /// Maps a batch and commits it to the outbox: all of it, or nothing.
    fn accept(&self, batch: &LogBatch<'_>, resource: &Resource) -> OTelSdkResult {
        // Hooks and our own warning may log: that is no activity, and does not come back here.
        let _quiet = Context::enter_telemetry_suppressed_scope();
        if self.is_out() {
            return if self.closed.load(Ordering::Acquire) { Err(OTelSdkError::AlreadyShutdown) } else { Ok(()) };
        }
        // Also after a shutdown: only what is mapped can be counted, which the outbox does as it refuses it.
        let _expected = self.depot.expect();
        let now = self.source.moment().wall;
        let anonymity = Anonymity::from_number(self.anonymity.load(Ordering::Acquire));
        let events =
            batch.iter().filter_map(|(record, scope)| self.mapper.map(record, scope, resource, anonymity, now));
        let mut chunks: Vec<Chunk> = Vec::new();
        for event in events {
            if chunks.last().is_none_or(|chunk| chunk.events.len() >= Chunk::MAX_EVENTS) {
                chunks.push(Chunk::new(QUEUE, MODE, now));
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(event.id, event.lane, &event.query);
            }
        }
        if chunks.is_empty() {
            return Ok(());
        }
        let opted_out = self.opted_out.lock();
        if *opted_out {
            // Since this was asked above.
            return Ok(());
        }
        self.depot.accept(chunks, Vec::new()).map_err(|error| {
            if self.closed.load(Ordering::Acquire) {
                return OTelSdkError::AlreadyShutdown;
            }
            OTelSdkError::InternalFailure(format!("the outbox took nothing: {error}"))
        })
    }

    fn is_out(&self) -> bool {
        let opted_out = *self.opted_out.lock();
        self.suppressed || opted_out || self.opt_out.iter().any(OptOut::is_out)
    }
}

/// Checks the settings, opens the outbox and starts the delivery.
pub(super) fn start(builder: OpentrackerExporterBuilder) -> Result<OpentrackerExporter, BuildError> {
    let OpentrackerExporterBuilder { namespace, content, transport, outbox, source, hooks } = builder;
    settings::check_namespace(&namespace)?;
    settings::check_content(&content)?;
    settings::check_transport(&transport)?;
    OptOut::check(&hooks.opt_out)?;
    let endpoint = Endpoint::parse("with_endpoint", &transport.endpoint)?;
    let losses = Arc::new(LossCounters::default());
    let protocol = OpentrackerProtocol {
        method: transport.method,
        root: settings::root(&endpoint)?,
        headers: settings::headers(&transport.headers)?,
        max_get_bytes: transport.max_get_bytes,
        on_event_id: hooks.on_event_id,
        losses: Arc::clone(&losses),
    };
    let delivery = DeliverySettings {
        client: transport.client,
        connect_timeout: transport.connect_timeout,
        request_timeout: transport.request_timeout,
        retry: transport.retry,
        max_in_flight: transport.max_in_flight,
        ..DeliverySettings::new(endpoint)
    };
    // Before the outbox is opened, so that a mistake leaves no file behind.
    delivery.check()?;
    let mapper = Mapper {
        site: content.site,
        proxy: content.proxy,
        logs: content.logs,
        skip_without_session: content.skip_without_session,
        user_without_session: content.user_without_session,
        max_age: settings::nanos(content.max_age),
        old_records: content.old_records,
        max_event_bytes: content.max_event_bytes,
        filter: hooks.filter,
        hook: hooks.mapping,
        properties: content.properties,
        renamed: content.renamed,
        resource_attributes: content.resource_attributes,
        losses: Arc::clone(&losses),
        warned_of_age: AtomicBool::new(false),
    };
    let (depot, rows) = Depot::open(outbox, 1, source.clone(), Arc::clone(&losses))?;
    depot.claim(&rows, "opentracker")?;
    let callbacks = Callbacks { on_success: hooks.on_success, on_failure: hooks.on_failure };
    let courier = Courier::start(
        Arc::clone(&depot),
        QUEUE,
        Arc::new(protocol),
        delivery,
        source.clone(),
        Arc::clone(&losses),
        callbacks,
    )?;
    let suppressed = hooks.do_not_track && environment_opts_out(|name| std::env::var(name).ok());
    Ok(OpentrackerExporter {
        shared: Arc::new(Shared {
            namespace,
            mapper,
            anonymity: AtomicU8::new(content.anonymity.to_number()),
            suppressed,
            opted_out: Mutex::new(false),
            opt_out: hooks.opt_out,
            depot,
            courier,
            losses,
            source,
            closed: AtomicBool::new(false),
        }),
        resource: Resource::builder_empty().build(),
    })
}

/// There is one collector, and one way to speak to it.
const QUEUE: u16 = 0;
const MODE: u8 = 0;
