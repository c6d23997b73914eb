//! Puts ids on signals, and attaches log pipelines to the lifecycle.

mod batch_log;
mod failures;
mod first;
mod gone;
mod late;
mod log;
mod nested;
mod span;
mod tally;

pub use batch_log::SessionBatchLogProcessor;
pub use log::SessionLogProcessor;
pub use span::{SessionBatchSpanProcessor, SessionSpanProcessor};
