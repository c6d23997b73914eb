//! Puts ids on signals, and attaches log pipelines to the lifecycle.

mod batch_log;
mod built;
mod failures;
mod first;
mod gone;
mod late;
mod log;
mod nested;
mod span;
mod tally;
mod whose;

pub use batch_log::SessionBatchLogProcessor;
pub use log::SessionLogProcessor;
pub use span::{SessionBatchSpanProcessor, SessionSpanProcessor};
