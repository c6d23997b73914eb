//! What the collector answers: texts, the pixel, the cookie, and the headers that let browsers read it.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SET_COOKIE,
};
use hyper::{Method, StatusCode};

use super::super::server::Answer;

pub(super) fn text(status: StatusCode, words: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", words.into())
}

pub(super) fn json(document: String) -> Answer {
    answer(StatusCode::OK, "application/json", document.into())
}

/// To a tracker: `ok`, or the pixel for requests that images are made of.
pub(super) fn accepted(method: &Method) -> Answer {
    if method == Method::POST {
        return answer(StatusCode::OK, "text/plain", Bytes::from_static(b"ok"));
    }
    let mut pixel = answer(StatusCode::OK, "image/gif", Bytes::from_static(PIXEL));
    set(&mut pixel, CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    pixel
}

/// To a browser that asks whether it may send.
pub(super) fn preflight() -> Answer {
    let mut preflight = answer(StatusCode::OK, "text/plain", Bytes::new());
    set(&mut preflight, ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, SP-Anonymous");
    set(&mut preflight, ACCESS_CONTROL_MAX_AGE, "3600");
    preflight
}

/// Lets pages of any origin read the answer, credentials included.
pub(super) fn shared(mut answer: Answer, headers: &HeaderMap) -> Answer {
    let origin = headers.get(ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"));
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(&mut answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    answer
}

/// The cookie that carries the network user id: set for a year, or taken away from whoever asks to stay anonymous.
pub(super) fn with_cookie(
    mut answer: Answer,
    network_user_id: &str,
    now_millis: i64,
    anonymous: bool,
    sent: bool,
) -> Answer {
    let cookie = match (anonymous, sent) {
        (true, false) => return answer,
        (true, true) => format!("sp={network_user_id}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {COOKIE_ATTRIBUTES}"),
        (false, _) => {
            let expires = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_millis).unwrap_or(0)) + YEAR;
            format!("sp={network_user_id}; Expires={}; {COOKIE_ATTRIBUTES}", httpdate::fmt_http_date(expires))
        }
    };
    // An id that came in the query and does not fit a cookie must not add attributes of its own.
    let fits = network_user_id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    if let Some(cookie) = fits.then(|| HeaderValue::try_from(cookie).ok()).flatten() {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

/// The value of a cookie in a request.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lists = headers.get_all(COOKIE).iter().filter_map(|list| list.to_str().ok());
    let mut pairs = lists.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Who sent a request: the first address of `X-Forwarded-For`, else `X-Real-Ip`, else the connection's.
pub(super) fn sender(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let named = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next()?.trim().parse().ok();
    named("x-forwarded-for").or_else(|| named("x-real-ip")).unwrap_or(peer)
}

fn answer(status: StatusCode, media_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, media_type);
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

const COOKIE_ATTRIBUTES: &str = "Path=/; SameSite=None; Secure; HttpOnly";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One transparent point, GIF89a: 43 bytes.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";
