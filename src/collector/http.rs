//! OTLP over HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`, protobuf or JSON, plain or gzip.
//!
//! Every refusal answers with a `google.rpc.Status` in the encoding of the request, as OTLP asks.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use prost::Message;

use super::body;
use super::decode::{self, Encoding, Signal};
use super::intake::Intake;
use super::refusals::Refusal;
use super::server::Answer;

pub(super) async fn answer(request: Request<Incoming>, intake: &Intake) -> Answer {
    let encoding = encoding(request.headers());
    match accept(request, encoding, intake).await {
        Ok(encoding) => reply(StatusCode::OK, encoding, success(encoding)),
        Err((refusal, why)) => {
            intake.refuse(refusal);
            refused(refusal, &why, encoding.unwrap_or(Encoding::Json))
        }
    }
}

async fn accept(
    request: Request<Incoming>,
    encoding: Option<Encoding>,
    intake: &Intake,
) -> Result<Encoding, (Refusal, String)> {
    let signal = signal(request.uri().path())
        .ok_or_else(|| (Refusal::UnknownPath, "the paths are /v1/traces, /v1/logs and /v1/metrics".to_owned()))?;
    if request.method() != Method::POST {
        return Err((Refusal::WrongMethod, "OTLP is sent with POST".to_owned()));
    }
    let encoding = encoding.ok_or_else(|| {
        (Refusal::UnknownMediaType, "the content type is application/x-protobuf or application/json".to_owned())
    })?;
    let gzip = gzip(request.headers())
        .ok_or_else(|| (Refusal::UnknownMediaType, "the content encoding is gzip or none".to_owned()))?;
    let limit = intake.max_body_bytes;
    let explained = |refusal| (refusal, explain(refusal, limit));
    let read = body::read(request.into_body(), limit, intake.body_timeout).await.map_err(explained)?;
    let plain = body::unpack(&read, gzip, limit).map_err(explained)?;
    let batch = decode::decode(signal, encoding, &plain, limit)
        .map_err(|malformed| (Refusal::Malformed, malformed.to_string()))?;
    intake.accept(batch);
    Ok(encoding)
}

/// What is wrong with a body, in words for whoever sent it.
pub(super) fn explain(refusal: Refusal, limit: usize) -> String {
    match refusal {
        Refusal::TooLarge => format!("the body is larger than {limit} bytes (before or after decompression)"),
        Refusal::Unfinished => "the body did not arrive in time".to_owned(),
        _ => "the body cannot be decompressed".to_owned(),
    }
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/v1/traces" => Some(Signal::Traces),
        "/v1/logs" => Some(Signal::Logs),
        "/v1/metrics" => Some(Signal::Metrics),
        _ => None,
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    match media_type(headers)?.as_str() {
        "application/x-protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

/// The content type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn gzip(headers: &HeaderMap) -> Option<bool> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Some(false) };
    match value.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
        "gzip" => Some(true),
        "" | "identity" => Some(false),
        _ => None,
    }
}

fn success(encoding: Encoding) -> Bytes {
    // An export response with nothing to report: no bytes in protobuf.
    match encoding {
        Encoding::Protobuf => Bytes::new(),
        Encoding::Json => Bytes::from_static(b"{}"),
    }
}

fn refused(refusal: Refusal, why: &str, encoding: Encoding) -> Answer {
    let (status, code) = match refusal {
        Refusal::UnknownPath => (StatusCode::NOT_FOUND, 5),
        Refusal::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, 12),
        Refusal::UnknownMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 3),
        Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 8),
        Refusal::Malformed => (StatusCode::BAD_REQUEST, 3),
        Refusal::Unfinished => (StatusCode::REQUEST_TIMEOUT, 4),
    };
    let body = match encoding {
        Encoding::Protobuf => RpcStatus { code, message: why.to_owned() }.encode_to_vec(),
        Encoding::Json => serde_json::json!({ "code": code, "message": why }).to_string().into_bytes(),
    };
    let mut answer = reply(status, encoding, body.into());
    if refusal == Refusal::WrongMethod {
        set(&mut answer, ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}

fn reply(status: StatusCode, encoding: Encoding, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    let media_type = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    set(&mut answer, CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}
