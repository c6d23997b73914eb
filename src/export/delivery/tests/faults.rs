//! Each fault of a collector or network, and what becomes of the events.

use std::sync::Arc;
use std::time::Duration;

use super::rig::{Told, id_of, rig};
use super::server::{Answer, FaultServer};
use crate::clock::duration_nanos;
use crate::export::delivery::Callbacks;
use crate::export::http::{Bytes, HttpClient, HttpError, Request, Response};
use crate::export::retry::RetryPolicy;
use crate::export::{Chunk, Commit, Opened, Outbox, OutboxError, OutboxStore, Stored};
use crate::telemetry::Loss;

const A_SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_failure_is_retried_after_the_backoff_and_nothing_newer_goes_first() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::status(500), Answer::status(503)]);
    rig.accept(2);
    rig.settle();
    rig.accept(1);
    rig.settle();
    assert_eq!(rig.requests(), [[0, 1]], "the backoff holds newer events back");
    rig.advance(Duration::from_millis(500));
    rig.advance(A_SECOND);
    assert_eq!(rig.requests(), [vec![0, 1], vec![0, 1, 2], vec![0, 1, 2]]);
    assert_eq!(rig.pending(), 0);
    assert_eq!(
        rig.told(),
        [
            Told::Failed(vec![0, 1], Some(500), true),
            Told::Failed(vec![0, 1, 2], Some(503), true),
            Told::Delivered(vec![0, 1, 2], 200),
        ]
    );
}

#[test]
fn an_event_that_is_not_retried_is_dropped_and_counted_and_the_next_one_goes() {
    for status in [400, 401, 403, 410, 422] {
        let mut rig = rig(|_| ());
        rig.server.script([Answer::status(status)]);
        rig.accept(2);
        rig.settle();
        rig.accept(1);
        rig.settle();
        assert_eq!(rig.requests(), [vec![0, 1], vec![2]]);
        assert_eq!(rig.lost(Loss::EventRejected), 2);
        assert_eq!(rig.told(), [Told::Failed(vec![0, 1], Some(status), false), Told::Delivered(vec![2], 200)]);
    }
}

#[test]
fn a_map_of_statuses_overrides_both_ways() {
    let mut rig = rig(|plan| {
        plan.settings.retry = RetryPolicy::new().with_retry_code(500, false).with_retry_code(422, true);
    });
    rig.server.script([Answer::status(500), Answer::status(422)]);
    rig.accept(1);
    rig.settle();
    rig.accept(1);
    rig.settle();
    rig.advance(A_SECOND);
    assert_eq!(rig.requests(), [[0], [1], [1]]);
    assert_eq!(rig.lost(Loss::EventRejected), 1);
}

#[test]
fn without_retries_a_500_drops_and_a_fault_of_the_network_does_not() {
    let mut rig = rig(|plan| plan.settings.retry = RetryPolicy::new().with_retry_failed_requests(false));
    rig.server.script([Answer::status(500), Answer::Close]);
    rig.accept(1);
    rig.settle();
    rig.accept(1);
    rig.settle();
    rig.advance(A_SECOND);
    assert_eq!(rig.lost(Loss::EventRejected), 1);
    assert_eq!(rig.requests(), [[0], [1], [1]]);
    assert_eq!(rig.pending(), 0);
}

#[test]
fn every_fault_of_the_network_keeps_the_events_under_their_ids() {
    let faults = [
        Answer::ResetMidBody,
        Answer::Close,
        Answer::Truncated(200),
        Answer::TruncatedChunks(200),
        Answer::Garbage(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Answer::Garbage(vec![0; 40_000]),
        Answer::Garbage(b"HTTP/1.1 999999 what\r\n\r\n".to_vec()),
        Answer::Garbage([b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 1 << 20]].concat()),
        Answer::Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec()),
        Answer::Never,
        Answer::NeverEnds(200),
    ];
    for fault in faults {
        let mut rig = rig(|plan| plan.settings.request_timeout = Duration::from_millis(300));
        rig.server.script([fault.clone()]);
        rig.accept_each(0, 2, |_| 0, 100_000);
        rig.settle();
        assert_eq!(rig.pending(), 2, "{fault:?}");
        assert_eq!(rig.told(), [Told::Failed(vec![0, 1], None, true)], "{fault:?}");
        rig.advance(A_SECOND);
        assert_eq!(rig.pending(), 0, "{fault:?}");
        assert_eq!(rig.requests().last(), Some(&vec![0, 1]));
        assert_eq!(rig.told(), [Told::Delivered(vec![0, 1], 200)], "{fault:?}");
        assert_eq!(rig.losses.read().total(), 0);
    }
}

#[test]
fn a_2xx_is_a_success_whatever_it_says_and_its_reply_is_kept_up_to_64_kb() {
    let mut rig = rig(|_| ());
    let html = Answer::Reply(201, vec![("Content-Type".to_owned(), "text/html".to_owned())], "<html>".to_owned());
    rig.server.script([html, Answer::Reply(204, vec![], String::new()), Answer::Long(200, 500_000)]);
    for _ in 0..3 {
        rig.accept(1);
        rig.settle();
    }
    assert_eq!(rig.delivered(), 3);
    let lengths: Vec<usize> = rig.protocol.replies.lock().iter().map(Vec::len).collect();
    assert_eq!(lengths, [6, 0, 64 * 1024]);
    let connections: Vec<u64> = rig.server.received().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [0; 3], "a reply is read to its end");
}

#[test]
fn a_status_counts_however_long_its_reply_is() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::Long(200, 3 << 20), Answer::Long(400, 3 << 20), Answer::Long(503, 3 << 20)]);
    for _ in 0..3 {
        rig.accept(1);
        rig.settle();
    }
    let told = [
        Told::Delivered(vec![0], 200),
        Told::Failed(vec![1], Some(400), false),
        Told::Failed(vec![2], Some(503), true),
    ];
    assert_eq!(rig.told(), told);
    rig.advance(A_SECOND);
    assert_eq!((rig.pending(), rig.lost(Loss::EventRejected)), (0, 1));
    assert_eq!(rig.protocol.replies.lock()[0], b"", "what was not read to its end says nothing");
    let connections: Vec<u64> = rig.server.received().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3], "what is left of it is not waited for");
}

#[test]
fn a_refused_connection_is_retried_until_the_collector_is_back() {
    let mut rig = rig(|_| ());
    let address = rig.server.address();
    rig.server = FaultServer::start();
    rig.accept(3);
    rig.settle();
    for _ in 0..5 {
        rig.advance(Duration::from_secs(60));
    }
    assert_eq!(rig.pending(), 3);
    assert!(rig.told().iter().all(|told| *told == Told::Failed(vec![0, 1, 2], None, true)));
    rig.server = FaultServer::start_at(address);
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.requests(), [[0, 1, 2]]);
    assert_eq!(rig.pending(), 0);
}

#[test]
fn redirects_are_not_followed_and_keep_the_events() {
    let other = FaultServer::start();
    for status in [301, 302, 303, 304, 307, 308] {
        let mut rig = rig(|_| ());
        rig.server.script([Answer::with_header(status, "Location", &other.url())]);
        rig.accept(1);
        rig.settle();
        assert_eq!(rig.pending(), 1);
        rig.advance(A_SECOND);
        assert_eq!(rig.requests(), [[0], [0]]);
        assert_eq!(rig.told()[0], Told::Failed(vec![0], Some(status), true));
    }
    assert_eq!(other.count(), 0);
}

#[test]
fn retry_after_is_honoured_in_seconds_and_as_a_date_whatever_the_status() {
    // The clock of the rig stands at 2023-11-14T22:13:20Z.
    for (status, value) in [(429, "20"), (503, "Tue, 14 Nov 2023 22:13:40 GMT"), (500, "20"), (301, "20")] {
        let mut rig = rig(|_| ());
        rig.server.script([Answer::with_header(status, "Retry-After", value)]);
        rig.accept(1);
        rig.settle();
        rig.advance(Duration::from_millis(19_999));
        assert_eq!(rig.server.count(), 1, "{status} {value}");
        rig.advance(Duration::from_millis(1));
        assert_eq!(rig.server.count(), 2, "{status} {value}");
        assert_eq!(rig.pending(), 0);
    }
}

#[test]
fn retry_after_is_at_most_an_hour_and_nonsense_is_ignored() {
    for (value, waits) in [("999999999999", Duration::from_secs(3600)), ("soon", Duration::from_millis(500))] {
        let mut rig = rig(|_| ());
        rig.server.script([Answer::with_header(503, "Retry-After", value)]);
        rig.accept(1);
        rig.settle();
        rig.advance(waits);
        assert_eq!(rig.server.count(), 2, "{value}");
    }
}

#[test]
fn a_413_halves_the_batch_at_once_and_the_smaller_limit_is_remembered() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::status(413), Answer::status(413)]);
    rig.accept(8);
    rig.settle();
    let halves = [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![4, 5], vec![6, 7]];
    assert_eq!(rig.requests(), halves);
    assert_eq!(rig.lost(Loss::EventTooLarge), 0);
    assert_eq!(rig.told()[0], Told::Failed((0..8).collect(), Some(413), true));
    rig.server.forget();
    rig.accept(4);
    rig.settle();
    assert!(rig.requests().len() > 1, "{:?}", rig.requests());
    rig.advance(Duration::from_secs(600));
    rig.server.forget();
    rig.accept(4);
    rig.settle();
    assert_eq!(rig.requests().len(), 1, "after ten minutes it is tried whether the limit still holds");
}

#[test]
fn a_single_event_that_gets_413_is_dropped_by_name_and_its_neighbours_go() {
    let mut rig = rig(|_| ());
    rig.courier.pause();
    rig.accept(1);
    rig.accept_each(0, 1, |_| 0, 2000);
    rig.accept(1);
    // Whatever holds the large one is too large.
    rig.server.script([Answer::status(413), Answer::status(200), Answer::status(413)]);
    rig.courier.resume();
    rig.settle();
    assert_eq!(rig.requests(), [vec![0, 1, 2], vec![0], vec![1], vec![2]]);
    assert_eq!(rig.lost(Loss::EventTooLarge), 1);
    let told = [
        Told::Failed(vec![0, 1, 2], Some(413), true),
        Told::Delivered(vec![0], 200),
        Told::Failed(vec![1], Some(413), false),
        Told::Delivered(vec![2], 200),
    ];
    assert_eq!(rig.told(), told);
    assert_eq!(rig.pending(), 0);
}

#[test]
fn a_413_that_names_a_time_is_waited_for() {
    let mut rig = rig(|_| ());
    rig.server.script([Answer::with_header(413, "Retry-After", "30")]);
    rig.accept(4);
    rig.settle();
    rig.advance(Duration::from_secs(29));
    assert_eq!(rig.server.count(), 1);
    rig.advance(A_SECOND);
    assert_eq!(rig.requests()[1], [0, 1]);
}

#[derive(Debug)]
struct Panics;

impl HttpClient for Panics {
    fn send_bytes<'a, 'b>(
        &'a self,
        _: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { panic!("a client of the user's") })
    }
}

#[test]
fn a_client_that_panics_is_a_failure_like_another() {
    let mut rig = rig(|plan| plan.settings.client = Some(Arc::new(Panics)));
    rig.accept(1);
    rig.settle();
    rig.advance(A_SECOND);
    assert_eq!(rig.told(), [Told::Failed(vec![0], None, true), Told::Failed(vec![0], None, true)]);
    assert_eq!(rig.pending(), 1);
}

/// A store with one event of long ago.
#[derive(Debug)]
struct Old(Chunk);

impl OutboxStore for Old {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        Ok(Opened::new(vec![Stored::new(0, &self.0, Vec::new())], Vec::new(), 1))
    }

    fn commit(&mut self, _: &Commit<'_>) -> Result<(), OutboxError> {
        Ok(())
    }

    fn read(&mut self, _: u64) -> Result<Chunk, OutboxError> {
        Ok(self.0.clone())
    }
}

#[test]
fn what_became_too_old_while_nobody_looked_is_dropped_and_not_sent() {
    let mut chunk = Chunk::new(0, 0, 1_700_000_000_000_000_000 - duration_nanos(Duration::from_secs(31 * 24 * 3600)));
    chunk.push(id_of(0), 0, b"{\"n\":\"0\"}");
    // While the program did not run.
    let rig = rig(|plan| plan.outbox = Outbox::custom(Old(chunk)));
    rig.settle();
    assert_eq!((rig.server.count(), rig.pending(), rig.lost(Loss::OutboxAge)), (0, 0, 1));
}

/// Panics at every event of ours.
struct Panicking;

impl tracing::Subscriber for Panicking {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("otel_session")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("this subscriber panics at every event");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_that_panics_at_a_warning_does_not_end_the_delivery() {
    let mut rig = rig(|plan| {
        plan.callbacks = Some(Callbacks {
            on_success: None,
            // On the thread that warns, and for as long as it lives.
            on_failure: Some(Arc::new(|_| std::mem::forget(tracing::subscriber::set_default(Panicking)))),
        });
    });
    rig.server.script([Answer::status(500), Answer::status(500)]);
    rig.accept(1);
    rig.settle();
    // A warning of a kind is given once a minute.
    rig.advance(Duration::from_secs(120));
    rig.advance(Duration::from_secs(120));
    assert_eq!((rig.server.count(), rig.pending()), (3, 0));
}
