//! An event, a session or a user, as Opentracker keeps them.

use std::collections::HashMap;

/// What is known of an event, or of all events of a session or a user together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpentrackerRecord {
    /// The arrival number, from 1, over all records of this collector; of the first event for sessions and users.
    pub sequence: u64,
    /// The site: the parameter `si`.
    pub site: String,
    pub(super) properties: Vec<(String, String)>,
    pub(in crate::collector) size: usize,
}

impl OpentrackerRecord {
    /// The property with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All properties in the order in which they first came, `unixtimestamp`, `eid`, `sid` and `uid` among them. The
    /// site is none of them.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `eid`: the event's id, made here; of sessions and users that of their last event.
    pub fn event_id(&self) -> &str {
        self.get(EVENT_ID).unwrap_or_default()
    }

    /// `sid`: as given, else the event's id.
    pub fn session_id(&self) -> &str {
        self.get(SESSION_ID).unwrap_or_default()
    }

    /// `uid`: as given, else a given session id, else the event's id.
    pub fn user_id(&self) -> &str {
        self.get(USER_ID).unwrap_or_default()
    }

    /// `unixtimestamp`: when the event arrived, in milliseconds since 1970.
    pub fn unix_millis(&self) -> i64 {
        self.get(TIMESTAMP).and_then(|millis| millis.parse().ok()).unwrap_or_default()
    }

    /// Takes every property of another record; the others keep their values.
    pub(super) fn merge(&mut self, newer: &Self) {
        // Both sides may have hundreds of thousands of names: looking each up in the list would hold the collector up.
        let mut places: HashMap<String, usize> =
            self.properties.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        for (name, value) in &newer.properties {
            match places.get(name).and_then(|place| self.properties.get_mut(*place)) {
                Some((_, old)) => old.clone_from(value),
                None => {
                    places.insert(name.clone(), self.properties.len());
                    self.properties.push((name.clone(), value.clone()));
                }
            }
        }
        self.measure();
    }

    pub(super) fn measure(&mut self) {
        let properties: usize = self.properties.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        self.size = size_of::<Self>() + self.site.len() + properties;
    }
}

pub(super) const EVENT_ID: &str = "eid";
pub(super) const SESSION_ID: &str = "sid";
pub(super) const USER_ID: &str = "uid";
pub(super) const TIMESTAMP: &str = "unixtimestamp";
