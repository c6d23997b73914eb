//! Names that only this bridge knows: attributes that are named after Snowplow's fields, and schemas of Snowplow's own.

pub(super) use crate::export::personal::{is_of_session, is_personal};

/// An attribute of this prefix and a field's protocol key sets that field: `snowplow.page`, `snowplow.tz`.
pub(super) const FIELD_PREFIX: &str = "snowplow.";

/// Whether the browser takes cookies, for `browser_context`.
pub(super) const COOKIES_ENABLED: &str = "snowplow.cookies_enabled";
/// Whether the browser is online, for `browser_context`.
pub(super) const ONLINE: &str = "snowplow.online";

/// `devicePixelRatio` of `browser_context`.
pub(super) const DEVICE_PIXEL_RATIO: &str = "snowplow.device_pixel_ratio";
/// `documentLanguage` of `browser_context`.
pub(super) const DOCUMENT_LANGUAGE: &str = "snowplow.document_language";
/// `webdriver` of `browser_context`.
pub(super) const WEBDRIVER: &str = "snowplow.webdriver";
/// `deviceMemory` of `browser_context`, in GB.
pub(super) const DEVICE_MEMORY: &str = "snowplow.device_memory";
/// `hardwareConcurrency` of `browser_context`.
pub(super) const HARDWARE_CONCURRENCY: &str = "snowplow.hardware_concurrency";
/// `tabId` of `browser_context`.
pub(super) const TAB_ID: &str = "snowplow.tab_id";

/// The version of our schemas.
pub(super) const OUR_VERSION: &str = "1-0-0";

pub(super) const UNSTRUCT_EVENT: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
pub(super) const CONTEXTS: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1";
pub(super) const CLIENT_SESSION: &str = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2";
pub(super) const APPLICATION: &str = "iglu:com.snowplowanalytics.snowplow/application/jsonschema/1-0-0";
pub(super) const BROWSER_CONTEXT: &str = "iglu:com.snowplowanalytics.snowplow/browser_context/jsonschema/2-0-0";
