//! What became of the events of an exporter.

use std::fmt;

use crate::telemetry::Losses;

/// What an exporter did until it was shut down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "says whether events remained"]
#[non_exhaustive]
pub struct ExportReport {
    /// Events that their collectors have confirmed with a 2xx, summed over the collectors.
    pub delivered: u64,
    /// What was lost, by reason.
    pub dropped: Losses,
    /// Events that were accepted and neither delivered nor dropped, summed over the collectors. They wait in a durable
    /// outbox for the next start; those of a memory outbox are lost, and counted as
    /// [`Loss::EventUndelivered`](crate::Loss::EventUndelivered).
    pub pending: u64,
    /// The same for each collector, in the order of the builder.
    pub collectors: Vec<CollectorReport>,
}

/// What became of the events for one collector.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectorReport {
    /// The collector's address.
    pub endpoint: String,
    /// Events that it has confirmed with a 2xx.
    pub delivered: u64,
    /// Events that still wait for it.
    pub pending: u64,
}

impl ExportReport {
    /// Sums what the collectors report.
    pub(crate) fn new(dropped: Losses, collectors: Vec<CollectorReport>) -> Self {
        let delivered = collectors.iter().map(|collector| collector.delivered).sum();
        let pending = collectors.iter().map(|collector| collector.pending).sum();
        Self { delivered, dropped, pending, collectors }
    }
}

impl fmt::Display for ExportReport {
    /// `delivered: 3, pending: 0, lost: none`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivered: {}, pending: {}, lost: {}", self.delivered, self.pending, self.dropped)
    }
}
