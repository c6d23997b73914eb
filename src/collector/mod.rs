//! The development collector.
