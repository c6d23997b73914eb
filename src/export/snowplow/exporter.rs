//! The exporter: from a batch of records to the outbox, in one transaction.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};

use super::builder::Hooks;
use super::callbacks::guarded;
use super::collector::target;
use super::decide::{Decider, Decisions};
use super::map::Mapper;
use super::mapped::{Mapped, MappedRecord, SessionChange};
use super::protocol::SnowplowProtocol;
use super::{
    AcceptedEvent, Anonymity, CrossDomainLink, SnowplowExporterBuilder, SnowplowSpanExporter, Subject, registry,
};
use crate::clock::{Moment, Source, to_system_time};
use crate::error::BuildError;
use crate::export::delivery::{Courier, FAREWELL};
use crate::export::endpoint::Endpoint;
use crate::export::outbox::Depot;
use crate::export::{Chunk, ChunkEvent, ExportReport, StateRow};
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
    /// Of the provider that has this clone: several providers may feed one exporter.
    resource: Resource,
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

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Sends what waits, in batches of any size. True once every collector has everything that was accepted before the call,
    /// also if that is nothing; what was dropped since then, and counted, has left, too. False as soon as it is clear that events
    /// will be left after `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.flush(timeout)
    }

    /// Accepts nothing more (what still comes is counted as [`Loss::OutboxError`](crate::Loss::OutboxError)), sends what waits
    /// for at most `timeout`, and says what became of everything. What is then left
    /// stays in a durable outbox, whose file is closed; what is left in memory is counted as
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

    /// Exports the losses as the observable counter `otel_session.losses`. Give it a meter of its own, such as
    /// `provider.meter("otel_session.snowplow")`: of several such counters in one scope, other exporters' or that of
    /// [`Sessions`](crate::Sessions) (`otel_session`), the SDK keeps the value that was observed last.
    pub fn observe(&self, meter: &Meter) {
        telemetry::observe(meter, &self.shared.losses);
    }

    /// Changes what is said of the user, for the batches to come: also for what was emitted before and waits in the queue of the
    /// SDK. Call `force_flush()` of the logger provider first.
    pub fn set_anonymous(&self, anonymity: Anonymity) {
        let anonymity = self.shared.possible(anonymity);
        let mut intake = self.shared.intake.lock();
        intake.anonymity = anonymity;
        intake.mapper.set_anonymity(anonymity);
    }

    /// As long as it is set, everything is dropped; setting it forgets users and sessions. What was accepted before is still
    /// delivered. It counts for batches, as [`set_anonymous`](Self::set_anonymous) does.
    pub fn set_opt_out(&self, opt_out: bool) {
        self.shared.opted_out.store(opt_out, Ordering::Release);
        if opt_out {
            self.shared.forget();
        }
    }

    /// Changes the fields for records that do not carry them, for the batches to come, as
    /// [`set_anonymous`](Self::set_anonymous) does.
    ///
    /// # Errors
    /// When a field is too long or none that Snowplow takes.
    pub fn set_subject(&self, subject: Subject) -> Result<(), BuildError> {
        subject.check()?;
        self.shared.intake.lock().mapper.set_subject(subject);
        Ok(())
    }

    /// Sends later requests of a collector elsewhere: `collector` counts them from 0 in the order in which the builder was
    /// given them. What waits goes to the new place, too, and at once: how long the old one wanted to be left alone and how
    /// much it took in a request no longer matter.
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
        if !self.shared.own_client {
            parsed.check_tls()?;
        }
        queue.protocol.set_target(target(&parsed, &queue.post_path)?);
        queue.courier.moved(parsed.as_str());
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

    /// A link for [`decorate_url`](super::decorate_url), followed now by whom events name whose records do not say who the user
    /// is: the subject's device or user, else this installation. `None` while users are not named or have opted out, and before
    /// the first event that named the installation.
    #[must_use]
    pub fn cross_domain_link(&self) -> Option<CrossDomainLink> {
        if self.shared.is_out() {
            return None;
        }
        let mut intake = self.shared.intake.lock();
        let named = intake.anonymity.names_users();
        let user = intake.mapper.default_user().filter(|_| named)?;
        CrossDomainLink::new(user.to_string(), to_system_time(self.shared.source.moment().wall)).ok()
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
        Self { shared, resource: Resource::builder_empty().build() }
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
        let decide = |decider: &Decider| decider.logs(&batch, &self.resource);
        let map = |mapper: &mut Mapper, decisions, now, mapped: &mut Mapped| {
            mapper.map_logs(&batch, decisions, &self.resource, now, mapped);
        };
        self.shared.accept(decide, map)
    }

    /// Flushes, within `timeout`. The other handles, and the span exporter, go on.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.flush(timeout) { Ok(()) } else { Err(OTelSdkError::Timeout(timeout)) }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

/// What the handles of an exporter share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) decider: Decider,
    pub(super) namespace: String,
    pub(super) intake: Mutex<Intake>,
    pub(super) depot: Arc<Depot>,
    pub(super) queues: Vec<Queue>,
    pub(super) hooks: Hooks,
    pub(super) losses: Arc<LossCounters>,
    pub(super) source: Source,
    /// Nothing is kept anywhere: a session cannot be tracked without naming the user.
    pub(super) stateless: bool,
    /// Requests are made by a client of the user's, which may speak https.
    pub(super) own_client: bool,
    /// The environment asked not to be tracked.
    pub(super) suppressed: bool,
    pub(super) opted_out: AtomicBool,
    /// Users and sessions are forgotten already, or are about to be by whoever set it; set anew by the next opt-out.
    pub(super) forgotten: AtomicBool,
    /// Deletions that the outbox has not taken yet. Locked after the intake.
    pub(super) unforgotten: Mutex<Vec<StateRow>>,
    pub(super) closed: AtomicBool,
}

/// What mapping a batch needs, under one lock: the order of acceptance is the order of numbers.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) mapper: Mapper,
    pub(super) anonymity: Anonymity,
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
    pub(super) fn accept(
        &self,
        decide: impl FnOnce(&Decider) -> Decisions,
        map: impl FnOnce(&mut Mapper, Decisions, Moment, &mut Mapped),
    ) -> OTelSdkResult {
        // Hooks and callbacks may log and make spans: that is no activity, and does not come back here.
        let _quiet = Context::enter_telemetry_suppressed_scope();
        if self.is_out() {
            if self.closed.load(Ordering::Acquire) {
                return Err(OTelSdkError::AlreadyShutdown);
            }
            if !self.forgotten.swap(true, Ordering::AcqRel) {
                self.forget();
            } else {
                self.forget_stored(&mut self.unforgotten.lock());
            }
            return Ok(());
        }
        // Also after a shutdown: only what is mapped can be counted, which the outbox does as it refuses it.
        self.forgotten.store(false, Ordering::Release);
        let expected = self.depot.expect();
        let decisions = decide(&self.decider);
        let now = self.source.moment();
        let mut guard = self.intake.lock();
        if self.opted_out.load(Ordering::Acquire) || self.forgotten.load(Ordering::Acquire) {
            // Since this was asked above: what is forgotten must not be learned again.
            return Ok(());
        }
        let Intake { mapper, mapped, .. } = &mut *guard;
        map(mapper, decisions, now, mapped);
        let chunks = chunks(mapped, self.queues.len(), now.wall, |len| self.depot.buffer(len));
        let mut unforgotten = self.unforgotten.lock();
        let mut rows = std::mem::take(&mut mapped.rows);
        if !unforgotten.is_empty() {
            let written: HashSet<_> = rows.iter().map(|row| (row.table, row.key.clone())).collect();
            rows.extend(unforgotten.iter().filter(|row| !written.contains(&(row.table, row.key.clone()))).cloned());
        }
        let taken = self.depot.accept(chunks, rows);
        // Callbacks may take their time, and no commit comes after them.
        drop(expected);
        if let Err(error) = taken {
            mapper.roll_back();
            if self.closed.load(Ordering::Acquire) {
                return Err(OTelSdkError::AlreadyShutdown);
            }
            return Err(OTelSdkError::InternalFailure(format!("the outbox took nothing: {error}")));
        }
        unforgotten.clear();
        drop(unforgotten);
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
            || self.hooks.opt_out.iter().any(crate::export::opt_out::OptOut::is_out)
    }

    /// Forgets users and sessions, in the outbox too; there with a later commit if it cannot write now.
    pub(super) fn forget(&self) {
        let mut intake = self.intake.lock();
        let mut unforgotten = self.unforgotten.lock();
        unforgotten.extend(intake.mapper.forget());
        unforgotten.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        unforgotten.dedup_by(|a, b| (a.table, &a.key) == (b.table, &b.key));
        self.forget_stored(&mut unforgotten);
    }

    /// Whether nothing is stored any more of what is forgotten.
    fn forget_stored(&self, unforgotten: &mut Vec<StateRow>) -> bool {
        if !unforgotten.is_empty() && self.depot.accept(Vec::new(), unforgotten.clone()).is_ok() {
            unforgotten.clear();
        }
        unforgotten.is_empty()
    }

    /// Without a place for the session, tracking it anonymously is not possible.
    pub(super) fn possible(&self, anonymity: Anonymity) -> Anonymity {
        super::settings::possible(anonymity, self.stateless)
    }

    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let all = if self.is_here() {
            self.queues.iter().all(|queue| queue.courier.is_idle())
        } else {
            at_once(&self.queues, |queue| queue.courier.flush(timeout)).into_iter().all(|done| done)
        };
        let forgotten = self.forget_stored(&mut self.unforgotten.lock());
        self.depot.sync().is_ok() && forgotten && all
    }

    /// Whether this is one of the delivery threads. A callback there waits for none of them: another one's callback may be
    /// waiting for this one.
    fn is_here(&self) -> bool {
        self.queues.iter().any(|queue| queue.courier.is_here())
    }

    fn pending(&self) -> u64 {
        (0..self.queues.len()).map(|queue| self.depot.pending(queue as u16).events).sum()
    }

    fn shutdown(&self, timeout: Duration) -> ExportReport {
        self.closed.store(true, Ordering::Release);
        self.depot.close();
        let _ = registry::release(&self.namespace, self);
        // Before the delivery threads end, and with them the outbox.
        self.forget_stored(&mut self.unforgotten.lock());
        if self.is_here() {
            self.queues.iter().for_each(|queue| queue.courier.begin_shutdown(timeout));
        } else {
            at_once(&self.queues, |queue| queue.courier.shutdown(timeout));
        }
        let _ = self.depot.sync();
        let (balance, lost) = self.depot.balance();
        ExportReport::new(lost, self.queues.iter().map(|queue| queue.courier.report(&balance)).collect())
    }
}

impl Drop for Shared {
    /// A short shutdown. Couriers that are dropped make one each, but one after another, and what is to be forgotten would stay.
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            let _ = self.shutdown(FAREWELL);
        }
    }
}

impl Hooks {
    fn are_told(&self) -> bool {
        self.on_accepted.is_some() || self.on_session_start.is_some() || self.on_session_end.is_some()
    }
}

/// Does the same for all at a time, so that one that waits for a collector costs the others nothing. One for which there is
/// no thread comes after the others.
pub(super) fn at_once<I: Sync, T: Send>(items: &[I], act: impl Fn(&I) -> T + Sync) -> Vec<T> {
    if let [item] = items {
        return vec![act(item)];
    }
    std::thread::scope(|scope| {
        let act = &act;
        let start = |item| std::thread::Builder::new().spawn_scoped(scope, move || act(item)).map_err(|_| item);
        let started: Vec<_> = items.iter().map(start).collect();
        let ended = started.into_iter().filter_map(|it| match it {
            Ok(thread) => thread.join().ok(),
            Err(item) => Some(act(item)),
        });
        ended.collect()
    })
}

/// The chunks of a batch, for each collector its own.
fn chunks(mapped: &mut Mapped, queues: usize, accepted_at: i64, buffer: impl Fn(usize) -> Vec<u8>) -> Vec<Chunk> {
    let Mapped { events, encoded, spare, .. } = mapped;
    let mut chunks = Vec::with_capacity(queues * encoded.len());
    let kept = spare.len();
    for queue in 0..queues {
        let is_last = queue + 1 == queues;
        let mut events = events.iter();
        for part in &mut *encoded {
            let heads = events.by_ref().take(part.events).map(|event| {
                let len = u32::try_from(event.len).unwrap_or(u32::MAX);
                ChunkEvent::new(event.id, len, event.lane)
            });
            let len = part.bytes.len();
            let bytes = if is_last {
                // They are where they stay. The next batch mostly needs as much, or a little more.
                if spare.len() < MOST_SPARE && len <= LARGEST_SPARE {
                    spare.push(buffer(len + len / 32));
                }
                std::mem::take(&mut part.bytes)
            } else {
                let mut bytes = buffer(len);
                bytes.extend_from_slice(&part.bytes);
                bytes
            };
            let queue = u16::try_from(queue).unwrap_or(u16::MAX);
            chunks.push(Chunk::from_parts(queue, part.mode, accepted_at, heads.collect(), bytes));
        }
    }
    // Moved away. The first one shall be used first.
    encoded.clear();
    spare[kept..].reverse();
    chunks
}

/// What is kept ready for the next batch: memory for as many chunks as the SDK's batches become, unless they are large.
const MOST_SPARE: usize = 16;
const LARGEST_SPARE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::super::mapped::Encoded;
    use super::*;

    #[test]
    fn a_usual_batchs_memory_is_used_again_and_a_huge_ones_is_not_kept() {
        let part = |len| Encoded { mode: 0, events: 0, bytes: vec![0; len] };
        let mut mapped = Mapped { encoded: [100, 200].map(part).into(), ..Mapped::default() };
        let made = chunks(&mut mapped, 2, 0, Vec::with_capacity);
        assert_eq!(
            made.iter().map(|chunk| (chunk.queue, chunk.bytes.len())).collect::<Vec<_>>(),
            [(0, 100), (0, 200), (1, 100), (1, 200)]
        );
        let first = mapped.next(0).capacity();
        assert!((100..200).contains(&first), "as much as the last first one took: {first}");

        let mut mapped = Mapped { encoded: (0..100).map(|_| part(1 << 20)).collect(), ..Mapped::default() };
        chunks(&mut mapped, 1, 0, Vec::with_capacity);
        assert_eq!(mapped.spare.len(), 0);
        mapped.encoded.extend((0..100).map(|_| part(1000)));
        chunks(&mut mapped, 1, 0, Vec::with_capacity);
        assert_eq!(mapped.spare.len(), MOST_SPARE);
    }
}
