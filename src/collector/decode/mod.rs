//! From OTLP bytes to received signals: protobuf and JSON in, one set of values out.
//!
//! Any input at all gives either a batch or a [`Malformed`]; nothing here panics. Bounds: attribute values nest at most
//! [`MAX_VALUE_DEPTH`] deep, a request takes at most about [`GROWTH`] times the permitted body in memory, ids have the
//! lengths OTLP gives them.

mod base64;
mod convert;
mod json;
mod measure;
mod wire;

use std::fmt;

use prost::Message;

pub(super) use base64::{decode as base64_decode, encode as base64_encode};

use super::received::{Log, Span};

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// What a request held.
#[derive(Debug)]
pub(super) enum Batch {
    Spans(Vec<Span>),
    Logs(Vec<Log>),
    /// How many metrics; their content is not kept.
    Metrics(u64),
}

/// Reads a request body. `max_body_bytes` is the bound the body was read under; the bound on memory follows from it.
pub(super) fn decode(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    max_body_bytes: usize,
) -> Result<Batch, Malformed> {
    let budget = max_body_bytes.saturating_mul(GROWTH);
    match encoding {
        Encoding::Protobuf => {
            measure::measure(signal, body, budget)?;
            match signal {
                Signal::Traces => convert::spans(wire::TracesRequest::decode(body)?),
                Signal::Logs => convert::logs(wire::LogsRequest::decode(body)?),
                Signal::Metrics => Ok(convert::metrics(&wire::MetricsRequest::decode(body)?)),
            }
        }
        Encoding::Json => {
            let document = json::parse(body, budget)?;
            match signal {
                Signal::Traces => convert::spans(json::traces(&document)?),
                Signal::Logs => convert::logs(json::logs(&document)?),
                Signal::Metrics => Ok(convert::metrics(&json::metrics(&document)?)),
            }
        }
    }
}

/// Why a body could not be read, in words for whoever sent it.
#[derive(Debug)]
pub(super) struct Malformed(String);

impl Malformed {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    fn too_many() -> Self {
        Self::new("too many items in one request")
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// Arrays and maps inside one another; real attributes need two or three.
const MAX_VALUE_DEPTH: usize = 32;

/// The densest honest traffic, attributes of one letter, takes ten times its size on the wire.
const GROWTH: usize = 16;
