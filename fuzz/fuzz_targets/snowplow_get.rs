//! Query strings of Snowplow trackers' GETs, judged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| otel_session::collector::fuzzing::snowplow_get(data));
