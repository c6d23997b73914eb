//! The development collector, seen from the wire.

mod bounds;
mod client;
mod intake;
mod problems;
mod sessions;
mod story;
mod wire;
