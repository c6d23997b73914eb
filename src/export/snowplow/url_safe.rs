//! Base64 as Snowplow's decoder takes it: the alphabet of URLs, without padding.
//!
//! Where the processor allows it, by its wide registers: without them this is a third of what an event costs.

use base64::engine::general_purpose::NO_PAD;

pub(super) use engine::{UrlSafe, url_safe};

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod engine {
    /// The fastest engine that the processor has.
    pub(in super::super) type UrlSafe = base64::engine::Simd;

    pub(in super::super) fn url_safe() -> UrlSafe {
        UrlSafe::url_safe(super::NO_PAD)
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
mod engine {
    /// The engine that every processor has.
    pub(in super::super) type UrlSafe = base64::engine::GeneralPurpose;

    pub(in super::super) fn url_safe() -> UrlSafe {
        UrlSafe::new(&base64::alphabet::URL_SAFE, super::NO_PAD)
    }
}
