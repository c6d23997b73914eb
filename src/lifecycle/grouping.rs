//! Which log pipelines belong to one provider.
//!
//! The SDK does not tell. But `build()` hands one resource to all processors of a provider, one after the other, on one
//! thread, from one place in memory; and between two providers a processor is normally made. If all processors are made
//! first and two providers are then built in one place with equal resources, they are taken for one: shutting one down
//! then ends the live session, and the next signal of the other starts a linked one.

use opentelemetry_sdk::Resource;

use super::hub::Group;
use crate::sync::{Mutex, ThreadId, this_thread};

#[derive(Debug, Default)]
pub(crate) struct Grouping(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    groups: u64,
    open: Option<Open>,
}

/// The provider that may still be handing out its resource.
#[derive(Debug)]
struct Open {
    thread: ThreadId,
    place: usize,
    resource: Resource,
}

impl Grouping {
    /// A processor is made: a provider that was being built before is complete.
    pub(crate) fn processor_made(&self) {
        self.0.lock().open = None;
    }

    /// The group of a pipeline that is given this resource, or none.
    pub(crate) fn group_of(&self, resource: Option<&Resource>) -> Group {
        let mut state = self.0.lock();
        let thread = this_thread();
        let same = match (&state.open, resource) {
            (Some(open), Some(resource)) => {
                open.thread == thread && open.place == place_of(resource) && open.resource == *resource
            }
            _ => false,
        };
        if !same {
            state.groups += 1;
            state.open =
                resource.map(|resource| Open { thread, place: place_of(resource), resource: resource.clone() });
        }
        Group(state.groups)
    }
}

fn place_of(resource: &Resource) -> usize {
    std::ptr::from_ref(resource).addr()
}
