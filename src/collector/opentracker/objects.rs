//! Sessions or users: records that take every property of their events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::records::OpentrackerRecord;

/// Records by site and id, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub(in crate::collector) struct Objects {
    // One key for both maps' purposes: the arrival number of the first event.
    by_sequence: BTreeMap<u64, (Arc<str>, Arc<OpentrackerRecord>)>,
    by_id: HashMap<Arc<str>, u64>,
    bytes: usize,
}

impl Objects {
    /// Merges an event into the object of this id, and drops the first objects when there are too many.
    pub(in crate::collector) fn learn(
        &mut self,
        id: &str,
        event: &Arc<OpentrackerRecord>,
        max_objects: usize,
        max_bytes: usize,
    ) {
        let key: Arc<str> = format!("{}\n{id}", event.site).into();
        let sequence = *self.by_id.entry(Arc::clone(&key)).or_insert(event.sequence);
        match self.by_sequence.get_mut(&sequence) {
            Some((_, object)) => {
                self.bytes -= object.size;
                Arc::make_mut(object).merge(event);
                self.bytes += object.size;
            }
            None => {
                self.bytes += event.size;
                self.by_sequence.insert(sequence, (key, Arc::clone(event)));
            }
        }
        while self.by_sequence.len() > max_objects || self.bytes > max_bytes.min(MAX_BYTES) {
            let Some((_, (key, object))) = self.by_sequence.pop_first() else { return };
            self.bytes -= object.size;
            self.by_id.remove(&key);
        }
    }

    pub(in crate::collector) fn list(&self) -> Vec<Arc<OpentrackerRecord>> {
        self.by_sequence.values().map(|(_, object)| Arc::clone(object)).collect()
    }

    pub(in crate::collector) fn len(&self) -> usize {
        self.by_sequence.len()
    }
}

const MAX_BYTES: usize = 64 << 20;
