//! What the records of late looked like: those of one name mostly have the same attributes in the same order.
//!
//! A record that looks like the last one of its name is read by comparing its attributes' names with those expected, and
//! what they mean is known. Any other is read attribute by attribute, as if there were no shapes: whether a record is of
//! a known shape changes only how long reading it takes.

use super::key_texts::{self, KeyTexts};
use super::record::{Attribute, Known, Left, Rest, Role};

/// The shapes of late, by a place that follows from the name.
#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

/// The names of a record's attributes, in order.
#[derive(Debug, Default)]
pub(super) struct Shape {
    expected: Vec<Expected>,
    /// How many records have looked otherwise since it was learned.
    misses: u32,
}

#[derive(Debug)]
struct Expected {
    key: Box<str>,
    role: Role,
    place: u8,
}

impl Shapes {
    /// The place for the shape of records of this name.
    pub(super) fn of(&mut self, name: &str) -> &mut Shape {
        if self.0.is_empty() {
            self.0.resize_with(MOST, Shape::default);
        }
        let place = usize::from(KeyTexts::place(name)) % MOST;
        &mut self.0[place]
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
            if !key_texts::same(key, &next.key) {
                return false;
            }
            match next.role {
                Role::None => rest.push(Left { key, value, place: next.place }),
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
    pub(super) fn learn<'a, I: Iterator<Item = &'a str>>(&mut self, keys: impl Fn() -> I) {
        self.misses += 1;
        if !self.expected.is_empty() && self.misses < PATIENCE {
            return;
        }
        self.misses = 0;
        self.expected.clear();
        if keys().nth(LONGEST).is_some() || keys().any(|key| key.len() > LONGEST_KEY) {
            return;
        }
        let expect = |key: &str| Expected { key: key.into(), role: Role::of(key), place: KeyTexts::place(key) };
        self.expected.extend(keys().map(expect));
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
