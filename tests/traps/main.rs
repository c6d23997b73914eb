//! The corners of the OpenTelemetry SDK that a session library falls into: where it panics (`p_`), loses (`l_`) or
//! doubles (`d_`), and facts of it that we build on (`f_`). What is a law of ours is tested there: 128 attributes and
//! explicit ids under law 6, full queues under law 3, no strangers' trace ids and no time zero under law 4.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "../support/mod.rs"]
mod support;

mod logs;
mod spans;
mod wrappers;
