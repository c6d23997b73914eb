//! Opentracker's events as forms, stored.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| otel_session::collector::fuzzing::opentracker_form(data));
