//! The self-describing parts of an event: its entities (`co`, `cx`) and its inner event (`ue_pr`, `ue_px`).

use serde_json::Value as Json;

use super::super::decode::base64_decode;
use super::payload::{Parameters, described};
use super::registry::Registry;

/// The entities: Iglu address and data. What is wrong goes to `errors`.
pub(super) fn contexts(parameters: &Parameters, registry: &Registry, errors: &mut Vec<String>) -> Vec<(String, Json)> {
    let Some((key, document)) = document(parameters, "co", "cx", errors) else { return Vec::new() };
    let Some(data) = outer(key, &document, CONTEXTS, registry, errors) else { return Vec::new() };
    let mut contexts = Vec::new();
    for entity in data.as_array().map(Vec::as_slice).unwrap_or_default() {
        // The schema of the list has said that each entity is described.
        let Some((schema, data)) = described(entity) else { continue };
        errors.extend(registry.errors(schema, data));
        contexts.push((schema.to_owned(), data.clone()));
    }
    contexts
}

/// The inner event, `{"schema": .., "data": ..}`. What is wrong goes to `errors`.
pub(super) fn inner_event(parameters: &Parameters, registry: &Registry, errors: &mut Vec<String>) -> Option<Json> {
    let (key, document) = document(parameters, "ue_pr", "ue_px", errors)?;
    let inner = outer(key, &document, UNSTRUCT_EVENT, registry, errors)?;
    let (schema, data) = described(inner)?;
    errors.extend(registry.errors(schema, data));
    Some(inner.clone())
}

/// The one of two parameters that is present, decoded; which of two would win is not defined, so both are an error.
fn document<'a>(
    parameters: &Parameters,
    plain: &'a str,
    coded: &'a str,
    errors: &mut Vec<String>,
) -> Option<(&'a str, Json)> {
    let (key, text) = match (parameters.get(plain), parameters.get(coded)) {
        (Some(_), Some(_)) => {
            errors.push(format!("{plain} and {coded} are both present: send one of them"));
            return None;
        }
        (Some(text), None) => (plain, text.clone()),
        (None, Some(text)) => {
            let decoded = base64_decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(decoded) = decoded else {
                errors.push(format!("{coded}: not UTF-8 in base64"));
                return None;
            };
            (coded, decoded)
        }
        (None, None) => return None,
    };
    match serde_json::from_str(&text) {
        Ok(document) => match depth_error(&document) {
            None => return Some((key, document)),
            Some(error) => errors.push(format!("{key}: {error}")),
        },
        Err(error) => errors.push(format!("{key}: not JSON: {error}")),
    }
    None
}

/// The data of the outer self-describing JSON, if it is what it should be.
fn outer<'a>(
    key: &str,
    document: &'a Json,
    expected: &str,
    registry: &Registry,
    errors: &mut Vec<String>,
) -> Option<&'a Json> {
    let Some((schema, data)) = described(document) else {
        errors.push(format!("{key}: no self-describing JSON: exactly schema and data are expected"));
        return None;
    };
    if !schema.starts_with(expected) {
        errors.push(super::registry::shorten(format!("{key}: the schema is {schema:?}: {expected}* is expected")));
        return None;
    }
    let wrong = registry.errors(schema, data);
    let valid = wrong.is_empty();
    errors.extend(wrong.into_iter().map(|error| format!("{key}: {error}")));
    valid.then_some(data)
}

/// Set when a document is nested more deeply than the real validation takes.
pub(super) fn depth_error(document: &Json) -> Option<String> {
    (depth(document) > MAX_DEPTH).then(|| format!("the JSON is nested more than {MAX_DEPTH} deep"))
}

/// The parser stops at 128, so this recursion is bounded.
fn depth(value: &Json) -> usize {
    match value {
        Json::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

const MAX_DEPTH: usize = 40;
const CONTEXTS: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-";
const UNSTRUCT_EVENT: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_levels_are_accepted_and_one_more_is_not() {
        let nested = |levels: usize| (0..levels).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
        assert_eq!(depth_error(&nested(40)), None);
        assert!(depth_error(&nested(41)).is_some());
    }
}
