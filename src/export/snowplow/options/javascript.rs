//! The options of the JavaScript tracker.

use std::time::Duration;

use serde_json::Value;

use super::Read::{Apply, Code, Ignore, Refuse, Within};
use super::Verdict::{Adapted, Adopted, NoEffect, Refused};
use super::{Applied, Given, TrackerOption, endpoint, method, namespace, row};
use crate::export::delivery::CONNECT_TIMEOUT;
use crate::export::snowplow::settings::too_long_for_a_get;
use crate::export::snowplow::{Anonymity, IdentityLifetime, Platform, SnowplowExporterBuilder, StateStorage};

/// Every option, those of `newTracker` first, then those that came after its document, then its calls.
pub(super) const OPTIONS: &[TrackerOption] = &[
    row("namespace", Adopted, "with_namespace", "an argument of newTracker; sent as `tna`", Apply(namespace)),
    row(
        "endpoint",
        Adopted,
        "with_endpoint",
        "an argument of newTracker; https unless it says otherwise",
        Apply(endpoint),
    ),
    row("appId", Adapted, "with_app_id", "the resource's service.name by default", Apply(app_id)),
    row("platform", Adopted, "with_platform", "one of nine; `srv` by default", Apply(platform)),
    row("cookieDomain", NoEffect, "", "nothing here writes a cookie", Ignore),
    row("discoverRootDomain", NoEffect, "", "nothing here writes a cookie", Ignore),
    row("cookieName", Adapted, "IdCookie::from_header_named", "for servers that read the cookie", Ignore),
    row("cookieSameSite", NoEffect, "", "`null` included: nothing here writes a cookie", Apply(same_site)),
    row("cookieSecure", NoEffect, "", "nothing here writes a cookie", Ignore),
    row(
        "encodeBase64",
        Adopted,
        "with_base64",
        "plain for POST and base64 for GET by default; unpadded",
        Apply(base64),
    ),
    row(
        "respectDoNotTrack",
        Adapted,
        "with_do_not_track",
        "DO_NOT_TRACK and OTEL_SDK_DISABLED of the environment",
        Apply(do_not_track),
    ),
    row(
        "setOptOutCookie",
        Adapted,
        "with_opt_out, with_opt_out_file, set_opt_out",
        "a hook or a file stands for the cookie",
        Code,
    ),
    row("eventMethod", Adopted, "with_method", "`post` or `get`; `beacon` is refused", Apply(method)),
    row("bufferSize", Adopted, "with_batch_size", "starts a request; does not limit it", Apply(buffer_size)),
    row("flushBuffer", Adopted, "flush", "a call, with a deadline; true when nothing waits", Code),
    row("postPath", Adopted, "with_post_path", "", Apply(post_path)),
    row("maxPostBytes", Adopted, "with_max_post_bytes", "exact: the body with its envelope", Apply(max_post_bytes)),
    row(
        "maxGetBytes",
        Adopted,
        "with_max_get_bytes",
        "of the whole URL; a longer one goes by POST; 16,384 by default, 20,467 at most",
        Apply(max_get_bytes),
    ),
    row("crossDomainLinker", Adapted, "decorate_url", "call it with the links you choose", Code),
    row(
        "cookieLifetime",
        Adapted,
        "with_identity_lifetime",
        "seconds; 0: as long as the process, -1: never stored",
        Apply(cookie_lifetime),
    ),
    row("stateStorageStrategy", Adapted, "with_state_storage, with_outbox", "one of four values", Apply(state_storage)),
    row(
        "maxLocalStorageQueueSize",
        Adopted,
        "with_max_queue_events",
        "for each collector; the oldest go",
        Apply(max_queue),
    ),
    row("resetActivityTrackingOnPageView", NoEffect, "", "there are no page pings here", Ignore),
    row(
        "connectionTimeout",
        Adapted,
        "with_request_timeout",
        "milliseconds, for the whole request",
        Apply(connection_timeout),
    ),
    row(
        "anonymousTracking",
        Adopted,
        "with_anonymity",
        "true, or an object of the two options below",
        Apply(anonymous),
    ),
    row(
        "anonymousTracking.withSessionTracking",
        Adopted,
        "Anonymity::with_session_tracking",
        "sid and vid are sent, users are not",
        Ignore,
    ),
    row(
        "anonymousTracking.withServerAnonymisation",
        Adopted,
        "Anonymity::with_server_anonymisation",
        "the header SP-Anonymous; a collector of 2.1.0 or later",
        Ignore,
    ),
    row(
        "sessionCookieTimeout",
        Adapted,
        "SessionsBuilder::with_inactivity_timeout",
        "sessions are made before the exporter; give them the same seconds",
        Ignore,
    ),
    row("contexts", Adopted, "", "an object of the options below", Within),
    row(
        "contexts.webPage",
        Refused,
        "",
        "a page view's id has no meaning outside of a page; attach an entity of your own by `with_mapping`",
        Refuse,
    ),
    row("contexts.session", Adopted, "with_session_context", "on by default, all eight fields", Apply(session_context)),
    row(
        "contexts.browser",
        Adapted,
        "with_browser_context",
        "where the record, or the subject, has its required fields",
        Apply(browser_context),
    ),
    row(
        "customHeaders",
        Adopted,
        "with_custom_headers",
        "names that the exporter writes itself are refused",
        Apply(headers),
    ),
    row("withCredentials", Adapted, "with_cookie_jar", "off by default", Apply(cookie_jar)),
    row(
        "retryStatusCodes",
        Adopted,
        "RetryPolicy::with_retry_status_codes",
        "wins over dontRetryStatusCodes",
        Apply(retry),
    ),
    row(
        "dontRetryStatusCodes",
        Adopted,
        "RetryPolicy::with_dont_retry_status_codes",
        "their events are dropped and counted",
        Apply(dont_retry),
    ),
    row("onSessionUpdateCallback", Adopted, "on_session_start", "`on_session_end` besides, which no tracker has", Code),
    row("retryFailedRequests", Adopted, "RetryPolicy::with_retry_failed_requests", "", Apply(retry_failed)),
    row("onRequestSuccess", Adopted, "on_request_success", "", Code),
    row("onRequestFailure", Adopted, "on_request_failure", "with status and will_retry", Code),
    row("eventStore", Adopted, "Outbox::custom", "", Code),
    row("keepalive", NoEffect, "", "a process has no page that closes; `shutdown(timeout)` drains", Ignore),
    row("customFetch", Adopted, "with_http_client", "", Code),
    row("useStm", Adopted, "with_sent_timestamp", "of GET requests; a POST always carries stm", Apply(use_stm)),
    row("idService", Adopted, "with_id_service", "asked once before the first request", Apply(id_service)),
    row("cookieExtensionService", Adopted, "with_id_service", "its other name", Apply(id_service)),
    row("appVersion", Adapted, "with_application_context", "the resource's service.version is the version", Ignore),
    row("preservePageViewIdForUrl", NoEffect, "", "there are no page views here", Ignore),
    row("preserveOriginalReferrer", NoEffect, "", "the record's referrer is sent as it is", Ignore),
    row("synchronousCookieWrite", NoEffect, "", "state is committed with the events that change it", Ignore),
    row(
        "disableSessionContextWithinWebView",
        Adapted,
        "with_mapping",
        "a client_session that a mapping attaches replaces ours",
        Ignore,
    ),
    row(
        "useExtendedCrossDomainLinker",
        Adapted,
        "CrossDomainLink",
        "each field that is set makes the link extended",
        Ignore,
    ),
    row("plugins", Adapted, "with_filter, with_mapping", "", Code),
    row("addGlobalContexts", Adapted, "with_mapping", "`Mapping::with_entity`", Code),
    row(
        "getCookieName",
        Refused,
        "",
        "nothing here writes a cookie; read the browser's by `IdCookie::from_header`",
        Refuse,
    ),
    row("enableAnonymousTracking", Adopted, "set_anonymous", "a call", Code),
    row("disableAnonymousTracking", Adopted, "set_anonymous", "a call", Code),
    row("setCollectorUrl", Adopted, "set_collector_url", "a call; later requests go there", Code),
    row("setUserId", Adopted, "set_subject", "a call; a record's user.id wins", Code),
    row("setVisitorCookieTimeout", Adapted, "with_identity_lifetime", "a call", Code),
    row("newSession", Adapted, "Sessions::rotate", "sessions are made before the exporter", Code),
    row("clearUserData", Adapted, "set_opt_out", "an opt-out forgets users and sessions", Code),
];

fn app_id(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    // The tracker's default is an empty id, which means none.
    let text = given.text()?;
    Ok(if text.is_empty() { builder } else { builder.with_app_id(text) })
}

fn platform(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let platform: Platform = given.text()?.parse().map_err(|_| {
        format!("use one of {}; Snowplow fails events of any other", Platform::ALL.map(Platform::as_str).join(", "))
    })?;
    Ok(builder.with_platform(platform))
}

fn same_site(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    match given.0 {
        Value::Null => Ok(builder),
        Value::String(text) if matches!(text.as_str(), "None" | "Lax" | "Strict") => Ok(builder),
        _ => Err("use `None`, `Lax`, `Strict` or null".to_owned()),
    }
}

fn base64(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_base64(given.flag()?))
}

fn do_not_track(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_do_not_track(given.flag()?))
}

fn buffer_size(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_batch_size(given.size()?))
}

fn post_path(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_post_path(given.text()?))
}

fn max_post_bytes(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_max_post_bytes(given.size()?))
}

fn max_get_bytes(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let bytes = given.size()?;
    too_long_for_a_get(bytes).map_or_else(|| Ok(builder.with_max_get_bytes(bytes)), Err)
}

fn cookie_lifetime(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let lifetime = match given.0.as_i64() {
        Some(-1) => IdentityLifetime::NotPersisted,
        Some(0) => IdentityLifetime::Process,
        Some(seconds) if seconds > 0 => IdentityLifetime::For(Duration::from_secs(seconds.unsigned_abs())),
        _ => return Err("give seconds, 0 or -1".to_owned()),
    };
    Ok(builder.with_identity_lifetime(lifetime))
}

fn state_storage(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let storage = match given.0.as_str() {
        // Both keep the events, too, as an outbox does.
        Some("cookieAndLocalStorage" | "localStorage") => StateStorage::Outbox,
        Some("cookie") => StateStorage::Cookie,
        Some("none") => StateStorage::None,
        _ => return Err("use `cookieAndLocalStorage`, `localStorage`, `cookie` or `none`".to_owned()),
    };
    Ok(builder.with_state_storage(storage))
}

fn max_queue(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_max_queue_events(given.number()?))
}

fn connection_timeout(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let timeout = given.millis()?;
    Ok(builder.with_request_timeout(timeout).with_connect_timeout(timeout.min(CONNECT_TIMEOUT)))
}

fn anonymous(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let mut anonymity = match given.0 {
        Value::Bool(false) => Anonymity::off(),
        Value::Bool(true) => Anonymity::full(),
        Value::Object(options) => {
            if let Some(key) =
                options.keys().find(|it| !matches!(it.as_str(), "withSessionTracking" | "withServerAnonymisation"))
            {
                return Err(format!(
                    "there is no option {key:?} in it, only `withSessionTracking` and `withServerAnonymisation`"
                ));
            }
            match options.get("withSessionTracking") {
                Some(Value::Bool(true)) => Anonymity::with_session_tracking(),
                None | Some(Value::Bool(false)) => Anonymity::full(),
                Some(_) => return Err("withSessionTracking is true or false".to_owned()),
            }
        }
        _ => return Err("give true, false or an object".to_owned()),
    };
    match given.0.get("withServerAnonymisation") {
        Some(Value::Bool(true)) => anonymity = anonymity.with_server_anonymisation(),
        None | Some(Value::Bool(false)) => {}
        Some(_) => return Err("withServerAnonymisation is true or false".to_owned()),
    }
    Ok(builder.with_anonymity(anonymity))
}

fn session_context(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_session_context(given.flag()?))
}

fn browser_context(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_browser_context(given.flag()?))
}

fn headers(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_custom_headers(given.texts()?))
}

fn cookie_jar(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_cookie_jar(given.flag()?))
}

fn retry(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let codes = given.statuses()?;
    Ok(builder.change_retry(|it| it.with_retry_status_codes(codes)))
}

fn dont_retry(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let codes = given.statuses()?;
    Ok(builder.change_retry(|it| it.with_dont_retry_status_codes(codes)))
}

fn retry_failed(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let flag = given.flag()?;
    Ok(builder.change_retry(|it| it.with_retry_failed_requests(flag)))
}

fn use_stm(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_sent_timestamp(given.flag()?))
}

fn id_service(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_id_service(given.text()?))
}
