//! An event as JSON, alone: ours, and a plain loop with `serde_json` that builds the same.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contenders::EVENT;
use crate::ours;

/// Events a second on one core.
#[derive(Debug)]
pub(crate) struct Encoding {
    pub(crate) ours: Option<f64>,
    /// `serde_json` with values.
    pub(crate) values: f64,
    /// `serde_json` with structures that derive `Serialize`.
    pub(crate) derived: f64,
}

pub(crate) fn measure(quick: bool) -> Encoding {
    let lasting = Duration::from_millis(if quick { 20 } else { 1_000 });
    Encoding { ours: ours::encode(lasting), values: with_values(lasting), derived: with_structures(lasting) }
}

/// What one writes with `json!`: a value for the event and one for the entity, each as text in base64 in the event's own.
fn with_values(lasting: Duration) -> f64 {
    let event: Value = serde_json::from_str(EVENT).unwrap_or_default();
    let mut index = 0_u64;
    events_a_second(lasting, || {
        index += 1;
        let described = json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
            "data": { "schema": event["schema"], "data": event["data"] },
        });
        let mut session = event["client_session"].clone();
        session["eventIndex"] = index.into();
        let entities = json!({
            "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
            "data": [{
                "schema": "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
                "data": session,
            }],
        });
        let payload = json!({
            "e": "ue",
            "eid": Uuid::new_v4().to_string(),
            "p": "srv",
            "tv": "rust",
            "tna": "bench",
            "aid": "shop",
            "dtm": "1763625600123",
            "sid": event["client_session"]["sessionId"],
            "vid": "2",
            "ue_px": URL_SAFE_NO_PAD.encode(described.to_string()),
            "cx": URL_SAFE_NO_PAD.encode(entities.to_string()),
        });
        black_box(payload.to_string());
    })
}

/// The same without values on the way: as fast as `serde_json` is without tricks.
fn with_structures(lasting: Duration) -> f64 {
    #[derive(Serialize)]
    struct Described<'a, T> {
        schema: &'a str,
        data: T,
    }
    #[derive(Serialize, Deserialize, Clone)]
    struct Data {
        #[serde(rename = "shop.order")]
        order: String,
        #[serde(rename = "shop.amount")]
        amount: f64,
        #[serde(rename = "shop.currency")]
        currency: String,
        #[serde(rename = "shop.items")]
        items: u64,
        #[serde(rename = "shop.gift")]
        gift: bool,
    }
    #[derive(Serialize, Deserialize, Clone)]
    #[serde(rename_all = "camelCase")]
    struct ClientSession {
        user_id: String,
        session_id: String,
        session_index: u64,
        event_index: u64,
        previous_session_id: String,
        storage_mechanism: String,
        first_event_id: String,
        first_event_timestamp: String,
    }
    #[derive(Serialize)]
    struct Payload<'a> {
        e: &'a str,
        eid: String,
        p: &'a str,
        tv: &'a str,
        tna: &'a str,
        aid: &'a str,
        dtm: String,
        sid: &'a str,
        vid: String,
        ue_px: String,
        cx: String,
    }
    #[derive(Deserialize)]
    struct Event {
        schema: String,
        data: Data,
        client_session: ClientSession,
    }
    let Ok(Event { schema, data, client_session: mut session }) = serde_json::from_str(EVENT) else { return f64::NAN };
    events_a_second(lasting, || {
        session.event_index += 1;
        let described = Described {
            schema: "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
            data: Described { schema: &schema, data: &data },
        };
        let entities = Described {
            schema: "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
            data: [Described {
                schema: "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
                data: &session,
            }],
        };
        let payload = Payload {
            e: "ue",
            eid: Uuid::new_v4().to_string(),
            p: "srv",
            tv: "rust",
            tna: "bench",
            aid: "shop",
            dtm: 1_763_625_600_123_u64.to_string(),
            sid: &session.session_id,
            vid: session.session_index.to_string(),
            ue_px: URL_SAFE_NO_PAD.encode(text(&described)),
            cx: URL_SAFE_NO_PAD.encode(text(&entities)),
        };
        black_box(text(&payload));
    })
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The best of many stretches: nothing makes a loop faster than it is.
pub(crate) fn events_a_second(lasting: Duration, mut event: impl FnMut()) -> f64 {
    const AT_ONCE: u32 = 10;
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    while begun.elapsed() < lasting {
        let before = Instant::now();
        (0..AT_ONCE).for_each(|_| event());
        best = best.min(before.elapsed().as_secs_f64() / f64::from(AT_ONCE));
    }
    1.0 / best
}
