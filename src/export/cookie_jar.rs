//! Cookies that a collector sets, kept in memory and sent back.
//!
//! Few of a browser's rules matter between one program and one collector: a cookie goes back to the host that set it, to
//! paths under its own, and over https if it asks for that. Requests that ask for anonymity carry none and set none.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Uri};

use super::http::{Bytes, HttpClient, HttpError, Request, Response};
use crate::sync::Mutex;

/// A client that keeps cookies.
pub(crate) struct CookieJar {
    inner: Arc<dyn HttpClient>,
    /// By host, then by name and path.
    cookies: Mutex<BTreeMap<String, Cookies>>,
}

type Cookies = BTreeMap<(String, String), Cookie>;

struct Cookie {
    value: String,
    secure: bool,
}

impl CookieJar {
    pub(crate) fn around(inner: Arc<dyn HttpClient>) -> Arc<dyn HttpClient> {
        Arc::new(Self { inner, cookies: Mutex::default() })
    }

    fn for_request(&self, uri: &Uri) -> Option<HeaderValue> {
        let cookies = self.cookies.lock();
        let https = uri.scheme_str() == Some("https");
        let fitting = cookies.get(uri.host()?)?.iter().filter(|((_, path), cookie)| {
            let below = uri.path().strip_prefix(path.as_str());
            let below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'));
            below && (https || !cookie.secure)
        });
        let pairs: Vec<String> = fitting.map(|((name, _), cookie)| format!("{name}={}", cookie.value)).collect();
        let mut value = HeaderValue::try_from(pairs.join("; ")).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    fn keep(&self, uri: &Uri, text: &str) {
        let Some(host) = uri.host() else { return };
        let mut parts = text.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        if name.is_empty() || text.len() > MAX_BYTES {
            return;
        }
        let (mut path, mut secure, mut over) = ("/".to_owned(), false, false);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => path = value.to_owned(),
                "secure" => secure = true,
                // A collector takes a cookie away by a time that is over; when a later one comes, the program is gone.
                "max-age" => over = value.parse::<i64>().is_ok_and(|age| age <= 0),
                "expires" => over |= httpdate::parse_http_date(value).is_ok_and(|at| at <= std::time::UNIX_EPOCH),
                _ => {}
            }
        }
        let mut cookies = self.cookies.lock();
        let of_host = cookies.entry(host.to_owned()).or_default();
        let key = (name.to_owned(), path);
        if over {
            of_host.remove(&key);
        } else if of_host.len() < MAX_COOKIES || of_host.contains_key(&key) {
            of_host.insert(key, Cookie { value: value.to_owned(), secure });
        }
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieJar")
    }
}

impl HttpClient for CookieJar {
    fn send_bytes<'a, 'b>(
        &'a self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let uri = request.uri().clone();
            let anonymous = request.headers().contains_key("sp-anonymous");
            if let Some(cookies) = self.for_request(&uri).filter(|_| !anonymous) {
                request.headers_mut().insert(COOKIE, cookies);
            }
            let response = self.inner.send_bytes(request).await?;
            if !anonymous {
                for cookie in response.headers().get_all(SET_COOKIE).iter().filter_map(|it| it.to_str().ok()) {
                    self.keep(&uri, cookie);
                }
            }
            Ok(response)
        })
    }
}

/// As many and as long as browsers allow.
const MAX_COOKIES: usize = 50;
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl HttpClient for Nobody {
        fn send_bytes<'a, 'b>(
            &'a self,
            _: Request<Bytes>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Ok(Response::new(Bytes::new())) })
        }
    }

    fn jar(set: &[&str]) -> CookieJar {
        let jar = CookieJar { inner: Arc::new(Nobody), cookies: Mutex::default() };
        let uri = Uri::from_static("https://collector.example/a/tp2");
        set.iter().for_each(|cookie| jar.keep(&uri, cookie));
        jar
    }

    fn sent(jar: &CookieJar, uri: &'static str) -> Option<String> {
        jar.for_request(&Uri::from_static(uri)).map(|it| it.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_its_paths_and_its_scheme() {
        let jar = jar(&["sp=n1; Path=/a; Secure; HttpOnly", "b=2", "=x", "nothing"]);
        assert_eq!(sent(&jar, "https://collector.example/a/tp2").as_deref(), Some("b=2; sp=n1"));
        assert_eq!(sent(&jar, "https://collector.example/ab").as_deref(), Some("b=2"));
        assert_eq!(sent(&jar, "http://collector.example/a").as_deref(), Some("b=2"));
        assert_eq!(sent(&jar, "https://other.example/a"), None);
    }

    #[test]
    fn a_cookie_is_replaced_and_taken_away() {
        let jar = jar(&[
            "sp=1",
            "sp=2; Max-Age=100",
            "a=1",
            "a=; Max-Age=0",
            "b=1",
            "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ]);
        assert_eq!(sent(&jar, "https://collector.example/").as_deref(), Some("sp=2"));
    }

    #[test]
    fn there_are_not_more_than_a_browser_keeps() {
        let many: Vec<String> = (0..200).map(|number| format!("c{number}=1")).collect();
        let jar = jar(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(jar.cookies.lock()["collector.example"].len(), MAX_COOKIES);
    }
}
