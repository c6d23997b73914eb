//! The cookies of one collector, kept in memory: what lets it know an installation again (`network_userid` of Snowplow).
//!
//! A jar serves one endpoint, so a cookie goes back only to the host that set it, whatever its `Domain` says. Requests that
//! ask for server anonymisation (`SP-Anonymous`) carry no cookies and set none.

use std::fmt;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use http::uri::{Scheme, Uri};

use crate::clock::{duration_nanos, to_nanos};
use crate::host::is_loopback_name;

/// A bounded set of cookies. Their values are never shown.
#[derive(Default)]
pub(crate) struct Cookies(Vec<Cookie>);

struct Cookie {
    host: String,
    path: String,
    name: String,
    /// `name=value`, as it is sent.
    pair: String,
    secure: bool,
    /// Wall time in nanoseconds; none: as long as the jar.
    expires: Option<i64>,
}

impl Cookies {
    /// Adds to a request the cookies that belong to it; `now` is the wall time.
    pub(crate) fn add_to(&mut self, uri: &Uri, headers: &mut HeaderMap, now: i64) {
        self.0.retain(|cookie| cookie.expires.is_none_or(|expires| now < expires));
        let own = headers.get(COOKIE).and_then(|own| own.to_str().ok()).map(str::to_owned);
        let kept = self.0.iter().filter(|cookie| cookie.belongs_to(uri)).map(|cookie| cookie.pair.clone());
        let pairs: Vec<String> = own.into_iter().chain(kept).collect();
        if let Ok(mut value) = HeaderValue::from_str(&pairs.join("; "))
            && !pairs.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }

    /// Keeps what a reply sets, and forgets what it expires.
    pub(crate) fn learn(&mut self, uri: &Uri, headers: &HeaderMap, now: i64) {
        let values = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for cookie in values.filter_map(|value| Cookie::parse(value, uri, now)) {
            self.0.retain(|it| (&it.host, &it.path, &it.name) != (&cookie.host, &cookie.path, &cookie.name));
            if cookie.expires.is_none_or(|expires| now < expires) && self.0.len() < MOST {
                self.0.push(cookie);
            }
        }
    }
}

/// Whether a request asks not to be recognised.
pub(crate) fn is_anonymous(headers: &HeaderMap) -> bool {
    headers.contains_key(ANONYMOUS)
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cookies").field(&self.0.len()).finish()
    }
}

impl Cookie {
    fn parse(text: &str, uri: &Uri, now: i64) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let pair = parts.next()?;
        let name = pair.split_once('=')?.0.trim();
        if name.is_empty() || text.len() > LONGEST {
            return None;
        }
        let mut cookie = Self {
            host: uri.host()?.to_ascii_lowercase(),
            path: "/".to_owned(),
            name: name.to_owned(),
            pair: pair.to_owned(),
            secure: false,
            expires: None,
        };
        let (mut max_age, mut expires) = (None, None);
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, ""), |(name, value)| (name.trim(), value.trim()));
            match name.to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "max-age" => max_age = value.parse().ok().map(|seconds: i64| after(now, seconds)),
                "expires" => expires = httpdate::parse_http_date(value).ok().map(to_nanos),
                _ => {}
            }
        }
        cookie.expires = max_age.or(expires);
        Some(cookie)
    }

    fn belongs_to(&self, uri: &Uri) -> bool {
        let Some(host) = uri.host() else { return false };
        let path = uri.path();
        let below = path.strip_prefix(self.path.as_str());
        // As browsers do, this machine is trusted without TLS.
        let safe = !self.secure || uri.scheme() == Some(&Scheme::HTTPS) || is_loopback_name(host);
        let reaches = below.is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'));
        safe && reaches && host.eq_ignore_ascii_case(&self.host)
    }
}

fn after(now: i64, seconds: i64) -> i64 {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => now.saturating_add(duration_nanos(Duration::from_secs(seconds))),
        _ => i64::MIN,
    }
}

const ANONYMOUS: &str = "sp-anonymous";
/// Cookies in a jar.
const MOST: usize = 50;
/// Bytes of a `Set-Cookie`.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn learnt(uri: &str, values: &[&str]) -> Cookies {
        let mut cookies = Cookies::default();
        learn(&mut cookies, uri, values);
        cookies
    }

    fn learn(cookies: &mut Cookies, uri: &str, values: &[&str]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SET_COOKIE, HeaderValue::from_str(value).unwrap());
        }
        cookies.learn(&uri.parse().unwrap(), &headers, NOW);
    }

    fn sent(cookies: &mut Cookies, uri: &str, now: i64) -> Option<String> {
        let mut headers = HeaderMap::new();
        cookies.add_to(&uri.parse().unwrap(), &mut headers, now);
        headers.get(COOKIE).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_goes_back_to_the_host_and_path_that_set_it_until_it_expires() {
        let mut cookies =
            learnt("https://c.example/tp2", &["sp=1; Max-Age=60; Path=/; Secure; HttpOnly", "b=2; Path=/tp2"]);
        assert_eq!(sent(&mut cookies, "https://C.example/tp2/x", NOW).as_deref(), Some("sp=1; b=2"));
        assert_eq!(sent(&mut cookies, "https://c.example/tp2x", NOW).as_deref(), Some("sp=1"));
        assert_eq!(sent(&mut cookies, "http://c.example/tp2", NOW).as_deref(), Some("b=2"));
        assert_eq!(sent(&mut cookies, "https://other.example/tp2", NOW), None);
        assert_eq!(sent(&mut cookies, "https://c.example/i", NOW + 60_000_000_000), None);
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_an_expired_one_removes_it() {
        let uri = "http://127.0.0.1:9090/i";
        let mut cookies = learnt(uri, &["sp=1; Secure; Expires=Tue, 14 Nov 2034 22:13:20 GMT", "sp=2; Secure"]);
        assert_eq!(sent(&mut cookies, uri, NOW).as_deref(), Some("sp=2"), "this machine is trusted");
        learn(&mut cookies, uri, &["sp=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert_eq!(sent(&mut cookies, uri, NOW), None);
        learn(&mut cookies, uri, &["sp=3", "sp=4; Max-Age=0"]);
        assert_eq!(sent(&mut cookies, uri, NOW), None);
    }

    #[test]
    fn nonsense_and_floods_are_ignored_and_values_are_not_shown() {
        let long = format!("a={}", "x".repeat(5000));
        let mut cookies = learnt("http://localhost/", &["", "=", "novalue", "; Path=/", &long, "secret=hush"]);
        assert_eq!(sent(&mut cookies, "http://localhost/", NOW).as_deref(), Some("secret=hush"));
        let many: Vec<String> = (0..200).map(|number| format!("n{number}=1")).collect();
        learn(&mut cookies, "http://localhost/", &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(format!("{cookies:?}"), "Cookies(50)");
    }

    #[test]
    fn cookies_that_a_request_has_of_its_own_stay() {
        let mut cookies = learnt("http://localhost/", &["sp=1"]);
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("own=1"));
        cookies.add_to(&"http://localhost/".parse().unwrap(), &mut headers, NOW);
        assert_eq!(headers[COOKIE], "own=1; sp=1");
    }
}
