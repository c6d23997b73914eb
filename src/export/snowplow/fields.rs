//! The atomic fields that a record's attributes or the subject fill, and what each of them takes.

use super::json::{self, Level, cut_utf16};
use super::names::FIELD_PREFIX;
use crate::semconv;

/// A field that comes from the record, else from the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    UserAgent,
    Ip,
    Language,
    Url,
    Referrer,
    Page,
    TimeZone,
    Resolution,
    Viewport,
    DocumentSize,
    ColorDepth,
    CharacterSet,
    Fingerprint,
    NetworkUser,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// At most so many characters.
    Text(usize),
    /// Two whole numbers with an `x` between them.
    Size,
    /// A whole number.
    Whole,
}

impl Field {
    pub(super) const COUNT: usize = 14;

    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::UserAgent,
        Self::Ip,
        Self::Language,
        Self::Url,
        Self::Referrer,
        Self::Page,
        Self::TimeZone,
        Self::Resolution,
        Self::Viewport,
        Self::DocumentSize,
        Self::ColorDepth,
        Self::CharacterSet,
        Self::Fingerprint,
        Self::NetworkUser,
    ];

    /// The key in the payload.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::UserAgent => "ua",
            Self::Ip => "ip",
            Self::Language => "lang",
            Self::Url => "url",
            Self::Referrer => "refr",
            Self::Page => "page",
            Self::TimeZone => "tz",
            Self::Resolution => "res",
            Self::Viewport => "vp",
            Self::DocumentSize => "ds",
            Self::ColorDepth => "cd",
            Self::CharacterSet => "cs",
            Self::Fingerprint => "fp",
            Self::NetworkUser => "tnuid",
        }
    }

    /// The field that an attribute fills, by OpenTelemetry's name for it or by ours: `snowplow.` and the protocol key.
    pub(super) fn of_attribute(key: &str) -> Option<Self> {
        if let Some(key) = key.strip_prefix(FIELD_PREFIX) {
            return Self::ALL.into_iter().find(|field| field.key() == key);
        }
        match key {
            semconv::USER_AGENT_ORIGINAL => Some(Self::UserAgent),
            semconv::CLIENT_ADDRESS => Some(Self::Ip),
            semconv::BROWSER_LANGUAGE => Some(Self::Language),
            semconv::URL_FULL => Some(Self::Url),
            _ => None,
        }
    }

    /// Whether it says who the user is.
    pub(super) fn is_personal(self) -> bool {
        matches!(self, Self::Ip | Self::NetworkUser | Self::Fingerprint)
    }

    fn rule(self) -> Rule {
        match self {
            Self::UserAgent => Rule::Text(1000),
            Self::Url | Self::Referrer => Rule::Text(10_000),
            Self::Page => Rule::Text(2000),
            Self::Language | Self::TimeZone => Rule::Text(255),
            Self::Ip | Self::Fingerprint | Self::NetworkUser | Self::CharacterSet => Rule::Text(128),
            Self::Resolution | Self::Viewport | Self::DocumentSize => Rule::Size,
            Self::ColorDepth => Rule::Whole,
        }
    }

    /// Appends `,"key":"value"`, or nothing for a value that Enrich would fail the event for; true if the value was cut,
    /// replaced or left out.
    pub(super) fn write(self, out: &mut Vec<u8>, value: &str) -> bool {
        let limit = if let Rule::Text(limit) = self.rule() { limit } else { usize::MAX };
        if value.is_empty() {
            return false;
        }
        !self.is_valid(value) || write_text(out, self.key(), value, limit)
    }

    /// Whether Enrich takes a value, once it has been cut.
    pub(super) fn is_valid(self, value: &str) -> bool {
        match self.rule() {
            Rule::Text(_) => true,
            Rule::Size => value.split_once('x').is_some_and(|(width, height)| is_whole(width) && is_whole(height)),
            Rule::Whole => is_whole(value),
        }
    }
}

/// A number that fits what Enrich reads it into.
pub(super) fn is_whole(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok()
}

/// Appends `,"key":"value"` with at most so many characters (of UTF-16) of the value and blanks for its control characters, which
/// would break the lines of the pipeline's tables; nothing for an empty value. True if the value was changed.
pub(super) fn write_text(out: &mut Vec<u8>, key: &str, value: &str, limit: usize) -> bool {
    let value_cut = cut_utf16(value, limit);
    if value_cut.is_empty() {
        return false;
    }
    write_key(out, key);
    let control = value_cut.bytes().any(|byte| byte < 0x20 || byte == 0x7f);
    if control {
        json::escape(out, &value_cut.replace(|char: char| char.is_ascii_control(), " "), Level::Plain);
    } else {
        json::escape(out, value_cut, Level::Plain);
    }
    out.push(b'"');
    control || value_cut.len() < value.len()
}

/// Appends `,"key":"`.
pub(super) fn write_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
}
