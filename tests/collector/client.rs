//! Clients that send what exporters would not: raw HTTP/1.1 over a socket, and gRPC with any body.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value as Json;

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn post(endpoint: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    exchange(endpoint, &[head.as_bytes(), body].concat())
}

pub(crate) fn post_json(endpoint: &str, path: &str, body: &Json) -> Reply {
    post(endpoint, path, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

pub(crate) fn post_protobuf(endpoint: &str, path: &str, body: &[u8]) -> Reply {
    post(endpoint, path, "Content-Type: application/x-protobuf\r\n", body)
}

/// Sends bytes as they are and reads until the server closes the connection.
pub(crate) fn exchange(endpoint: &str, request: &[u8]) -> Reply {
    let mut socket = connect(endpoint);
    socket.write_all(request).expect("the collector reads what it is sent");
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).expect("the collector answers and closes");
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer has a head");
    let head = String::from_utf8_lossy(&reply[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an HTTP answer has a status");
    Reply { status, head, body: reply[end + 4..].to_vec() }
}

pub(crate) fn connect(endpoint: &str) -> TcpStream {
    let address = endpoint.strip_prefix("http://").expect("endpoints are http");
    TcpStream::connect(address).expect("the collector listens")
}

/// The gRPC status of a call with this body, its message, and whether the status came in trailers.
pub(crate) struct GrpcReply {
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
    pub(crate) trailers: bool,
    pub(crate) body: Bytes,
}

pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

pub(crate) fn call(endpoint: &str, path: &str, encoding: Option<&str>, body: Vec<u8>) -> GrpcReply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = endpoint.strip_prefix("http://").expect("endpoints are http");
        let socket = tokio::net::TcpStream::connect(address).await.expect("the collector listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut request = Request::post(format!("{endpoint}{path}")).header("content-type", "application/grpc");
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "gRPC refuses in its own status");
        let headers = response.headers().clone();
        let collected = response.into_body().collect().await.expect("a whole answer");
        let trailers = collected.trailers().cloned();
        let text = |name: &str| {
            let value = headers.get(name).or(trailers.as_ref().and_then(|trailers| trailers.get(name)));
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        GrpcReply {
            status: text("grpc-status").and_then(|status| status.parse().ok()),
            message: text("grpc-message").unwrap_or_default(),
            trailers: trailers.is_some(),
            body: collected.to_bytes(),
        }
    })
}
