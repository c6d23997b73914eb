//! How requests travel: a small trait, and the client that is used by default.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
pub use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::endpoint::Endpoint;
use crate::error::BuildError;
use crate::host::is_loopback_name;
use crate::sync::Mutex;

/// The client that `opentelemetry-otlp` brings along, without redirects; where it would add nothing, what it is made of.
///
/// Proxies that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) are used as everywhere, but
/// never towards this machine: a collector at localhost is not behind a proxy, whatever the variables say.
pub(crate) struct DefaultClient {
    /// For http without a proxy: `reqwest`'s own pool and connections, without its layers, which parse every request's URL
    /// three times and cost more than the rest.
    plain: Plain,
    /// For https to this machine. Made when it is first needed, as the next one, since that reads the system's certificates.
    direct: Lazy,
    remote: Lazy,
    proxies: Matcher,
    /// Whether the last request's host is spoken to without a proxy: mostly the next one goes there too.
    last: Mutex<Option<(http::uri::Authority, bool)>>,
    connect_timeout: Duration,
}

type Plain = Client<HttpConnector, Full<Bytes>>;
type Lazy = OnceLock<Result<reqwest::Client, String>>;

impl DefaultClient {
    /// # Errors
    ///
    /// If the client for this endpoint cannot be made.
    pub(crate) fn new(endpoint: &Endpoint, connect_timeout: Duration) -> Result<Self, BuildError> {
        let client = Self {
            plain: plain(connect_timeout),
            direct: OnceLock::new(),
            remote: OnceLock::new(),
            proxies: Matcher::from_system(),
            last: Mutex::default(),
            connect_timeout,
        };
        let uri = endpoint.uri("with_endpoint", "/")?;
        let made = if client.is_plain(&uri) { Ok(()) } else { client.client_for(&uri).map(drop) };
        made.map_err(|error| BuildError::Setting {
            setting: "with_http_client",
            value: "default".to_owned(),
            fix: format!("the default client cannot be made ({error}); give another one"),
        })?;
        Ok(client)
    }

    /// Whether a request needs neither TLS nor a proxy.
    fn is_plain(&self, uri: &http::Uri) -> bool {
        if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
            return false;
        }
        let Some(authority) = uri.authority() else { return true };
        let mut last = self.last.lock();
        if let Some((known, plain)) = &*last
            && known == authority
        {
            return *plain;
        }
        let plain = is_loopback_name(authority.host()) || self.proxies.intercept(uri).is_none();
        *last = Some((authority.clone(), plain));
        plain
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
            if self.is_plain(request.uri()) {
                let reply = self.plain.request(request.map(Full::new)).await.map_err(|error| explained(&error))?;
                let (head, body) = reply.into_parts();
                return Ok(Response::from_parts(head, read(body).await?));
            }
            let client = self.client_for(request.uri())?;
            let request = request.try_into().map_err(without_url)?;
            let reply = http::Response::from(client.execute(request).await.map_err(without_url)?);
            let (head, body) = reply.into_parts();
            Ok(Response::from_parts(head, read(body).await?))
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

/// As `reqwest` sets it up.
fn plain(connect_timeout: Duration) -> Plain {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector)
}

/// Reads a reply to its end, and keeps its beginning: a reply that ends too early is a failure, and a connection is used
/// again only when it has been emptied.
///
/// Of a reply that is too long nothing is kept and the rest is not read, which closes the connection: its status has come
/// and decides. If it were a failure, a collector that always answers at length would get the same events for ever.
async fn read<B>(mut body: B) -> Result<Bytes, HttpError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    let mut kept = Bytes::new();
    let mut more = Vec::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(mut chunk) = frame.map_err(|error| explained(&error))?.into_data() else { continue };
        seen = seen.saturating_add(chunk.len());
        if seen > MAX_READ {
            return Ok(Bytes::new());
        }
        if kept.is_empty() {
            chunk.truncate(MAX_KEPT);
            kept = chunk;
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
fn without_url(error: reqwest::Error) -> HttpError {
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
/// What is read of it before the rest and the connection are given up, in bytes.
const MAX_READ: usize = 1024 * 1024;
/// When a silent connection is asked whether it is still there, and when an unused one is closed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_spoken_to_without_a_proxy_and_others_by_a_client_that_may_use_one() {
        let client = |url| {
            let endpoint = Endpoint::parse("with_endpoint", url).unwrap();
            DefaultClient::new(&endpoint, Duration::from_secs(5)).unwrap()
        };
        let plain = client("http://localhost:9090");
        assert!(plain.direct.get().is_none() && plain.remote.get().is_none(), "neither is needed");
        for uri in ["http://localhost:9090/i", "http://127.0.0.1/i", "http://[::1]:1/i"] {
            assert!(plain.is_plain(&http::Uri::from_static(uri)), "{uri}");
        }
        let direct = plain.client_for(&http::Uri::from_static("https://localhost/i")).unwrap();
        assert!(std::ptr::eq(direct, plain.direct.get().unwrap().as_ref().unwrap()));
        let remote = plain.client_for(&http::Uri::from_static("https://collector.example/i")).unwrap();
        assert!(!std::ptr::eq(direct, remote));
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
