//! The properties of one event: their names, and which of two with one name stays.

use std::collections::HashMap;

use super::value::{Text, cut};

/// The most properties an event carries besides those that the bridge itself sets.
pub(super) const MAX_PROPERTIES: usize = 128;

/// How long a property's name may be, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// How long a title may be, in bytes before percent-encoding.
pub(super) const MAX_TITLE_BYTES: usize = 200;

/// What stands before a reserved name that an attribute has.
pub(super) const PREFIX: &str = "otel.";

/// Names that attributes cannot take: those of Opentracker's ids, times and counters, and those that the bridge sets.
/// They are compared without regard to case. An attribute of such a name is sent with `otel.` before it.
pub const RESERVED_NAMES: &[&str] = &[
    "si",
    "sid",
    "uid",
    "eid",
    "ots",
    "otui",
    "proxy",
    "unixtimestamp",
    "ti",
    "t_ms",
    "event_id",
    "log.body",
    "log.severity",
];

/// The properties of one event, as a mapping hook may change them.
///
/// Names are ASCII without spaces and control characters, at most 200 bytes; an event has at most 128 properties of its own.
/// The ids, the time and the site are not among them: they are the record's and the builder's.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    title: String,
    list: Vec<Property>,
    /// Where in the list a name stands.
    places: HashMap<String, usize>,
    losses: u64,
}

#[derive(Debug, Clone)]
struct Property {
    name: String,
    value: String,
    origin: Origin,
    /// The attribute it comes from.
    key: String,
}

/// Where a property comes from; of two with one name, the one whose origin stands first here stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Hook,
    Attribute,
    BodyMap,
    Resource,
    Builder,
}

impl Origin {
    /// Resource and builder give defaults, which a record may replace without anything being lost.
    fn is_record(self) -> bool {
        matches!(self, Self::Attribute | Self::BodyMap)
    }
}

impl Properties {
    pub(super) fn new(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    /// The event's title, the property `ti`.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Replaces the title; it is cut at 200 bytes. A blank one is ignored. Cut or ignored counts as
    /// [`Loss::EventField`](crate::Loss::EventField).
    pub fn set_title(&mut self, title: &str) {
        if title.trim().is_empty() {
            self.losses += 1;
            return;
        }
        let Text { text, losses } = cut(title, MAX_TITLE_BYTES);
        self.losses += losses;
        self.title = text.unwrap_or_default();
    }

    /// The value of a property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.list[*place].value.as_str())
    }

    /// Every property's name and value, in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|property| (property.name.as_str(), property.value.as_str()))
    }

    /// Adds a property or replaces its value, which is cut at 4,096 bytes. False, and counted as
    /// [`Loss::EventField`](crate::Loss::EventField), if the name is not usable or reserved, or the event is full.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        if name_problem(name).is_some() {
            self.losses += 1;
            return false;
        }
        let Text { text, losses } = cut(value, super::value::MAX_VALUE_BYTES);
        self.losses += losses;
        self.place(Property {
            name: name.to_owned(),
            value: text.unwrap_or_default(),
            origin: Origin::Hook,
            key: name.to_owned(),
        })
    }

    /// Takes a property out; its value, if there was one.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.places.remove(name)?;
        let property = self.list.remove(place);
        self.places.values_mut().filter(|it| **it > place).for_each(|it| *it -= 1);
        Some(property.value)
    }

    /// What was cut, replaced or left out.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    pub(super) fn lose(&mut self, losses: u64) {
        self.losses += losses;
    }

    /// Adds what a key and a value of a record or a resource mean as a property.
    pub(super) fn add(&mut self, origin: Origin, key: &str, value: Text) {
        match property_name(key) {
            Some(name) => self.add_as(origin, key, name, value),
            None => self.losses += 1,
        }
    }

    /// Adds a property under a name that was chosen for its key.
    pub(super) fn add_as(&mut self, origin: Origin, key: &str, name: String, value: Text) {
        self.losses += value.losses;
        if let Some(text) = value.text {
            self.place(Property { name, value: text, origin, key: key.to_owned() });
        }
    }

    /// Of two properties with one name stays the one of the better origin; then the one whose key is the name itself; then
    /// the one with the smaller key; of one key, the later. So the order of the attributes decides nothing but the last.
    fn place(&mut self, new: Property) -> bool {
        let Some(&place) = self.places.get(&new.name) else {
            if self.list.len() >= MAX_PROPERTIES {
                self.losses += 1;
                return false;
            }
            self.places.insert(new.name.clone(), self.list.len());
            self.list.push(new);
            return true;
        };
        let old = &mut self.list[place];
        let replaces = new.rank() <= old.rank();
        let loser = if replaces { old.origin } else { new.origin };
        let deliberate = new.origin == Origin::Hook;
        self.losses += u64::from(loser.is_record() && !deliberate);
        if replaces {
            *old = new;
        }
        replaces
    }
}

impl Property {
    fn rank(&self) -> (Origin, bool, &str) {
        (self.origin, self.key != self.name, &self.key)
    }
}

/// The property that stands for an attribute of this key: a space becomes `_`, a reserved name is prefixed. None if the key
/// cannot be a name: it is empty, too long, not ASCII or holds control characters.
pub(super) fn property_name(key: &str) -> Option<String> {
    let name = key.replace(' ', "_");
    let name = if is_reserved(&name) { format!("{PREFIX}{name}") } else { name };
    is_usable(&name).then_some(name)
}

/// Why a name that was chosen on purpose cannot be used.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    if is_reserved(name) {
        Some("this name is reserved; choose another")
    } else if !is_usable(name) {
        Some(
            "a property's name is 1 to 200 ASCII characters without spaces and control characters; use `_` for a space",
        )
    } else {
        None
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

fn is_usable(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}
