//! The REST interface of Snowplow Micro: what was good, what was bad, and starting over.

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};

use super::super::body;
use super::super::intake::Intake;
use super::super::refusals::Refusal;
use super::super::server::Answer;
use super::super::times;
use super::payload::RequestFacts;
use super::records::{SnowplowBad, SnowplowEvent};
use super::{answers, atomic};

pub(super) async fn answer(head: &Parts, body: Incoming, intake: &Intake) -> Answer {
    let posted = head.method == Method::POST;
    if !posted && head.method != Method::GET && head.method != Method::HEAD {
        return not_found(intake);
    }
    match head.uri.path() {
        "/micro/all" => answers::json(all(intake).to_string()),
        "/micro/reset" => {
            intake.reset_snowplow();
            answers::text(StatusCode::OK, "Reset completed")
        }
        path @ ("/micro/good" | "/micro/bad") => {
            let filter = match posted {
                true => filter(body, intake).await,
                false => Ok(Map::new()),
            };
            let listed = filter.and_then(|filter| match path {
                "/micro/good" => good(&filter, intake),
                _ => bad(&filter, intake),
            });
            listed.map_or_else(
                |why| {
                    intake.refuse(Refusal::Malformed);
                    answers::text(StatusCode::BAD_REQUEST, why)
                },
                answers::json,
            )
        }
        path => match path.strip_prefix("/micro/iglu/") {
            Some(address) if !posted => schema(address, intake),
            _ => not_found(intake),
        },
    }
}

fn all(intake: &Intake) -> Json {
    let stream = intake.stream();
    let (good, bad) = (stream.snowplow_good().len(), stream.snowplow_bad().len());
    json!({ "total": good + bad, "good": good, "bad": bad })
}

fn good(filter: &Map<String, Json>, intake: &Intake) -> Result<String, String> {
    let (event_type, schema) = (text(filter, "event_type")?, text(filter, "schema")?);
    let contexts = texts(filter, "contexts")?;
    let limit = limit(filter)?;
    let fits = |event: &&SnowplowEvent| {
        let has = |wanted: &&str| event.contexts().iter().any(|(schema, _)| schema == wanted);
        event_type.is_none_or(|it| it == event.event_type())
            && schema.is_none_or(|it| it == event.schema())
            && contexts.iter().all(has)
    };
    let stream = intake.stream();
    let newest_first = stream.snowplow_good().iter().rev().map(AsRef::as_ref);
    Ok(list(newest_first.filter(fits).take(limit).map(good_row)))
}

fn bad(filter: &Map<String, Json>, intake: &Intake) -> Result<String, String> {
    let (vendor, version, limit) = (text(filter, "vendor")?, text(filter, "version")?, limit(filter)?);
    let fits =
        |row: &&SnowplowBad| vendor.is_none_or(|it| it == row.api().0) && version.is_none_or(|it| it == row.api().1);
    let stream = intake.stream();
    let newest_first = stream.snowplow_bad().iter().rev().map(AsRef::as_ref);
    Ok(list(newest_first.filter(fits).take(limit).map(bad_row)))
}

/// Written row by row: all rows as values would take several times the memory of the records.
fn list(rows: impl Iterator<Item = Json>) -> String {
    let mut text = String::from("[");
    for row in rows {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&row.to_string());
    }
    text.push(']');
    text
}

fn good_row(event: &SnowplowEvent) -> Json {
    json!({
        "rawEvent": raw_event(event.request(), json!(event.parameters())),
        "eventType": event.event_type(),
        "schema": event.schema(),
        "contexts": event.contexts().iter().map(|(schema, _)| schema.as_str()).collect::<Vec<_>>(),
        "event": event.canonical(),
        "incomplete": false,
    })
}

fn bad_row(row: &SnowplowBad) -> Json {
    let facts = row.request();
    let payload = json!({
        "api": { "vendor": facts.vendor, "version": facts.version },
        "contentType": facts.content_type,
        "source": source(facts),
        "context": context(facts),
    });
    json!({
        "collectorPayload": row.is_kept().then_some(payload),
        "rawEvent": row.parameters().map(|parameters| raw_event(facts, json!(parameters))),
        "errors": row.errors(),
    })
}

fn raw_event(facts: &RequestFacts, parameters: Json) -> Json {
    json!({
        "api": { "vendor": facts.vendor, "version": facts.version },
        "parameters": parameters,
        "contentType": facts.content_type,
        "source": source(facts),
        "context": context(facts),
    })
}

fn source(facts: &RequestFacts) -> Json {
    json!({ "name": atomic::COLLECTOR_NAME, "encoding": "UTF-8", "hostname": facts.hostname })
}

fn context(facts: &RequestFacts) -> Json {
    json!({
        "timestamp": times::iso(facts.arrived_millis),
        "ipAddress": facts.ip_address,
        "useragent": facts.user_agent,
        "refererUri": facts.referer,
        "headers": facts.headers,
        "userId": facts.network_user_id,
    })
}

/// The rest of the path is the address without its scheme.
fn schema(address: &str, intake: &Intake) -> Answer {
    let uri = format!("iglu:{address}");
    match intake.snowplow.registry.text(&uri) {
        Some(text) => answers::json(text),
        None => answers::text(StatusCode::NOT_FOUND, format!("ResolutionError: no schema {uri} in this collector")),
    }
}

async fn filter(body: Incoming, intake: &Intake) -> Result<Map<String, Json>, String> {
    let read = body::read(body, MAX_FILTER_BYTES, intake.body_timeout).await;
    let read = read.map_err(|refusal| format!("the filter cannot be read: {refusal}"))?;
    if read.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&read).map_err(|error| format!("the filter is a JSON object: {error}"))
}

fn text<'a>(filter: &'a Map<String, Json>, key: &str) -> Result<Option<&'a str>, String> {
    match filter.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{key} of the filter is a string")),
    }
}

fn texts<'a>(filter: &'a Map<String, Json>, key: &str) -> Result<Vec<&'a str>, String> {
    let Some(values) = filter.get(key).filter(|values| !values.is_null()) else { return Ok(Vec::new()) };
    let texts = values.as_array().and_then(|values| values.iter().map(Json::as_str).collect());
    texts.ok_or_else(|| format!("{key} of the filter is a list of strings"))
}

fn limit(filter: &Map<String, Json>) -> Result<usize, String> {
    match filter.get("limit") {
        None | Some(Json::Null) => Ok(usize::MAX),
        Some(value) => {
            let limit = value.as_u64().and_then(|limit| usize::try_from(limit).ok());
            limit.ok_or_else(|| "limit of the filter is a whole number".to_owned())
        }
    }
}

fn not_found(intake: &Intake) -> Answer {
    intake.refuse(Refusal::UnknownPath);
    answers::text(StatusCode::NOT_FOUND, PATHS)
}

const MAX_FILTER_BYTES: usize = 64 << 10;
const PATHS: &str = "the paths are: /micro/all, /micro/good, /micro/bad, /micro/reset, /micro/iglu/{vendor}/{name}/jsonschema/{version}";
