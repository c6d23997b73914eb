//! The encoding of an event: `name=value&…`, which is the query of a GET and the body of a form POST alike.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::value::Text;

/// Everything but the unreserved characters of RFC 3986; so a space is `%20`, which both a query and a form can read.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query of a bounded length.
pub(super) struct Query {
    text: String,
    max_bytes: usize,
}

impl Query {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { text: String::with_capacity(512), max_bytes }
    }

    /// Adds a property; false if there is no room for it.
    pub(super) fn push(&mut self, name: &str, value: &str) -> bool {
        let before = self.text.len();
        if before > 0 {
            self.text.push('&');
        }
        self.text.extend(utf8_percent_encode(name, ENCODED));
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, ENCODED));
        let fits = self.text.len() <= self.max_bytes;
        if !fits {
            self.text.truncate(before);
        }
        fits
    }

    /// Adds a property whose value may be cut or missing; how much of it was lost.
    pub(super) fn push_text(&mut self, name: &str, value: Text) -> u64 {
        let Text { text, losses } = value;
        let fits = text.is_none_or(|text| self.push(name, &text));
        losses + u64::from(!fits)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}
