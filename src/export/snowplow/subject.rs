//! Who and what is tracked, where the records do not say so themselves.

use super::Platform;
use super::fields::{Field, is_whole};
use super::ids::dashed;
use crate::error::BuildError;

/// The fields of a Snowplow subject: they stand in every event whose record does not carry the field itself.
///
/// | method | field | the record's attribute, which wins |
/// |---|---|---|
/// | [`with_platform`](Self::with_platform) | `p` | |
/// | [`with_user_id`](Self::with_user_id) | `uid` | `user.id` |
/// | [`with_domain_user_id`](Self::with_domain_user_id) | `duid` | the installation id |
/// | [`with_domain_session_id`](Self::with_domain_session_id) | `sid` | `session.id` |
/// | [`with_domain_session_index`](Self::with_domain_session_index) | `vid` | with `session.id` |
/// | [`with_network_user_id`](Self::with_network_user_id) | `tnuid` | |
/// | [`with_ip_address`](Self::with_ip_address) | `ip` | `client.address` |
/// | [`with_useragent`](Self::with_useragent) | `ua` | `user_agent.original` |
/// | [`with_language`](Self::with_language) | `lang` | `browser.language` |
/// | [`with_timezone`](Self::with_timezone) | `tz` | |
/// | [`with_screen_resolution`](Self::with_screen_resolution) | `res` | |
/// | [`with_viewport`](Self::with_viewport) | `vp` | |
/// | [`with_color_depth`](Self::with_color_depth) | `cd` | |
///
/// A value that its field does not take (a text that is too long, in characters of UTF-16, or a number above 2,147,483,647) is
/// refused where the subject is given to an exporter, with the field and its limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Values by their protocol key, each key once.
    fields: Vec<(&'static str, String)>,
}

impl Subject {
    /// A subject that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The platform (`p`); it wins over the exporter's own.
    #[must_use]
    pub fn with_platform(self, platform: Platform) -> Self {
        self.with("p", platform.as_str().to_owned())
    }

    /// The business user id (`uid`), at most 255 characters.
    #[must_use]
    pub fn with_user_id(self, user_id: impl Into<String>) -> Self {
        self.with("uid", user_id.into())
    }

    /// The device's own user id (`duid`), at most 128 characters. `client_session` allows nothing but a UUID there, and `duid`
    /// has to agree with it, so any other text becomes the UUID made of it.
    #[must_use]
    pub fn with_domain_user_id(self, domain_user_id: impl Into<String>) -> Self {
        self.with("duid", domain_user_id.into())
    }

    /// The session id (`sid`) of events whose records carry none; a UUID. It makes no `client_session`.
    #[must_use]
    pub fn with_domain_session_id(self, session_id: impl Into<String>) -> Self {
        self.with("sid", session_id.into())
    }

    /// The session's index (`vid`) of events whose records carry no session.
    #[must_use]
    pub fn with_domain_session_index(self, index: u32) -> Self {
        self.with("vid", index.to_string())
    }

    /// The network user id (`tnuid`), at most 128 characters; it wins over the collector's cookie.
    #[must_use]
    pub fn with_network_user_id(self, network_user_id: impl Into<String>) -> Self {
        self.with("tnuid", network_user_id.into())
    }

    /// The user's address (`ip`), at most 128 characters.
    #[must_use]
    pub fn with_ip_address(self, address: impl Into<String>) -> Self {
        self.with("ip", address.into())
    }

    /// The user agent (`ua`), at most 1000 characters.
    #[must_use]
    pub fn with_useragent(self, useragent: impl Into<String>) -> Self {
        self.with("ua", useragent.into())
    }

    /// The language (`lang`), such as `en-GB`, at most 255 characters.
    #[must_use]
    pub fn with_language(self, language: impl Into<String>) -> Self {
        self.with("lang", language.into())
    }

    /// The time zone (`tz`), such as `Europe/Amsterdam`, at most 255 characters.
    #[must_use]
    pub fn with_timezone(self, timezone: impl Into<String>) -> Self {
        self.with("tz", timezone.into())
    }

    /// The screen's size in pixels (`res`).
    #[must_use]
    pub fn with_screen_resolution(self, width: u32, height: u32) -> Self {
        self.with("res", format!("{width}x{height}"))
    }

    /// The window's size in pixels (`vp`).
    #[must_use]
    pub fn with_viewport(self, width: u32, height: u32) -> Self {
        self.with("vp", format!("{width}x{height}"))
    }

    /// The bits of a pixel's colour (`cd`).
    #[must_use]
    pub fn with_color_depth(self, bits: u32) -> Self {
        self.with("cd", bits.to_string())
    }

    fn with(mut self, key: &'static str, value: String) -> Self {
        self.fields.retain(|(known, _)| *known != key);
        // Empty values never reach a payload: Enrich takes `sid=""` for a broken id, not for none.
        if !value.is_empty() {
            self.fields.push((key, value));
        }
        self
    }

    /// A field, by its protocol key.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// Refuses what Enrich would fail every event for.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for (key, value) in &self.fields {
            let limit = limit(key);
            let length = value.encode_utf16().count();
            let fix = if length > limit {
                format!("`{key}` has {length} characters of UTF-16; Snowplow keeps at most {limit}")
            } else if value.chars().any(char::is_control) {
                format!("`{key}` must hold no control characters")
            } else if *key == "sid" && dashed(value).is_none() {
                "`sid` must be a UUID with dashes, or Snowplow fails every event that carries it".to_owned()
            } else if let Some(field) =
                Field::ALL.into_iter().find(|field| field.key() == *key && !field.is_valid(value))
            {
                format!("`{}` takes numbers of at most {}", field.key(), i32::MAX)
            } else if *key == "vid" && !is_whole(value) {
                format!("`vid` takes a number of at most {}", i32::MAX)
            } else {
                continue;
            };
            let value: String = value.chars().take(80).collect();
            return Err(BuildError::Setting { setting: "with_subject", value: format!("{value:?}"), fix });
        }
        Ok(())
    }
}

/// The most characters that the atomic field behind a key takes.
fn limit(key: &str) -> usize {
    match key {
        "ua" => 1000,
        "duid" | "tnuid" | "ip" => 128,
        _ => 255,
    }
}
