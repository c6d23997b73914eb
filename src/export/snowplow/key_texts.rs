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

    /// Where the text of a name may be.
    pub(super) fn place(key: &str) -> u8 {
        let bytes = key.as_bytes();
        let ([first, ..], [.., last]) = (bytes, bytes) else { return 0 };
        let middle = bytes[bytes.len() / 2];
        #[allow(clippy::cast_possible_truncation)] // any place will do
        let len = bytes.len() as u8;
        len.wrapping_mul(5) ^ first ^ middle.wrapping_mul(13) ^ last.wrapping_mul(7)
    }

    /// The text of a name by its [place](Self::place), with the comma before it; none if the name is one that has to be
    /// looked at every time.
    pub(super) fn of(&mut self, key: &str, place: u8) -> Option<&[u8]> {
        let (known, text) = &mut self.recent[usize::from(place)];
        if !same(known, key) {
            let bytes = key.as_bytes();
            if bytes.is_empty() || bytes.len() > LONGEST || !json::is_plain(bytes) {
                return None;
            }
            text.clear();
            self.level.push(text, b",\"", b",\\\"");
            text.extend_from_slice(bytes);
            self.level.push(text, b"\":", b"\\\":");
            known.clear();
            known.push_str(key);
        }
        if key.is_empty() { None } else { Some(text) }
    }
}

/// Whether two short texts are the same; sooner than by a call of a function that is made for long ones.
#[inline]
pub(super) fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    // The first and last eight bytes, which may be some of them twice.
    match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(first), Some(other_first), Some(last), Some(other_last)) if one.len() <= 16 => {
            first == other_first && last == other_last
        }
        _ => one == other,
    }
}

/// How many names are kept: one for each place.
const MOST: usize = 256;

/// The longest that are, in bytes.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_the_same_exactly_if_they_are_equal(text in "[ab]{0,40}", at in any::<prop::sample::Index>()) {
            prop_assert!(same(&text, &text.clone()));
            let longer = format!("{text}a");
            prop_assert!(!same(&text, &longer));
            if !text.is_empty() {
                let at = at.index(text.len());
                let other = format!("{}c{}", &text[..at], &text[at + 1..]);
                prop_assert!(!same(&text, &other), "{} {}", text, other);
            }
        }
    }
}
