//! Why telemetry could not be installed. Nothing that may be a secret is ever part of a message.

use std::fmt;

use opentelemetry_otlp::ExporterBuildError;

use crate::error::BuildError;

/// A reason why [`Setup::install`](crate::Setup::install) refused. Nothing was installed: correct it and call again.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// Telemetry is installed in this process already, or is being installed by another thread.
    AlreadyInstalled,
    /// The process has a global `tracing` subscriber already, which cannot be replaced.
    SubscriberInUse,
    /// An environment variable has a value that cannot work.
    Variable {
        /// The variable's name.
        name: &'static str,
        /// Its value; left out where it may be a secret.
        value: String,
        /// What is wrong with it and what to use instead.
        problem: String,
    },
    /// A setting made in code cannot work.
    Setting {
        /// The name of the builder's method.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it and what to use instead.
        problem: String,
    },
    /// The sessions could not be built.
    Sessions(BuildError),
    /// An exporter could not be built.
    Exporter {
        /// What it would have exported: `spans` or `logs`.
        signal: &'static str,
        /// Why.
        cause: ExporterBuildError,
    },
    /// The threads that gRPC needs could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInstalled => f.write_str(
                "telemetry is installed in this process already; call install() once and share the Telemetry it returns",
            ),
            Self::SubscriberInUse => f.write_str(
                "a global tracing subscriber is set already; call install() before it, or leave setup() and build the \
                 providers beside your subscriber with Sessions::builder()",
            ),
            Self::Variable { name, value, problem } => write!(f, "{name}={value}: {problem}"),
            Self::Setting { setting, value, problem } => write!(f, "{setting}({value}): {problem}"),
            Self::Sessions(error) => write!(f, "the sessions could not be built: {error}"),
            Self::Exporter { signal, cause } => write!(f, "the exporter of {signal} could not be built: {cause}"),
            Self::Thread(error) => write!(f, "the thread for gRPC could not be started: {error}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AlreadyInstalled | Self::SubscriberInUse | Self::Variable { .. } | Self::Setting { .. } => None,
            Self::Sessions(error) => Some(error),
            Self::Exporter { cause, .. } => Some(cause),
            Self::Thread(error) => Some(error),
        }
    }
}
