//! Session ids from outside.
#![no_main]

#[path = "../session_id.rs"]
mod session_id;

libfuzzer_sys::fuzz_target!(|data: &[u8]| session_id::check(data));
