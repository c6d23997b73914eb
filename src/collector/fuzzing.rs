//! Ways into the decoders for fuzzing and for replaying its corpus. Not part of the API.
//!
//! Each takes any bytes and must return. What decodes is stored and judged as well: the judgement sees the same input.

use std::sync::Arc;

use super::contents::Contents;
use super::decode::{self, Encoding, Signal};
use super::grpc;
use super::stream::Stream;

/// A protobuf request body; the first byte chooses the signal.
pub fn otlp_protobuf(data: &[u8]) {
    if let Some((signal, body)) = signal(data) {
        decode_and_judge(signal, Encoding::Protobuf, body);
    }
}

/// A JSON request body; the first byte chooses the signal.
pub fn otlp_json(data: &[u8]) {
    if let Some((signal, body)) = signal(data) {
        decode_and_judge(signal, Encoding::Json, body);
    }
}

/// A gRPC request body; the first byte chooses the signal and, with its second bit, `grpc-encoding: gzip`.
pub fn grpc_frame(data: &[u8]) {
    let Some((signal, body)) = signal(data) else { return };
    let gzip = data[0] & 4 != 0;
    if let Ok(message) = grpc::unframe(body, gzip, MAX_BYTES) {
        assert!(message.len() <= MAX_BYTES, "a message larger than the limit came through");
        decode_and_judge(signal, Encoding::Protobuf, &message);
    }
}

fn signal(data: &[u8]) -> Option<(Signal, &[u8])> {
    let (choice, body) = data.split_first()?;
    let signal = match choice & 3 {
        0 => Signal::Traces,
        1 => Signal::Logs,
        _ => Signal::Metrics,
    };
    Some((signal, body))
}

fn decode_and_judge(signal: Signal, encoding: Encoding, body: &[u8]) {
    let Ok(batch) = decode::decode(signal, encoding, body, MAX_BYTES) else { return };
    let mut contents = Contents::new(MAX_RECORDS, MAX_BYTES);
    contents.accept(batch);
    let stream = Stream::new(Arc::new(contents));
    let verdict = stream.timeline();
    assert!(verdict.lines().last().is_some_and(|line| line.contains("problem")), "a timeline without a verdict");
    let signals = stream.spans().len() + stream.logs().len();
    assert_eq!(stream.to_json_lines().lines().count(), signals, "not one line for each signal");
}

const MAX_BYTES: usize = 1 << 20;
const MAX_RECORDS: usize = 1_000;
