//! The exporter: from a batch of records to the outbox, in one transaction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};

use super::builder::Hooks;
use super::callbacks::guarded;
use super::collector::target;
use super::map::Mapper;
use super::mapped::{Mapped, MappedRecord, SessionChange};
use super::protocol::SnowplowProtocol;
use super::{
    AcceptedEvent, Anonymity, CrossDomainLink, SnowplowExporterBuilder, SnowplowSpanExporter, Subject, registry,
};
use crate::clock::{Moment, Source, to_system_time};
use crate::error::BuildError;
use crate::export::delivery::Courier;
use crate::export::endpoint::Endpoint;
use crate::export::outbox::Depot;
use crate::export::{Chunk, ChunkEvent, ExportReport};
use crate::sync::Mutex;
use crate::telemetry::{self, LossCounters, Losses};

/// Exports logs with a `session.id` to Snowplow collectors, from any log pipeline; also the handle to what it does.
///
/// A log provider takes the exporter for itself, so keep a clone: clones are handles to one exporter.
///
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
/// use otel_session::{Sessions, SnowplowExporter};
/// use std::time::Duration;
///
/// let snowplow = SnowplowExporter::builder().with_endpoint("http://127.0.0.1:9090").with_app_id("shop").build()?;
/// let sessions = Sessions::builder().build()?;
/// let loggers = SdkLoggerProvider::builder().with_log_processor(sessions.batch_log_processor(snowplow.clone())).build();
/// // ...
/// # drop(loggers);
/// let report = snowplow.shutdown(Duration::from_millis(10));
/// println!("{report:?}");
/// # Ok::<(), otel_session::BuildError>(())
/// ```
///
/// What it accepts is in its outbox when `export()` returns, and `export()` never waits for a collector. When the last
/// clone is dropped, it shuts down as by [`shutdown`](Self::shutdown) with a short timeout.
#[derive(Clone)]
pub struct SnowplowExporter {
    shared: Arc<Shared>,
}

impl SnowplowExporter {
    /// Configures an exporter.
    pub fn builder() -> SnowplowExporterBuilder {
        SnowplowExporterBuilder::default()
    }

    /// The name under which it is registered, and which its events carry.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    /// Sends what waits, in batches of any size. True once every collector has everything that was accepted before the call,
    /// also if that is nothing; false if that took longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.flush(timeout)
    }

    /// Accepts nothing more, sends what waits for at most `timeout`, and says what became of everything. What is then left
    /// stays in a durable outbox; what is left in memory is counted as
    /// [`Loss::EventUndelivered`](crate::Loss::EventUndelivered).
    pub fn shutdown(&self, timeout: Duration) -> ExportReport {
        self.shared.shutdown(timeout)
    }

    /// How many events wait, over all collectors.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.pending()
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared.losses.read()
    }

    /// Exports the losses as the observable counter `otel_session.losses`.
    pub fn observe(&self, meter: &Meter) {
        telemetry::observe(meter, &self.shared.losses);
    }

    /// Changes what is said of the user, for the batches to come.
    pub fn set_anonymous(&self, anonymity: Anonymity) {
        let anonymity = self.shared.possible(anonymity);
        let mut intake = self.shared.intake.lock();
        intake.anonymity = anonymity;
        intake.mapper.set_anonymity(anonymity);
    }

    /// As long as it is set, everything is dropped; setting it forgets users and sessions. What was accepted before is still
    /// delivered.
    pub fn set_opt_out(&self, opt_out: bool) {
        self.shared.opted_out.store(opt_out, Ordering::Release);
        if opt_out {
            self.shared.forget();
        }
    }

    /// Changes the fields for records that do not carry them, for the batches to come.
    ///
    /// # Errors
    /// When a field is too long or none that Snowplow takes.
    pub fn set_subject(&self, subject: Subject) -> Result<(), BuildError> {
        subject.check()?;
        self.shared.intake.lock().mapper.set_subject(subject);
        Ok(())
    }

    /// Sends later requests of a collector elsewhere: `collector` counts them from 0 in the order in which the builder was
    /// given them. What waits goes to the new place, too.
    ///
    /// # Errors
    /// When there is no such collector, or the endpoint is none.
    pub fn set_collector_url(&self, collector: usize, endpoint: &str) -> Result<(), BuildError> {
        let parsed = Endpoint::parse("set_collector_url", endpoint)?;
        let Some(queue) = self.shared.queues.get(collector) else {
            return Err(BuildError::Setting {
                setting: "set_collector_url",
                value: collector.to_string(),
                fix: format!("this exporter has {} collectors, counted from 0", self.shared.queues.len()),
            });
        };
        queue.protocol.set_target(target(&parsed, &queue.post_path)?);
        Ok(())
    }

    /// Stops sending; events go on being accepted and wait.
    pub fn pause(&self) {
        self.shared.queues.iter().for_each(|queue| queue.courier.pause());
    }

    /// Sends again.
    pub fn resume(&self) {
        self.shared.queues.iter().for_each(|queue| queue.courier.resume());
    }

    /// A link for [`decorate_url`](super::decorate_url), followed now by this installation; `None` while users are not named, and
    /// before the first event that named the installation.
    #[must_use]
    pub fn cross_domain_link(&self) -> Option<CrossDomainLink> {
        let intake = self.shared.intake.lock();
        let installation = intake.mapper.installation_id().filter(|_| intake.anonymity.names_users())?;
        CrossDomainLink::new(installation.to_string(), to_system_time(self.shared.source.moment().wall)).ok()
    }

    /// An exporter for spans that shares the sessions, the outbox and the collectors of this one. Each span becomes an event
    /// of its session; without it no span does.
    #[must_use]
    pub fn span_exporter(&self) -> SnowplowSpanExporter {
        SnowplowSpanExporter::new(Arc::clone(&self.shared))
    }
}

impl From<Arc<Shared>> for SnowplowExporter {
    fn from(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Debug for SnowplowExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnowplowExporter")
            .field("namespace", &self.shared.namespace)
            .field("collectors", &self.shared.queues.len())
            .field("pending", &self.pending())
            .field("losses", &self.losses().to_string())
            .finish()
    }
}

impl LogExporter for SnowplowExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.shared.accept(|mapper, resource, now, mapped| mapper.map_logs(&batch, resource, now, mapped))
    }

    /// Flushes, within `timeout`. The other handles, and the span exporter, go on.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.shared.intake.lock().resource = resource.clone();
    }
}

/// What the handles of an exporter share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) namespace: String,
    pub(super) intake: Mutex<Intake>,
    pub(super) depot: Arc<Depot>,
    pub(super) queues: Vec<Queue>,
    pub(super) hooks: Hooks,
    pub(super) losses: Arc<LossCounters>,
    pub(super) source: Source,
    /// Nothing is kept anywhere: a session cannot be tracked without naming the user.
    pub(super) stateless: bool,
    /// The environment asked not to be tracked.
    pub(super) suppressed: bool,
    pub(super) opted_out: AtomicBool,
    /// Users and sessions are forgotten already; set anew by the next opt-out.
    pub(super) forgotten: AtomicBool,
    pub(super) closed: AtomicBool,
}

/// What mapping a batch needs, under one lock: the order of acceptance is the order of numbers.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) mapper: Mapper,
    pub(super) anonymity: Anonymity,
    pub(super) resource: Resource,
    pub(super) mapped: Mapped,
}

/// One collector.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) courier: Courier,
    pub(super) protocol: Arc<SnowplowProtocol>,
    pub(super) post_path: String,
}

impl Shared {
    /// Maps a batch and commits it to the outbox: all of it, or nothing.
    pub(super) fn accept(&self, map: impl FnOnce(&mut Mapper, &Resource, Moment, &mut Mapped)) -> OTelSdkResult {
        if self.closed.load(Ordering::Acquire) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        if self.is_out() {
            if !self.forgotten.swap(true, Ordering::AcqRel) {
                self.forget();
            }
            return Ok(());
        }
        self.forgotten.store(false, Ordering::Release);
        let now = self.source.moment();
        let mut guard = self.intake.lock();
        let Intake { mapper, resource, mapped, .. } = &mut *guard;
        map(mapper, resource, now, mapped);
        let chunks = chunks(mapped, self.queues.len(), now.wall, |len| self.depot.buffer(len));
        if let Err(error) = self.depot.accept(chunks, std::mem::take(&mut mapped.rows)) {
            mapper.roll_back();
            return Err(OTelSdkError::InternalFailure(format!("the outbox took nothing: {error}")));
        }
        mapper.commit();
        let told =
            self.hooks.are_told().then(|| (std::mem::take(&mut mapped.events), std::mem::take(&mut mapped.sessions)));
        drop(guard);
        if let Some((events, sessions)) = told {
            self.tell(&events, &sessions);
        }
        Ok(())
    }

    fn tell(&self, events: &[MappedRecord], sessions: &[SessionChange]) {
        for change in sessions {
            let callback = if change.started { &self.hooks.on_session_start } else { &self.hooks.on_session_end };
            if let Some(callback) = callback {
                callback.call(&change.state, &self.losses);
            }
        }
        if let Some(callback) = &self.hooks.on_accepted {
            for event in events {
                let accepted =
                    AcceptedEvent { event_id: event.id, session_id: event.session, event_index: event.event_index };
                guarded(&self.losses, || callback(&accepted));
            }
        }
    }

    fn is_out(&self) -> bool {
        self.suppressed
            || self.opted_out.load(Ordering::Acquire)
            || self.hooks.opt_out.iter().any(super::callbacks::OptOut::is_out)
    }

    /// Forgets users and sessions, in the outbox too.
    pub(super) fn forget(&self) {
        let rows = self.intake.lock().mapper.forget();
        if !rows.is_empty() {
            // An outbox that cannot write counts that itself, and forgets with its next commit at the latest.
            let _ = self.depot.accept(Vec::new(), rows);
        }
    }

    /// Without a place for the session, tracking it anonymously is not possible.
    pub(super) fn possible(&self, anonymity: Anonymity) -> Anonymity {
        super::settings::possible(anonymity, self.stateless)
    }

    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let all = self.at_once(|queue| queue.courier.flush(timeout)).into_iter().all(|done| done);
        self.depot.sync().is_ok() && all
    }

    fn pending(&self) -> u64 {
        (0..self.queues.len()).map(|queue| self.depot.pending(queue as u16).events).sum()
    }

    fn shutdown(&self, timeout: Duration) -> ExportReport {
        self.closed.store(true, Ordering::Release);
        registry::release(&self.namespace, self);
        self.at_once(|queue| queue.courier.shutdown(timeout));
        let _ = self.depot.sync();
        let reports = self.queues.iter().map(|queue| queue.courier.report()).collect();
        ExportReport::new(self.losses.read(), reports)
    }

    /// Does the same for all collectors at a time, so that an unreachable one costs the others nothing.
    fn at_once<T: Send>(&self, act: impl Fn(&Queue) -> T + Sync) -> Vec<T> {
        if let [queue] = &*self.queues {
            return vec![act(queue)];
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = self.queues.iter().map(|queue| scope.spawn(|| act(queue))).collect();
            running.into_iter().filter_map(|it| it.join().ok()).collect()
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        registry::release(&self.namespace, self);
    }
}

impl Hooks {
    fn are_told(&self) -> bool {
        self.on_accepted.is_some() || self.on_session_start.is_some() || self.on_session_end.is_some()
    }
}

/// The chunks of a batch, for each collector its own: a chunk's events share their mode.
fn chunks(mapped: &Mapped, queues: usize, accepted_at: i64, buffer: impl Fn(usize) -> Vec<u8>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for queue in 0..queues {
        let mut rest = &*mapped.events;
        while let Some(first) = rest.first() {
            let same = rest.iter().take(Chunk::MAX_EVENTS).take_while(|event| event.mode == first.mode).count();
            let (events, later) = rest.split_at(same);
            let heads = events.iter().map(|event| {
                let len = u32::try_from(event.range.len()).unwrap_or(u32::MAX);
                ChunkEvent::new(event.id, len, event.lane)
            });
            // Their ranges follow one another: one copy, into memory that is neither too small nor too large.
            let end = events.last().map_or(first.range.end, |last| last.range.end);
            let encoded = &mapped.bytes[first.range.start..end];
            let mut bytes = buffer(encoded.len());
            bytes.extend_from_slice(encoded);
            let queue = u16::try_from(queue).unwrap_or(u16::MAX);
            chunks.push(Chunk::from_parts(queue, first.mode, accepted_at, heads.collect(), bytes));
            rest = later;
        }
    }
    chunks
}
