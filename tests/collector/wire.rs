//! OTLP requests written by hand, field by field, so that the collector is not checked with its own messages.

use serde_json::{Value as Json, json};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// 2026-01-01 00:00:00 UTC, so that times in tests are small offsets.
pub(crate) const EPOCH: u64 = 1_767_225_600 * SECOND;

/// A field that holds bytes, a text or a message.
pub(crate) fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut out = varint(field << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend(content);
    out
}

pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

pub(crate) fn fixed64(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

pub(crate) fn fixed32(field: u64, value: u32) -> Vec<u8> {
    [varint(field << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// An attribute with a ready `AnyValue`.
pub(crate) fn pair(key: &str, any_value: &[u8]) -> Vec<u8> {
    [bytes(1, key), bytes(2, any_value)].concat()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    bytes(1, value)
}

/// Arrays inside one another around an empty value.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| bytes(5, bytes(1, inner)))
}

/// A request for traces or logs (they have the same outer shape) with one resource, one scope and these records.
pub(crate) fn request(records: &[Vec<u8>]) -> Vec<u8> {
    let resource = bytes(1, [bytes(1, pair("service.name", &text("shop"))), number(2, 7)].concat());
    let scope = bytes(1, [bytes(1, "wire"), bytes(2, "1.2"), bytes(3, pair("k", &text("v"))), number(4, 1)].concat());
    let records: Vec<u8> = records.iter().flat_map(|record| bytes(2, record)).collect();
    let scoped = bytes(2, [scope, records, bytes(3, "https://scope.example/1")].concat());
    bytes(1, [resource, scoped, bytes(3, "https://resource.example/1")].concat())
}

/// A log with every field there is.
pub(crate) fn full_log() -> Vec<u8> {
    let array = bytes(5, [bytes(1, text("one")), bytes(1, number(3, 2))].concat());
    let map = bytes(6, bytes(1, pair("inner", &[4 << 3 | 1, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f])));
    [
        fixed64(1, EPOCH),
        fixed64(11, EPOCH + 1),
        number(2, 9),
        bytes(3, "INFO"),
        bytes(5, text("hello")),
        bytes(6, pair("session.id", &text("s1"))),
        bytes(6, pair("count", &number(3, -5_i64 as u64))),
        bytes(6, pair("yes", &number(2, 1))),
        bytes(6, pair("list", &array)),
        bytes(6, pair("map", &map)),
        bytes(6, pair("raw", &bytes(7, [1, 2, 255]))),
        bytes(6, bytes(1, "empty")),
        number(7, 3),
        fixed32(8, 1),
        bytes(9, [0xab; 16]),
        bytes(10, [0xcd; 8]),
        bytes(12, "session.start"),
        // A field from the future.
        bytes(99, "unknown"),
    ]
    .concat()
}

/// A span with every field there is.
pub(crate) fn full_span() -> Vec<u8> {
    let session = || pair("session.id", &text("s1"));
    let event = [fixed64(1, EPOCH + 5), bytes(2, "click"), bytes(3, session()), number(4, 1)].concat();
    let link = [bytes(1, [1; 16]), bytes(2, [2; 8]), bytes(3, "a=b"), bytes(4, session()), number(5, 2), fixed32(6, 1)];
    [
        bytes(1, [0xab; 16]),
        bytes(2, [0xcd; 8]),
        bytes(3, "vendor=1"),
        bytes(4, [0xef; 8]),
        fixed32(16, 257),
        bytes(5, "GET /"),
        number(6, 2),
        fixed64(7, EPOCH),
        fixed64(8, EPOCH + 10),
        bytes(9, session()),
        number(10, 4),
        bytes(11, event),
        number(12, 5),
        bytes(13, link.concat()),
        number(14, 6),
        bytes(15, [bytes(2, "broke"), number(3, 2)].concat()),
    ]
    .concat()
}

pub(crate) fn metrics_request() -> Vec<u8> {
    let metric = [bytes(1, "requests"), bytes(7, bytes(1, fixed64(6, 1)))].concat();
    bytes(1, bytes(2, [bytes(2, &metric), bytes(2, &metric)].concat()))
}

/// A gRPC frame.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a test message is small");
    [&[flag], &length.to_be_bytes()[..], message].concat()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory")
}

/// A string attribute in JSON.
pub(crate) fn json_pair(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

pub(crate) fn json_traces(service: &str, spans: &[Json]) -> Json {
    let resource = json!({ "attributes": [json_pair("service.name", service)] });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": { "name": "t" }, "spans": spans }] }] })
}

pub(crate) fn json_logs(service: &str, logs: &[Json]) -> Json {
    let resource = json!({ "attributes": [json_pair("service.name", service)] });
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "scope": { "name": "t" }, "logRecords": logs }] }] })
}
