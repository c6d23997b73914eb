//! The collector's settings.

use std::sync::Arc;
use std::{error, fmt, io};

use super::DevCollector;
use super::contents::Contents;
use super::intake::Intake;
use super::server::{self, Server};

/// Settings of a [`DevCollector`], from [`DevCollector::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing listens before build()"]
pub struct DevCollectorBuilder {
    grpc_port: u16,
    http_port: u16,
    max_body_bytes: usize,
    max_records: usize,
}

impl Default for DevCollectorBuilder {
    fn default() -> Self {
        Self { grpc_port: 0, http_port: 0, max_body_bytes: 4 << 20, max_records: 262_144 }
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

    /// How many spans and logs are kept, together. Default: 262,144; at least 1. Beyond it, or beyond 256 MiB, those
    /// that arrived first are dropped and [counted](super::Stream::dropped). Lower it for a collector that runs for days.
    pub fn with_max_records(mut self, records: usize) -> Self {
        self.max_records = records;
        self
    }

    /// Starts the collector.
    ///
    /// # Errors
    /// When a setting is out of range, a port is taken, or the system gives no thread.
    pub fn build(self) -> Result<DevCollector, StartError> {
        self.check()?;
        let (grpc_listener, grpc) = listen("with_grpc_port", self.grpc_port)?;
        let (http_listener, http) = listen("with_http_port", self.http_port)?;
        let contents = Contents::new(self.max_records, MAX_STORED_BYTES);
        let intake = Arc::new(Intake::new(contents, self.max_body_bytes));
        let server = Server::start(vec![grpc_listener, http_listener], Arc::clone(&intake))
            .map_err(|source| StartError::Thread { source })?;
        Ok(DevCollector { server, intake, grpc, http })
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
        if self.grpc_port == self.http_port && self.grpc_port != 0 {
            let fix = "give a port other than with_grpc_port's, or leave one of them at 0 for a free port";
            return refused("with_http_port", usize::from(self.http_port), fix);
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

const LARGEST_BODY: usize = 1 << 30;
const MAX_STORED_BYTES: usize = 256 << 20;
