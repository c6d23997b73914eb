//! Links to other sites that carry who follows them: the parameter `_sp` of cross-domain tracking.
//!
//! ```text
//! short      <domain user id>.<ms>
//! extended   <domain user id>.<ms>.<session id>.<user id>.<app id>.<platform>.<reason>     (trailing dots left out)
//! ```
//!
//! User id, app id and reason stand there in URL-safe base64 of their UTF-8, without padding. Enrich splits the value at its
//! dots, so an id with a dot of its own cannot be sent.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Host, Url};

use crate::clock::to_nanos;
use crate::error::BuildError;

/// What a decorated link says about who follows it.
///
/// With nothing but a domain user id it makes the short form of `_sp`; every field added makes it the extended one.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use otel_session::export::snowplow::{CrossDomainLink, decorate_url};
///
/// let clicked = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
/// let link = CrossDomainLink::new("6de9024e-17b9-4026-bd4d-efec50ae84cb", clicked)?;
/// assert_eq!(
///     decorate_url("https://acme.example/shop?a=1#top", &link),
///     "https://acme.example/shop?a=1&_sp=6de9024e-17b9-4026-bd4d-efec50ae84cb.1700000000000#top"
/// );
/// # Ok::<(), otel_session::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossDomainLink {
    domain_user_id: String,
    millis: i64,
    session_id: String,
    user_id: String,
    app_id: String,
    platform: String,
    reason: String,
    host: Option<Host>,
}

impl CrossDomainLink {
    /// A link followed at this time by the user with this domain user id: the `userId` of `client_session`.
    ///
    /// # Errors
    /// When the id is empty or holds a dot, at which the receiver would cut it.
    pub fn new(domain_user_id: impl Into<String>, followed: SystemTime) -> Result<Self, BuildError> {
        let domain_user_id = part("CrossDomainLink::new", domain_user_id.into())?;
        if domain_user_id.is_empty() {
            return Err(setting("CrossDomainLink::new", &domain_user_id, "a link needs a domain user id"));
        }
        let millis = to_nanos(followed).div_euclid(1_000_000);
        let empty = String::new;
        let (session_id, user_id, app_id, platform, reason) = (empty(), empty(), empty(), empty(), empty());
        Ok(Self { domain_user_id, millis, session_id, user_id, app_id, platform, reason, host: None })
    }

    /// Adds the session that is left, as sent in `sid`.
    ///
    /// # Errors
    /// When the id holds a dot.
    pub fn with_session_id(mut self, session_id: impl Into<String>) -> Result<Self, BuildError> {
        self.session_id = part("CrossDomainLink::with_session_id", session_id.into())?;
        Ok(self)
    }

    /// Adds the user's own id, any text.
    #[must_use]
    pub fn with_user_id(mut self, user_id: impl AsRef<str>) -> Self {
        self.user_id = URL_SAFE_NO_PAD.encode(user_id.as_ref());
        self
    }

    /// Adds the id of the application that is left, any text.
    #[must_use]
    pub fn with_app_id(mut self, app_id: impl AsRef<str>) -> Self {
        self.app_id = URL_SAFE_NO_PAD.encode(app_id.as_ref());
        self
    }

    /// Adds the platform of the application that is left: `web`, `mob` and so on.
    ///
    /// # Errors
    /// When it holds a dot.
    pub fn with_platform(mut self, platform: impl Into<String>) -> Result<Self, BuildError> {
        self.platform = part("CrossDomainLink::with_platform", platform.into())?;
        Ok(self)
    }

    /// Adds why the link is followed, any text: the link's label for example.
    #[must_use]
    pub fn with_reason(mut self, reason: impl AsRef<str>) -> Self {
        self.reason = URL_SAFE_NO_PAD.encode(reason.as_ref());
        self
    }

    /// Names the host of the page that holds the link, so that links within the site stay untouched. Case makes no
    /// difference, nor whether an international name is in letters or in punycode. What is no host is that of no link.
    #[must_use]
    pub fn with_page_host(mut self, host: impl Into<String>) -> Self {
        self.host = Host::parse(&host.into()).ok();
        self
    }

    /// The value of `_sp`, before it is percent-encoded.
    #[must_use]
    pub fn value(&self) -> String {
        let millis = self.millis.to_string();
        let parts = [
            &self.domain_user_id,
            &millis,
            &self.session_id,
            &self.user_id,
            &self.app_id,
            &self.platform,
            &self.reason,
        ];
        parts.map(String::as_str).join(".").trim_end_matches('.').to_owned()
    }
}

/// The URL with the parameter `_sp` of this link. An `_sp` that it already has is replaced; everything else, the fragment
/// included, stays as it was written.
///
/// Only absolute `http` and `https` URLs of another host than [`with_page_host`](CrossDomainLink::with_page_host) are
/// decorated: `javascript:`, `mailto:`, `tel:` and relative links come back untouched.
#[must_use]
pub fn decorate_url(url: &str, link: &CrossDomainLink) -> String {
    if !leads_elsewhere(url, link.host.as_ref()) {
        return url.to_owned();
    }
    // Blanks after it are no part of a link, as its readers take it.
    let (url, blanks) = url.split_at(url.trim_end_matches(|char| char <= ' ').len());
    let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, fragment)| (rest, Some(fragment)));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // Without text there are no pairs, not an empty one.
    let pairs = (!query.is_empty()).then(|| query.split('&')).into_iter().flatten();
    let value = link.value();
    let ours = format!("{NAME}={}", utf8_percent_encode(&value, QUERY_VALUE));
    let kept = pairs.filter(|it| it.split('=').next() != Some(NAME));
    let query = kept.chain([ours.as_str()]).collect::<Vec<_>>().join("&");
    let fragment = fragment.map(|it| format!("#{it}")).unwrap_or_default();
    format!("{path}?{query}{fragment}{blanks}")
}

fn leads_elsewhere(url: &str, page: Option<&Host>) -> bool {
    let Ok(parsed) = Url::parse(url.trim()) else { return false };
    let Some(host) = parsed.host().map(|host| host.to_owned()) else { return false };
    matches!(parsed.scheme(), "http" | "https") && page != Some(&host)
}

/// A part that stands in the value as it is.
fn part(name: &'static str, value: String) -> Result<String, BuildError> {
    if value.contains('.') || value.chars().any(char::is_control) {
        return Err(setting(name, &value, "a part of `_sp` must hold no dot, at which the receiver would cut it"));
    }
    Ok(value)
}

fn setting(setting: &'static str, value: &str, fix: &str) -> BuildError {
    BuildError::Setting { setting, value: format!("{value:?}"), fix: fix.to_owned() }
}

/// The name of the parameter.
const NAME: &str = "_sp";

/// What may not stand in a query's value as it is.
const QUERY_VALUE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'\'');
