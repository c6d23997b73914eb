//! The collector's paths.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use url::form_urlencoded;

use super::super::intake::Intake;
use super::super::refusals::Refusal;
use super::super::server::Answer;
use super::super::{body, times};
use super::payload::{Payload, RequestFacts, VENDOR};
use super::settings::{MAX_HEADERS, MAX_REQUEST_LINE};
use super::{answers, judge, micro};

pub(in crate::collector) async fn answer(request: Request<Incoming>, peer: IpAddr, intake: &Intake) -> Answer {
    let (head, body) = request.into_parts();
    // Whatever it says: a page that may not read an answer learns nothing of what went wrong.
    answers::shared(route(&head, body, peer, intake).await, &head.headers)
}

async fn route(head: &Parts, body: Incoming, peer: IpAddr, intake: &Intake) -> Answer {
    if let Some(too_long) = measure(head) {
        return refused(
            intake,
            Refusal::TooLarge,
            answers::text(too_long, "the request line or the headers are too long"),
        );
    }
    let path = head.uri.path();
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if head.method == Method::OPTIONS {
        return answers::preflight();
    }
    if path == "/micro" || path.starts_with("/micro/") {
        return micro::answer(head, body, intake).await;
    }
    match path {
        "/health" | "/sink-health" if reads => answers::text(StatusCode::OK, "ok"),
        "/robots.txt" if reads => answers::text(StatusCode::OK, "User-agent: *\nDisallow: /\n"),
        "/i" | "/ice.png" if reads => track(head, None, (VENDOR, "tp1"), peer, intake).await,
        _ => match api(path, &intake.snowplow.post_paths) {
            Some(("r", _)) => {
                refused(intake, Refusal::UnknownPath, answers::text(StatusCode::NOT_FOUND, "redirects disabled"))
            }
            Some(api) if reads => track(head, None, api, peer, intake).await,
            Some(api) if head.method == Method::POST => track(head, Some(body), api, peer, intake).await,
            _ => refused(intake, Refusal::UnknownPath, answers::text(StatusCode::NOT_FOUND, NOT_FOUND)),
        },
    }
}

/// Takes what a tracker sends; whether it makes sense is not the tracker's to learn.
async fn track(head: &Parts, body: Option<Incoming>, api: (&str, &str), peer: IpAddr, intake: &Intake) -> Answer {
    let settings = &intake.snowplow;
    let body = match body {
        None => Bytes::new(),
        Some(body) => match body::read(body, settings.drop_payload_bytes, intake.body_timeout).await {
            Ok(body) => body,
            Err(refusal) => {
                let status = match refusal {
                    Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::REQUEST_TIMEOUT,
                };
                let answer = answers::text(status, "the body is too large or did not arrive in time");
                return refused(intake, refusal, answer);
            }
        },
    };
    let payload = payload(head, body, api, peer, times::now_millis(&intake.clock));
    let facts = Arc::clone(&payload.facts);
    let do_not_track = settings.do_not_track.as_ref();
    let silent = do_not_track.is_some_and(|(name, value)| answers::cookie(&head.headers, name) == Some(value));
    intake.accept_snowplow(if silent { Vec::new() } else { judge::judge(&payload, settings) });
    let answer = answers::accepted(&head.method);
    let sent = answers::cookie(&head.headers, COOKIE_NAME).is_some();
    answers::with_cookie(answer, &facts.network_user_id, facts.arrived_millis, facts.anonymous, sent)
}

fn payload(head: &Parts, body: Bytes, api: (&str, &str), peer: IpAddr, arrived_millis: i64) -> Payload {
    let headers = &head.headers;
    let anonymous = headers.contains_key(ANONYMOUS);
    let query: Vec<(String, String)> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let named = query.iter().rfind(|(key, _)| key == "nuid").map(|(_, value)| value.as_str());
    let known = named.or_else(|| answers::cookie(headers, COOKIE_NAME)).filter(|id| !id.is_empty());
    let network_user_id = match known {
        _ if anonymous => uuid::Uuid::nil().to_string(),
        Some(known) => known.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let host = text(HOST).or_else(|| head.uri.host().map(str::to_owned));
    let facts = RequestFacts {
        vendor: api.0.to_owned(),
        version: api.1.to_owned(),
        content_type: text(CONTENT_TYPE).map(|media_type| media_type.to_ascii_lowercase()),
        hostname: host.map(|host| host.parse::<Authority>().map_or(host, |named| named.host().to_owned())),
        arrived_millis,
        ip_address: if anonymous { "unknown".to_owned() } else { answers::sender(headers, peer).to_string() },
        user_agent: text(USER_AGENT),
        referer: text(REFERER),
        headers: stored_headers(headers, anonymous),
        network_user_id,
        anonymous,
    };
    Payload { facts: Arc::new(facts), query: query.into(), body }
}

/// Those that tell who the sender is are left out when he does not want it known.
fn stored_headers(headers: &HeaderMap, anonymous: bool) -> Vec<String> {
    let telling = |name: &str| name == "x-forwarded-for" || name == "x-real-ip" || name == COOKIE.as_str();
    let stored = headers.iter().filter(|(name, _)| !(anonymous && telling(name.as_str())));
    stored.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// Vendor and version, which are the whole path.
fn api<'a>(path: &'a str, post_paths: &[String]) -> Option<(&'a str, &'a str)> {
    if post_paths.iter().any(|own| own == path) {
        return Some((VENDOR, "tp2"));
    }
    let (vendor, version) = path.strip_prefix('/')?.split_once('/')?;
    (!vendor.is_empty() && !version.is_empty() && !version.contains('/')).then_some((vendor, version))
}

fn measure(head: &Parts) -> Option<StatusCode> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    // Blanks and the protocol's name are part of the line; colon, blank and line end are part of a header.
    let line = head.method.as_str().len() + target + " \u{20}HTTP/1.1".len();
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    match (line > MAX_REQUEST_LINE, headers > MAX_HEADERS) {
        (true, _) => Some(StatusCode::URI_TOO_LONG),
        (false, true) => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (false, false) => None,
    }
}

fn refused(intake: &Intake, refusal: Refusal, answer: Answer) -> Answer {
    intake.refuse(refusal);
    answer
}

const ANONYMOUS: &str = "sp-anonymous";
const COOKIE_NAME: &str = "sp";
const NOT_FOUND: &str =
    "trackers send to POST /com.snowplowanalytics.snowplow/tp2 and GET /i; what became of it is at /micro/all";
