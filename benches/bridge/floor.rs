//! What the requests cost without a bridge: one of ours, ready made, sent again and again by the HTTP client that we use.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLoggerProvider};
use otel_session::export::{self, Bytes, HttpClient, HttpError, Request, Response};

use crate::contenders::A_REQUEST;
use crate::ours::{DEADLINE, Records, builder, cpu_nanos, nanos};

/// What it is called, as a contender.
pub(crate) const NAME: &str = "these requests alone, by hyper";

/// The child's side: `ENDPOINT EVENT ROUND ROUNDS`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [endpoint, _, round, rounds] = arguments else { return Err("not for people".into()) };
    let (requests, rounds): (usize, u32) = (round.parse::<usize>()? / A_REQUEST, rounds.parse()?);
    let request = a_request(endpoint)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let send = async || -> Result<(), HttpError> {
        for _ in 0..requests {
            let reply = client.request(request.clone().map(Full::new)).await?;
            if !reply.status().is_success() {
                return Err(reply.status().to_string().into());
            }
            reply.into_body().collect().await?;
        }
        Ok(())
    };
    let (mut wall, mut cpu) = (Duration::ZERO, 0);
    // The first round warms up.
    for number in 0..=rounds {
        let (before, cpu_before) = (Instant::now(), cpu_nanos());
        runtime.block_on(send()).map_err(|error| error.to_string())?;
        if number > 0 {
            wall += before.elapsed();
            cpu += cpu_nanos() - cpu_before;
        }
    }
    let timed = requests * A_REQUEST * rounds as usize;
    let events = timed + requests * A_REQUEST;
    println!("{}", serde_json::json!({ "events": events, "timed": timed, "wall": nanos(wall), "cpu": cpu }));
    Ok(())
}

/// A full request, as the exporter would send it.
fn a_request(endpoint: &str) -> Result<Request<Bytes>, Box<dyn Error>> {
    let kept = Kept::default();
    let builder = builder(endpoint, export::Outbox::memory())?.with_max_batch_events(A_REQUEST);
    let mut exporter = builder.with_http_client(kept.clone()).build()?;
    exporter.set_resource(&Resource::builder_empty().build());
    let provider = SdkLoggerProvider::builder().build();
    let records = Records::new(&provider)?;
    block_on(exporter.export(LogBatch::new(&records.starts())))?;
    exporter.flush(DEADLINE);
    block_on(exporter.export(LogBatch::new(&records.batch()[..A_REQUEST])))?;
    let _ = exporter.shutdown(DEADLINE);
    let request = kept.0.lock().map_err(|error| error.to_string())?.take();
    request.ok_or_else(|| "nothing was sent".into())
}

/// Keeps the last request instead of sending it.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Option<Request<Bytes>>>>);

impl HttpClient for Kept {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(request);
        }
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}
