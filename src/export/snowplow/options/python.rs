//! The arguments of the Python tracker.

use serde_json::Value;

use super::Read::{Apply, Code, Emitters, Within};
use super::Verdict::{Adapted, Adopted};
use super::{Applied, Given, TrackerOption, endpoint, method, namespace, row};
use crate::export::snowplow::{SnowplowExporterBuilder, Subject};

/// Every argument, by the class or function that takes it.
pub(super) const OPTIONS: &[TrackerOption] = &[
    row(
        "namespace",
        Adopted,
        "with_namespace, snowplow::create",
        "unique in the process; a second one is refused",
        Apply(namespace),
    ),
    row("endpoint", Adopted, "with_endpoint", "https unless it says otherwise", Apply(endpoint)),
    row("method", Adopted, "with_method", "`post` or `get`", Apply(method)),
    row("app_id", Adopted, "with_app_id", "", Apply(app_id)),
    row("subject", Adopted, "with_subject, set_subject", "a record's own fields win", Apply(subject)),
    row("encode_base64", Adopted, "with_base64", "unpadded", Apply(base64)),
    row("json_encoder", Adapted, "with_mapping, with_non_finite", "bytes are base64, other values are texts", Code),
    row("tracker_config", Adopted, "", "an object of the two arguments below", Within),
    row("tracker_config.encode_base64", Adopted, "with_base64", "unpadded", Apply(base64)),
    row(
        "tracker_config.json_encoder",
        Adapted,
        "with_mapping, with_non_finite",
        "bytes are base64, other values are texts",
        Code,
    ),
    row("emitter_config", Adopted, "", "an object of the arguments below", Within),
    row(
        "emitter_config.batch_size",
        Adopted,
        "with_batch_size",
        "zero is refused; 10 by default, and 1 where all emitters send by GET",
        Apply(batch_size),
    ),
    row("emitter_config.on_success", Adopted, "on_request_success", "after any 2xx, with the events' ids", Code),
    row("emitter_config.on_failure", Adopted, "on_request_failure", "with status and will_retry", Code),
    row("emitter_config.byte_limit", Adapted, "with_flush_bytes", "real bytes; starts a request", Apply(byte_limit)),
    row(
        "emitter_config.request_timeout",
        Adopted,
        "with_connect_timeout, with_request_timeout",
        "one number of seconds, or two",
        Apply(request_timeout),
    ),
    row(
        "emitter_config.custom_retry_codes",
        Adopted,
        "RetryPolicy::with_retry_codes",
        "a 2xx is refused",
        Apply(retry_codes),
    ),
    row(
        "emitter_config.event_store",
        Adapted,
        "with_outbox, Outbox::custom",
        "an event leaves it only when it is delivered",
        Code,
    ),
    row("emitter_config.session", Adapted, "with_http_client", "", Code),
    row(
        "emitter_config.buffer_capacity",
        Adopted,
        "with_max_queue_events",
        "and applied; the oldest go unless the outbox says `Overflow::DropNewest`, as the tracker does",
        Apply(capacity),
    ),
    row("emitter_config.max_retry_delay_seconds", Adopted, "RetryPolicy::with_max_delay", "", Apply(max_delay)),
    row(
        "emitters",
        Adopted,
        "with_collector",
        "one or a list, each with its own queue; in all but endpoint, port, protocol and method they must be alike",
        Emitters,
    ),
    row("emitter", Adopted, "with_collector", "what the document's sample calls `emitters`", Emitters),
    row("port", Adopted, "Collector::with_port", "of an emitter", Code),
    row("protocol", Adopted, "with_endpoint", "of an emitter; a part of the URL", Code),
    row("get_tracker", Adopted, "snowplow::get", "a call", Code),
    row("remove_tracker", Adopted, "snowplow::remove, remove_by_namespace, reset", "calls", Code),
    row("set_subject", Adopted, "set_subject", "a call", Code),
    row("set_flush_timer", Adopted, "with_schedule_delay", "a call", Code),
    row("flush", Adopted, "flush", "a call, with a deadline", Code),
    row("true_timestamp", Adopted, "with_true_timestamps", "both ttm and dtm are sent", Code),
    row("track", Adapted, "on_accepted", "tells the id of each event", Code),
];

fn app_id(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(if given.0.is_null() { builder } else { builder.with_app_id(given.text()?) })
}

/// An object by the protocol's keys (`uid`) or the setters' names without `set_` (`user_id`).
fn subject(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let Value::Object(fields) = given.0 else {
        return if given.0.is_null() { Ok(builder) } else { Err("give an object of fields".to_owned()) };
    };
    let mut subject = Subject::new();
    for (key, value) in fields {
        let value = Given(value);
        subject = match key.as_str() {
            "p" | "platform" => subject.with_platform(value.text()?.parse().map_err(|error| format!("{error}"))?),
            "uid" | "user_id" => subject.with_user_id(value.text()?),
            "duid" | "domain_user_id" => subject.with_domain_user_id(value.text()?),
            "sid" | "domain_session_id" => subject.with_domain_session_id(value.text()?),
            "vid" | "domain_session_index" => subject.with_domain_session_index(small(&value)?),
            "tnuid" | "network_user_id" => subject.with_network_user_id(value.text()?),
            "ip" | "ip_address" => subject.with_ip_address(value.text()?),
            "ua" | "useragent" => subject.with_useragent(value.text()?),
            "lang" => subject.with_language(value.text()?),
            "tz" | "timezone" => subject.with_timezone(value.text()?),
            "cd" | "color_depth" => subject.with_color_depth(small(&value)?),
            "res" | "screen_resolution" => {
                let (width, height) = pair(&value)?;
                subject.with_screen_resolution(width, height)
            }
            "vp" | "viewport" => {
                let (width, height) = pair(&value)?;
                subject.with_viewport(width, height)
            }
            _ => return Err(format!("a subject has no field {key:?}")),
        };
    }
    Ok(builder.with_subject(subject))
}

fn small(given: &Given<'_>) -> Result<u32, String> {
    u32::try_from(given.number()?).map_err(|_| "give a smaller number".to_owned())
}

/// `[width, height]` or `"800x600"`.
fn pair(given: &Given<'_>) -> Result<(u32, u32), String> {
    let wrong = || "give a width and a height".to_owned();
    match given.0 {
        Value::Array(sides) => match sides.as_slice() {
            [width, height] => Ok((small(&Given(width))?, small(&Given(height))?)),
            _ => Err(wrong()),
        },
        Value::String(text) => {
            let (width, height) = text.split_once('x').ok_or_else(wrong)?;
            Ok((width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?))
        }
        _ => Err(wrong()),
    }
}

fn base64(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_base64(given.flag()?))
}

fn batch_size(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(if given.0.is_null() { builder } else { builder.with_batch_size(given.size()?) })
}

fn byte_limit(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(if given.0.is_null() { builder } else { builder.with_flush_bytes(given.size()?) })
}

fn request_timeout(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    if given.0.is_null() {
        return Ok(builder);
    }
    let (connect, read) = given.timeouts()?;
    Ok(builder.with_connect_timeout(connect).with_request_timeout(read))
}

fn retry_codes(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    if given.0.is_null() {
        return Ok(builder);
    }
    let codes = given.retry_codes()?;
    Ok(builder.change_retry(|it| it.with_retry_codes(codes)))
}

fn capacity(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(if given.0.is_null() { builder } else { builder.with_max_queue_events(given.number()?) })
}

fn max_delay(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    let delay = given.seconds()?;
    Ok(builder.change_retry(|it| it.with_max_delay(delay)))
}
