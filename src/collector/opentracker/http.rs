//! The one path of the Opentracker side.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use url::form_urlencoded;

use super::super::intake::Intake;
use super::super::refusals::Refusal;
use super::super::server::Answer;
use super::super::{body, times};
use super::read::read;

pub(in crate::collector) async fn answer(request: Request<Incoming>, intake: &Intake) -> Answer {
    let (head, body) = request.into_parts();
    match accept(&head, body, intake).await {
        Ok(event_id) => text(StatusCode::OK, event_id),
        Err((refusal, why)) => {
            intake.refuse(refusal);
            let mut answer = text(status(refusal), why);
            if refusal == Refusal::WrongMethod {
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
            }
            answer
        }
    }
}

async fn accept(head: &Parts, body: Incoming, intake: &Intake) -> Result<String, (Refusal, String)> {
    if head.uri.path() != "/" {
        return Err((Refusal::UnknownPath, "events go to /?si=..".to_owned()));
    }
    let posted = head.method == Method::POST;
    if !posted && head.method != Method::GET {
        return Err((Refusal::WrongMethod, "events are sent with GET or POST".to_owned()));
    }
    let form = if posted { form(head, body, intake).await? } else { Bytes::new() };
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let pairs = form_urlencoded::parse(query).into_owned().chain(form_urlencoded::parse(&form).into_owned());
    let event_id = uuid::Uuid::new_v4().to_string();
    let event = read(pairs, &event_id, times::now_millis(&intake.clock)).map_err(|why| (Refusal::Malformed, why))?;
    intake.accept_opentracker(event);
    Ok(event_id)
}

async fn form(head: &Parts, body: Incoming, intake: &Intake) -> Result<Bytes, (Refusal, String)> {
    let limit = intake.max_body_bytes;
    let read = body::read(body, limit, intake.body_timeout).await.map_err(|refusal| {
        let why = match refusal {
            Refusal::TooLarge => format!("the body is larger than {limit} bytes"),
            _ => "the body did not arrive in time".to_owned(),
        };
        (refusal, why)
    })?;
    let named = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = named.split(';').next().unwrap_or_default().trim();
    if !read.is_empty() && !media_type.eq_ignore_ascii_case(FORM) {
        return Err((Refusal::UnknownMediaType, format!("the body of a POST is {FORM}, not {media_type:?}")));
    }
    Ok(read)
}

fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownPath => StatusCode::NOT_FOUND,
        Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::UnknownMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Malformed => StatusCode::BAD_REQUEST,
        Refusal::Unfinished => StatusCode::REQUEST_TIMEOUT,
    }
}

fn text(status: StatusCode, words: String) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::from(words)).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

const FORM: &str = "application/x-www-form-urlencoded";

/// A GET carries its event in the request line.
pub(in crate::collector) const MAX_HEAD_BYTES: usize = 64 << 10;
