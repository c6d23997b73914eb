//! The thread: takes events, sends them, and says what became of them.

use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::Context;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use super::shared::{Orders, Shared, Stop, real_time};
use super::{Callbacks, Delivered, DeliverySettings, Failed, Protocol};
use crate::clock::{Moment, Source, duration_nanos};
use crate::export::failpoint;
use crate::export::http::{HttpClient, explained};
use crate::export::outbox::{Depot, Outcome, Parcel, Ticket, Want};
use crate::export::retry::{Verdict, retry_after};
use crate::telemetry::{Loss, LossCounters};

pub(super) struct Worker {
    depot: Arc<Depot>,
    queue: u16,
    protocol: Arc<dyn Protocol>,
    client: Arc<dyn HttpClient>,
    settings: DeliverySettings,
    source: Source,
    losses: Arc<LossCounters>,
    callbacks: Callbacks,
    shared: Arc<Shared>,
    requests: JoinSet<Reply>,
    flights: Vec<Flight>,
    /// Everything that waits in chunks below this number is to be sent; what was accepted later waits for a batch of its own.
    drain: u64,
    /// Since when events wait that are fewer than a batch: boot time.
    waiting_since: Option<i64>,
    /// Failures in a row.
    failures: u32,
    /// Before this boot time nothing is sent.
    retry_at: Option<i64>,
    /// The last flush or shutdown for which the backoff was cut short.
    cut: u64,
    learned: Option<Learned>,
    warned_at: [Option<i64>; 3],
    random: RandomState,
}

/// A request that is under way.
struct Flight {
    task: Id,
    parcels: Vec<Parcel>,
    bytes: usize,
    sent: Moment,
    /// Requests go elsewhere since it was sent: what its collector asks for does not hold there.
    left_behind: bool,
}

/// A limit of the collector that a 413 told of.
#[derive(Clone, Copy)]
struct Learned {
    bytes: usize,
    /// When to try again whether it still holds: boot time.
    until: i64,
}

/// The complete reply, or why there is none.
type Reply = Result<http::Response<Bytes>, String>;

enum Woken {
    Landed(Id, Reply),
    /// Something was asked, accepted, or fell due.
    Asked,
}

impl Worker {
    pub(super) fn new(
        (depot, queue): (Arc<Depot>, u16),
        (protocol, client): (Arc<dyn Protocol>, Arc<dyn HttpClient>),
        settings: DeliverySettings,
        source: Source,
        losses: Arc<LossCounters>,
        callbacks: Callbacks,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            depot,
            queue,
            protocol,
            client,
            settings,
            source,
            losses,
            callbacks,
            shared,
            requests: JoinSet::new(),
            flights: Vec::new(),
            drain: 0,
            waiting_since: None,
            failures: 0,
            retry_at: None,
            cut: 0,
            learned: None,
            warned_at: [None; 3],
            random: RandomState::new(),
        }
    }

    /// The thread's whole life.
    pub(super) fn work(self, runtime: tokio::runtime::Runtime) {
        // Whatever happens, nobody waits for a thread that has gone. Said last, when the worker has let go of the outbox:
        // whoever waited may open its file again at once.
        let _leave = Leave(self.shared.clone());
        self.shared.this_is_the_thread();
        let _quiet = Context::enter_telemetry_suppressed_scope();
        // As a task, since waking what `block_on` itself drives costs a system call, even from the same thread.
        let working = async { tokio::spawn(self.run()).await };
        if let Ok(mut worker) = runtime.block_on(working) {
            worker.requests.abort_all();
            for flight in std::mem::take(&mut worker.flights) {
                worker.settle(&flight.parcels, Outcome::Again);
            }
            // A failure is seen by whoever asks what is pending.
            let _ = worker.depot.sync();
            worker.depot.leave();
        }
        // Without waiting for a name that is being resolved, or a client that blocks.
        runtime.shutdown_background();
    }

    /// Works until it is told to stop.
    async fn run(mut self) -> Self {
        loop {
            let orders = self.shared.orders();
            self.obey(&orders);
            // In this order: what is accepted after the queue was looked at either sees 0 and wakes, or counts for itself.
            self.shared.enough.store(0, Ordering::SeqCst);
            // Once its time is over nobody would read the reply.
            if !orders.stop.is_some_and(Stop::is_over) {
                self.launch();
            }
            self.shared.enough.store(self.enough(), Ordering::SeqCst);
            let tend = self.depot.tend();
            if self.report(&orders) {
                return self;
            }
            if let Woken::Landed(task, reply) = self.wait(self.bound(&orders, tend)).await {
                self.land(task, reply);
            }
        }
    }

    /// A flush or shutdown sends what waits, and cuts a backoff short, once.
    fn obey(&mut self, orders: &Orders) {
        if let Some(urgent) = orders.urgent.filter(|urgent| *urgent > self.cut) {
            self.cut = urgent;
            self.drain = self.depot.next();
            self.retry_at = None;
            if self.depot.is_stopped() {
                // If it fails again, `report` says so.
                let _ = self.depot.sync();
            }
        }
        if self.shared.moved.swap(false, Ordering::AcqRel) {
            (self.failures, self.retry_at, self.learned) = (0, None, None);
            self.flights.iter_mut().for_each(|flight| flight.left_behind = true);
        }
    }

    /// Answers who waits for something to be done. True when it is time to go.
    fn report(&mut self, orders: &Orders) -> bool {
        let idle = self.flights.is_empty();
        let left = self.depot.pending(self.queue).events;
        let hopeless = |deadline: i64| idle && self.is_hopeless(deadline);
        let judge = |until: u64, deadline: i64| {
            let good = self.depot.is_past(self.queue, until);
            (good || hopeless(deadline)).then_some(good)
        };
        // What has left is also gone from the disk when a flush says so.
        self.shared.answer(judge, || self.depot.sync().is_ok());
        if idle {
            self.shared.attempted(orders.asked);
        }
        orders.stop.is_some_and(|stop| left == 0 || hopeless(stop.deadline) || stop.is_over())
    }

    /// Whether nothing more will be sent before `deadline`, a real time.
    fn is_hopeless(&self, deadline: i64) -> bool {
        let too_late = match (&self.source, self.retry_at) {
            (Source::System, Some(retry_at)) => retry_at > deadline,
            // That clock stands still while somebody waits here.
            (Source::Given(_), Some(_)) => true,
            (_, None) => false,
        };
        too_late || self.is_paused() || self.depot.is_stopped()
    }

    fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }

    /// How long to wait for something to happen; none: until it does.
    fn bound(&self, orders: &Orders, tend: Option<Duration>) -> Option<Duration> {
        let now = self.source.moment().boot;
        let due = self.waiting_since.map(|since| since.saturating_add(duration_nanos(self.settings.schedule_delay)));
        let due = if self.can_send() { due } else { None };
        let due = [self.retry_at, due].into_iter().flatten().min();
        let park = |remaining: i64| self.source.park(Some(remaining.max(0)));
        let deadline = orders.deadline.map(|deadline| deadline.saturating_sub(real_time()));
        let bounds = [
            due.map(|due| park(due.saturating_sub(now))),
            tend.map(|tend| park(duration_nanos(tend.max(TEND_AT_MOST_EVERY)))),
            // One that passed just now is looked at again: a shutdown's is not to be missed.
            deadline.map(|left| Duration::from_nanos(u64::try_from(left).unwrap_or(0))),
        ];
        bounds.into_iter().flatten().min()
    }

    /// Whether accepted events could be sent now.
    fn can_send(&self) -> bool {
        self.retry_at.is_none() && !self.is_paused() && self.flights.len() < self.settings.max_in_flight
    }

    async fn wait(&mut self, bound: Option<Duration>) -> Woken {
        let shared = self.shared.clone();
        // What is accepted while nothing can be sent need not wake the thread.
        let listens = self.can_send();
        let mut work = pin!(shared.work.notified());
        let mut control = pin!(shared.control.notified());
        let requests = &mut self.requests;
        let woken = poll_fn(|context| {
            if let Poll::Ready(Some(landed)) = requests.poll_join_next_with_id(context) {
                let (task, reply) =
                    landed.unwrap_or_else(|error: JoinError| (error.id(), Err("the HTTP client panicked".to_owned())));
                return Poll::Ready(Woken::Landed(task, reply));
            }
            let asked = control.as_mut().poll(context).is_ready();
            let accepted = listens && work.as_mut().poll(context).is_ready();
            if asked || accepted { Poll::Ready(Woken::Asked) } else { Poll::Pending }
        });
        match bound {
            Some(bound) => tokio::time::timeout(bound, woken).await.unwrap_or(Woken::Asked),
            None => woken.await,
        }
    }

    /// Sends what is due, as many requests as may be under way.
    fn launch(&mut self) {
        let now = self.source.moment();
        if self.retry_at.is_some_and(|retry_at| retry_at <= now.boot) {
            self.retry_at = None;
        }
        // What became too old since somebody looked, by a pause or by a start, is not to be among what is sent.
        self.depot.expire(now.boot);
        while self.can_send() && self.is_due(now.boot) {
            let want = self.want(now.boot);
            let parcels = self.depot.take(self.queue, &want);
            if parcels.is_empty() {
                return;
            }
            self.send(parcels);
        }
    }

    /// Whether there is enough to send, or it has waited long enough.
    fn is_due(&mut self, now: i64) -> bool {
        self.waiting_since = None;
        let Some((oldest, born)) = self.depot.first_waiting(self.queue) else { return false };
        if oldest < self.drain {
            return true;
        }
        let heavy = |bytes| self.depot.payload(self.queue) >= u64::try_from(bytes).unwrap_or(u64::MAX);
        let full = self.depot.pending(self.queue).waiting() >= self.batch_size();
        let mut due = full || self.settings.flush_bytes.is_some_and(heavy);
        if !due && !self.settings.schedule_delay.is_zero() {
            // Since it was accepted, not since this thread saw it: the clock may have moved in between.
            due = now.saturating_sub(born) >= duration_nanos(self.settings.schedule_delay);
            self.waiting_since = Some(born).filter(|_| !due);
        }
        if due {
            self.drain = self.depot.next();
        }
        due
    }

    /// How many events must wait before there is something to do. The first one starts the waits: the schedule's and the age
    /// limit's.
    fn enough(&self) -> u64 {
        let first = self.depot.first_waiting(self.queue);
        let each = self.settings.flush_bytes.is_some() || self.depot.is_stopped();
        if each || first.is_none_or(|(oldest, _)| oldest < self.drain) { 0 } else { self.batch_size() }
    }

    fn batch_size(&self) -> u64 {
        u64::try_from(self.settings.batch_size).unwrap_or(u64::MAX)
    }

    /// What fits into a request, by the protocol and by what a 413 has taught.
    fn want(&mut self, now: i64) -> Want {
        let mut want = self.protocol.want();
        want.max_bytes = want.max_bytes.min(self.protocol.max_request_bytes());
        self.learned = self.learned.filter(|learned| now < learned.until);
        if let Some(learned) = self.learned {
            want.max_bytes = want.max_bytes.min(learned.bytes);
        }
        want
    }

    fn send(&mut self, parcels: Vec<Parcel>) {
        let now = self.source.moment();
        let protocol = self.protocol.clone();
        let Ok(request) = catch_unwind(AssertUnwindSafe(|| protocol.request(&parcels, now.wall))) else {
            return self.give_up(&parcels);
        };
        let bytes = if request.body().is_empty() { request.uri().to_string().len() } else { request.body().len() };
        if parcels.len() == 1 && bytes > self.protocol.max_request_bytes() {
            self.settle(&parcels, Outcome::Dropped(Loss::EventTooLarge));
            let message = format!("the event needs a request of {bytes} bytes, more than may be sent");
            self.warn(Trouble::Dropped, &message);
            self.tell_failure(&parcels, None, &message, false);
            return;
        }
        let client = self.client.clone();
        let bound = self.settings.request_timeout;
        let task = self.requests.spawn(async move {
            match tokio::time::timeout(bound, client.send_bytes(request)).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(error)) => Err(explained(&*error)),
                Err(_) => Err(format!("no complete reply within {bound:?}")),
            }
        });
        self.flights.push(Flight { task: task.id(), parcels, bytes, sent: now, left_behind: false });
    }

    /// No request can be made of them, which a damaged outbox may bring about: each is tried alone, and dropped then.
    fn give_up(&mut self, parcels: &[Parcel]) {
        if parcels.len() > 1 {
            self.settle(parcels, Outcome::Again);
            let until = self.source.moment().boot.saturating_add(LEARNED_FOR);
            self.learned = Some(Learned { bytes: 1, until });
            return;
        }
        let message = "no request can be made of what the outbox holds";
        self.settle(parcels, Outcome::Dropped(Loss::OutboxError));
        self.warn(Trouble::Dropped, message);
        self.tell_failure(parcels, None, message, false);
    }

    /// A request is over. When and how to go on is nothing that a collector says to which requests no longer go.
    fn land(&mut self, task: Id, reply: Reply) {
        let Some(place) = self.flights.iter().position(|flight| flight.task == task) else { return };
        let flight = self.flights.swap_remove(place);
        let (left_behind, known) = (flight.left_behind, (self.failures, self.retry_at, self.learned));
        self.judge(flight, reply);
        if left_behind {
            (self.failures, self.retry_at, self.learned) = known;
        }
    }

    /// Decides by the reply what becomes of a request's events.
    fn judge(&mut self, Flight { parcels, bytes, sent, .. }: Flight, reply: Reply) {
        let now = self.reply_time(sent);
        let reply = match reply {
            Ok(reply) => reply,
            Err(message) => return self.fail(&parcels, None, &message, (None, now)),
        };
        let status = reply.status().as_u16();
        let asked = retry_after(reply.headers(), now.wall);
        match self.settings.retry.verdict(status) {
            Verdict::Delivered => {
                self.arrive(&parcels, status, reply.body());
                self.depot.recycle(parcels);
            }
            Verdict::Retry => self.fail(&parcels, Some(status), &message_of(&reply), (asked, now)),
            Verdict::Halve if parcels.len() > 1 => self.halve(&parcels, bytes, (asked, now)),
            Verdict::Halve => self.drop_rejected(&parcels, status, Loss::EventTooLarge, &message_of(&reply)),
            Verdict::Drop if status == 413 => {
                self.drop_rejected(&parcels, status, Loss::EventTooLarge, &message_of(&reply));
            }
            Verdict::Drop => self.drop_rejected(&parcels, status, Loss::EventRejected, &message_of(&reply)),
        }
    }

    fn arrive(&mut self, parcels: &[Parcel], status: u16, body: &[u8]) {
        failpoint::pass("after-send");
        self.failures = 0;
        self.settle(parcels, Outcome::Delivered);
        let protocol = self.protocol.clone();
        self.call(|| protocol.delivered(parcels, body));
        if let Some(callback) = self.callbacks.on_success.clone() {
            let events = ids(parcels);
            self.call(|| callback(&Delivered { events: &events, status }));
        }
    }

    /// When a reply came. On a clock that only moves when told, that is when its request was sent: no time has passed
    /// between the two, however late this thread sees the reply.
    fn reply_time(&self, sent: Moment) -> Moment {
        match self.source {
            Source::System => self.source.moment(),
            Source::Given(_) => sent,
        }
    }

    /// They are sent again, later.
    fn fail(&mut self, parcels: &[Parcel], status: Option<u16>, message: &str, wait: (Option<Duration>, Moment)) {
        self.settle(parcels, Outcome::Again);
        self.back_off(wait);
        let redirect = status.is_some_and(|status| (300..400).contains(&status));
        self.warn(if redirect { Trouble::Redirect } else { Trouble::Failing }, message);
        self.tell_failure(parcels, status, message, true);
    }

    /// Waits as long as the collector asked for, or by the policy, from its reply on.
    fn back_off(&mut self, (asked, replied): (Option<Duration>, Moment)) {
        let now = replied.boot;
        // Of several requests that were under way together, the first failure counts.
        if self.retry_at.is_none() {
            self.failures = self.failures.saturating_add(1);
        }
        let jittered = self.settings.retry.delay(self.failures, self.random.hash_one((now, self.failures)));
        // The collector knows better, but not that nobody should wait at all.
        let delay = asked.filter(|asked| *asked >= Duration::from_secs(1)).unwrap_or(jittered);
        let due = now.saturating_add(duration_nanos(delay));
        self.retry_at = Some(self.retry_at.map_or(due, |retry_at| retry_at.max(due)));
    }

    /// They are sent again at once, fewer at a time.
    fn halve(&mut self, parcels: &[Parcel], bytes: usize, wait: (Option<Duration>, Moment)) {
        self.settle(parcels, Outcome::Again);
        let until = self.source.moment().boot.saturating_add(LEARNED_FOR);
        // Half of the events or half of the bytes, whichever is more: less than before in any case, and not next to nothing
        // because of one large event at the end.
        let want = self.protocol.want();
        let half = &parcels[..parcels.len() / 2];
        let half = half.iter().fold(want.fixed, |sum, parcel| sum + parcel.bytes().len() + want.per_event);
        self.learned = Some(Learned { bytes: half.max(bytes / 2), until });
        if wait.0.is_some() {
            self.back_off(wait);
        }
        self.tell_failure(parcels, Some(413), "the request is too large; it is sent in parts", true);
    }

    fn drop_rejected(&mut self, parcels: &[Parcel], status: u16, loss: Loss, message: &str) {
        self.failures = 0;
        self.settle(parcels, Outcome::Dropped(loss));
        self.warn(Trouble::Dropped, message);
        self.tell_failure(parcels, Some(status), message, false);
    }

    fn settle(&self, parcels: &[Parcel], outcome: Outcome) {
        let tickets: Vec<Ticket> = parcels.iter().map(|parcel| parcel.ticket).collect();
        self.depot.settle(self.queue, &tickets, outcome);
    }

    fn tell_failure(&self, parcels: &[Parcel], status: Option<u16>, message: &str, will_retry: bool) {
        if let Some(callback) = &self.callbacks.on_failure {
            let events = ids(parcels);
            self.call(|| callback(&Failed { events: &events, status, message, will_retry }));
        }
    }

    /// Calls what is not ours.
    fn call(&self, call: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.losses.add(Loss::EventFilterPanic, 1);
        }
    }

    /// One warning of a kind a minute; the counters and callbacks tell of every one.
    fn warn(&mut self, trouble: Trouble, message: &str) {
        let now = self.source.moment().boot;
        let told = &mut self.warned_at[trouble as usize];
        if told.is_some_and(|told| now.saturating_sub(told) < BETWEEN_WARNINGS) {
            return;
        }
        *told = Some(now);
        let endpoint = self.shared.endpoint();
        // The application's subscriber hears it, and if that panics the events are to be delivered all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| match trouble {
            Trouble::Failing => tracing::warn!(target: TARGET, endpoint, message, "events are kept and sent again"),
            Trouble::Redirect => tracing::warn!(
                target: TARGET,
                endpoint,
                message,
                "the collector redirects, which is not followed: correct the endpoint; events are kept and sent again"
            ),
            Trouble::Dropped => tracing::warn!(target: TARGET, endpoint, message, "events were dropped and counted"),
        }));
    }
}

#[derive(Clone, Copy)]
enum Trouble {
    Failing,
    Redirect,
    Dropped,
}

/// Says that the thread has gone, even if it panicked.
struct Leave(Arc<Shared>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn ids(parcels: &[Parcel]) -> Vec<Uuid> {
    parcels.iter().map(Parcel::id).collect()
}

/// The status, and the beginning of what the collector said.
fn message_of(reply: &http::Response<Bytes>) -> String {
    const LONGEST: usize = 200;
    let said = String::from_utf8_lossy(&reply.body()[..reply.body().len().min(LONGEST)]);
    let said: String = said.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    format!("{} {}", reply.status(), said.trim()).trim_end().to_owned()
}

/// What could not be tended to is not tried in a circle.
const TEND_AT_MOST_EVERY: Duration = Duration::from_millis(5);
/// How long a limit is believed that a 413 told of: 10 minutes.
const LEARNED_FOR: i64 = 600_000_000_000;
/// A minute.
const BETWEEN_WARNINGS: i64 = 60_000_000_000;
/// The target of what is told about delivery.
const TARGET: &str = "otel_session::export";
