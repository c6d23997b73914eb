//! An event as JSON, alone: ours, and a plain loop with `serde_json` that builds the same.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contenders::EVENT;

/// Events a second on one core.
#[derive(Debug)]
pub(crate) struct Encoding {
    pub(crate) ours: Option<f64>,
    pub(crate) serde_json: f64,
}

pub(crate) fn measure(quick: bool) -> Encoding {
    let lasting = Duration::from_millis(if quick { 20 } else { 1_000 });
    Encoding { ours: None, serde_json: with_serde_json(lasting) }
}

/// What one writes with `json!`: a value for the event and one for the entity, each as text in base64 in the event's own.
fn with_serde_json(lasting: Duration) -> f64 {
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

/// The best of several stretches: nothing makes a loop faster than it is.
fn events_a_second(lasting: Duration, mut event: impl FnMut()) -> f64 {
    const AT_ONCE: u32 = 500;
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    while begun.elapsed() < lasting {
        let before = Instant::now();
        (0..AT_ONCE).for_each(|_| event());
        best = best.min(before.elapsed().as_secs_f64() / f64::from(AT_ONCE));
    }
    1.0 / best
}
