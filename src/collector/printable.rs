//! Text from the wire, made safe for a terminal.

use std::fmt;

/// Shows a text without control characters (a sender must not be able to move the cursor of whoever looks) and with at
/// most [`MAX_CHARS`] characters.
pub(super) fn printable(text: &str) -> impl fmt::Display {
    Printable { text, max: MAX_CHARS }
}

/// An id short enough for a column: whole up to 12 characters, else its first 8.
pub(super) fn short(id: &str) -> String {
    let max = if id.chars().nth(SHORT_WHOLE).is_none() { SHORT_WHOLE } else { SHORT_START };
    Printable { text: id, max }.to_string()
}

struct Printable<'a> {
    text: &'a str,
    max: usize,
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text.chars();
        for shown in rest.by_ref().take(self.max) {
            // U+202A to U+202E and U+2066 to U+2069 turn the direction of the text after them.
            let unsafe_for_a_terminal =
                shown.is_control() || matches!(shown, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            fmt::Write::write_char(f, if unsafe_for_a_terminal { '\u{fffd}' } else { shown })?;
        }
        if rest.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

const MAX_CHARS: usize = 80;
const SHORT_WHOLE: usize = 12;
const SHORT_START: usize = 8;
