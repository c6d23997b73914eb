//! A small web shop and its visitors, all on loopback, with sessions that last seconds: what they do is traced, exported
//! over OTLP into a development collector in this process, and shown as the collector received it. The same events go to
//! Snowplow, played by the same collector.
//!
//! `cargo run --release --features otlp,snowplow,dev-collector --example quickstart`
//!
//! Exit code 1 if the collector finds anything wrong with the stream, or an event of it invalid.

#![allow(clippy::disallowed_methods, reason = "visitors take real time")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Router, routing};
use otel_session::collector::DevCollector;
use otel_session::{Sessions, SnowplowExporter, Transition};
use tracing::Instrument as _;

const SHELF: &[&str] = &["tea", "coffee", "cocoa"];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    println!("A web shop on loopback: sessions end after 1 s without a visitor, and last 3 s at most.\n");
    let collector = DevCollector::start()?;
    let snowplow = SnowplowExporter::builder().with_endpoint(collector.snowplow_endpoint()).build()?;
    let telemetry = otel_session::setup()
        .with_service_name("shop")
        .with_stderr(false)
        .with_endpoint(collector.otlp_http_endpoint())
        .with_sessions(|sessions| {
            sessions.with_inactivity_timeout(Duration::from_secs(1)).with_max_duration(Duration::from_secs(3))
        })
        .with_log_exporter(snowplow.clone())
        .install()?;
    if !telemetry.is_enabled() {
        println!("OTEL_SDK_DISABLED or DO_NOT_TRACK is set, so nothing is recorded; unset it to see the timeline.");
        return Ok(ExitCode::SUCCESS);
    }
    let sessions = telemetry.sessions().clone();
    sessions.on_transition(narrate).detach();

    let shop = open_shop().await?;
    a_day_at_the_shop(&shop, &sessions).await?;

    // Blocking, so off the runtime's threads.
    let bridge = snowplow.clone();
    let shutdown = move || telemetry.shutdown(Duration::from_secs(5)).map(|()| bridge.shutdown(Duration::from_secs(5)));
    let report = tokio::task::spawn_blocking(shutdown).await??;
    let stream = collector.stream();
    println!("\nWhat the collector received:\n\n{}", stream.timeline());
    let (good, bad) = (stream.snowplow_good(), stream.snowplow_bad());
    let with_session = good.iter().filter(|event| event.client_session().is_some()).count();
    println!("\nSnowplow: {} events accepted, {with_session} with a client_session, {} bad", good.len(), bad.len());
    println!("lost on the way: {}; to Snowplow: {}", sessions.losses(), snowplow.losses());
    let delivered = report.pending == 0 && bad.is_empty() && !good.is_empty();
    Ok(if stream.problems().is_empty() && delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the visitors do, and what that does to the sessions.
async fn a_day_at_the_shop(shop: &str, sessions: &Sessions) -> Result<(), Box<dyn Error>> {
    println!("· three visitors look around");
    visit(shop, 3, 6).await?;
    println!("· nobody comes for a while");
    pause(1_600).await;
    println!("· a busy stretch, longer than a session may last");
    visit(shop, 2, 36).await?;
    println!("· somebody logs in: a new session by hand, and a user on every signal");
    sessions.set_user_id(Some("ada"));
    sessions.rotate();
    visit(shop, 1, 4).await?;
    println!("· and logs out: whatever comes next is not linked to it");
    sessions.set_user_id(None);
    sessions.end();
    visit(shop, 2, 4).await?;
    println!("· a job runs under an id that is owned elsewhere");
    stock_taking().instrument(tracing::info_span!("stock_taking", session.id = "nightly-42")).await;
    Ok(())
}

async fn open_shop() -> Result<String, Box<dyn Error>> {
    let routes = Router::new().route("/shelf", routing::get(shelf)).route("/buy/{item}", routing::post(buy));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

#[tracing::instrument]
async fn shelf() -> String {
    tracing::debug!("somebody looks");
    SHELF.join(", ")
}

#[tracing::instrument]
async fn buy(Path(item): Path<String>) -> StatusCode {
    if !SHELF.contains(&item.as_str()) {
        tracing::warn!(name: "shop.missed", "asked for what there is not");
        return StatusCode::NOT_FOUND;
    }
    pack(&item).await;
    tracing::info!(name: "shop.sold", item, "sold");
    StatusCode::OK
}

#[tracing::instrument]
async fn pack(item: &str) {
    pause(2).await;
    tracing::info!(name: "shop.packed", "packed");
}

async fn stock_taking() {
    for item in SHELF {
        tracing::info!(name: "shop.counted", item, "counted");
    }
}

/// Visitors who come at once and ask a number of times each.
async fn visit(shop: &str, visitors: usize, asks: usize) -> Result<(), Box<dyn Error>> {
    // The shop is on loopback, where no proxy reaches.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let visits = (0..visitors).map(|visitor| {
        let (client, shop) = (client.clone(), shop.to_owned());
        tokio::spawn(async move {
            for ask in 0..asks {
                client.get(format!("{shop}/shelf")).send().await?;
                let item = SHELF.get((visitor + ask) % 4).unwrap_or(&"milk");
                client.post(format!("{shop}/buy/{item}")).send().await?;
                pause(100).await;
            }
            Ok::<(), reqwest::Error>(())
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        visit.await??;
    }
    Ok(())
}

/// The program as it runs: observers are told on a thread of their own.
fn narrate(transition: &Transition) {
    if let Some(ended) = transition.ended() {
        println!("    session {} ended ({}) after {:.1?}", ended.session().index(), ended.reason(), ended.duration());
    }
    if let Some(started) = transition.started() {
        let link = if started.previous_id().is_some() { "linked" } else { "unlinked" };
        println!("    session {} started, {link}", started.index());
    }
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
