//! Who sends the telemetry: the resource, from code and variables.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{SdkProvidedResourceDetector, TelemetryResourceDetector};

use super::environment::{Environment, pairs, percent_decoded};
use super::error::SetupError;
use crate::semconv::SERVICE_NAME;

/// Refuses what no collector could make sense of.
pub(super) fn check(service_name: Option<&str>, attributes: &[KeyValue]) -> Result<(), SetupError> {
    let refuse = |setting, value: &str, problem: &str| {
        Err(SetupError::Setting { setting, value: format!("{value:?}"), problem: problem.into() })
    };
    if let Some(name) = service_name.filter(|name| name.trim().is_empty()) {
        return refuse(
            "with_service_name",
            name,
            "is empty; give the service a name, or leave it to OTEL_SERVICE_NAME",
        );
    }
    for attribute in attributes {
        if attribute.key.as_str().trim().is_empty() {
            return refuse("with_resource_attributes", attribute.key.as_str(), "has an empty key; name the attribute");
        }
        if attribute.key.as_str() == SERVICE_NAME && attribute.value.as_str().trim().is_empty() {
            return refuse("with_resource_attributes", SERVICE_NAME, "is empty; give the service a name");
        }
    }
    Ok(())
}

/// The SDK's own attributes, then the environment's, then code's: the later wins.
pub(super) fn resource(
    service_name: Option<String>,
    attributes: Vec<KeyValue>,
    environment: &Environment<'_>,
) -> Result<Resource, SetupError> {
    let given = environment.parsed("OTEL_RESOURCE_ATTRIBUTES", attributes_of)?.unwrap_or_default();
    let named = environment.text("OTEL_SERVICE_NAME")?;
    let own = |name: Option<String>| name.map(|name| KeyValue::new(SERVICE_NAME, name));
    // Without the SDK's reader of `OTEL_RESOURCE_ATTRIBUTES`: it decodes nothing, and what is encoded would be there twice.
    Ok(Resource::builder_empty()
        .with_detectors(&[Box::new(SdkProvidedResourceDetector), Box::new(TelemetryResourceDetector)])
        .with_attributes(given)
        .with_attributes(own(named))
        .with_attributes(attributes)
        .with_attributes(own(service_name))
        .build())
}

fn attributes_of(text: &str) -> Result<Vec<KeyValue>, String> {
    let mut pairs = pairs(text)?;
    for (key, _) in &mut pairs {
        // Unlike a header's name a key may be encoded.
        *key = percent_decoded(key)
            .filter(|key| !key.trim().is_empty())
            .ok_or("has a key that cannot be decoded; write %25 for a percent sign")?;
    }
    if pairs.iter().any(|(key, value)| key == SERVICE_NAME && value.trim().is_empty()) {
        return Err("has an empty service.name; give the service a name".into());
    }
    Ok(pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect())
}
