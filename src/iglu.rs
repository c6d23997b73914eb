//! Our Snowplow schemas, as they stand in `semconv/iglu`: what the bridge sends under them and what the development
//! collector checks it by.

/// A schema in a static Iglu registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgluSchema {
    /// Where it stands in a registry: `schemas/<vendor>/<name>/jsonschema/<version>`.
    pub path: &'static str,
    /// Its name, the part of the path after the vendor.
    pub name: &'static str,
    /// The self-describing JSON Schema.
    pub text: &'static str,
}

/// Every schema of ours, by name, under the default vendor. Copy them into your registry; under a vendor of your own, put
/// it in place of ours in the path and in `self.vendor`.
#[must_use]
pub fn schemas() -> &'static [IgluSchema] {
    &SCHEMAS
}

macro_rules! schema {
    ($name:literal) => {
        IgluSchema {
            path: concat!("schemas/io.github.otel_session/", $name, "/jsonschema/1-0-0"),
            name: $name,
            text: include_str!(concat!("../semconv/iglu/schemas/io.github.otel_session/", $name, "/jsonschema/1-0-0")),
        }
    };
}

const SCHEMAS: [IgluSchema; 7] = [
    schema!("event"),
    schema!("log"),
    schema!("resource"),
    schema!("session_end"),
    schema!("session_start"),
    schema!("span"),
    schema!("trace"),
];
