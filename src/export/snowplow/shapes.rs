//! What the records of late looked like: those of one name mostly have the same attributes in the same order.
//!
//! A record that looks like the last one of its name is read by comparing its attributes' names with those expected: what they
//! mean is known, and their texts in an event's data are ready made. Any other is read and written attribute by attribute, as
//! if there were no shapes: whether a record is of a known shape changes only how long it takes.

use super::json::{self, Level};
use super::record::{Attribute, Known, Left, Rest, Role};

/// The shapes of late, by a place that follows from the name.
#[derive(Debug)]
pub(super) struct Shapes {
    level: Level,
    places: Vec<Shape>,
    /// The one asked for last.
    latest: usize,
}

/// The names of a record's attributes, in order.
#[derive(Debug, Default)]
pub(super) struct Shape {
    expected: Vec<Expected>,
    /// The names as they stand in an event's data, one after another.
    texts: Vec<u8>,
    /// How many records have looked otherwise since it was learned.
    misses: u32,
}

#[derive(Debug)]
struct Expected {
    key: Box<str>,
    role: Role,
    text: ReadyText,
}

/// Where in the [texts](Shapes::texts) of a shape the name of an attribute stands as `,"name":`; empty for one that has to be
/// written anew each time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadyText {
    start: u16,
    end: u16,
}

impl Shapes {
    pub(super) fn new(level: Level) -> Self {
        Self { level, places: Vec::new(), latest: 0 }
    }

    /// The shape of records of this name, or where it will be, and the level of its texts.
    pub(super) fn of(&mut self, name: &str) -> (&mut Shape, Level) {
        if self.places.is_empty() {
            self.places.resize_with(MOST, Shape::default);
        }
        self.latest = usize::from(place(name)) % MOST;
        (&mut self.places[self.latest], self.level)
    }

    /// The ready texts of what the record read last has left.
    pub(super) fn texts(&self) -> &[u8] {
        self.places.get(self.latest).map_or(&[], |shape| &shape.texts)
    }
}

impl ReadyText {
    /// The text, with the comma before it; none if it is not ready.
    #[inline]
    pub(super) fn of(self, texts: &[u8]) -> Option<&[u8]> {
        texts.get(usize::from(self.start)..usize::from(self.end)).filter(|text| !text.is_empty())
    }
}

impl Shape {
    /// Reads attributes that look as expected; there may be fewer of them. If they look otherwise it returns false, and what it
    /// has read by then is of no use.
    pub(super) fn read<'a>(
        &self,
        attributes: impl Iterator<Item = (&'a str, Attribute<'a>)>,
        known: &mut Known<'a>,
        rest: &mut Rest<'a>,
    ) -> bool {
        rest.clear();
        let mut expected = self.expected.iter();
        for (key, value) in attributes {
            let Some(next) = expected.next() else { return false };
            if !same(key, &next.key) {
                return false;
            }
            match next.role {
                Role::None => rest.push(Left { key, value, text: next.text }),
                role => {
                    if !known.fill(role, value) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Learns from a record that did not look as expected, unless others of its name do: then now and then.
    pub(super) fn learn<'a, I: Iterator<Item = &'a str>>(&mut self, level: Level, keys: impl Fn() -> I) {
        self.misses += 1;
        if !self.expected.is_empty() && self.misses < PATIENCE {
            return;
        }
        self.misses = 0;
        self.expected.clear();
        self.texts.clear();
        if keys().nth(LONGEST).is_some() || keys().any(|key| key.len() > LONGEST_KEY) {
            return;
        }
        for key in keys() {
            let text = self.make_ready(key, level);
            self.expected.push(Expected { key: key.into(), role: Role::of(key), text });
        }
    }

    fn make_ready(&mut self, key: &str, level: Level) -> ReadyText {
        if key.is_empty() || !json::is_plain(key.as_bytes()) {
            return ReadyText::default();
        }
        let start = self.texts.len();
        level.push(&mut self.texts, b",\"", b",\\\"");
        self.texts.extend_from_slice(key.as_bytes());
        level.push(&mut self.texts, b"\":", b"\\\":");
        match (u16::try_from(start), u16::try_from(self.texts.len())) {
            (Ok(start), Ok(end)) => ReadyText { start, end },
            _ => ReadyText::default(),
        }
    }
}

/// A place that follows from a short text.
pub(super) fn place(text: &str) -> u8 {
    let bytes = text.as_bytes();
    let ([first, ..], [.., last]) = (bytes, bytes) else { return 0 };
    let middle = bytes[bytes.len() / 2];
    #[allow(clippy::cast_possible_truncation)] // any place will do
    let len = bytes.len() as u8;
    len.wrapping_mul(5) ^ first ^ middle.wrapping_mul(13) ^ last.wrapping_mul(7)
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

/// How many shapes are kept.
const MOST: usize = 64;
/// How many attributes a shape may have.
const LONGEST: usize = 32;
/// The longest name of an attribute of a shape, in bytes.
const LONGEST_KEY: usize = 64;
/// After so many records that look otherwise a shape is given up.
const PATIENCE: u32 = 16;

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
