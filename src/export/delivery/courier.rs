//! The handle of a delivery thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::shared::Shared;
use super::worker::Worker;
use super::{Callbacks, DeliverySettings, Protocol};
use crate::clock::{Attend, Source};
use crate::error::BuildError;
use crate::export::cookie_jar::CookieJar;
use crate::export::http::{DefaultClient, HttpClient};
use crate::export::outbox::{Balance, Depot};
use crate::export::report::CollectorReport;
use crate::sync::spawn;
use crate::telemetry::LossCounters;

/// Delivers the events of one queue of a depot.
pub(crate) struct Courier {
    shared: Arc<Shared>,
    depot: Arc<Depot>,
    queue: u16,
    /// A shutdown has waited for the thread for as long as a drop does: it has gone, or will not go.
    waited: AtomicBool,
}

impl Courier {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Settings that cannot work, a client that cannot be made, a thread that cannot be started.
    pub(crate) fn start(
        depot: Arc<Depot>,
        queue: u16,
        protocol: Arc<dyn Protocol>,
        settings: DeliverySettings,
        source: Source,
        losses: Arc<LossCounters>,
        callbacks: Callbacks,
    ) -> Result<Self, BuildError> {
        settings.check()?;
        let client: Arc<dyn HttpClient> = match &settings.client {
            Some(client) => client.clone(),
            None => Arc::new(DefaultClient::new(&settings.endpoint, settings.connect_timeout)?),
        };
        let client = if settings.cookie_jar { CookieJar::around(client, source.clone()) } else { client };
        // Its own runtime, on its own thread: so it needs none of the application's, and can be used inside of any.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("otel-session.resolve")
            .on_thread_start(|| std::mem::forget(opentelemetry::Context::enter_telemetry_suppressed_scope()))
            .build()
            .map_err(BuildError::Thread)?;
        let shared = Arc::new(Shared::default());
        shared.name(settings.endpoint.as_str());
        let worker = Worker::new(
            (depot.clone(), queue),
            (protocol, client),
            settings,
            source.clone(),
            losses,
            callbacks,
            shared.clone(),
        );
        let (awaken, waits) = (shared.clone(), Arc::downgrade(&depot));
        let wake = move || {
            let enough = awaken.enough.load(Ordering::SeqCst);
            if enough <= 1 || waits.upgrade().is_some_and(|depot| depot.pending(queue).waiting() >= enough) {
                awaken.work.notify_one();
            }
        };
        depot.on_work(queue, Arc::new(wake));
        if let Source::Given(clock) = &source {
            let attending: Arc<dyn Attend> = shared.clone();
            clock.attend(Arc::downgrade(&attending));
        }
        spawn("otel-session.deliver", move || worker.work(runtime)).map_err(BuildError::Thread)?;
        Ok(Self { shared, depot, queue, waited: AtomicBool::new(false) })
    }

    /// Sends what waits now, cutting a backoff short once. True when all of it has left; false as soon as it is clear that it
    /// will not within `deadline` (real time). With nothing waiting it is true at once. On the delivery thread (in a
    /// callback) it does not wait.
    pub(crate) fn flush(&self, deadline: Duration) -> bool {
        let until = self.depot.next();
        if self.depot.is_past(self.queue, until) {
            return self.depot.sync().is_ok();
        }
        if self.shared.is_this_thread() || self.shared.has_gone() {
            return false;
        }
        self.shared.flush(until, deadline)
    }

    /// Sends what waits, within `timeout` (real time), then ends the thread. Returns how many events are left; those of an
    /// outbox that is not durable are lost and counted. Later calls only say how many are left.
    pub(crate) fn shutdown(&self, timeout: Duration) -> u64 {
        if !self.shared.has_gone() {
            self.shared.stop(timeout);
        }
        // Called by a callback on the thread itself, it could not wait: what is left may still be sent.
        let ended = !self.shared.is_this_thread();
        self.waited.fetch_or(ended && timeout >= FAREWELL, Ordering::AcqRel);
        if ended && !self.depot.is_durable() {
            self.depot.forsake(self.queue);
        }
        self.pending()
    }

    /// Sends nothing until [`resume`](Self::resume); what is in flight goes on.
    pub(crate) fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
    }

    pub(crate) fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
        self.shared.nudge();
    }

    /// Events that have neither been delivered nor dropped.
    pub(crate) fn pending(&self) -> u64 {
        self.depot.pending(self.queue).events
    }

    /// What became of the events, by the depot's balance of all collectors.
    pub(crate) fn report(&self, all: &[Balance]) -> CollectorReport {
        let Balance { delivered, pending } = all.get(usize::from(self.queue)).copied().unwrap_or_default();
        CollectorReport { endpoint: self.shared.endpoint(), delivered, pending }
    }
}

/// For exporters of several collectors, which may move.
#[cfg_attr(not(feature = "snowplow"), allow(dead_code, reason = "used where there are several collectors"))]
impl Courier {
    /// A [`shutdown`](Self::shutdown) that is not waited for.
    pub(crate) fn begin_shutdown(&self, timeout: Duration) {
        if !self.shared.has_gone() {
            self.shared.ask_to_stop(timeout);
        }
    }

    /// Whether this is the delivery thread: the caller is a callback, which must not wait for it.
    pub(crate) fn is_here(&self) -> bool {
        self.shared.is_this_thread()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending() == 0
    }

    /// Says where its requests go from now on, for reports and warnings; what waits for a time that the collector before asked
    /// for goes at once.
    pub(crate) fn moved(&self, endpoint: &str) {
        self.shared.move_to(endpoint);
    }
}

impl Drop for Courier {
    /// A short shutdown. It also sees to it that the outbox's file can be opened again, where a shorter one had no time to.
    fn drop(&mut self) {
        if !self.waited.load(Ordering::Acquire) {
            self.shutdown(FAREWELL);
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier")
            .field("endpoint", &self.shared.endpoint())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// How long a courier that is dropped without a shutdown still tries.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);
