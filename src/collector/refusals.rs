//! Why requests were refused, counted.

use std::fmt;

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// No such path, or no such gRPC method (HTTP 404, gRPC 12).
    UnknownPath,
    /// Not a POST, or for Opentracker neither that nor a GET (HTTP 405).
    WrongMethod,
    /// Neither `application/x-protobuf` nor `application/json`, a content encoding other than gzip, or for Opentracker a
    /// body that is no form (HTTP 415, gRPC 12).
    UnknownMediaType,
    /// Larger than the body limit, before or after decompression (HTTP 413, gRPC 8), or with too long a request line or
    /// headers for the Snowplow side (HTTP 414, 431).
    TooLarge,
    /// The body could not be decoded (HTTP 400, gRPC 3), or an Opentracker event lacks its site or misnames a property.
    Malformed,
    /// The body did not arrive in time, or the connection broke (HTTP 408, gRPC 4).
    Unfinished,
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::UnknownPath,
        Self::WrongMethod,
        Self::UnknownMediaType,
        Self::TooLarge,
        Self::Malformed,
        Self::Unfinished,
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownPath => "unknown path",
            Self::WrongMethod => "wrong method",
            Self::UnknownMediaType => "unknown media type",
            Self::TooLarge => "too large",
            Self::Malformed => "malformed",
            Self::Unfinished => "unfinished",
        })
    }
}

/// How many requests were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refusal::ALL.len()]);

impl Refusals {
    /// How many were refused for this reason.
    pub fn count(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// How many were refused in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }
}

impl fmt::Display for Refusals {
    /// The reasons that occurred, as in `2 malformed, 1 too large`; `none` when nothing was refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for refusal in Refusal::ALL {
            let count = self.count(refusal);
            if count > 0 {
                write!(f, "{separator}{count} {refusal}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}
