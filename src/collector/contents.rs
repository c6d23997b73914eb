//! Everything received so far, within bounds: a ring over spans and logs together.
//!
//! Bounds: `max_records` spans and logs (a span's events and links count with it) and `max_bytes` of estimated memory.
//! Going over either drops the records that arrived first, and counts them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::decode::Batch;
use super::received::{Log, Span};
use super::refusals::{Refusal, Refusals};

#[derive(Clone, Debug)]
pub(super) struct Contents {
    spans: VecDeque<Arc<Span>>,
    logs: VecDeque<Arc<Log>>,
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

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refusals.add(refusal);
        self.generation += 1;
    }

    /// In the order of arrival; [`accept`](Self::accept) leaves each queue in one piece.
    pub(super) fn spans(&self) -> &[Arc<Span>] {
        self.spans.as_slices().0
    }

    pub(super) fn logs(&self) -> &[Arc<Log>] {
        self.logs.as_slices().0
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
        while self.spans.len() + self.logs.len() > self.max_records || self.bytes > self.max_bytes {
            let span = self.spans.front().map(|span| span.sequence);
            let log = self.logs.front().map(|log| log.sequence);
            let freed = match (span, log) {
                (None, None) => return,
                (Some(span), log) if log.is_none_or(|log| span < log) => self.spans.pop_front().map(|old| old.size),
                _ => self.logs.pop_front().map(|old| old.size),
            };
            self.bytes = self.bytes.saturating_sub(freed.unwrap_or(0));
            self.dropped += 1;
        }
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
