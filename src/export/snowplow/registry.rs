//! The exporters of this process by namespace.
//!
//! The registry keeps nobody alive: an exporter whose handles are all gone is gone from here, and its name is free again.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use super::SnowplowExporter;
use super::exporter::{Shared, at_once};
use crate::error::BuildError;
use crate::sync::Mutex;

/// Builds an exporter with the defaults and registers it: the Python tracker's `create_tracker`.
///
/// # Errors
/// When the namespace is taken or empty, or the endpoint is none.
pub fn create(namespace: &str, endpoint: &str) -> Result<SnowplowExporter, BuildError> {
    SnowplowExporter::builder().with_namespace(namespace).with_endpoint(endpoint).build()
}

/// The exporter of this namespace, if it is there: the Python tracker's `get_tracker`.
#[must_use]
pub fn get(namespace: &str) -> Option<SnowplowExporter> {
    let found = match NAMES.lock().get(namespace)? {
        Entry::Reserved => None,
        Entry::Live(exporter) => exporter.upgrade(),
    };
    found.map(SnowplowExporter::from)
}

/// Takes an exporter out of the registry and frees its namespace; false if it was not there. The exporter itself goes on.
pub fn remove(exporter: &SnowplowExporter) -> bool {
    release(exporter.namespace(), exporter.shared())
}

/// The same by name.
pub fn remove_by_namespace(namespace: &str) -> bool {
    NAMES.lock().remove(namespace).is_some()
}

/// Empties the registry. Each exporter is flushed, all of them within `timeout`; false if events were left. They go on.
pub fn reset(timeout: Duration) -> bool {
    let entries = std::mem::take(&mut *NAMES.lock());
    // All are asked before any is waited for, so that one unreachable collector costs the others no time.
    let live: Vec<Arc<Shared>> = entries
        .into_values()
        .filter_map(|entry| match entry {
            Entry::Reserved => None,
            Entry::Live(exporter) => exporter.upgrade(),
        })
        .collect();
    at_once(&live, |exporter| exporter.flush(timeout)).into_iter().all(|done| done)
}

/// A name that nobody else can take while it is held; given back when dropped, unless it was made live.
#[derive(Debug)]
pub(super) struct Reservation {
    name: String,
    live: bool,
}

impl Reservation {
    /// Takes this name, or the first free one of `otel-session`, `otel-session-2` and so on.
    pub(super) fn take(name: Option<&str>) -> Result<Self, BuildError> {
        let mut names = NAMES.lock();
        names.retain(|_, entry| entry.is_used());
        let name = match name {
            None => (1..).map(numbered).find(|it| !names.contains_key(it)).unwrap_or_default(),
            Some(name) if names.contains_key(name) => {
                return Err(BuildError::Setting {
                    setting: "with_namespace",
                    value: format!("{name:?}"),
                    fix: "another exporter of this process has it; choose another one, or call \
                          `snowplow::get` for the one that is there"
                        .to_owned(),
                });
            }
            Some(name) => name.to_owned(),
        };
        names.insert(name.clone(), Entry::Reserved);
        Ok(Self { name, live: false })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Puts the exporter under the name.
    pub(super) fn fill(mut self, exporter: &Arc<Shared>) {
        self.live = true;
        NAMES.lock().insert(self.name.clone(), Entry::Live(Arc::downgrade(exporter)));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.live {
            NAMES.lock().remove(&self.name);
        }
    }
}

/// Frees the name of an exporter, unless somebody else has it by now; false if it was not its own.
pub(super) fn release(name: &str, exporter: *const Shared) -> bool {
    let mut names = NAMES.lock();
    let is_its_own = matches!(names.get(name), Some(Entry::Live(live)) if std::ptr::eq(live.as_ptr(), exporter));
    if is_its_own {
        names.remove(name);
    }
    is_its_own
}

#[derive(Debug)]
enum Entry {
    Reserved,
    Live(Weak<Shared>),
}

impl Entry {
    fn is_used(&self) -> bool {
        match self {
            Self::Reserved => true,
            Self::Live(exporter) => exporter.strong_count() > 0,
        }
    }
}

fn numbered(number: u32) -> String {
    if number == 1 { DEFAULT_NAMESPACE.to_owned() } else { format!("{DEFAULT_NAMESPACE}-{number}") }
}

/// The namespace of an exporter that was given none.
pub(super) const DEFAULT_NAMESPACE: &str = "otel-session";

static NAMES: LazyLock<Mutex<BTreeMap<String, Entry>>> = LazyLock::new(Mutex::default);
