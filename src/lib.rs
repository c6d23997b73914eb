//! Sessions for OpenTelemetry.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "dev-collector")]
pub mod collector;
pub mod semconv;
