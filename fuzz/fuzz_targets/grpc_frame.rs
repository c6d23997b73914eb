//! gRPC request bodies, decoded and judged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| otel_session::collector::fuzzing::grpc_frame(data));
