//! Adds up what a protobuf request will take in memory before anything is built from it.
//!
//! Two bytes on the wire can be an empty span, which takes some 400 bytes decoded: without this a request of 4 MiB could
//! ask for most of a gigabyte. The walk follows the messages of [`wire`](super::wire) by field number, allocates
//! nothing, and stops at the first fault; depth is at most [`MAX_DEPTH`] messages.

use super::{Malformed, Signal};

/// Refuses a request whose messages will take more than `budget` bytes, or one with faults of form.
pub(super) fn measure(signal: Signal, bytes: &[u8], budget: usize) -> Result<(), Malformed> {
    let root = match signal {
        Signal::Traces => Kind::Traces,
        Signal::Logs => Kind::Logs,
        Signal::Metrics => Kind::Metrics,
    };
    let mut left = budget;
    walk(root, bytes, &mut left, 0)
}

fn walk(kind: Kind, mut bytes: &[u8], left: &mut usize, depth: usize) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed::new("messages are nested too deeply"));
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            5 => drop(take(&mut bytes, 4)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| truncated())?;
                let inner = take(&mut bytes, length)?;
                if let Some(child) = kind.child(key >> 3) {
                    *left = left.checked_sub(child.size()).ok_or_else(Malformed::too_many)?;
                    walk(child, inner, left, depth + 1)?;
                }
            }
            // Groups (3 and 4) are not part of OTLP.
            _ => return Err(Malformed::new("unknown protobuf wire type")),
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::new("a protobuf number is longer than ten bytes"))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = bytes.split_at_checked(length).ok_or_else(truncated)?;
    *bytes = rest;
    Ok(head)
}

fn truncated() -> Malformed {
    Malformed::new("the protobuf message ends too early")
}

#[derive(Clone, Copy)]
enum Kind {
    Traces,
    Logs,
    Metrics,
    ResourceSpans,
    ResourceLogs,
    ResourceMetrics,
    ScopeSpans,
    ScopeLogs,
    ScopeMetrics,
    Span,
    SpanEvent,
    SpanLink,
    Log,
    Leaf,
    Resource,
    Scope,
    KeyValue,
    AnyValue,
    Array,
    Map,
}

impl Kind {
    /// About what an empty one takes, in bytes, with its place in a growing list.
    fn size(self) -> usize {
        match self {
            Self::Span => 512,
            Self::Log | Self::ResourceSpans | Self::ResourceLogs | Self::ScopeSpans | Self::ScopeLogs => 320,
            Self::Resource | Self::Scope | Self::SpanEvent | Self::SpanLink => 160,
            _ => 48,
        }
    }

    /// The message in this field, or `None` for a field that holds no message.
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Traces, 1) => Self::ResourceSpans,
            (Self::Logs, 1) => Self::ResourceLogs,
            (Self::Metrics, 1) => Self::ResourceMetrics,
            (Self::ResourceSpans | Self::ResourceLogs, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ResourceLogs, 2) => Self::ScopeLogs,
            (Self::ResourceMetrics, 2) => Self::ScopeMetrics,
            (Self::ScopeSpans | Self::ScopeLogs, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::ScopeLogs, 2) => Self::Log,
            (Self::ScopeMetrics, 2) | (Self::Span, 15) => Self::Leaf,
            (Self::Span, 11) => Self::SpanEvent,
            (Self::Span, 13) => Self::SpanLink,
            (Self::Log, 5) | (Self::KeyValue, 2) | (Self::Array, 1) => Self::AnyValue,
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::SpanEvent, 3)
            | (Self::SpanLink, 4)
            | (Self::Log, 6)
            | (Self::Span, 9) => Self::KeyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::Map,
            _ => return None,
        })
    }
}

/// Attribute values may be 32 deep, and each level is at most three messages.
const MAX_DEPTH: usize = 110;
