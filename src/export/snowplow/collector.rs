//! A collector that events go to, and what may differ from one to the next.

use std::fmt;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Method;
use super::protocol::{ANONYMOUS, Target};
use crate::error::BuildError;
use crate::export::endpoint::{Address, Endpoint};
use crate::export::headers::{custom_header, refused};

/// A collector that events go to. Each has a queue of its own: a failing one holds nobody else up.
///
/// What is not said here is as the exporter's builder has it.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    endpoint: Address<String>,
    port: Option<u16>,
    method: Option<Method>,
    post_path: Option<String>,
    headers: Vec<Header>,
}

impl Collector {
    /// A collector at a full URL, or at `host[:port][/prefix]`, which means https.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: Address(endpoint.into()), ..Self::default() }
    }

    /// Its port, where the endpoint does not name it: the Python emitter's `port`. Zero is refused.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Whether it gets events by GET or by POST.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// The path of POST requests; the collector must be configured for it.
    #[must_use]
    pub fn with_post_path(mut self, path: impl Into<String>) -> Self {
        self.post_path = Some(path.into());
        self
    }

    /// Adds a header to every request to it.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header(name.into(), value.into()));
        self
    }

    /// The same at another place.
    pub(super) fn at(mut self, endpoint: String) -> Self {
        self.endpoint = Address(endpoint);
        self
    }

    pub(super) fn method(&self) -> Option<Method> {
        self.method
    }

    /// Where it listens.
    pub(super) fn endpoint(&self) -> Result<Endpoint, BuildError> {
        let text = match self.port {
            Some(port) => with_port(&self.endpoint, port)?,
            None => self.endpoint.0.clone(),
        };
        Endpoint::parse("with_endpoint", &text)
    }

    pub(super) fn post_path<'a>(&'a self, common: Option<&'a str>) -> &'a str {
        self.post_path.as_deref().or(common).unwrap_or(POST_PATH)
    }

    /// The headers of every request to it: the exporter's, then its own, which win.
    pub(super) fn headers(&self, common: &[Header]) -> Result<HeaderMap, BuildError> {
        let mut headers = HeaderMap::new();
        for Header(name, value) in common.iter().chain(&self.headers) {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// A header of the user's; its value may be a secret.
#[derive(Clone)]
pub(super) struct Header(pub(super) String, pub(super) String);

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ..", self.0)
    }
}

/// The URLs under an endpoint.
pub(super) fn target(endpoint: &Endpoint, post_path: &str) -> Result<Target, BuildError> {
    let refuse = |fix: &str| BuildError::Setting {
        setting: "with_post_path",
        value: format!("{post_path:?}"),
        fix: fix.to_owned(),
    };
    if !post_path.starts_with('/') || post_path.starts_with("//") || post_path.len() == 1 {
        return Err(refuse("the path begins with one `/`, such as `/com.snowplowanalytics.snowplow/tp2`"));
    }
    // The collector merges a query into every event of the body, where it wins over what the events say.
    if post_path.contains(['?', '#']) {
        return Err(refuse(
            "the path has neither query nor fragment: a collector would write the query into every event",
        ));
    }
    let post = endpoint.uri("with_post_path", post_path)?;
    Ok(Target { post, get: format!("{endpoint}{GET_PATH}") })
}

/// A header of the user's, if it is none for which there is a setting.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    let (name, value) = custom_header(name, value)?;
    if name.as_str() == ANONYMOUS {
        let fix = "use `Anonymity::with_server_anonymisation`, which keeps other events apart";
        return Err(refused(name.as_str(), fix));
    }
    if name == COOKIE {
        return Err(refused(name.as_str(), "use `with_cookie_jar`, which keeps the collector's cookie"));
    }
    Ok((name, value))
}

/// `host/prefix` or a URL, with this port.
fn with_port(address: &Address<String>, port: u16) -> Result<String, BuildError> {
    let refuse = |fix: String| BuildError::Setting { setting: "Collector::with_port", value: port.to_string(), fix };
    if port == 0 {
        return Err(refuse("nothing listens on port 0; use the collector's, from 1 to 65535".to_owned()));
    }
    let endpoint = address.0.as_str();
    let (scheme, rest) = endpoint.split_once("://").map_or(("", endpoint), |(scheme, rest)| (scheme, rest));
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let named = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if named {
        return Err(refuse(format!("the endpoint {address:?} names a port already; name it once")));
    }
    let separator = if scheme.is_empty() { "" } else { "://" };
    Ok(format!("{scheme}{separator}{host}:{port}{path}"))
}

/// The standard path of POST requests.
pub(super) const POST_PATH: &str = "/com.snowplowanalytics.snowplow/tp2";

/// The standard path of GET requests.
const GET_PATH: &str = "/i";
