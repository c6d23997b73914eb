//! Lines of `tracing_subscriber::fmt` that carry the session id.
//!
//! A line asks for the session at its own event, so an event after the end of a session carries the id of the next one,
//! whether the layer has seen the event or not. As long as the sessions have a layer it decides what is activity.

use std::fmt;
use std::sync::atomic::Ordering;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::field::{GivenId, declares};
use super::policy::Policy;
use super::scoped::scope_of;
use crate::activity::{Activity, SignalKind};
use crate::scope;
use crate::semconv::SESSION_ID;
use crate::sessions::Sessions;

impl Sessions {
    /// Wraps an event format of `tracing_subscriber::fmt`: each line begins with `session.id=…`. For people; see
    /// [`json_event_format`](Self::json_event_format) for machines.
    ///
    /// The id is that of the scope the event is in, else the live session's; a line without either begins as it would
    /// without this. An event that has a field `session.id` shows that and nothing else. Colours are kept.
    ///
    /// ```
    /// use otel_session::Sessions;
    /// use tracing_subscriber::fmt::format;
    ///
    /// let sessions = Sessions::builder().build()?;
    /// let subscriber = tracing_subscriber::fmt().event_format(sessions.event_format(format())).finish();
    /// tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
    /// # Ok::<(), otel_session::BuildError>(())
    /// ```
    ///
    /// To know the scopes of spans the subscriber needs [`Sessions::layer`] too.
    pub fn event_format<F>(&self, inner: F) -> SessionFormat<F> {
        SessionFormat { sessions: self.clone(), inner }
    }

    /// Wraps an event format that writes one JSON object a line, such as `format().json()`: the object gets the key
    /// `session.id` at its top level, once. What is not an object is written as it is.
    pub fn json_event_format<F>(&self, inner: F) -> SessionJsonFormat<F> {
        SessionJsonFormat { sessions: self.clone(), inner }
    }

    /// The id for the line of an event, and whether the event gives it itself.
    fn line_id<S, N>(&self, ctx: &FmtContext<'_, S, N>, event: &Event<'_>) -> Option<(String, bool)>
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
        N: for<'writer> FormatFields<'writer> + 'static,
    {
        // Where there is a layer it says what is activity; here the session is only needed.
        let activity = if self.layers.load(Ordering::Relaxed) > 0 { &Activity::Explicit } else { &self.activity };
        let live = Policy::default().intake(self, activity, SignalKind::TracingEvent, event.metadata(), Some(event));
        let mut own = GivenId::default();
        if declares(event.metadata()) {
            event.record(&mut own);
        }
        if let Some(id) = own.0 {
            return Some((id, true));
        }
        let scope = match event.parent() {
            _ if !scope::in_use() => None,
            Some(parent) => ctx.span(parent).and_then(|span| scope_of(&span)).and_then(|scope| scope.id()),
            None => scope::current_id(),
        };
        let id = match scope {
            Some(id) => id.to_string(),
            None => match live {
                Some(live) => live.snapshot.id.to_owned(),
                None => self.current()?.id().to_owned(),
            },
        };
        Some((id, false))
    }
}

/// An event format that begins each line with the session id; made by [`Sessions::event_format`].
#[derive(Debug, Clone)]
pub struct SessionFormat<F> {
    sessions: Sessions,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for SessionFormat<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // In front, since only the writer that was given knows of colours, and what is written to it cannot be taken back.
        if let Some((id, false)) = self.sessions.line_id(ctx, event) {
            let (italic, dim, plain) = if writer.has_ansi_escapes() { ITALIC } else { ("", "", "") };
            write!(writer, "{italic}{SESSION_ID}{plain}{dim}={plain}")?;
            match id.chars().all(|char| char.is_ascii_graphic() && char != '"') {
                true => write!(writer, "{id} ")?,
                false => write!(writer, "{id:?} ")?,
            }
        }
        self.inner.format_event(ctx, writer, event)
    }
}

/// How the fields of a coloured line are set: italic names, dim equal signs.
const ITALIC: (&str, &str, &str) = ("\u{1b}[3m", "\u{1b}[2m", "\u{1b}[0m");

/// An event format that adds the session id to the JSON object of each line; made by [`Sessions::json_event_format`].
#[derive(Debug, Clone)]
pub struct SessionJsonFormat<F> {
    sessions: Sessions,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for SessionJsonFormat<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let id = self.sessions.line_id(ctx, event);
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        let Some((id, _)) = id else { return writer.write_str(&line) };
        let Some(members) = line.trim_start().strip_prefix('{').filter(|members| !has_key(members, SESSION_ID)) else {
            return writer.write_str(&line);
        };
        let comma = if members.trim_start().starts_with('}') { "" } else { "," };
        write!(writer, "{{\"{SESSION_ID}\":")?;
        write_json(&mut writer, &id)?;
        write!(writer, "{comma}{members}")
    }
}

/// Writes a text as JSON.
fn write_json(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    writer.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => writer.write_str("\\\"")?,
            '\\' => writer.write_str("\\\\")?,
            char if char < ' ' => write!(writer, "\\u{:04x}", u32::from(char))?,
            char => writer.write_char(char)?,
        }
    }
    writer.write_char('"')
}

/// Whether the members of a JSON object, given without the opening brace, have this key. An inner format may have put the
/// fields of the event there, and a key must not stand twice.
fn has_key(members: &str, key: &str) -> bool {
    let (mut depth, mut at_key) = (0, true);
    let mut rest = members.char_indices();
    while let Some((at, char)) = rest.next() {
        match char {
            '"' => {
                let mut escaped = false;
                let end = rest.find(|(_, char)| {
                    let closes = *char == '"' && !escaped;
                    escaped = *char == '\\' && !escaped;
                    closes
                });
                let Some((end, _)) = end else { return false };
                if depth == 0 && at_key && &members[at + 1..end] == key {
                    return true;
                }
            }
            '{' | '[' => depth += 1,
            '}' | ']' if depth == 0 => return false,
            '}' | ']' => depth -= 1,
            ':' if depth == 0 => at_key = false,
            ',' if depth == 0 => at_key = true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_key;

    #[test]
    fn only_a_key_of_the_object_itself_is_found() {
        for found in [r#""session.id":"a"}"#, r#""a":[1,{"b":"}"}], "session.id": 1}"#, r#""a":"\"","session.id":1}"#] {
            assert!(has_key(found, "session.id"), "{found}");
        }
        for absent in ["}", r#""a":"session.id"}"#, r#""a":{"session.id":1}}"#, r#""a":"\",\"session.id\":1"}"#, "\""] {
            assert!(!has_key(absent, "session.id"), "{absent}");
        }
    }
}
