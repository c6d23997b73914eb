//! The verdict on a request: which of its events are good, and what is wrong with the others.

use std::sync::Arc;

use serde_json::Value as Json;

use super::columns::Column;
use super::payload::{Parameters, Payload, RequestFacts};
use super::records::{SnowplowBad, SnowplowEvent, json_size, parameters_size};
use super::registry::{Address, MAX_ERRORS, Registry};
use super::settings::Settings;
use super::{atomic, entities};

/// What became of one event, or of a request whose envelope is bad.
#[derive(Debug)]
pub(in crate::collector) enum Verdict {
    Good(SnowplowEvent),
    Bad(SnowplowBad),
}

/// Judges a request: one verdict for each event, or one for all when the envelope is bad. An event never spoils another.
pub(in crate::collector) fn judge(payload: &Payload, settings: &Settings) -> Vec<Verdict> {
    let mut verdicts = judge_sizes(payload, settings);
    // The verdicts of a request share what is known of it.
    let share = payload.facts.size() / verdicts.len().max(1);
    for verdict in &mut verdicts {
        match verdict {
            Verdict::Good(event) => event.size += share,
            Verdict::Bad(row) => row.size += share,
        }
    }
    verdicts
}

fn judge_sizes(payload: &Payload, settings: &Settings) -> Vec<Verdict> {
    let (bytes, limit) = (payload.body.len(), settings.max_record_bytes);
    if bytes > settings.max_payload_bytes {
        let why = format!("size_violation: {bytes} bytes, a payload may have {}", settings.max_payload_bytes);
        return vec![too_large(payload, why)];
    }
    if bytes <= limit {
        return judge_record(payload, &settings.registry);
    }
    // What does not fit one record downstream is cut into records of one event each.
    let parts = match payload.split() {
        Ok(parts) => parts,
        Err(why) => return vec![too_large(payload, format!("size_violation: {bytes} bytes, {limit} fit; {why}"))],
    };
    let verdicts = parts.into_iter().flat_map(|part| match part.body.len() {
        bytes if bytes > limit => {
            vec![too_large(&part, format!("size_violation: one event of {bytes} bytes, {limit} fit"))]
        }
        _ => judge_record(&part, &settings.registry),
    });
    verdicts.collect()
}

fn judge_record(payload: &Payload, registry: &Registry) -> Vec<Verdict> {
    match payload.events(registry) {
        Ok(events) => events.into_iter().map(|event| judge_event(event, &payload.facts, registry)).collect(),
        Err(errors) => vec![bad(&payload.facts, None, true, errors)],
    }
}

fn judge_event(parameters: Parameters, facts: &Arc<RequestFacts>, registry: &Registry) -> Verdict {
    let mut errors = Vec::new();
    let mut columns = atomic::columns(&parameters, facts, &mut errors);
    let contexts = entities::contexts(&parameters, registry, &mut errors);
    let inner = entities::inner_event(&parameters, registry, &mut errors);
    let code = parameters.get("e").map(String::as_str);
    let described = code.and_then(|code| describe(code, inner.as_ref()));
    match (code, &described) {
        (Some("ue"), None) if !parameters.contains_key("ue_pr") && !parameters.contains_key("ue_px") => {
            errors.push("e = \"ue\" without ue_pr and ue_px".to_owned());
        }
        (Some("ue"), _) | (None, _) | (_, Some(_)) => {}
        (Some(other), None) => {
            let shown: String = other.chars().take(50).collect();
            errors.push(format!("atomic: e = {shown:?}: one of ue, pv, pp, se, tr, ti, ad is expected"));
        }
    }
    match described {
        Some((event_type, schema)) if errors.is_empty() => {
            describe_columns(event_type, &schema, &mut columns);
            let size = event_size(&parameters, &columns, inner.as_ref(), &contexts);
            Verdict::Good(SnowplowEvent {
                sequence: 0,
                request: Arc::clone(facts),
                parameters,
                event_type,
                schema,
                self_describing: inner,
                contexts,
                columns,
                size,
            })
        }
        _ => bad(facts, Some(parameters), true, errors),
    }
}

/// The event's type and the address of what it says.
fn describe(code: &str, inner: Option<&Json>) -> Option<(&'static str, String)> {
    let own = |event_type: &'static str| (event_type, format!("iglu:{OWN_VENDOR}/{event_type}/jsonschema/1-0-0"));
    Some(match code {
        "ue" => ("unstruct", inner?.get("schema")?.as_str()?.to_owned()),
        "pv" => own("page_view"),
        "pp" => own("page_ping"),
        "se" => ("struct", "iglu:com.google.analytics/event/jsonschema/1-0-0".to_owned()),
        "tr" => own("transaction"),
        "ti" => own("transaction_item"),
        "ad" => own("ad_impression"),
        _ => return None,
    })
}

fn describe_columns(event_type: &'static str, schema: &str, columns: &mut Vec<Column>) {
    columns.push(("event", event_type.into()));
    let Some(address) = Address::parse(schema) else { return };
    columns.push(("event_vendor", address.vendor.into()));
    columns.push(("event_name", address.name.into()));
    columns.push(("event_format", address.format.into()));
    columns.push(("event_version", address.version.into()));
}

fn event_size(parameters: &Parameters, columns: &[Column], inner: Option<&Json>, contexts: &[(String, Json)]) -> usize {
    let columns: usize = columns.iter().map(|(_, value)| size_of::<Column>() + json_size(value)).sum();
    let contexts: usize = contexts.iter().map(|(schema, data)| schema.len() + 64 + json_size(data)).sum();
    size_of::<SnowplowEvent>() + parameters_size(parameters) + columns + inner.map_or(0, json_size) + contexts
}

fn too_large(payload: &Payload, why: String) -> Verdict {
    bad(&payload.facts, None, false, vec![why])
}

fn bad(facts: &Arc<RequestFacts>, parameters: Option<Parameters>, kept: bool, mut errors: Vec<String>) -> Verdict {
    errors.truncate(MAX_ERRORS);
    let errors_size: usize = errors.iter().map(|error| error.len() + 24).sum();
    let size = size_of::<SnowplowBad>() + parameters.as_ref().map_or(0, parameters_size) + errors_size;
    Verdict::Bad(SnowplowBad { sequence: 0, request: Arc::clone(facts), parameters, kept, errors, size })
}

const OWN_VENDOR: &str = super::payload::VENDOR;

#[cfg(test)]
mod tests {
    use super::super::registry::Registry;
    use super::*;

    #[test]
    fn the_events_of_a_request_share_the_memory_of_its_headers() {
        let registry = Registry::built_in();
        let settings = Settings {
            registry,
            max_payload_bytes: 1 << 20,
            drop_payload_bytes: 1 << 20,
            max_record_bytes: 1 << 20,
            do_not_track: None,
            post_paths: Vec::new(),
        };
        let size = |headers: usize| {
            let facts = RequestFacts {
                vendor: OWN_VENDOR.to_owned(),
                version: "tp2".to_owned(),
                content_type: Some("application/json".to_owned()),
                headers: vec!["x".repeat(headers)],
                ..RequestFacts::default()
            };
            let event = serde_json::json!({ "e": "pv", "p": "web", "tv": "t" });
            let data = serde_json::json!([event, event]);
            let schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
            let body = serde_json::json!({ "schema": schema, "data": data }).to_string();
            let payload = Payload { facts: Arc::new(facts), query: Arc::default(), body: body.into() };
            let verdicts = judge(&payload, &settings);
            assert_eq!(verdicts.len(), 2);
            let sizes = verdicts.iter().map(|verdict| match verdict {
                Verdict::Good(event) => event.size,
                Verdict::Bad(row) => panic!("{row:?}"),
            });
            sizes.sum::<usize>()
        };
        assert_eq!(size(30_000) - size(10_000), 20_000);
    }
}
