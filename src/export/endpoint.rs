//! Where a collector is.

use std::fmt;

use url::Url;

use crate::error::BuildError;

/// The address of a collector: scheme, host, port and a prefix of paths.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    setting: &'static str,
    /// Without a `/` at its end.
    base: String,
    https: bool,
}

impl Endpoint {
    /// A full URL, or `host`, `host:port`, `host/prefix`, which then is `https`.
    ///
    /// A `/` at the end is taken away. `setting` is the builder's method, for the message.
    ///
    /// # Errors
    ///
    /// Another scheme than http and https, no host, a port that is none, a user or password, a query, a fragment, blanks
    /// and control characters.
    pub(crate) fn parse(setting: &'static str, text: &str) -> Result<Self, BuildError> {
        let refuse = |fix: &str| BuildError::Setting { setting, value: shown(text), fix: fix.to_owned() };
        if text.chars().any(|char| char.is_whitespace() || char.is_control() || char == '\\') {
            return Err(refuse("an endpoint holds no blanks, backslashes or control characters; take them out"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return Err(refuse("the scheme must be https or http"));
        }
        // The parser would take the first part of the path for the host.
        if rest.is_empty() || rest.starts_with(['/', ':', '?', '#']) {
            return Err(refuse("the host is missing; use a URL like https://collector.example.com"));
        }
        // The parser would take `http:/host` for a host called `http`.
        if rest.split(['/', '?', '#']).next().is_some_and(|host| host.ends_with(':')) {
            return Err(refuse("there is no port after the colon; use a URL like https://collector.example.com"));
        }
        let url = Url::parse(&format!("{scheme}://{rest}"))
            .map_err(|error| refuse(&format!("{error}; use a URL like https://collector.example.com")))?;
        if !url.username().is_empty() || url.password().is_some() || rest.split('/').next().unwrap_or("").contains('@')
        {
            return Err(refuse("an endpoint holds no user or password; give an Authorization header instead"));
        }
        if url.query().is_some() {
            return Err(refuse("an endpoint has no query; take away the ? and what follows it"));
        }
        if url.fragment().is_some() {
            return Err(refuse("an endpoint has no fragment; take away the # and what follows it"));
        }
        if url.port() == Some(0) {
            return Err(refuse("nothing listens on port 0; name the collector's port, from 1 to 65535"));
        }
        Ok(Self { setting, base: url.as_str().trim_end_matches('/').to_owned(), https: url.scheme() == "https" })
    }

    /// The address without a `/` at its end: paths, which begin with one, are put behind it.
    pub(crate) fn as_str(&self) -> &str {
        &self.base
    }

    /// The URI of a path (and query) below this address; `path` begins with `/`.
    ///
    /// # Errors
    ///
    /// A path that does not begin with `/`, or that holds what a URI cannot.
    pub(crate) fn uri(&self, setting: &'static str, path: &str) -> Result<http::Uri, BuildError> {
        let refuse = |fix: String| BuildError::Setting { setting, value: shown(path), fix };
        if !path.starts_with('/') {
            return Err(refuse("a path begins with /".to_owned()));
        }
        // The parser would let it through as it is, and servers take such a request for a bad one.
        if !path.is_ascii() {
            return Err(refuse("a path is ASCII; percent-encode what is not".to_owned()));
        }
        format!("{}{path}", self.base).parse().map_err(|error| refuse(format!("{error}; percent-encode it")))
    }

    /// Whether the default client can speak to it.
    ///
    /// # Errors
    ///
    /// https without the feature `tls`.
    pub(crate) fn check_tls(&self) -> Result<(), BuildError> {
        if self.https && !cfg!(feature = "tls") {
            return Err(BuildError::Setting {
                setting: self.setting,
                value: shown(&self.base),
                fix: "https needs the feature `tls` of otel-session, or a client of your own (with_http_client); \
                      write http:// for a collector without TLS"
                    .to_owned(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// An address as it was given, which is shown without what may be a password or a key in it.
#[derive(Clone, Default)]
pub(crate) struct Address<T>(pub(crate) T);

impl<T: AsRef<str>> fmt::Debug for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_ref();
        let (before_query, query) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
        let shown = match before_query.rsplit_once('@') {
            Some((_, host)) => format!("…@{host}"),
            // The question mark may stand in the password, and that begin before it.
            None if query.contains('@') => "…".to_owned(),
            None => before_query.to_owned(),
        };
        fmt::Debug::fmt(&shown, f)
    }
}

/// What was given, fit for a message: without what may be a password, without control characters, and not too long.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let text = match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
            format!("{scheme}…@{after}")
        }
        None => text.to_owned(),
    };
    format!("{:?}", text.chars().take(LONGEST).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> String {
        Endpoint::parse("with_endpoint", text).map(|it| it.base).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_host_which_then_is_https() {
        assert_eq!(base("collector.example.com"), "https://collector.example.com");
        assert_eq!(base("collector.example.com:8080"), "https://collector.example.com:8080");
        assert_eq!(base("collector.example.com/prefix/"), "https://collector.example.com/prefix");
        assert_eq!(base("http://127.0.0.1:9090///"), "http://127.0.0.1:9090");
        assert_eq!(base("HTTP://Collector:80/a/b"), "http://collector/a/b");
        assert_eq!(base("https://[::1]:9543/"), "https://[::1]:9543");
        assert_eq!(base("bücher.example"), "https://xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_setting_the_value_and_the_fix() {
        let bad = [
            "",
            "/",
            "http://",
            "https:///path",
            "http://:8080",
            "://host",
            "ftp://host",
            "file:///etc/passwd",
            "host:99999",
            "host:0",
            "http://host:0/prefix",
            "host:port",
            "http://user@host",
            "http://user:secret@host/",
            "http://@host",
            "host?",
            "host?a=b",
            "host#x",
            "http://?a",
            "ho st",
            "host\n",
            "\thost",
            "host\\path",
            "mailto:a@b",
            "http:/host",
            "https:host:8080",
            "host:",
            "http://host:/prefix",
            "http://[::1]:",
            "http://a b/",
            "https://[::1",
            "//host",
        ];
        for text in bad {
            let error = Endpoint::parse("with_endpoint", text).expect_err(text);
            let BuildError::Setting { setting, fix, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*setting, "with_endpoint");
            assert!(!fix.is_empty() && !error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(
            base("http://user:secret@host/"),
            "with_endpoint(\"http://…@host/\"): an endpoint holds no user or password; give an Authorization header instead"
        );
    }

    #[test]
    fn paths_are_put_behind_the_prefix() {
        let endpoint = Endpoint::parse("with_endpoint", "http://host:1/prefix/").unwrap();
        assert_eq!(endpoint.uri("with_post_path", "/com.acme/tp2").unwrap(), "http://host:1/prefix/com.acme/tp2");
        assert!(endpoint.uri("with_post_path", "com.acme/tp2").is_err());
        assert!(endpoint.uri("with_post_path", "/a b").is_err());
        assert!(endpoint.uri("with_post_path", "/größe").is_err());
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_a_password() {
        let shown = |text| format!("{:?}", Address(text));
        assert_eq!(shown("https://ids.example.com/id?key=secret"), "\"https://ids.example.com/id\"");
        for text in ["http://user:secret@host/id", "http://user:sec?ret@host", "user:sec#ret@host"] {
            assert!(!shown(text).contains("sec"), "{}", shown(text));
        }
    }

    #[test]
    fn https_without_tls_is_refused_and_says_what_to_enable() {
        let checked = Endpoint::parse("with_endpoint", "collector.example.com").unwrap().check_tls();
        assert_eq!(checked.is_err(), !cfg!(feature = "tls"));
        if let Err(error) = checked {
            assert!(error.to_string().contains("feature `tls`"), "{error}");
        }
        Endpoint::parse("with_endpoint", "http://collector.example.com").unwrap().check_tls().unwrap();
    }
}
