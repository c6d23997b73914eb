//! Everything received so far, within bounds: a ring over spans, logs, and Snowplow's and Opentracker's records together.
//!
//! Bounds: `max_records` records (a span's events and links count with it) and `max_bytes` of estimated memory. Going over
//! either drops the records that arrived first, and counts them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::decode::Batch;
use super::opentracker::{Objects, OpentrackerRecord};
use super::received::{Log, Span};
use super::refusals::{Refusal, Refusals};
use super::snowplow::{SnowplowBad, SnowplowEvent, Verdict};

#[derive(Clone, Debug)]
pub(super) struct Contents {
    spans: VecDeque<Arc<Span>>,
    logs: VecDeque<Arc<Log>>,
    snowplow_good: VecDeque<Arc<SnowplowEvent>>,
    snowplow_bad: VecDeque<Arc<SnowplowBad>>,
    snowplow_requests: u64,
    opentracker_events: VecDeque<Arc<OpentrackerRecord>>,
    opentracker_sessions: Objects,
    opentracker_users: Objects,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
    last_sequence: u64,
    dropped: u64,
    metrics: u64,
    requests: u64,
    refusals: Refusals,
    generation: u64,
}

impl Contents {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self {
            spans: VecDeque::new(),
            logs: VecDeque::new(),
            snowplow_good: VecDeque::new(),
            snowplow_bad: VecDeque::new(),
            snowplow_requests: 0,
            opentracker_events: VecDeque::new(),
            opentracker_sessions: Objects::default(),
            opentracker_users: Objects::default(),
            bytes: 0,
            max_records,
            max_bytes,
            last_sequence: 0,
            dropped: 0,
            metrics: 0,
            requests: 0,
            refusals: Refusals::default(),
            generation: 0,
        }
    }

    pub(super) fn accept(&mut self, batch: Batch) {
        self.requests += 1;
        self.generation += 1;
        match batch {
            Batch::Spans(spans) => {
                for mut span in spans {
                    span.sequence = self.arrival(span.size);
                    self.spans.push_back(Arc::new(span));
                    self.make_room();
                }
                self.spans.make_contiguous();
            }
            Batch::Logs(logs) => {
                for mut log in logs {
                    log.sequence = self.arrival(log.size);
                    self.logs.push_back(Arc::new(log));
                    self.make_room();
                }
                self.logs.make_contiguous();
            }
            Batch::Metrics(count) => self.metrics += count,
        }
    }

    /// What became of one tracker's request.
    pub(super) fn accept_snowplow(&mut self, verdicts: Vec<Verdict>) {
        self.snowplow_requests += 1;
        self.generation += 1;
        for verdict in verdicts {
            match verdict {
                Verdict::Good(mut event) => {
                    event.sequence = self.arrival(event.size);
                    self.snowplow_good.push_back(Arc::new(event));
                }
                Verdict::Bad(mut row) => {
                    row.sequence = self.arrival(row.size);
                    self.snowplow_bad.push_back(Arc::new(row));
                }
            }
            self.make_room();
        }
        self.snowplow_good.make_contiguous();
        self.snowplow_bad.make_contiguous();
    }

    /// Forgets what came from Snowplow trackers, as if nothing had.
    pub(super) fn reset_snowplow(&mut self) {
        let good: usize = self.snowplow_good.drain(..).map(|event| event.size).sum();
        let bad: usize = self.snowplow_bad.drain(..).map(|row| row.size).sum();
        self.bytes = self.bytes.saturating_sub(good + bad);
        self.snowplow_requests = 0;
        self.generation += 1;
    }

    pub(super) fn accept_opentracker(&mut self, mut event: OpentrackerRecord) {
        self.generation += 1;
        event.sequence = self.arrival(event.size);
        let event = Arc::new(event);
        self.opentracker_sessions.learn(event.session_id(), &event, self.max_records, self.max_bytes);
        self.opentracker_users.learn(event.user_id(), &event, self.max_records, self.max_bytes);
        self.opentracker_events.push_back(event);
        self.make_room();
        self.opentracker_events.make_contiguous();
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refusals.add(refusal);
        self.generation += 1;
    }

    /// In the order of arrival; whatever adds to a queue leaves it in one piece.
    pub(super) fn spans(&self) -> &[Arc<Span>] {
        self.spans.as_slices().0
    }

    pub(super) fn logs(&self) -> &[Arc<Log>] {
        self.logs.as_slices().0
    }

    pub(super) fn snowplow_good(&self) -> &[Arc<SnowplowEvent>] {
        self.snowplow_good.as_slices().0
    }

    pub(super) fn snowplow_bad(&self) -> &[Arc<SnowplowBad>] {
        self.snowplow_bad.as_slices().0
    }

    pub(super) fn snowplow_requests(&self) -> u64 {
        self.snowplow_requests
    }

    pub(super) fn opentracker_events(&self) -> &[Arc<OpentrackerRecord>] {
        self.opentracker_events.as_slices().0
    }

    pub(super) fn opentracker_sessions(&self) -> &Objects {
        &self.opentracker_sessions
    }

    pub(super) fn opentracker_users(&self) -> &Objects {
        &self.opentracker_users
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn metrics(&self) -> u64 {
        self.metrics
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Changes whenever anything else does.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    fn arrival(&mut self, size: usize) -> u64 {
        self.bytes += size;
        self.last_sequence += 1;
        self.last_sequence
    }

    fn make_room(&mut self) {
        while self.len() > self.max_records || self.bytes > self.max_bytes {
            let fronts = [
                self.spans.front().map(|span| span.sequence),
                self.logs.front().map(|log| log.sequence),
                self.snowplow_good.front().map(|event| event.sequence),
                self.snowplow_bad.front().map(|row| row.sequence),
                self.opentracker_events.front().map(|event| event.sequence),
            ];
            let first = fronts.iter().enumerate().filter_map(|(queue, front)| Some(((*front)?, queue))).min();
            let freed = match first {
                None => return,
                Some((_, 0)) => self.spans.pop_front().map(|old| old.size),
                Some((_, 1)) => self.logs.pop_front().map(|old| old.size),
                Some((_, 2)) => self.snowplow_good.pop_front().map(|old| old.size),
                Some((_, 3)) => self.snowplow_bad.pop_front().map(|old| old.size),
                Some(_) => self.opentracker_events.pop_front().map(|old| old.size),
            };
            self.bytes = self.bytes.saturating_sub(freed.unwrap_or(0));
            self.dropped += 1;
        }
    }

    fn len(&self) -> usize {
        let otlp = self.spans.len() + self.logs.len();
        otlp + self.snowplow_good.len() + self.snowplow_bad.len() + self.opentracker_events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_whatever_their_kind() {
        let mut contents = Contents::new(3, usize::MAX);
        contents.accept(Batch::Spans(vec![span(1), span(1)]));
        contents.accept(Batch::Logs(vec![log(1), log(1)]));
        assert_eq!((contents.spans().len(), contents.logs().len(), contents.dropped()), (1, 2, 1));
        contents.accept(Batch::Spans(vec![span(1)]));
        let sequences: Vec<_> = contents.spans().iter().map(|span| span.sequence).collect();
        assert_eq!(sequences, [5]);
        assert_eq!((contents.logs().len(), contents.dropped()), (2, 2));
    }

    #[test]
    fn the_bound_in_bytes_holds_beside_the_bound_in_records() {
        let mut contents = Contents::new(1_000, 100);
        contents.accept(Batch::Logs((0..50).map(|_| log(10)).collect()));
        assert_eq!((contents.logs().len(), contents.dropped()), (10, 40));
        contents.accept(Batch::Logs(vec![log(101)]));
        assert_eq!((contents.logs().len(), contents.dropped()), (0, 51), "one too large for the ring is not kept");
        contents.accept(Batch::Spans(vec![span(100)]));
        assert_eq!(contents.spans().len(), 1);
    }

    fn span(size: usize) -> Span {
        Span { size, ..Span::default() }
    }

    fn log(size: usize) -> Log {
        Log { size, ..Log::default() }
    }
}
