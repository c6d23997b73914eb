//! The collector's settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{error, fmt, io};

use hyper::http::uri::PathAndQuery;

use crate::clock::{Clock, Source};

use super::DevCollector;
use super::contents::Contents;
use super::intake::Intake;
use super::server::{self, Door, Server};
use super::snowplow::{InvalidSchema, Registry, Settings};

/// Settings of a [`DevCollector`], from [`DevCollector::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing listens before build()"]
pub struct DevCollectorBuilder {
    grpc_port: u16,
    http_port: u16,
    snowplow_port: u16,
    opentracker_port: u16,
    max_body_bytes: usize,
    max_records: usize,
    max_stored_bytes: usize,
    body_timeout: Duration,
    clock: Source,
    schemas: Vec<(String, String)>,
    iglu_dirs: Vec<PathBuf>,
    snowplow_limits: [usize; 3],
    do_not_track: Option<(String, String)>,
    post_paths: Vec<String>,
}

impl Default for DevCollectorBuilder {
    fn default() -> Self {
        Self {
            grpc_port: 0,
            http_port: 0,
            snowplow_port: 0,
            opentracker_port: 0,
            max_body_bytes: 4 << 20,
            max_records: 262_144,
            max_stored_bytes: 256 << 20,
            body_timeout: Duration::from_secs(30),
            clock: Source::System,
            schemas: Vec::new(),
            iglu_dirs: Vec::new(),
            snowplow_limits: [1_000_000, 1 << 20, 2 << 20],
            do_not_track: None,
            post_paths: Vec::new(),
        }
    }
}

impl DevCollectorBuilder {
    /// The port of [`otlp_grpc_endpoint`](DevCollector::otlp_grpc_endpoint). Default: 0, any free one. Set 4317 to
    /// receive from exporters that are left at their defaults.
    pub fn with_grpc_port(mut self, port: u16) -> Self {
        self.grpc_port = port;
        self
    }

    /// The port of [`otlp_http_endpoint`](DevCollector::otlp_http_endpoint). Default: 0, any free one. Set 4318 to
    /// receive from exporters that are left at their defaults.
    pub fn with_http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// The largest request body in bytes, before and after decompression. Default: 4 MiB, as in most gRPC servers; from
    /// 1 to 1 GiB. Raise it for exporters with very large batches.
    pub fn with_max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// The port of [`snowplow_endpoint`](DevCollector::snowplow_endpoint). Default: 0, any free one. Set 9090 for clients
    /// that expect Snowplow Micro.
    pub fn with_snowplow_port(mut self, port: u16) -> Self {
        self.snowplow_port = port;
        self
    }

    /// The port of [`opentracker_endpoint`](DevCollector::opentracker_endpoint). Default: 0, any free one.
    pub fn with_opentracker_port(mut self, port: u16) -> Self {
        self.opentracker_port = port;
        self
    }

    /// How long a request body may take to arrive. Default: 30 s, as in Snowplow's collector, at least 1 ms; after it the
    /// answer is 408. Shorten it to see what a sender does with that.
    pub fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Where the times of Snowplow's and Opentracker's records come from. Default: the system's clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = clock.into_source();
        self
    }

    /// A schema of your own, or an official one that this crate does not bring: its Iglu address, such as
    /// `iglu:com.acme/click/jsonschema/1-0-0`, and its JSON Schema (draft 4). It stands before any other of that address.
    /// Default: none; this crate brings the schemas of the tracker protocol and of its own events.
    pub fn with_schema(mut self, uri: impl Into<String>, json: impl Into<String>) -> Self {
        self.schemas.push((uri.into(), json.into()));
        self
    }

    /// A folder of schemas laid out as a static Iglu registry: `schemas/<vendor>/<name>/jsonschema/<version>`, with or
    /// without the folder `schemas`. Can be given several times; the first that has a schema counts. Default: none.
    pub fn with_iglu_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.iglu_dirs.push(path.into());
        self
    }

    /// The three size limits of the Snowplow side, in bytes, each at least the one before it and at most 1 GiB.
    /// Default: 1,000,000, 1 MiB and 2 MiB, as in the real collector.
    ///
    /// A body above `record` is split into its events, and an event that is above it alone is a bad row; a body above
    /// `payload` is one bad row; a body above `dropped` is answered with 413. Lower them to see what a sender does.
    pub fn with_snowplow_limits(mut self, record: usize, payload: usize, dropped: usize) -> Self {
        self.snowplow_limits = [record, payload, dropped];
        self
    }

    /// A cookie that says that its sender does not want to be tracked: Snowplow requests with it are answered as ever,
    /// and nothing of them is kept. Default: none.
    pub fn with_snowplow_do_not_track_cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.do_not_track = Some((name.into(), value.into()));
        self
    }

    /// A further path for Snowplow trackers, beginning with `/`, that means what `/com.snowplowanalytics.snowplow/tp2`
    /// does. Can be given several times. Default: none.
    pub fn with_snowplow_path(mut self, path: impl Into<String>) -> Self {
        self.post_paths.push(path.into());
        self
    }

    /// How many spans, logs, and records of the other trackers are kept, together. Default: 262,144; at least 1. Beyond
    /// it, or beyond [`with_max_stored_bytes`](Self::with_max_stored_bytes), those that arrived first are dropped and
    /// [counted](super::Stream::dropped). Lower it for a collector that runs for days.
    pub fn with_max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }

    /// How much memory the records may take together, in bytes, by an estimate. Default: 256 MiB; at least 1 MiB. A
    /// Snowplow event with a `client_session` takes about 7 kB: raise it to count 100,000 of those. Opentracker's sessions
    /// may take as much besides, and its users too, but at most 64 MiB each.
    pub fn with_max_stored_bytes(mut self, bytes: usize) -> Self {
        self.max_stored_bytes = bytes;
        self
    }

    /// Starts the collector.
    ///
    /// # Errors
    /// When a setting is out of range, a schema is none, a port is taken, or the system gives no thread.
    pub fn build(self) -> Result<DevCollector, StartError> {
        self.check()?;
        let (grpc_listener, grpc) = listen("with_grpc_port", self.grpc_port)?;
        let (http_listener, http) = listen("with_http_port", self.http_port)?;
        let (snowplow_listener, snowplow) = listen("with_snowplow_port", self.snowplow_port)?;
        let (opentracker_listener, opentracker) = listen("with_opentracker_port", self.opentracker_port)?;
        let contents = Contents::new(self.max_records, self.max_stored_bytes);
        let settings = self.snowplow()?;
        let intake = Intake::new(contents, self.max_body_bytes, self.body_timeout, self.clock, settings);
        let intake = Arc::new(intake);
        let listeners = vec![
            (grpc_listener, Door::Otlp),
            (http_listener, Door::Otlp),
            (snowplow_listener, Door::Snowplow),
            (opentracker_listener, Door::Opentracker),
        ];
        let server = Server::start(listeners, Arc::clone(&intake)).map_err(|source| StartError::Thread { source })?;
        Ok(DevCollector { server, intake, grpc, http, snowplow, opentracker })
    }

    pub(super) fn snowplow(&self) -> Result<Settings, StartError> {
        let refused = |setting, fix| move |InvalidSchema(value)| StartError::Setting { setting, value, fix };
        let mut registry = Registry::built_in();
        for (uri, json) in &self.schemas {
            let fix = "give an address as in iglu:vendor/name/jsonschema/1-0-0 and a JSON Schema of draft 4";
            registry.give(uri, json).map_err(refused("with_schema", fix))?;
        }
        for path in &self.iglu_dirs {
            let fix = "give a folder that holds schemas/<vendor>/<name>/jsonschema/<version>";
            registry.add_folder(path).map_err(refused("with_iglu_dir", fix))?;
        }
        let [max_record_bytes, max_payload_bytes, drop_payload_bytes] = self.snowplow_limits;
        let (do_not_track, post_paths) = (self.do_not_track.clone(), self.post_paths.clone());
        Ok(Settings { registry, max_payload_bytes, drop_payload_bytes, max_record_bytes, do_not_track, post_paths })
    }

    fn check(&self) -> Result<(), StartError> {
        let refused = |setting, value: usize, fix| Err(StartError::Setting { setting, value: value.to_string(), fix });
        if self.max_body_bytes == 0 {
            return refused("with_max_body_bytes", 0, "give the largest request body in bytes, 4194304 by default");
        }
        if self.max_body_bytes > LARGEST_BODY {
            return refused("with_max_body_bytes", self.max_body_bytes, "give at most 1073741824 (1 GiB)");
        }
        if self.max_records == 0 {
            return refused("with_max_records", 0, "give how many spans and logs to keep, 262144 by default");
        }
        if self.max_stored_bytes < LEAST_STORED_BYTES {
            return refused("with_max_stored_bytes", self.max_stored_bytes, "give 1048576 (1 MiB) or more");
        }
        if self.body_timeout < Duration::from_millis(1) {
            let value = format!("{:?}", self.body_timeout);
            return Err(StartError::Setting { setting: "with_body_timeout", value, fix: "give 1 ms or more" });
        }
        let [record, payload, dropped] = self.snowplow_limits;
        if record == 0 || record > payload || payload > dropped || dropped > LARGEST_BODY {
            let value = format!("{record}, {payload}, {dropped}");
            let fix = "give three sizes of which each is at least the one before it, from 1 to 1073741824";
            return Err(StartError::Setting { setting: "with_snowplow_limits", value, fix });
        }
        if let Some(path) = self.post_paths.iter().find(|path| !can_be_asked_for(path)) {
            let fix = "give a path that begins with / and not with /micro/, percent-encoded and without a query";
            return Err(StartError::Setting { setting: "with_snowplow_path", value: path.clone(), fix });
        }
        let can_be_sent = |(name, value): &&(String, String)| {
            let named = !name.is_empty() && !name.contains(['=', ';']) && name.trim() == name;
            named && !value.contains(';') && value.trim() == value
        };
        if let Some((name, value)) = self.do_not_track.as_ref().filter(|cookie| !can_be_sent(cookie)) {
            let (value, fix) = (format!("{name}={value}"), "give a name and a value as they stand in a Cookie header");
            return Err(StartError::Setting { setting: "with_snowplow_do_not_track_cookie", value, fix });
        }
        self.check_ports()
    }

    fn check_ports(&self) -> Result<(), StartError> {
        let ports = [
            ("with_grpc_port", self.grpc_port, ""),
            ("with_http_port", self.http_port, "give a port other than with_grpc_port's, or leave one of them at 0"),
            ("with_snowplow_port", self.snowplow_port, "give a port other than those for OTLP, or 0 for a free one"),
            ("with_opentracker_port", self.opentracker_port, "give a port other than the others, or 0 for a free one"),
        ];
        for (index, (setting, port, fix)) in ports.into_iter().enumerate().filter(|(_, (_, port, _))| *port != 0) {
            if ports[..index].iter().any(|(_, other, _)| *other == port) {
                return Err(StartError::Setting { setting, value: port.to_string(), fix });
            }
        }
        Ok(())
    }
}

/// Why a collector could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of range.
    #[non_exhaustive]
    Setting {
        /// The builder method.
        setting: &'static str,
        /// What it was given.
        value: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// A port cannot be listened on.
    #[non_exhaustive]
    Port {
        /// The builder method.
        setting: &'static str,
        /// The port it was given; 0 asked for a free one.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The collector's thread or its runtime could not start.
    #[non_exhaustive]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { setting, value, fix } => write!(f, "{setting}({value}): {fix}"),
            Self::Port { setting, port, source } => {
                write!(
                    f,
                    "{setting}({port}): cannot listen on 127.0.0.1:{port} ({source}); give another port, or 0 for a free one"
                )
            }
            Self::Thread { source } => write!(f, "the collector's thread could not start: {source}"),
        }
    }
}

impl error::Error for StartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Setting { .. } => None,
            Self::Port { source, .. } | Self::Thread { source } => Some(source),
        }
    }
}

fn listen(setting: &'static str, port: u16) -> Result<(std::net::TcpListener, std::net::SocketAddr), StartError> {
    server::listen(port).map_err(|source| StartError::Port { setting, port, source })
}

/// Whether a request line can name this path, and Micro's interface does not hide it.
fn can_be_asked_for(path: &str) -> bool {
    let whole = path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.path() == path);
    whole && path.starts_with('/') && path != "/micro" && !path.starts_with("/micro/")
}

const LARGEST_BODY: usize = 1 << 30;
const LEAST_STORED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// By real time it would take that long.
    #[test]
    fn without_settings_a_body_has_the_time_that_the_real_collector_gives_it() {
        assert_eq!(DevCollectorBuilder::default().body_timeout, Duration::from_secs(30));
    }
}
