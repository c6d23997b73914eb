//! From a builder's words to checked settings.
//!
//! Everything is refused here, by the name of its method, and nothing afterwards.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::builder::{Hooks, Transport};
use super::decide::is_version;
use super::id_service::IdService;
use super::map_settings::{EventStyle, MapSettings, StorageMechanism};
use super::protocol::{FIXED_BYTES, Limits, MAX_GET_BYTES, MAX_REQUEST_BYTES, MAX_REQUEST_LINE, SnowplowProtocol};
use super::{Anonymity, IdentityLifetime, Method, SnowplowExporterBuilder, StateStorage};
use crate::clock::Source;
use crate::error::BuildError;
use crate::export::cookie_jar::CookieJar;
use crate::export::delivery::DeliverySettings;
use crate::export::endpoint::Endpoint;
use crate::export::http::{DefaultClient, HttpClient};

/// One collector, ready to be sent to.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) delivery: DeliverySettings,
    pub(super) protocol: Arc<SnowplowProtocol>,
    pub(super) post_path: String,
}

/// Refuses a namespace that no tracker name can be, or that a log line or a key could not hold.
pub(super) fn check_namespace(namespace: Option<&str>) -> Result<(), BuildError> {
    let Some(name) = namespace else { return Ok(()) };
    text("with_namespace", name, 128)?;
    if name.contains([':', ';']) {
        return Err(refuse("with_namespace", &name, "a tracker's name holds no `:` and no `;`"));
    }
    Ok(())
}

/// The collectors of a builder, each with its protocol.
pub(super) fn destinations(builder: &SnowplowExporterBuilder) -> Result<Vec<Destination>, BuildError> {
    if builder.collectors.is_empty() {
        return Err(refuse("with_endpoint", &"", "name at least one collector, such as `collector.example.com`"));
    }
    if u16::try_from(builder.collectors.len()).is_err() {
        return Err(refuse("with_collector", &builder.collectors.len(), "use at most 65,535 collectors"));
    }
    let transport = &builder.transport;
    check_transport(transport)?;
    let mut destinations = Vec::new();
    for collector in &builder.collectors {
        let post_path = collector.post_path(transport.post_path.as_deref()).to_owned();
        let endpoint = collector.endpoint()?;
        let headers = collector.headers(&transport.headers)?;
        let target = super::collector::target(&endpoint, &post_path)?;
        let limits = Limits {
            method: collector.method().unwrap_or(transport.method),
            max_post_bytes: transport.max_post_bytes,
            max_get_bytes: transport.max_get_bytes,
            max_batch_events: transport.max_batch_events,
            sent_timestamp: transport.sent_timestamp,
            several_in_flight: transport.max_in_flight > 1,
        };
        let delivery = delivery(transport, endpoint, &builder.source)?;
        delivery.check()?;
        let protocol = Arc::new(SnowplowProtocol::new(target, headers, limits));
        destinations.push(Destination { delivery, protocol, post_path });
    }
    Ok(destinations)
}

fn delivery(transport: &Transport, endpoint: Endpoint, source: &Source) -> Result<DeliverySettings, BuildError> {
    let client: Option<Arc<dyn HttpClient>> = match &transport.id_service {
        Some(url) => {
            if transport.client.is_none() {
                endpoint.check_tls()?;
            }
            let client = match &transport.client {
                Some(client) => Arc::clone(client),
                None => Arc::new(DefaultClient::new(&endpoint, transport.connect_timeout)?),
            };
            // The jar is within, so that it keeps the service's cookie, too.
            let client = if transport.cookie_jar { CookieJar::around(client, source.clone()) } else { client };
            Some(IdService::before(&url.0, client, transport.client.is_some())?)
        }
        None => transport.client.clone(),
    };
    Ok(DeliverySettings {
        client,
        connect_timeout: transport.connect_timeout,
        request_timeout: transport.request_timeout,
        batch_size: transport.batch_size,
        flush_bytes: transport.flush_bytes,
        schedule_delay: transport.schedule_delay,
        max_in_flight: transport.max_in_flight,
        retry: transport.retry.clone(),
        cookie_jar: transport.cookie_jar && transport.id_service.is_none(),
        ..DeliverySettings::new(endpoint)
    })
}

fn check_transport(transport: &Transport) -> Result<(), BuildError> {
    positive("with_max_batch_events", transport.max_batch_events, "leave it to the byte limit by leaving it out")?;
    // An empty envelope and one byte: an event above the limit goes by itself, however small the limit.
    let least = FIXED_BYTES + 2;
    if transport.max_post_bytes < least {
        let fix = format!("an empty envelope takes {} bytes already; use some thousands", least - 1);
        return Err(refuse("with_max_post_bytes", &transport.max_post_bytes, &fix));
    }
    if transport.max_post_bytes > MAX_REQUEST_BYTES {
        let fix = format!("a collector takes at most {MAX_REQUEST_BYTES} bytes; use less");
        return Err(refuse("with_max_post_bytes", &transport.max_post_bytes, &fix));
    }
    positive("with_max_get_bytes", transport.max_get_bytes, "use some thousands")?;
    if let Some(fix) = too_long_for_a_get(transport.max_get_bytes) {
        return Err(refuse("with_max_get_bytes", &transport.max_get_bytes, &fix));
    }
    if transport.schedule_delay > LONGEST {
        return Err(refuse("with_schedule_delay", &transport.schedule_delay, "use at most a day"));
    }
    Ok(())
}

/// What to do about a URL limit that lets through what no collector reads.
pub(super) fn too_long_for_a_get(bytes: usize) -> Option<String> {
    (bytes > MAX_GET_BYTES).then(|| {
        format!(
            "a collector reads request lines of {MAX_REQUEST_LINE} bytes, `GET` and `HTTP/1.1` included; use at most \
             {MAX_GET_BYTES}: what is longer goes by POST"
        )
    })
}

/// What events say, checked and completed.
pub(super) fn content(builder: &mut SnowplowExporterBuilder) -> Result<MapSettings, BuildError> {
    let mut content = std::mem::take(&mut builder.content);
    let (sqlite, durable) = (builder.outbox.is_sqlite(), builder.outbox.is_durable());
    if let Some(app_id) = &content.app_id {
        text("with_app_id", app_id, 255)?;
    }
    content.subject.check()?;
    identifier("with_vendor", &content.vendor)?;
    if let EventStyle::SchemaPerName { vendor, version } = &content.style {
        identifier("with_event_style", vendor)?;
        check_version(version)?;
    }
    positive("with_max_sessions", content.max_sessions, "leave it out for 65,536")?;
    positive("with_max_text_bytes", content.max_text_bytes, "leave it out for 65,535")?;
    // The outbox would refuse it by the name of its own setting.
    if builder.max_queue_events == Some(0) {
        return Err(refuse("with_max_queue_events", &0, "a queue holds at least 1 event; leave it out for no limit"));
    }
    if builder.state == StateStorage::None && durable {
        return Err(refuse(
            "with_state_storage",
            &builder.state,
            "a durable outbox stores events; use `Outbox::memory()`, or another storage",
        ));
    }
    if matches!(builder.identity, IdentityLifetime::For(lifetime) if lifetime.is_zero()) {
        return Err(refuse("with_identity_lifetime", &builder.identity, "use `IdentityLifetime::Process`"));
    }
    let method = |it: &super::Collector| it.method().unwrap_or(builder.transport.method);
    let only_get = builder.collectors.iter().all(|it| method(it) == Method::Get);
    content.base64 = builder.base64.unwrap_or(only_get);
    content.storage = match builder.state {
        StateStorage::Cookie => StorageMechanism::Cookie,
        StateStorage::Outbox if sqlite => StorageMechanism::Sqlite,
        StateStorage::Outbox | StateStorage::None => StorageMechanism::LocalStorage,
    };
    content.keeps_rows = durable && builder.identity != IdentityLifetime::NotPersisted;
    content.anonymity = possible(content.anonymity, builder.state == StateStorage::None);
    Ok(content)
}

/// Without a place for the session it cannot be tracked without naming the user: anonymity is then full.
pub(super) fn possible(mut anonymity: Anonymity, stateless: bool) -> Anonymity {
    if stateless && !anonymity.names_users() {
        anonymity.users = Anonymity::full().users;
    }
    anonymity
}

/// Whether nothing may be sent at all, by the environment.
pub(super) fn is_suppressed(hooks: &Hooks) -> bool {
    hooks.do_not_track && crate::export::opt_out::environment_opts_out(|name| std::env::var(name).ok())
}

fn text(setting: &'static str, value: &str, limit: usize) -> Result<(), BuildError> {
    let length = value.encode_utf16().count();
    if value.is_empty() {
        Err(refuse(setting, &value, "it must not be empty; leave it out for the default"))
    } else if length > limit {
        let shown: String = value.chars().take(80).collect();
        Err(refuse(setting, &shown, &format!("it has {length} characters of UTF-16; Snowplow keeps at most {limit}")))
    } else if value.chars().any(char::is_control) {
        Err(refuse(setting, &value, "it must hold no control characters"))
    } else {
        Ok(())
    }
}

/// A schema's vendor.
fn identifier(setting: &'static str, value: &str) -> Result<(), BuildError> {
    text(setting, value, 255)?;
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if value.chars().all(allowed) {
        return Ok(());
    }
    Err(refuse(setting, &value, "a schema's vendor has only letters, digits, `.`, `-` and `_`, such as `com.acme`"))
}

fn check_version(version: &str) -> Result<(), BuildError> {
    if is_version(version) {
        return Ok(());
    }
    let fix =
        "a schema's version is MODEL-REVISION-ADDITION, such as `1-0-0`: the model from 1, no zeros before a number";
    Err(refuse("with_event_style", &version, fix))
}

fn positive(setting: &'static str, value: usize, hint: &str) -> Result<(), BuildError> {
    if value > 0 { Ok(()) } else { Err(refuse(setting, &value, &format!("it must be more than zero; {hint}"))) }
}

pub(super) fn refuse(setting: &'static str, value: &dyn Debug, fix: &str) -> BuildError {
    BuildError::Setting { setting, value: format!("{value:?}"), fix: fix.to_owned() }
}

/// The longest wait that makes sense.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
