//! How requests travel: a small trait, and the client that is used by default.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
pub use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::endpoint::{Endpoint, is_loopback_name};
use crate::error::BuildError;
use crate::sync::Mutex;

/// The client that `opentelemetry-otlp` brings along, without redirects.
///
/// Proxies that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) are used as everywhere, but
/// never towards this machine: a collector at localhost is not behind a proxy, whatever the variables say.
pub(crate) struct DefaultClient {
    /// Each is made when it is first needed, since that reads the system's certificates.
    direct: Lazy,
    remote: Lazy,
    /// Where the last request went, parsed: mostly the next one goes there too.
    last: Mutex<Option<(http::Uri, reqwest::Url)>>,
    connect_timeout: Duration,
}

type Lazy = OnceLock<Result<reqwest::Client, String>>;

impl DefaultClient {
    /// # Errors
    ///
    /// If the client for this endpoint cannot be made.
    pub(crate) fn new(endpoint: &Endpoint, connect_timeout: Duration) -> Result<Self, BuildError> {
        let client = Self { direct: OnceLock::new(), remote: OnceLock::new(), last: Mutex::default(), connect_timeout };
        let made = endpoint.uri("with_endpoint", "/").map(|uri| client.client_for(&uri).map(drop))?;
        made.map_err(|error| BuildError::Setting {
            setting: "with_http_client",
            value: "default".to_owned(),
            fix: format!("the default client cannot be made ({error}); give another one"),
        })?;
        Ok(client)
    }

    fn client_for(&self, uri: &http::Uri) -> Result<&reqwest::Client, HttpError> {
        let make = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| explained(&error));
        let client = if uri.host().is_some_and(is_loopback_name) {
            self.direct.get_or_init(|| make(builder(self.connect_timeout).no_proxy()))
        } else {
            self.remote.get_or_init(|| make(builder(self.connect_timeout)))
        };
        client.as_ref().map_err(|error| error.clone().into())
    }

    fn prepare(&self, request: Request<Bytes>) -> Result<reqwest::Request, HttpError> {
        let (parts, body) = request.into_parts();
        let known = self.last.lock().as_ref().filter(|(uri, _)| *uri == parts.uri).map(|(_, url)| url.clone());
        let url = match known {
            Some(url) => url,
            None => {
                let url: reqwest::Url = parts.uri.to_string().parse().map_err(|_| "this is no URL")?;
                *self.last.lock() = Some((parts.uri, url.clone()));
                url
            }
        };
        let mut prepared = reqwest::Request::new(parts.method, url);
        *prepared.headers_mut() = parts.headers;
        *prepared.body_mut() = Some(body.into());
        Ok(prepared)
    }
}

impl fmt::Debug for DefaultClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultClient")
    }
}

impl HttpClient for DefaultClient {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let client = self.client_for(request.uri())?;
            let request = self.prepare(request)?;
            let mut reply = client.execute(request).await.map_err(plain)?;
            let body = read(&mut reply).await?;
            let mut response = Response::new(body);
            *response.status_mut() = reply.status();
            *response.headers_mut() = std::mem::take(reply.headers_mut());
            Ok(response)
        })
    }
}

/// The memory in which the bodies of requests are written, one after another: it is used again as soon as the request before
/// is over, instead of being given back to the system and asked for again each time, which costs some 10 µs for 60 kB.
#[cfg_attr(not(feature = "snowplow"), allow(dead_code, reason = "used where bodies are large"))]
#[derive(Default)]
pub(crate) struct Bodies(Mutex<BytesMut>);

#[cfg_attr(not(feature = "snowplow"), allow(dead_code, reason = "used where bodies are large"))]
impl Bodies {
    /// The body that `write` appends to the empty buffer it is given; `len` is about how long it will be.
    pub(crate) fn write(&self, len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        // Taken out meanwhile: no lock is held while somebody else's code runs.
        let mut buffer = std::mem::take(&mut *self.0.lock());
        buffer.clear();
        buffer.reserve(len);
        write(&mut buffer);
        let body = buffer.split().freeze();
        *self.0.lock() = buffer;
        body
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bodies")
    }
}

fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
}

/// Reads a reply to its end, and keeps its beginning: a reply that ends too early is a failure, and a connection is used
/// again only when it has been emptied.
async fn read(reply: &mut reqwest::Response) -> Result<Bytes, HttpError> {
    let mut kept = Bytes::new();
    let mut more = Vec::new();
    let mut seen = 0_usize;
    while let Some(chunk) = reply.chunk().await.map_err(plain)? {
        seen = seen.saturating_add(chunk.len());
        if seen > MAX_READ {
            return Err(format!("the reply is longer than {MAX_READ} bytes").into());
        }
        if kept.is_empty() {
            kept = chunk;
            kept.truncate(MAX_KEPT);
        } else if kept.len() + more.len() < MAX_KEPT {
            let room = MAX_KEPT - kept.len() - more.len();
            more.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    }
    if more.is_empty() {
        return Ok(kept);
    }
    Ok([kept.as_ref(), &more].concat().into())
}

/// Without the URL, which may hold what an event says about people.
fn plain(error: reqwest::Error) -> HttpError {
    explained(&error.without_url()).into()
}

/// An error with its causes, in one line.
pub(crate) fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// What is kept of a reply's body, in bytes.
const MAX_KEPT: usize = 64 * 1024;
/// What is read of it before the connection is given up, in bytes.
const MAX_READ: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_spoken_to_without_a_proxy_and_others_by_a_client_that_may_use_one() {
        let endpoint = Endpoint::parse("with_endpoint", "http://localhost:9090").unwrap();
        let client = DefaultClient::new(&endpoint, Duration::from_secs(5)).unwrap();
        let direct = client.direct.get().unwrap().as_ref().unwrap();
        assert!(client.remote.get().is_none());
        let is_direct = |uri| std::ptr::eq(client.client_for(&http::Uri::from_static(uri)).unwrap(), direct);
        for uri in ["http://localhost:9090/i", "http://127.0.0.1/i", "http://[::1]:1/i"] {
            assert!(is_direct(uri), "{uri}");
        }
        assert!(!is_direct("http://collector.example/i"));
    }

    #[test]
    fn the_memory_of_a_body_is_used_again_when_the_body_is_gone_and_never_before() {
        let bodies = Bodies::default();
        let write = |text: &'static [u8]| bodies.write(100, |buffer| buffer.extend_from_slice(text));
        let first = write(b"first");
        let place = first.as_ptr();
        let second = write(b"second");
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        drop(first);
        drop(second);
        // Two bodies were alive at once, so there are two pieces of memory; the last one is kept.
        let third = write(b"third");
        let kept = third.as_ptr();
        drop(third);
        assert_eq!(write(b"fourth").as_ptr(), kept);
        assert_ne!(place, std::ptr::null());
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_each() {
        let cause = std::io::Error::other("the cause");
        let error = crate::error::BuildError::Outbox(Box::new(cause));
        assert_eq!(explained(&error), "with_outbox: the cause");
        let error = crate::error::BuildError::Thread(std::io::Error::other("no threads left"));
        assert_eq!(explained(&error), "a thread could not be started: no threads left");
    }
}
