//! https, as far as it can be tried without a certificate that this machine trusts.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use otel_session::{Loss, SnowplowExporter};

#[test]
fn an_https_endpoint_is_spoken_to_in_tls_and_a_failed_handshake_keeps_the_event() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let exporter = SnowplowExporter::builder().with_endpoint(endpoint).build().unwrap();
    let loggers = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let logger = loggers.logger("shop");
    let mut record = logger.create_log_record();
    record.set_event_name("checkout");
    logger.emit(record);
    let (mut connection, _) = listener.accept().unwrap();
    let mut start = [0; 3];
    connection.read_exact(&mut start).unwrap();
    // A record of the handshake: what follows is a ClientHello, and nothing of the event can be read from it.
    assert_eq!(start[..2], [0x16, 0x03]);
    drop(connection);
    drop(listener);
    assert!(!exporter.flush(Duration::from_millis(200)));
    assert_eq!(exporter.pending(), 1);
    assert_eq!(exporter.shutdown(Duration::from_millis(200)).pending, 1);
    assert_eq!(exporter.losses().count(Loss::EventUndelivered), 1);
}
