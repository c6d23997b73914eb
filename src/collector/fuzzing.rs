//! Ways into the decoders for fuzzing and for replaying its corpus. Not part of the API.
//!
//! Each takes any bytes and must return. What decodes is stored and judged as well: the judgement sees the same input.

use std::sync::{Arc, OnceLock};

use url::form_urlencoded;

use super::DevCollectorBuilder;
use super::contents::Contents;
use super::decode::{self, Encoding, Signal};
use super::snowplow::{self, Payload, RequestFacts, Settings};
use super::stream::Stream;
use super::{grpc, opentracker};

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

/// A tracker's POST: a line with its query string, then the body. The first byte chooses the content type.
pub fn snowplow_post(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (query, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let content_type = match choice & 3 {
        0 => None,
        1 => Some("text/plain"),
        _ => Some("application/json"),
    };
    judge_payload("tp2", content_type, query, body);
}

/// The query string of a tracker's GET.
pub fn snowplow_get(data: &[u8]) {
    judge_payload("tp1", None, data, &[]);
}

/// An Opentracker event as a query string or a form, once by itself and once more into the same session and user.
pub fn opentracker_form(data: &[u8]) {
    let pairs = || form_urlencoded::parse(data).into_owned();
    let mut contents = Contents::new(MAX_RECORDS, MAX_BYTES);
    for event_id in ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"] {
        let Ok(event) = opentracker::read(pairs(), event_id, 1) else { return };
        assert!(!event.session_id().is_empty() && !event.user_id().is_empty(), "an event of nobody");
        assert_eq!((event.event_id(), event.unix_millis()), (event_id, 1), "taken from the request");
        assert!(event.properties().all(|(name, _)| name.bytes().all(|byte| byte.is_ascii_graphic())), "a bad name");
        contents.accept_opentracker(event);
    }
    let stream = Stream::new(Arc::new(contents));
    let newest = stream.opentracker_users().pop();
    assert!(newest.is_none_or(|user| user.event_id().starts_with("22222222")), "the last write wins");
    assert_eq!(
        stream.to_json_lines().lines().count(),
        stream.opentracker_events().len(),
        "not one line for each event"
    );
}

fn judge_payload(version: &str, content_type: Option<&str>, query: &[u8], body: &[u8]) {
    static SETTINGS: OnceLock<Option<Settings>> = OnceLock::new();
    // The default settings are in order.
    let Some(settings) = SETTINGS.get_or_init(|| DevCollectorBuilder::default().snowplow().ok()) else { return };
    let facts = RequestFacts {
        vendor: "com.snowplowanalytics.snowplow".to_owned(),
        version: version.to_owned(),
        content_type: content_type.map(str::to_owned),
        ..RequestFacts::default()
    };
    let query = form_urlencoded::parse(query).into_owned().collect();
    let payload = Payload { facts: Arc::new(facts), query, body: body.to_vec().into() };
    let verdicts = snowplow::judge(&payload, settings);
    assert!(!verdicts.is_empty(), "a request without a verdict");
    let mut contents = Contents::new(usize::MAX, usize::MAX);
    let judged = verdicts.len();
    contents.accept_snowplow(verdicts);
    let stream = Stream::new(Arc::new(contents));
    assert_eq!(stream.to_json_lines().lines().count(), judged, "not one line for each verdict");
    for event in stream.snowplow_good() {
        assert_eq!(event.canonical().as_object().map(serde_json::Map::len), Some(131), "an unknown column");
        assert_eq!(event.event_id().len(), 36, "no event id");
        assert!(event.client_session().is_none_or(|session| session.session_id.len() == 36), "no session id");
    }
    assert!(stream.snowplow_bad().iter().all(|row| !row.errors().is_empty()), "bad for no reason");
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
