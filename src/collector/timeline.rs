//! The sessions of a stream as text for a terminal, 100 columns or so, without colours.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::printable::{printable, short};
use super::sessions::SeenSession;
use super::stream::Stream;

pub(super) fn timeline(stream: &Stream) -> String {
    Timeline(stream).to_string()
}

struct Timeline<'a>(&'a Stream);

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.0.problems();
        write_sessions(f, &self.0.sessions())?;
        write_bridges(f, self.0)?;
        write_losses(f, self.0)?;
        for problem in problems.iter().take(MAX_PROBLEMS) {
            writeln!(f, "  ! {problem}")?;
        }
        if problems.len() > MAX_PROBLEMS {
            writeln!(f, "  ! … and {} more", problems.len() - MAX_PROBLEMS)?;
        }
        f.write_str(&counted(problems.len(), "problem"))
    }
}

fn write_sessions(f: &mut fmt::Formatter<'_>, sessions: &[SeenSession]) -> fmt::Result {
    if sessions.is_empty() {
        return writeln!(f, "no sessions");
    }
    let services: HashSet<_> = sessions.iter().filter_map(|session| session.resource.service_name()).collect();
    let heading = match (services.len(), services.iter().next()) {
        (1, Some(service)) => printable(service).to_string(),
        (0, _) => "unnamed service".to_owned(),
        (many, _) => format!("{many} services"),
    };
    let Some((from, to)) = span_of(sessions) else {
        return writeln!(f, "{heading} · {}", counted(sessions.len(), "session"));
    };
    let (first, last) = (clock(from), clock(to));
    writeln!(f, "{heading} · {} · {first} to {last} UTC", counted(sessions.len(), "session"))?;
    let hidden = sessions.len().saturating_sub(MAX_SESSIONS);
    if hidden > 0 {
        writeln!(f, "  … {hidden} more before these")?;
    }
    let known: HashSet<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    for session in &sessions[hidden..] {
        let follows = session.previous_id.as_deref().is_some_and(|id| known.contains(id));
        write_session(f, session, follows, (from, to))?;
    }
    Ok(())
}

fn write_session(
    f: &mut fmt::Formatter<'_>,
    session: &SeenSession,
    follows: bool,
    scale: (SystemTime, SystemTime),
) -> fmt::Result {
    let branch = if follows { '└' } else { '┌' };
    let index = session.index.map(|index| index.to_string()).unwrap_or_default();
    let began = session.started_at.map_or_else(|| "not started".to_owned(), clock);
    let lasted = session.duration().map_or_else(|| "…".to_owned(), duration);
    let state = match (&session.end_reason, session.ended_at) {
        (Some(reason), _) => short(reason),
        (None, Some(_)) => "ended".to_owned(),
        (None, None) => "open".to_owned(),
    };
    writeln!(
        f,
        "{branch} {index:>3}  {:<12}  {began:<12}  {lasted:>9}  {state:<12}  {:>5} spans {:>5} events {:>5} logs  {}",
        short(&session.id),
        session.spans,
        session.span_events,
        session.logs,
        bar(session, scale),
    )
}

/// What came from the trackers of others, in a line each.
fn write_bridges(f: &mut fmt::Formatter<'_>, stream: &Stream) -> fmt::Result {
    let (good, bad, requests) = (stream.snowplow_good().len(), stream.snowplow_bad().len(), stream.snowplow_requests());
    if requests > 0 {
        writeln!(f, "  snowplow: {good} good, {bad} bad, in {}", counted(requests as usize, "request"))?;
    }
    let (events, (sessions, users)) = (stream.opentracker_events().len(), stream.opentracker_counts());
    if events > 0 {
        let (events, sessions) = (counted(events, "event"), counted(sessions, "session"));
        writeln!(f, "  opentracker: {events}, {sessions}, {}", counted(users, "user"))?;
    }
    Ok(())
}

/// What the records in the stream cannot tell.
fn write_losses(f: &mut fmt::Formatter<'_>, stream: &Stream) -> fmt::Result {
    if stream.dropped() > 0 {
        writeln!(f, "  {} dropped to make room", counted(stream.dropped() as usize, "record"))?;
    }
    if stream.refusals().total() > 0 {
        writeln!(f, "  requests refused: {}", stream.refusals())?;
    }
    Ok(())
}

/// A session's part of the whole, at least one cell; an open one ends in an arrow.
fn bar(session: &SeenSession, (from, to): (SystemTime, SystemTime)) -> String {
    let Some((began, ended)) = extent(session) else { return String::new() };
    let whole = to.duration_since(from).unwrap_or_default().as_nanos().max(1);
    let cell = |time: SystemTime| {
        let past = time.duration_since(from).unwrap_or_default().as_nanos();
        (past * BAR_CELLS as u128 / whole) as usize
    };
    let first = cell(began).min(BAR_CELLS - 1);
    let last = cell(ended).clamp(first + 1, BAR_CELLS);
    let mut bar = String::new();
    bar.extend(std::iter::repeat_n('·', first));
    bar.extend(std::iter::repeat_n('█', last - first - 1));
    bar.push(if session.ended_at.is_some() { '█' } else { '▶' });
    bar.extend(std::iter::repeat_n('·', BAR_CELLS - last));
    bar
}

fn span_of(sessions: &[SeenSession]) -> Option<(SystemTime, SystemTime)> {
    let extents = sessions.iter().filter_map(extent);
    extents.reduce(|(from, to), (began, ended)| (from.min(began), to.max(ended)))
}

/// From start to end, as far as they were seen; else from the first to the last signal.
fn extent(session: &SeenSession) -> Option<(SystemTime, SystemTime)> {
    let began = session.started_at.or(session.first_seen)?;
    Some((began, session.ended_at.or(session.last_seen)?.max(began)))
}

/// The time of day in UTC, with milliseconds.
fn clock(time: SystemTime) -> String {
    let past = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = past.as_secs() % (24 * 3600);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, past.subsec_millis())
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

const BAR_CELLS: usize = 30;
const MAX_SESSIONS: usize = 100;
const MAX_PROBLEMS: usize = 20;
