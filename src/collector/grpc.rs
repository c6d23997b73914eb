//! OTLP over gRPC: unary calls, framed by hand over HTTP/2.
//!
//! A request is one frame: a compressed flag (1 byte), a length (4 bytes, big-endian), the message. An answer is an empty
//! message and the trailer `grpc-status: 0`, or headers alone with the status of the refusal.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Version};

use super::decode::{self, Encoding, Signal};
use super::intake::Intake;
use super::refusals::Refusal;
use super::server::Answer;
use super::{body, http};

/// Whether a request speaks gRPC. Over HTTP/1 it cannot: the status travels in trailers.
pub(super) fn is_grpc(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2
        && matches!(http::media_type(request.headers()).as_deref(), Some("application/grpc" | "application/grpc+proto"))
}

pub(super) async fn answer(request: Request<Incoming>, intake: &Intake) -> Answer {
    match accept(request, intake).await {
        Ok(()) => success(),
        Err(status) => {
            intake.refuse(status.refusal);
            status.into_answer()
        }
    }
}

async fn accept(request: Request<Incoming>, intake: &Intake) -> Result<(), Status> {
    let signal = signal(request.uri().path())
        .ok_or_else(|| Status::new(UNIMPLEMENTED, Refusal::UnknownPath, "no such service or method"))?;
    let gzip = gzip(request.headers())?;
    let limit = intake.max_body_bytes;
    let read = body::read(request.into_body(), limit.saturating_add(PREFIX), intake.body_timeout).await;
    let read = read.map_err(|refusal| Status::of(refusal, limit))?;
    let message = unframe(&read, gzip, limit)?;
    let batch = decode::decode(signal, Encoding::Protobuf, &message, limit)
        .map_err(|malformed| Status::new(INVALID_ARGUMENT, Refusal::Malformed, malformed.to_string()))?;
    intake.accept(batch);
    Ok(())
}

/// Takes the message out of the frame of a unary call.
pub(super) fn unframe(framed: &[u8], gzip: bool, limit: usize) -> Result<Cow<'_, [u8]>, Status> {
    let malformed = |why: &str| Status::new(INVALID_ARGUMENT, Refusal::Malformed, why);
    let Some((&[flag, a, b, c, d], message)) = framed.split_first_chunk::<PREFIX>() else {
        return Err(malformed("the body has no gRPC frame"));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Status::of(Refusal::TooLarge, limit));
    }
    if message.len() != length {
        return Err(malformed("the body is not exactly one gRPC frame"));
    }
    match flag {
        0 => Ok(Cow::Borrowed(message)),
        1 if gzip => body::unpack(message, true, limit).map_err(|refusal| Status::of(refusal, limit)),
        1 => Err(Status::new(INTERNAL, Refusal::Malformed, "a compressed message without a grpc-encoding")),
        _ => Err(malformed("the compressed flag is neither 0 nor 1")),
    }
}

/// A gRPC status other than OK.
#[derive(Debug)]
pub(super) struct Status {
    code: u8,
    refusal: Refusal,
    message: String,
}

impl Status {
    fn new(code: u8, refusal: Refusal, message: impl Into<String>) -> Self {
        Self { code, refusal, message: message.into() }
    }

    fn of(refusal: Refusal, limit: usize) -> Self {
        let code = match refusal {
            Refusal::TooLarge => RESOURCE_EXHAUSTED,
            Refusal::Unfinished => DEADLINE_EXCEEDED,
            _ => INVALID_ARGUMENT,
        };
        Self::new(code, refusal, http::explain(refusal, limit))
    }

    fn into_answer(self) -> Answer {
        let mut answer = Answer::new(Empty::new().boxed_unsync());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(STATUS, HeaderValue::from(u16::from(self.code)));
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
        if let Ok(message) = HeaderValue::from_str(&percent_encoded(&self.message)) {
            headers.insert("grpc-message", message);
        }
        answer
    }
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

fn gzip(headers: &HeaderMap) -> Result<bool, Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(Status::new(UNIMPLEMENTED, Refusal::UnknownMediaType, "grpc-encoding is gzip or identity")),
    }
}

fn success() -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; PREFIX]));
    let body = body.with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    let mut answer = Answer::new(body.boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    answer
}

/// As `grpc-message` wants it: printable ASCII but `%` as it is, all other bytes as `%XX`.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

const PREFIX: usize = 5;
const MEDIA_TYPE: &str = "application/grpc";
const STATUS: &str = "grpc-status";
const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
