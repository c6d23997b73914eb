//! A `tracing` layer: activity from spans and events, a span that scopes everything beneath it, and plain lines that carry
//! the session id, all without exporting anything.
//!
//! `cargo run --example tracing_layer`

use otel_session::Sessions;
use tracing::Instrument as _;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = Sessions::builder().build()?;
    let lines = fmt::layer().event_format(sessions.event_format(fmt::format().with_target(false).compact()));
    tracing_subscriber::registry().with(sessions.layer()).with(lines).init();

    tracing::info!("the first signal starts a session");
    let started = sessions.current().ok_or("a session")?;
    assert_eq!(started.index(), 1);

    // Conversations that are owned elsewhere: each task's signals carry its own id, across awaits.
    let chat = |id: &'static str| {
        async move {
            tracing::info!("asked");
            tokio::task::yield_now().await;
            tracing::info!("answered");
        }
        .instrument(tracing::info_span!("chat", session.id = id))
    };
    tokio::join!(chat("conversation-1"), chat("conversation-2"));

    tracing::info!("back in the process's own session");
    assert_eq!(sessions.current(), Some(started));
    sessions.rotate();
    tracing::info!("and in the next one");
    Ok(())
}
