//! The `snowplow_tracker` crate in `cargo bench --bench bridge`:
//!
//! ```text
//! otel-session-trackers ENDPOINT EVENT ROUND ROUNDS IN_FLIGHT
//! ```
//!
//! EVENT is the JSON of benches/bridge/event.json, ROUND the events that are handed over at once, ROUNDS how often. Prints a
//! line of JSON: events, and the wall-clock and CPU nanoseconds that they took.
//!
//! The tracker starts a request for every fifty events at once, however many are under way, and then opens a connection for
//! each: unbounded it fails by the limit of open files. IN_FLIGHT bounds them here, by waiting before the hand-over.
#![allow(clippy::disallowed_methods)] // it measures time

use std::error::Error;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snowplow_tracker::{
    BatchEmitter, HttpClient, InMemoryEventStore, ReqwestClient, RetryPolicy, SelfDescribingEvent, SelfDescribingJson,
    Subject, Tracker,
};

/// The default of its store, and what the contenders agree on.
const BATCH: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, event, size, rounds, in_flight] = &arguments[..] else { return Err("see the source".into()) };
    let event: Value = serde_json::from_str(event)?;
    let (size, rounds, in_flight): (usize, usize, usize) = (size.parse()?, rounds.parse()?, in_flight.parse()?);
    let requests = Arc::new(Requests::default());
    let client = CountingClient { client: ReqwestClient::new(endpoint), requests: Arc::clone(&requests) };
    let emitter = BatchEmitter::builder()
        .collector_url(endpoint)
        .event_store(InMemoryEventStore::new(10_000, BATCH))
        .http_client(client)
        .retry_policy(RetryPolicy::RetryForever)
        .build()?;
    let mut tracker = Tracker::new("bench", "shop", emitter, None);

    let (mut wall, mut cpu, mut index) = (Duration::ZERO, 0, 0);
    // The first round warms up.
    for round in 0..=rounds {
        let events: Vec<_> = (0..size)
            .map(|_| {
                index += 1;
                arguments_of(&event, index)
            })
            .collect::<Result<_, _>>()?;
        let before = (Instant::now(), cpu_nanos());
        for (number, (event, entities)) in events.into_iter().enumerate() {
            if (number + 1) % BATCH == 0 {
                requests.wait_until_fewer_than(in_flight);
                requests.change(|open| *open += 1);
            }
            tracker.track(event, Some(entities))?;
        }
        if size % BATCH != 0 {
            requests.change(|open| *open += 1);
            tracker.flush()?;
        }
        requests.wait_until_fewer_than(1);
        if round > 0 {
            wall += before.0.elapsed();
            cpu += cpu_nanos() - before.1;
        }
    }
    tracker.close_emitter()?;
    let (wall, timed) = (u64::try_from(wall.as_nanos())?, size * rounds);
    println!("{}", json!({ "events": index, "timed": timed, "wall": wall, "cpu": cpu }));
    Ok(())
}

fn arguments_of(
    event: &Value,
    index: usize,
) -> Result<(SelfDescribingEvent, Vec<SelfDescribingJson>), snowplow_tracker::Error> {
    let mut session = event["client_session"].clone();
    session["eventIndex"] = index.into();
    let schema = event["schema"].as_str().unwrap_or_default();
    // Of the atomic fields of a session it can send these two, and only from the event.
    let id = |name: &str| session[name].as_str().and_then(|id| id.parse().ok());
    let subject = Subject { domain_user_id: id("userId"), session_user_id: id("sessionId"), ..Subject::default() };
    let described =
        SelfDescribingEvent::builder().schema(schema).data(event["data"].clone()).subject(subject).build()?;
    let entity =
        SelfDescribingJson::new("iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2", session);
    Ok((described, vec![entity]))
}

/// Requests that were started and are not acknowledged.
#[derive(Default)]
struct Requests {
    open: Mutex<usize>,
    closed: Condvar,
}

impl Requests {
    fn wait_until_fewer_than(&self, limit: usize) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.closed.wait_while(open, |open| *open >= limit.max(1)).unwrap_or_else(PoisonError::into_inner));
    }

    fn change(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner));
        self.closed.notify_all();
    }
}

/// Its own client, which is also told what was acknowledged: the only place where that can be seen.
struct CountingClient {
    client: Box<dyn HttpClient + Send + Sync>,
    requests: Arc<Requests>,
}

#[async_trait::async_trait]
impl HttpClient for CountingClient {
    async fn post(&self, payload: SelfDescribingJson) -> Result<u16, snowplow_tracker::Error> {
        let code = self.client.post(payload).await?;
        if (200..300).contains(&code) {
            self.requests.change(|open| *open -= 1);
        }
        Ok(code)
    }

    fn clone(&self) -> Box<dyn HttpClient + Send + Sync> {
        Box::new(Self { client: self.client.as_ref().clone(), requests: Arc::clone(&self.requests) })
    }
}

/// What all threads of this process have spent; zero where it cannot be asked.
fn cpu_nanos() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    0
}
