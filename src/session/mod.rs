//! What a session is and when it rotates. Pure: no OpenTelemetry, no IO, no threads; time is an argument.

mod chain;
mod current;
mod history;
mod id;
mod live;
mod policy;
mod snapshot;

pub use id::SessionId;
pub use snapshot::{EndReason, EndedSession, Session, Transition};

pub(crate) use chain::{Chain, Decided, Settings};
pub(crate) use current::{Current, Sink};
pub(crate) use id::{IdSource, own_id};
pub(crate) use live::Live;
pub(crate) use snapshot::Snapshot;
