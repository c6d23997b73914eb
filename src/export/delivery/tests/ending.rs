//! Flush, shutdown, pause, drop.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::rig::{Rig, Told, id_of, rig};
use super::server::Answer;
use crate::clock::duration_nanos;
use crate::export::delivery::FAREWELL;
use crate::export::delivery::shared::real_time;
use crate::export::http::{Bytes, HttpClient, HttpError, Request, Response};
use crate::export::{Chunk, Commit, Opened, Outbox, OutboxError, OutboxStore, StateRow};
use crate::telemetry::Loss;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_flush_sends_what_is_below_the_batch_size_and_an_empty_one_is_true_at_once() {
    let mut rig = rig(|plan| plan.settings.batch_size = 350);
    assert!(rig.courier.flush(Duration::ZERO));
    assert_eq!(rig.server.count(), 0);
    rig.accept(349);
    rig.settle();
    assert_eq!(rig.server.count(), 0);
    assert!(rig.courier.flush(LONG));
    assert_eq!(rig.requests(), [(0..349).collect::<Vec<_>>()]);
    assert!(rig.courier.flush(Duration::ZERO));
    assert_eq!(rig.server.count(), 1);
}

#[test]
fn a_flush_cuts_the_backoff_short_once_and_says_that_events_remain() {
    let mut rig = rig(|_| ());
    rig.server.usually(Answer::with_header(503, "Retry-After", "600"));
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.server.count(), 1);
    assert!(!rig.courier.flush(LONG));
    assert_eq!(rig.server.count(), 2);
    rig.server.usually(Answer::status(200));
    assert!(rig.courier.flush(LONG));
    assert_eq!(rig.server.count(), 3);
}

#[test]
fn what_one_address_asked_for_does_not_hold_for_the_next() {
    let mut rig = rig(|_| ());
    rig.server.usually(Answer::with_header(503, "Retry-After", "600"));
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.server.count(), 1);
    rig.server.usually(Answer::status(200));
    rig.courier.moved("http://elsewhere");
    rig.settle();
    assert_eq!((rig.server.count(), rig.courier.pending()), (2, 0));
}

#[test]
fn two_failures_and_a_success_within_a_flush_arrive_once() {
    let mut rig = rig(|plan| plan.system_clock = true);
    rig.server.script([Answer::status(500), Answer::status(500)]);
    rig.accept(5);
    assert!(rig.courier.flush(LONG));
    assert_eq!(rig.requests(), [[0, 1, 2, 3, 4]; 3]);
    assert_eq!(rig.delivered(), 5);
}

#[test]
fn a_flush_that_cannot_succeed_in_time_does_not_wait_for_its_end() {
    let mut rig = rig(|plan| plan.system_clock = true);
    rig.server.usually(Answer::with_header(503, "Retry-After", "3000"));
    rig.accept(1);
    let start = real_time();
    assert!(!rig.courier.flush(LONG));
    assert_eq!(rig.courier.shutdown(LONG), 1);
    let took = real_time() - start;
    assert!(took < duration_nanos(LONG), "{took} ns");
}

#[test]
fn dropped_events_count_as_gone_for_a_flush() {
    let mut rig = rig(|plan| plan.settings.batch_size = 10);
    rig.server.script([Answer::status(400)]);
    rig.accept(2);
    assert!(rig.courier.flush(LONG));
    assert_eq!(rig.lost(Loss::EventRejected), 2);
}

#[test]
fn a_flush_waits_for_what_was_accepted_before_it_although_newer_events_overtake_it() {
    let mut rig = rig(|plan| {
        plan.settings.max_in_flight = 2;
        plan.want.one_per_lane = true;
        plan.want.max_events = 1;
    });
    rig.server.script([Answer::Never]);
    let lane = |number| u32::try_from(number).unwrap();
    rig.accept_each(0, 1, lane, 20);
    rig.server.wait_for(1);
    let flushed = std::thread::scope(|scope| {
        let Rig { courier, depot, server, .. } = &mut rig;
        let flush = scope.spawn(|| courier.flush(SHORT));
        for number in 1.. {
            if flush.is_finished() {
                break;
            }
            let mut chunk = Chunk::new(0, 0, 0);
            chunk.push(id_of(number), lane(number), format!("{{\"n\":\"{number}\"}}").as_bytes());
            depot.accept(vec![chunk], Vec::new()).unwrap();
            server.wait_for(usize::try_from(number).unwrap() + 1);
        }
        flush.join().unwrap()
    });
    assert!(!flushed, "the first event has not arrived");
    assert!(rig.delivered() > 0, "but others have");
}

#[test]
fn several_threads_may_flush_at_once() {
    let mut rig = rig(|plan| plan.settings.batch_size = 1000);
    rig.accept(10);
    let courier = &rig.courier;
    std::thread::scope(|scope| {
        let flushes: Vec<_> = (0..8).map(|_| scope.spawn(|| courier.flush(LONG))).collect();
        assert!(flushes.into_iter().all(|flush| flush.join().unwrap()));
    });
    assert_eq!(rig.requests().concat(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_shutdown_drains_and_a_second_one_is_fine() {
    let mut rig = rig(|plan| plan.settings.batch_size = 1000);
    rig.accept(120);
    let start = real_time();
    assert_eq!(rig.courier.shutdown(LONG), 0);
    assert!(real_time() - start < duration_nanos(LONG), "with nothing left there is nothing to wait for");
    assert_eq!(rig.requests().concat(), (0..120).collect::<Vec<_>>());
    assert_eq!(rig.courier.shutdown(LONG), 0);
    assert!(rig.courier.flush(LONG), "nothing is left");
    assert_eq!(rig.losses.read().total(), 0);
    // Nobody attends the clock any more.
    rig.settle();
}

#[test]
fn a_shutdown_never_outlasts_its_timeout_and_counts_what_remains_once() {
    let mut rig = rig(|_| ());
    rig.server.usually(Answer::Never);
    rig.accept(3);
    rig.server.wait_for(1);
    assert_eq!(rig.courier.shutdown(SHORT), 3);
    assert_eq!(rig.courier.shutdown(SHORT), 3);
    assert_eq!(rig.lost(Loss::EventUndelivered), 3);
    assert!(!rig.courier.flush(LONG), "there is nobody to send them");
}

/// A rig of which one event has arrived and two wait; its delivery thread stands in a callback until it is told to go on.
fn held_up() -> (Rig, std::sync::mpsc::Sender<()>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (there, arrived) = std::sync::mpsc::channel();
    let wait = crate::sync::Mutex::new(wait);
    let mut rig = rig(|plan| {
        plan.want.max_events = 1;
        plan.callbacks = Some(crate::export::delivery::Callbacks {
            on_success: Some(Arc::new(move |_| {
                let _ = there.send(());
                let _ = wait.lock().recv();
            })),
            on_failure: None,
        });
    });
    rig.accept(3);
    arrived.recv().unwrap();
    (rig, go)
}

#[test]
fn what_a_shutdown_has_counted_as_lost_is_not_sent_by_a_later_one() {
    let (rig, go) = held_up();
    assert_eq!(rig.courier.shutdown(Duration::ZERO), 2);
    assert_eq!(rig.lost(Loss::EventUndelivered), 2);
    rig.courier.begin_shutdown(LONG);
    drop(go);
    assert_eq!(rig.courier.shutdown(LONG), 2, "it only says how many are left");
    assert_eq!((rig.delivered(), rig.lost(Loss::EventUndelivered)), (1, 2));
}

#[test]
fn a_shutdown_ends_a_backoff_and_tries_once_more() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::with_header(429, "Retry-After", "3600")]);
    rig.accept(2);
    rig.settle();
    assert_eq!(rig.courier.shutdown(LONG), 0);
    assert_eq!(rig.requests(), [[0, 1], [0, 1]]);
}

#[test]
fn while_paused_events_are_kept_and_on_resume_they_go() {
    let mut rig = rig(|_| ());
    rig.courier.pause();
    rig.accept(2);
    rig.settle();
    rig.advance(Duration::from_secs(3600));
    assert!(!rig.courier.flush(LONG), "a flush does not lift the pause");
    assert_eq!((rig.server.count(), rig.pending()), (0, 2));
    rig.courier.resume();
    rig.settle();
    assert_eq!(rig.requests(), [[0, 1]]);
}

/// A store that keeps nothing, that refuses to remove anything while it is told to, and that counts what it removed.
#[derive(Debug)]
struct Clinging(Arc<AtomicBool>, Arc<AtomicUsize>);

impl OutboxStore for Clinging {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        Ok(Opened::new(Vec::new(), Vec::new(), 0))
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        let removes = !commit.done.is_empty() || !commit.removed.is_empty();
        if removes && self.0.load(Ordering::Acquire) {
            return Err(OutboxError::Store("a removal fails".into()));
        }
        self.1.fetch_add(commit.removed.len(), Ordering::AcqRel);
        Ok(())
    }

    fn read(&mut self, _: u64) -> Result<Chunk, OutboxError> {
        Err(OutboxError::Store("nothing is kept".into()))
    }
}

#[test]
fn after_a_removal_that_failed_nothing_is_sent_until_one_has_succeeded() {
    let clings = Arc::new(AtomicBool::new(true));
    let mut rig = rig(|plan| {
        plan.outbox = Outbox::custom(Clinging(clings.clone(), Arc::default()));
        plan.want.max_events = 1;
    });
    rig.server.script([Answer::status(200), Answer::with_header(503, "Retry-After", "10")]);
    rig.accept(2);
    rig.settle();
    assert_eq!(rig.requests(), [[0], [1]]);
    // The removal falls due and fails, and then the retry does.
    rig.advance(Duration::from_secs(1));
    rig.advance(Duration::from_secs(3600));
    assert!(!rig.courier.flush(LONG));
    assert_eq!(rig.server.count(), 2, "what was removed nowhere would come back after a crash, more at each");
    clings.store(false, Ordering::Release);
    rig.advance(Duration::from_secs(1));
    rig.settle();
    assert_eq!(rig.requests(), [[0], [1], [1]]);
    assert_eq!(rig.courier.shutdown(LONG), 0);
}

#[test]
fn a_flush_does_not_wait_for_the_time_at_which_a_failed_removal_is_tried_again() {
    let clings = Arc::new(AtomicBool::new(true));
    let mut rig = rig(|plan| {
        plan.outbox = Outbox::custom(Clinging(clings.clone(), Arc::default()));
        plan.want.max_events = 1;
    });
    rig.server.script([Answer::status(200), Answer::with_header(503, "Retry-After", "10")]);
    rig.accept(2);
    rig.settle();
    rig.advance(Duration::from_secs(1));
    assert!(rig.depot.is_stopped());
    clings.store(false, Ordering::Release);
    assert!(rig.courier.flush(LONG));
    assert_eq!(rig.requests(), [[0], [1], [1]]);
}

#[test]
fn what_was_delivered_is_removed_before_the_outbox_is_closed() {
    let removed = Arc::new(AtomicUsize::new(0));
    let mut rig = rig(|plan| plan.outbox = Outbox::custom(Clinging(Arc::default(), removed.clone())));
    rig.accept(70);
    assert_eq!(rig.courier.shutdown(LONG), 0);
    assert_eq!(removed.load(Ordering::Acquire), 2, "or both chunks were sent again after the next start");
}

#[test]
fn a_drop_after_a_shutdown_that_was_too_short_waits_until_the_outbox_is_closed() {
    let mut rig = rig(|plan| plan.outbox = Outbox::custom(Clinging(Arc::default(), Arc::default())));
    rig.server.usually(Answer::Never);
    rig.accept(1);
    rig.server.wait_for(1);
    rig.courier.shutdown(Duration::ZERO);
    drop(rig.courier);
    let row = StateRow::new(1, vec![1], None);
    assert!(rig.depot.accept(Vec::new(), vec![row]).is_err(), "its file can be opened again");
}

#[test]
fn a_shutdown_whose_collector_is_silent_to_its_end_has_closed_the_outbox_when_it_returns() {
    for _ in 0..5 {
        let mut rig = rig(|plan| plan.outbox = Outbox::custom(Clinging(Arc::default(), Arc::default())));
        rig.server.usually(Answer::Never);
        rig.accept(1);
        rig.server.wait_for(1);
        assert_eq!(rig.courier.shutdown(FAREWELL), 1);
        let row = StateRow::new(1, vec![1], None);
        assert!(rig.depot.accept(Vec::new(), vec![row]).is_err(), "its file can be opened again");
    }
}

/// Refuses event 0 whenever it comes, and answers the others when it is told to.
#[derive(Debug, Default)]
struct Uneven(Arc<tokio::sync::Notify>);

impl HttpClient for Uneven {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let first = String::from_utf8_lossy(request.body()).contains("\"n\":\"0\"");
        Box::pin(async move {
            if !first {
                self.0.notified().await;
            }
            Ok(Response::builder().status(if first { 503 } else { 200 }).body(Bytes::new())?)
        })
    }
}

#[test]
fn a_shutdown_waits_for_what_is_in_flight_although_something_else_has_failed() {
    let go = Arc::new(tokio::sync::Notify::new());
    let (tell, told) = std::sync::mpsc::channel();
    let (answer, failures) = (go.clone(), AtomicUsize::new(0));
    let mut rig = rig(|plan| {
        plan.settings.client = Some(Arc::new(Uneven(go)));
        plan.settings.max_in_flight = 2;
        plan.want = super::super::Want { max_events: 1, one_per_lane: true, ..plan.want };
        plan.callbacks = Some(crate::export::delivery::Callbacks {
            on_success: None,
            on_failure: Some(Arc::new(move |_| {
                let _ = tell.send(());
                if failures.fetch_add(1, Ordering::AcqRel) == 1 {
                    answer.notify_one();
                }
            })),
        });
    });
    rig.accept_each(0, 2, |number| u32::try_from(number).unwrap(), 20);
    told.recv().unwrap();
    assert_eq!(rig.courier.shutdown(LONG), 1);
    assert_eq!(rig.delivered(), 1);
}

#[test]
fn what_waits_in_a_durable_outbox_at_shutdown_is_pending_and_not_lost() {
    let mut rig = rig(|plan| plan.outbox = Outbox::custom(Clinging(Arc::default(), Arc::default())));
    rig.server.usually(Answer::status(500));
    rig.accept(2);
    assert_eq!(rig.courier.shutdown(LONG), 2);
    assert_eq!(rig.losses.read().total(), 0);
    assert_eq!(rig.pending(), 2);
}

#[test]
fn a_callback_may_flush_and_shut_down() {
    let mut rig = rig(|_| ());
    let courier: Arc<std::sync::OnceLock<&'static crate::export::delivery::Courier>> = Arc::default();
    // A second courier, leaked so that its own callback can name it.
    let named = courier.clone();
    let mut other = super::rig::rig(|plan| {
        plan.settings.batch_size = 2;
        plan.callbacks = Some(crate::export::delivery::Callbacks {
            on_success: Some(Arc::new(move |_| {
                let courier = named.wait();
                assert!(courier.flush(LONG), "nothing is left");
                courier.shutdown(LONG);
            })),
            on_failure: None,
        });
    });
    let leaked: &'static mut super::rig::Rig = Box::leak(Box::new({
        other.accept(2);
        other
    }));
    courier.set(&leaked.courier).unwrap();
    leaked.server.wait_for(1);
    assert_eq!(leaked.courier.shutdown(LONG), 0);
    assert_eq!(leaked.losses.read().total(), 0);
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.told(), [Told::Delivered(vec![0], 200)]);
}

#[test]
fn what_is_sent_after_a_callback_asked_for_the_end_is_not_counted_as_lost() {
    let courier: Arc<std::sync::OnceLock<&'static crate::export::delivery::Courier>> = Arc::default();
    let named = courier.clone();
    let mut rig = super::rig::rig(|plan| {
        plan.settings.batch_size = 2;
        plan.want.max_events = 1;
        plan.callbacks = Some(crate::export::delivery::Callbacks {
            on_success: Some(Arc::new(move |_| _ = named.wait().shutdown(LONG))),
            on_failure: None,
        });
    });
    rig.accept(2);
    let leaked: &'static super::rig::Rig = Box::leak(Box::new(rig));
    courier.set(&leaked.courier).unwrap();
    assert_eq!(leaked.courier.shutdown(LONG), 0);
    assert_eq!((leaked.losses.read().total(), leaked.delivered()), (0, 2));
}

#[test]
fn dropping_a_courier_whose_collector_is_silent_does_not_hang() {
    let mut rig = rig(|_| ());
    rig.server.usually(Answer::Never);
    rig.accept(1);
    rig.server.wait_for(1);
    drop(rig);
}

/// Blocks the thread that it is called on, for ever.
#[derive(Debug)]
struct Blocking;

impl HttpClient for Blocking {
    fn send_bytes<'a, 'b>(
        &'a self,
        _: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            loop {
                std::thread::park();
            }
        })
    }
}

/// Counts the requests, and answers none.
#[derive(Debug)]
struct Counting(Arc<AtomicUsize>);

impl HttpClient for Counting {
    fn send_bytes<'a, 'b>(
        &'a self,
        _: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.0.fetch_add(1, Ordering::AcqRel);
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_shutdown_without_time_sends_nothing_whose_reply_nobody_would_read() {
    let requests = Arc::new(AtomicUsize::new(0));
    let mut rig = rig(|plan| {
        plan.settings.batch_size = 10;
        plan.settings.client = Some(Arc::new(Counting(requests.clone())));
    });
    rig.accept(2);
    assert_eq!(rig.courier.shutdown(Duration::ZERO), 2);
    let start = real_time();
    assert_eq!(rig.courier.shutdown(LONG), 2);
    assert!(real_time() - start < duration_nanos(LONG), "the thread has gone");
    assert_eq!(requests.load(Ordering::Acquire), 0);
}

#[test]
fn a_thread_that_a_shutdown_has_given_up_is_not_waited_for_again_when_its_courier_is_dropped() {
    let mut rig = rig(|plan| plan.settings.client = Some(Arc::new(Blocking)));
    rig.accept(1);
    assert_eq!(rig.courier.shutdown(FAREWELL), 1);
    let start = real_time();
    drop(rig);
    let took = real_time() - start;
    assert!(took < duration_nanos(FAREWELL), "{took} ns");
}

#[test]
fn it_works_inside_of_tokio_runtimes_of_both_kinds_and_can_be_dropped_there() {
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for runtime in [current, multi] {
        runtime.block_on(async {
            let mut rig = rig(|plan| plan.system_clock = true);
            rig.accept(2);
            assert!(rig.courier.flush(LONG));
            rig.accept(2);
            assert_eq!(rig.courier.shutdown(LONG), 0);
            assert_eq!(rig.requests().concat(), [0, 1, 2, 3]);
            drop(rig);
        });
    }
}
