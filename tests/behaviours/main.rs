//! Behaviours that the test suites of other session implementations assert, each under its number in `README.md`, which
//! says where each comes from, what was ruled where they contradict each other, and which wait for a later room.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod activity;
mod background;
mod concurrency;
mod creation;
mod ending;
mod expiry;
mod index;
mod lifecycle;
mod places;
mod processors;
mod reentrancy;
