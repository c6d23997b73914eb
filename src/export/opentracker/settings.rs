//! What a builder's settings must be.

use std::time::Duration;

use http::{HeaderMap, Uri};

use super::builder::{Content, Transport};
use super::properties::{name_problem, property_name};
use super::value::MAX_VALUE_BYTES;
use crate::error::BuildError;
use crate::export::endpoint::Endpoint;
use crate::export::headers::custom_header;

pub(super) fn check_namespace(namespace: &str) -> Result<(), BuildError> {
    if is_text(namespace, MAX_NAMESPACE_BYTES) {
        return Ok(());
    }
    refuse("with_namespace", format!("{namespace:?}"), "use 1 to 128 bytes without control characters")
}

pub(super) fn check_content(content: &Content) -> Result<(), BuildError> {
    let site = content.site.as_str();
    if site.is_empty() {
        return refuse(
            "with_site",
            "\"\"".into(),
            "a site is required: the name under which it is registered at Opentracker",
        );
    }
    if !is_text(site, MAX_SITE_BYTES) || site.contains(char::is_whitespace) || site.contains("://") {
        let fix = "use the site's registered name, such as example.com: 1 to 255 bytes, no spaces, no scheme";
        return refuse("with_site", format!("{site:?}"), fix);
    }
    if content.max_age.is_zero() {
        return refuse(
            "with_max_age",
            "0ns".into(),
            "every record would be too old; use more than zero, such as 60 days",
        );
    }
    if !(MIN_EVENT_BYTES..=MAX_EVENT_BYTES).contains(&content.max_event_bytes) {
        return refuse("with_max_event_bytes", content.max_event_bytes.to_string(), "use 8,192 to 900,000 bytes");
    }
    for (name, value) in &content.properties {
        if let Some(problem) = name_problem(name) {
            return refuse("with_property", format!("{name:?}"), problem);
        }
        if value.len() > MAX_VALUE_BYTES {
            return refuse(
                "with_property",
                format!("{name:?}"),
                "a property's value has at most 4,096 bytes; shorten it",
            );
        }
    }
    for (attribute, name) in &content.renamed {
        if let Some(problem) = name_problem(name) {
            return refuse("with_renamed_attribute", format!("{attribute:?}, {name:?}"), problem);
        }
    }
    for attribute in &content.resource_attributes {
        if property_name(attribute).is_none() && !content.renamed.contains_key(attribute) {
            let fix = "this key is no property's name; give it one by with_renamed_attribute";
            return refuse("with_resource_attribute", format!("{attribute:?}"), fix);
        }
    }
    Ok(())
}

/// The URL of requests, with the `/` that stands before a query.
pub(super) fn root(endpoint: &Endpoint) -> Result<Uri, BuildError> {
    endpoint.uri("with_endpoint", "/")
}

pub(super) fn check_transport(transport: &Transport) -> Result<(), BuildError> {
    if (MIN_GET_BYTES..=MAX_GET_BYTES).contains(&transport.max_get_bytes) {
        return Ok(());
    }
    refuse("with_max_get_bytes", transport.max_get_bytes.to_string(), "use 1,000 to 60,000 bytes")
}

pub(super) fn headers(headers: &[(String, String)]) -> Result<HeaderMap, BuildError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let (name, value) = custom_header(name, value)?;
        map.insert(name, value);
    }
    Ok(map)
}

/// A duration as nanoseconds; the longest possible for one that has too many.
pub(super) fn nanos(duration: Duration) -> i64 {
    crate::clock::duration_nanos(duration)
}

fn is_text(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn refuse<T>(setting: &'static str, value: String, fix: &str) -> Result<T, BuildError> {
    Err(BuildError::Setting { setting, value, fix: fix.to_owned() })
}

const MAX_NAMESPACE_BYTES: usize = 128;
const MAX_SITE_BYTES: usize = 255;
/// Site, title, ids and time always fit.
const MIN_EVENT_BYTES: usize = 8_192;
const MAX_EVENT_BYTES: usize = 900_000;
const MIN_GET_BYTES: usize = 1_000;
/// What the parser of URIs takes is 65,534.
const MAX_GET_BYTES: usize = 60_000;
