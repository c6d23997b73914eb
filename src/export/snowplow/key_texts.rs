//! The texts of attributes' names, ready made: a stream has few names, and each event some of them.

use super::json::{self, Level};

/// The names of late, as they stand in an event's data.
#[derive(Debug)]
pub(super) struct KeyTexts {
    level: Level,
    /// By a place that follows from the name: each with `,"name":`.
    recent: Vec<(String, Vec<u8>)>,
}

impl KeyTexts {
    pub(super) fn new(level: Level) -> Self {
        Self { level, recent: vec![Default::default(); MOST] }
    }

    /// The text of a name, with the comma before it; none if the name is one that has to be looked at every time.
    pub(super) fn of(&mut self, key: &str) -> Option<&[u8]> {
        let bytes = key.as_bytes();
        let ([first, ..], [.., last]) = (bytes, bytes) else { return None };
        let middle = bytes[bytes.len() / 2];
        let place = (bytes.len() * 5) ^ usize::from(*first) ^ (usize::from(middle) * 13) ^ (usize::from(*last) * 7);
        let (known, text) = &mut self.recent[place % MOST];
        if known != key {
            if bytes.len() > LONGEST || !json::is_plain(bytes) {
                return None;
            }
            text.clear();
            self.level.push(text, b",\"", b",\\\"");
            text.extend_from_slice(bytes);
            self.level.push(text, b"\":", b"\\\":");
            known.clear();
            known.push_str(key);
        }
        Some(text)
    }
}

/// How many names are kept.
const MOST: usize = 256;

/// The longest that are, in bytes.
const LONGEST: usize = 64;
