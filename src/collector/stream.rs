//! What the collector has received up to one moment, and what follows from it.

use std::fmt;
use std::sync::Arc;

use super::contents::Contents;
use super::ledger::Ledger;
use super::opentracker::OpentrackerRecord;
use super::problems::{self, Problem};
use super::received::{Log, Span, SpanEvent};
use super::refusals::Refusals;
use super::sessions::{self, SeenSession};
use super::snowplow::{SnowplowBad, SnowplowEvent};
use super::{json_lines, timeline};

/// What a [`DevCollector`](super::DevCollector) had received when the stream was taken.
///
/// It never changes; cloning it is cheap.
#[derive(Clone)]
pub struct Stream(Arc<Contents>);

impl Stream {
    pub(super) fn new(contents: Arc<Contents>) -> Self {
        Self(contents)
    }

    /// The spans, in the order they arrived.
    pub fn spans(&self) -> &[Arc<Span>] {
        self.0.spans()
    }

    /// The log records, OpenTelemetry events among them, in the order they arrived.
    pub fn logs(&self) -> &[Arc<Log>] {
        self.0.logs()
    }

    /// The Snowplow events that passed the validation, in the order they arrived.
    pub fn snowplow_good(&self) -> &[Arc<SnowplowEvent>] {
        self.0.snowplow_good()
    }

    /// The Snowplow events and requests that failed the validation, in the order they arrived.
    pub fn snowplow_bad(&self) -> &[Arc<SnowplowBad>] {
        self.0.snowplow_bad()
    }

    /// How many requests of Snowplow trackers were answered with 200, since the start or the last `/micro/reset`.
    pub fn snowplow_requests(&self) -> u64 {
        self.0.snowplow_requests()
    }

    /// The Opentracker events, in the order they arrived.
    pub fn opentracker_events(&self) -> &[Arc<OpentrackerRecord>] {
        self.0.opentracker_events()
    }

    /// The Opentracker sessions, each with the last value of every property of its events, in the order in which they
    /// were first seen. The bounds on records hold for sessions and for users too; those that were seen first go first, and
    /// are not counted as [dropped](Self::dropped).
    pub fn opentracker_sessions(&self) -> Vec<Arc<OpentrackerRecord>> {
        self.0.opentracker_sessions().list()
    }

    /// The Opentracker users, in the same way.
    pub fn opentracker_users(&self) -> Vec<Arc<OpentrackerRecord>> {
        self.0.opentracker_users().list()
    }

    /// Every session whose id was seen: started, ended or only carried by signals. A session follows the one that its
    /// `session.previous_id` names; otherwise they stand in the order in which they began.
    pub fn sessions(&self) -> Vec<SeenSession> {
        sessions::sessions(&Ledger::of(self))
    }

    /// The ids that were carried by signals and never seen to start, in the order they arrived.
    ///
    /// That is no [problem](Self::problems) by itself: an adopted id is never started here, and another process may have
    /// started it. Where every session should have been started here, expect none.
    pub fn unstarted(&self) -> Vec<String> {
        Ledger::of(self).entries().filter(|entry| entry.starts.is_empty()).map(|entry| entry.id.to_owned()).collect()
    }

    /// The signals that carry this session id.
    pub fn by_session(&self, id: &str) -> SessionSignals<'_> {
        let spans = self.spans().iter().map(Arc::as_ref);
        let events = spans.clone().flat_map(|span| span.events.iter().map(move |event| (span, event)));
        SessionSignals {
            spans: spans.filter(|span| span.session_id() == Some(id)).collect(),
            events: events.filter(|(_, event)| event.session_id() == Some(id)).collect(),
            logs: self.logs().iter().map(Arc::as_ref).filter(|log| log.session_id() == Some(id)).collect(),
        }
    }

    /// What is wrong with the sessions in this stream; see [`Problem`] for each kind. Empty when all is well.
    ///
    /// Batches of spans and of logs travel apart and may cross, so spans are compared with sessions by time only, and
    /// the order of arrival is judged among the logs of one resource only. Once records were [dropped](Self::dropped), a
    /// missing start is not held against a session, nor a missing end against a span.
    pub fn problems(&self) -> Vec<Problem> {
        problems::problems(self, &Ledger::of(self))
    }

    /// The sessions drawn for a terminal, and under them the [problems](Self::problems), of which the last line gives
    /// the number: `0 problems`. At most the last 100 sessions and the first 20 problems are shown.
    pub fn timeline(&self) -> String {
        timeline::timeline(self)
    }

    /// Every record as a line of JSON, in the order they arrived, with `kind` and `sequence` in each line.
    ///
    /// For the kinds `span` and `log` the fields are those of OTLP JSON (ids in hex, 64-bit numbers as strings), with
    /// `resource` and `scope`; a span's own kind is `spanKind`. `snowplow_good` has `eventType`, `schema`, `contexts` and
    /// `event` (the known columns), `snowplow_bad` has `errors` and `parameters`, `opentracker` has `site` and `properties`.
    /// Headers are left out.
    pub fn to_json_lines(&self) -> String {
        json_lines::json_lines(self)
    }

    /// How many records were dropped to make room, the first to arrive first.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// How many metrics arrived. They are counted and not kept.
    pub fn metrics(&self) -> u64 {
        self.0.metrics()
    }

    /// How many export requests were accepted.
    pub fn requests(&self) -> u64 {
        self.0.requests()
    }

    /// How many requests were refused, and why.
    pub fn refusals(&self) -> &Refusals {
        self.0.refusals()
    }

    /// How many Opentracker sessions and users there are, without listing them.
    pub(super) fn opentracker_counts(&self) -> (usize, usize) {
        (self.0.opentracker_sessions().len(), self.0.opentracker_users().len())
    }

    pub(super) fn generation(&self) -> u64 {
        self.0.generation()
    }
}

impl fmt::Debug for Stream {
    /// The numbers only: the records would fill many screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("spans", &self.spans().len())
            .field("logs", &self.logs().len())
            .field("metrics", &self.metrics())
            .field("snowplow_good", &self.snowplow_good().len())
            .field("snowplow_bad", &self.snowplow_bad().len())
            .field("opentracker_events", &self.opentracker_events().len())
            .field("dropped", &self.dropped())
            .field("refusals", &format_args!("{}", self.refusals()))
            .finish_non_exhaustive()
    }
}

/// The signals of one session, each in the order of arrival.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSignals<'a> {
    /// The spans that carry the id.
    pub spans: Vec<&'a Span>,
    /// The span events that carry the id, each with its span (which may belong to an earlier session).
    pub events: Vec<(&'a Span, &'a SpanEvent)>,
    /// The logs that carry the id, `session.start` and `session.end` among them.
    pub logs: Vec<&'a Log>,
}
