//! Where each signal goes: decided from code and variables, code first, the signal's own variable before the general one.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use opentelemetry_otlp::Compression;
use url::Host;

use super::environment::{Environment, HIDDEN, milliseconds, pairs};
use super::error::SetupError;

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `grpc`: OTLP over gRPC, default endpoint `http://localhost:4317`.
    Grpc,
    /// `http/protobuf`: OTLP over HTTP, default endpoint `http://localhost:4318`. The default.
    HttpProtobuf,
}

/// What code says about the destination of both signals; the rest is left to variables.
#[derive(Clone, Default)]
pub(super) struct Wishes {
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) timeout: Option<Duration>,
}

impl fmt::Debug for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wishes")
            .field("endpoint", &self.endpoint.as_deref().map(shown))
            .field("protocol", &self.protocol)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The names that belong to one of the two signals.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) what: &'static str,
    path: &'static str,
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    headers: &'static str,
    timeout: &'static str,
    compression: &'static str,
}

pub(super) const SPANS: Signal = Signal {
    what: "spans",
    path: "v1/traces",
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    compression: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
};

pub(super) const LOGS: Signal = Signal {
    what: "logs",
    path: "v1/logs",
    exporter: "OTEL_LOGS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    headers: "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    timeout: "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
    compression: "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
};

/// Where one signal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// Nowhere: the signal is sessionised and counted as activity, but not exported.
    Nowhere,
    Otlp(Otlp),
}

/// An OTLP endpoint and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Otlp {
    pub(super) protocol: Protocol,
    pub(super) endpoint: Endpoint,
    pub(super) headers: Headers,
    pub(super) timeout: Duration,
    pub(super) compression: Option<Compression>,
}

impl Destination {
    pub(super) fn resolve(signal: &Signal, wishes: &Wishes, environment: &Environment<'_>) -> Result<Self, SetupError> {
        if !environment.parsed(signal.exporter, exports)?.unwrap_or(true) {
            return Ok(Self::Nowhere);
        }
        let protocol = match wishes.protocol {
            Some(protocol) => protocol,
            None => first(environment, [signal.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"], protocol)?
                .unwrap_or(Protocol::HttpProtobuf),
        };
        let timeout = match wishes.timeout {
            Some(timeout) => given_timeout(timeout)?,
            None => first(environment, [signal.timeout, "OTEL_EXPORTER_OTLP_TIMEOUT"], milliseconds)?
                .unwrap_or(DEFAULT_TIMEOUT),
        };
        let compression = first(environment, [signal.compression, "OTEL_EXPORTER_OTLP_COMPRESSION"], compression)?;
        let general = environment.secret("OTEL_EXPORTER_OTLP_HEADERS", headers)?;
        let headers = environment.secret(signal.headers, headers)?.or(general).unwrap_or_default();
        let endpoint = endpoint(signal, wishes, protocol, environment)?;
        Ok(Self::Otlp(Otlp { protocol, endpoint, headers, timeout, compression: compression.flatten() }))
    }
}

/// Headers of every request. The exporter reads them by itself as well, but takes a signal's own variable that is empty for
/// one that says "none", and the general one would be left out. They may be secrets, and are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(pub(super) Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// An endpoint; what may be a password in it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint(String);

impl Endpoint {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str, protocol: Protocol) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty; write http://host:port, or leave it out for the default".into());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("has no scheme; write http://{}", shown(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(NO_TLS.into()),
            _ => return Err("is no http endpoint; write http://host:port".into()),
        }
        if !rest.chars().all(|c| c.is_ascii_graphic()) || rest.contains(['#', '<', '>', '`']) {
            return Err("holds characters that an endpoint cannot have; write http://host:port".into());
        }
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(NO_USER.into());
        }
        // The colons of an IPv6 address stand in brackets.
        let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_brackets..].rfind(':') {
            Some(at) => (&authority[..after_brackets + at], Some(&authority[after_brackets + at + 1..])),
            None => (authority, None),
        };
        if host.is_empty() {
            return Err("has no host; write http://host:port".into());
        }
        if !is_host(host) {
            return Err(
                "has no valid host; write one name or address, that of IPv6 in brackets, as in http://[::1]:4318"
                    .into(),
            );
        }
        if host.contains('%') && protocol != Protocol::Grpc {
            return Err(NO_ZONE.into());
        }
        if port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err("has no valid port; use a number from 1 to 65535".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// The endpoint of one signal below this one.
    fn below(self, protocol: Protocol, signal: &Signal) -> Self {
        match protocol {
            Protocol::Grpc => self,
            Protocol::HttpProtobuf => Self(format!("{}/{}", self.0.trim_end_matches('/'), signal.path)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An endpoint without user, password and query, which may be secrets.
pub(super) fn shown(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").map_or(("", endpoint), |(scheme, rest)| (scheme, rest));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let rest = match rest.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        // The question mark may stand in the password, and that begin before it.
        None if query.contains('@') => "***".to_owned(),
        None => rest.to_owned(),
    };
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

/// What code says, else the signal's own endpoint as it is, else the general one with the signal's path.
fn endpoint(
    signal: &Signal,
    wishes: &Wishes,
    protocol: Protocol,
    environment: &Environment<'_>,
) -> Result<Endpoint, SetupError> {
    if let Some(text) = &wishes.endpoint {
        let refuse = |problem| SetupError::Setting { setting: "with_endpoint", value: shown(text), problem };
        return base(text, protocol).map(|base| base.below(protocol, signal)).map_err(refuse);
    }
    let read = |name, parse: fn(&str, Protocol) -> Result<Endpoint, String>| {
        let Some(text) = environment.text(name)? else { return Ok(None) };
        parse(&text, protocol).map(Some).map_err(|problem| SetupError::Variable { name, value: shown(&text), problem })
    };
    if let Some(own) = read(signal.endpoint, Endpoint::parse)? {
        return Ok(own);
    }
    let default = || match protocol {
        Protocol::Grpc => Endpoint("http://localhost:4317".into()),
        Protocol::HttpProtobuf => Endpoint("http://localhost:4318".into()),
    };
    Ok(read("OTEL_EXPORTER_OTLP_ENDPOINT", base)?.unwrap_or_else(default).below(protocol, signal))
}

/// An endpoint to which the path of a signal can be added.
fn base(text: &str, protocol: Protocol) -> Result<Endpoint, String> {
    if text.contains('?') {
        return Err("has a query, to which no path can be added; leave the query out".into());
    }
    Endpoint::parse(text, protocol)
}

/// Whether this is a name, or an address: what is neither would be found out by each export, or by the exporter as it is
/// built, which does not tell where the endpoint came from.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        // Behind the address there may be a zone.
        Some(address) => address.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        // What ends in a number is an address or nothing.
        None => {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) && Host::parse(text).is_ok()
        }
    }
}

fn first<T>(
    environment: &Environment<'_>,
    names: [&'static str; 2],
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, SetupError> {
    let [own, general] = names;
    // Both are read: a value that cannot be understood is told even if another one wins.
    let general = environment.parsed(general, parse)?;
    Ok(environment.parsed(own, parse)?.or(general))
}

fn exports(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("is not an exporter of this crate; use otlp or none".into()),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Err("is not supported, because it sends records that collectors refuse; use http/protobuf, \
                            which every collector takes on the same port, or grpc"
            .into()),
        _ => Err("is not a known protocol; use http/protobuf or grpc".into()),
    }
}

fn compression(text: &str) -> Result<Option<Compression>, String> {
    match text.to_ascii_lowercase().as_str() {
        "gzip" => Ok(Some(Compression::Gzip)),
        "none" => Ok(None),
        _ => Err("is not a supported compression; use gzip or none".into()),
    }
}

fn given_timeout(timeout: Duration) -> Result<Duration, SetupError> {
    if (MINIMUM_TIMEOUT..=MAXIMUM_TIMEOUT).contains(&timeout) {
        return Ok(timeout);
    }
    let problem = "is out of range; use 1 ms to 1 h, such as 10 s".into();
    Err(SetupError::Setting { setting: "with_export_timeout", value: format!("{timeout:?}"), problem })
}

/// The exporter would leave out headers that it cannot send, and a token that is left out is hard to find.
fn headers(text: &str) -> Result<Headers, String> {
    let headers = pairs(text)?;
    for (index, (name, value)) in headers.iter().enumerate() {
        let place = index + 1;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
            return Err(format!("entry {place} has a name that no header can have; use letters, digits and '-'"));
        }
        if value.is_empty() || !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return Err(format!("entry {place} has a value that no header can have; use printable ASCII characters"));
        }
    }
    Ok(Headers(headers))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const MINIMUM_TIMEOUT: Duration = Duration::from_millis(1);
const MAXIMUM_TIMEOUT: Duration = Duration::from_secs(3600);

const NO_TLS: &str = "needs TLS, which setup() does not speak; send to a collector or agent on this host or network over \
                      http and let that one speak https";

/// The HTTP client's addresses have none, so each export would fail.
const NO_ZONE: &str = "has an address with a zone, which works over grpc only; leave the zone out, or use grpc";

/// Over HTTP the client would leave them out, and over gRPC they would stand where a host does.
const NO_USER: &str = "has a user or password, which exporters do not send; leave it out, and give \
                       OTEL_EXPORTER_OTLP_HEADERS an entry such as authorization=Basic%20..";
