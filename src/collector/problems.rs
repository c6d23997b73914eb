//! What can be wrong with the sessions of a stream, and how it is found.
//!
//! Each rule judges only what the stream can prove, so that a clean sender has no problems; where two senders look the
//! same, [`Problem`] says which clean one is reported too.

use std::fmt;
use std::time::Duration;

use super::ledger::{Entry, Ledger};
use super::printable::printable;
use super::received::{Log, Span, session_id, text};
use super::stream::Stream;
use super::value::Attributes;
use crate::semconv;

/// Something wrong with a stream. `Display` says it in a sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A span, span event or log carries no `session.id`, an empty one, or one that is no string.
    #[non_exhaustive]
    MissingSessionId {
        /// The signal.
        signal: SignalRef,
    },
    /// A signal carries the attribute `session.id` more than once.
    #[non_exhaustive]
    DuplicateSessionId {
        /// The signal.
        signal: SignalRef,
        /// How often.
        times: usize,
    },
    /// A signal names its own session as the one before it.
    #[non_exhaustive]
    OwnPrevious {
        /// The signal.
        signal: SignalRef,
        /// The session.
        session_id: String,
    },
    /// A signal has the time zero, which viewers show as 1970: a span without start or end, a span event without a time,
    /// a log with neither a time of its own nor an observed time (the latter is enough for an ordinary log; a
    /// `session.start` and a `session.end` must have their own).
    #[non_exhaustive]
    TimeZero {
        /// The signal.
        signal: SignalRef,
    },
    /// More than one `session.start` with one id. Two log pipelines of one program that both export to this collector
    /// cause it, since each carries its own, and so does an exporter that sends a batch again after it was accepted.
    #[non_exhaustive]
    StartedTwice {
        /// The session.
        session_id: String,
        /// How often it was started.
        times: usize,
    },
    /// More than one `session.end` with one id. Two log pipelines to this collector, or a batch sent again, cause it too.
    #[non_exhaustive]
    EndedTwice {
        /// The session.
        session_id: String,
        /// How often it was ended.
        times: usize,
    },
    /// A `session.end` whose `session.start` is nowhere in the stream. Not judged once records were dropped, nor for the
    /// end of a crashed session (reason `crash`): its process may have died before the start was sent.
    #[non_exhaustive]
    EndWithoutStart {
        /// The session.
        session_id: String,
    },
    /// A `session.end` with a time before its `session.start`.
    #[non_exhaustive]
    EndBeforeStart {
        /// The session.
        session_id: String,
        /// How long before.
        by: Duration,
    },
    /// Logs of a session (its end counts) that arrived before its `session.start`, from the same resource. A receiver
    /// that reads in order meets a session it knows nothing of.
    #[non_exhaustive]
    StartAfterLogs {
        /// The session.
        session_id: String,
        /// The first of them.
        first: SignalRef,
        /// How many there are.
        logs: usize,
    },
    /// A `session.start` names a previous session that was seen to start in the logs of the same resource and had not
    /// ended there before. (An end from another resource counts whenever it arrives.)
    #[non_exhaustive]
    PreviousNotEnded {
        /// The session that started.
        session_id: String,
        /// The session that should have ended first.
        previous_id: String,
    },
    /// A signal that is older than the session it carries: its time (a span's start; a log's own time) lies before the end
    /// of the session before, or, where no end is known and no record was dropped, a span started more than 100 ms before
    /// its session.
    /// Times between an end and the next start belong to the next session and are no problem, also where the start is not
    /// linked: then the end is one that came from the same resource before it and that no other start has followed, the
    /// earliest if there are several. A sender whose wall clock was set back looks the same as one that stamps wrongly, and
    /// is reported too; so is one that, after its first session began, makes spans with start times of their own from
    /// before it, which belong to that session for want of an earlier.
    #[non_exhaustive]
    SignalBeforeStart {
        /// The signal.
        signal: SignalRef,
        /// The session it carries.
        session_id: String,
        /// The session to which its time belongs, if that is known.
        previous_id: Option<String>,
        /// How long before the start of its session.
        by: Duration,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingSessionId { signal } => write!(f, "{signal} has no session.id"),
            Self::DuplicateSessionId { signal, times } => write!(f, "{signal} has {times} attributes session.id"),
            Self::OwnPrevious { signal, session_id } => {
                write!(f, "{signal} names its session {} as the previous one too", printable(session_id))
            }
            Self::TimeZero { signal } => write!(f, "{signal} has the time zero"),
            Self::StartedTwice { session_id, times } => {
                write!(f, "session {} was started {times} times", printable(session_id))
            }
            Self::EndedTwice { session_id, times } => {
                write!(f, "session {} was ended {times} times", printable(session_id))
            }
            Self::EndWithoutStart { session_id } => {
                write!(f, "session {} ended and was never started", printable(session_id))
            }
            Self::EndBeforeStart { session_id, by } => {
                write!(f, "session {} ended {by:?} before it started", printable(session_id))
            }
            Self::StartAfterLogs { session_id, first, logs } => {
                let session = printable(session_id);
                write!(f, "the start of session {session} arrived after {logs} of its logs, the first of them {first}")
            }
            Self::PreviousNotEnded { session_id, previous_id } => {
                let (session, previous) = (printable(session_id), printable(previous_id));
                write!(f, "session {session} started before the end of its previous session {previous} arrived")
            }
            Self::SignalBeforeStart { signal, session_id, previous_id, by } => {
                write!(f, "{signal} carries session {} but is {by:?} older than it", printable(session_id))?;
                match previous_id {
                    Some(previous) => write!(f, ", of the time of {}", printable(previous)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Which signal a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalRef {
    /// What it is.
    pub kind: SignalKind,
    /// The arrival number of the log, the span, or the span that the event is in.
    pub sequence: u64,
    /// The name of the span or the event, the event name of the log.
    pub name: String,
}

impl fmt::Display for SignalRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.kind, self.sequence)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", printable(&self.name)) }
    }
}

/// What kind of signal a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalKind {
    /// A span.
    Span,
    /// An event inside a span.
    SpanEvent,
    /// A log record.
    Log,
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Span => "span",
            Self::SpanEvent => "span event",
            Self::Log => "log",
        })
    }
}

/// Signals in the order of arrival (logs, then spans), then sessions.
pub(super) fn problems(stream: &Stream, ledger: &Ledger<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for log in stream.logs() {
        judge_log(log, ledger, &mut problems);
    }
    for span in stream.spans() {
        judge_span(span, ledger, &mut problems);
    }
    judge_arrivals(stream, ledger, &mut problems);
    for entry in ledger.entries() {
        judge_session(entry, ledger, &mut problems);
    }
    problems
}

fn judge_log(log: &Log, ledger: &Ledger<'_>, problems: &mut Vec<Problem>) {
    let signal = Judged {
        kind: SignalKind::Log,
        sequence: log.sequence,
        name: &log.event_name,
        attributes: &log.attributes,
        // A log without a time of its own got its session when it was emitted; the observed time need not agree.
        nanos: log.time_unix_nanos,
    };
    signal.judge_attributes(problems);
    let zero = if log.is_lifecycle() { log.time_unix_nanos == 0 } else { log.nanos() == 0 };
    if zero {
        problems.push(Problem::TimeZero { signal: signal.to_ref() });
    }
    if !log.is_lifecycle() {
        signal.judge_time(ledger, problems);
    }
}

fn judge_span(span: &Span, ledger: &Ledger<'_>, problems: &mut Vec<Problem>) {
    let signal = Judged {
        kind: SignalKind::Span,
        sequence: span.sequence,
        name: &span.name,
        attributes: &span.attributes,
        nanos: span.start_unix_nanos,
    };
    signal.judge_attributes(problems);
    signal.judge_time(ledger, problems);
    if span.start_unix_nanos == 0 || span.end_unix_nanos == 0 {
        problems.push(Problem::TimeZero { signal: signal.to_ref() });
    }
    for event in &span.events {
        let signal = Judged {
            kind: SignalKind::SpanEvent,
            sequence: span.sequence,
            name: &event.name,
            attributes: &event.attributes,
            nanos: event.time_unix_nanos,
        };
        signal.judge_attributes(problems);
        signal.judge_time(ledger, problems);
        if event.time_unix_nanos == 0 {
            problems.push(Problem::TimeZero { signal: signal.to_ref() });
        }
    }
}

/// What every kind of signal is judged by.
struct Judged<'a> {
    kind: SignalKind,
    sequence: u64,
    name: &'a str,
    attributes: &'a Attributes,
    nanos: u64,
}

impl Judged<'_> {
    fn to_ref(&self) -> SignalRef {
        SignalRef { kind: self.kind, sequence: self.sequence, name: self.name.to_owned() }
    }

    fn judge_attributes(&self, problems: &mut Vec<Problem>) {
        let times = self.attributes.occurrences(semconv::SESSION_ID);
        if times > 1 {
            problems.push(Problem::DuplicateSessionId { signal: self.to_ref(), times });
        }
        let Some(session) = session_id(self.attributes) else {
            problems.push(Problem::MissingSessionId { signal: self.to_ref() });
            return;
        };
        if text(self.attributes, semconv::SESSION_PREVIOUS_ID) == Some(session) {
            problems.push(Problem::OwnPrevious { signal: self.to_ref(), session_id: session.to_owned() });
        }
    }

    fn judge_time(&self, ledger: &Ledger<'_>, problems: &mut Vec<Problem>) {
        if self.nanos == 0 {
            return;
        }
        let Some(entry) = session_id(self.attributes).and_then(|id| ledger.find(id)) else { return };
        let Some(start) = entry.start() else { return };
        if self.nanos >= start.nanos() {
            return;
        }
        let by = Duration::from_nanos(start.nanos() - self.nanos);
        let previous = entry.previous_id().and_then(|id| ledger.find(id));
        let previous_id = match previous.and_then(|previous| Some((previous.id, previous.end()?))) {
            // The session may have begun unseen, any time after the end of the one before it.
            Some((_, end)) if self.nanos >= end.nanos() => return,
            Some((id, _)) => Some(id.to_owned()),
            // A start that is not linked still follows an end, and began unseen at any time after it.
            None if entry.previous_id().is_none() && entry.end_before.is_some_and(|end| self.nanos >= end) => return,
            // The end that would excuse it may have been dropped.
            None if self.kind == SignalKind::Span && by > UNSEEN_START && ledger.complete => None,
            None => return,
        };
        problems.push(Problem::SignalBeforeStart {
            signal: self.to_ref(),
            session_id: entry.id.to_owned(),
            previous_id,
            by,
        });
    }
}

/// A span may take its start time this long before another thread begins the first session.
const UNSEEN_START: Duration = Duration::from_millis(100);

/// One problem for each session, however many of its logs came too early.
fn judge_arrivals(stream: &Stream, ledger: &Ledger<'_>, problems: &mut Vec<Problem>) {
    let mut early = std::collections::HashMap::<&str, usize>::new();
    for log in stream.logs() {
        let Some(entry) = log.session_id().and_then(|id| ledger.find(id)) else { continue };
        let Some(start) = entry.start() else { continue };
        if log.sequence >= start.sequence || !ledger.same_origin(log, start) {
            continue;
        }
        let position = *early.entry(entry.id).or_insert_with(|| {
            let first = SignalRef { kind: SignalKind::Log, sequence: log.sequence, name: log.event_name.clone() };
            problems.push(Problem::StartAfterLogs { session_id: entry.id.to_owned(), first, logs: 0 });
            problems.len() - 1
        });
        if let Problem::StartAfterLogs { logs, .. } = &mut problems[position] {
            *logs += 1;
        }
    }
}

fn judge_session(entry: &Entry<'_>, ledger: &Ledger<'_>, problems: &mut Vec<Problem>) {
    let id = || entry.id.to_owned();
    if entry.starts.len() > 1 {
        problems.push(Problem::StartedTwice { session_id: id(), times: entry.starts.len() });
    }
    if entry.ends.len() > 1 {
        problems.push(Problem::EndedTwice { session_id: id(), times: entry.ends.len() });
    }
    match (entry.start(), entry.end()) {
        (None, Some(end)) if ledger.complete && !is_crash(end) => {
            problems.push(Problem::EndWithoutStart { session_id: id() });
        }
        (Some(start), Some(end)) if end.nanos() < start.nanos() => {
            let by = Duration::from_nanos(start.nanos() - end.nanos());
            problems.push(Problem::EndBeforeStart { session_id: id(), by });
        }
        _ => {}
    }
    let Some(start) = entry.start() else { return };
    let Some(previous) = start.previous_session_id().and_then(|id| ledger.find(id)) else { return };
    if previous.id != entry.id && runs_on(previous, start, ledger) {
        problems.push(Problem::PreviousNotEnded { session_id: id(), previous_id: previous.id.to_owned() });
    }
}

/// Whether a session, seen to start in the logs that `at` stands in, had not ended when `at` came.
fn runs_on(session: &Entry<'_>, at: &Log, ledger: &Ledger<'_>) -> bool {
    let started = session.start().is_some_and(|start| start.sequence < at.sequence && ledger.same_origin(start, at));
    let ended = session.end().is_some_and(|end| end.sequence < at.sequence || !ledger.same_origin(end, at));
    started && !ended
}

fn is_crash(end: &Log) -> bool {
    text(&end.attributes, semconv::OTEL_SESSION_END_REASON).is_some_and(|reason| reason.eq_ignore_ascii_case("crash"))
}
