//! How sessions end and follow each other, told by an observer.
//!
//!     cargo run --example rotation

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use otel_session::{Sessions, Transition};

fn main() -> Result<(), Box<dyn Error>> {
    // A second here, so that the example ends soon; 30 minutes is the default.
    let sessions = Sessions::builder().with_inactivity_timeout(Duration::from_secs(1)).build()?;
    // Observers run on a thread of their own: one may be slow, and may call anything.
    let (ended, wait) = mpsc::channel();
    let watch = sessions.on_transition(move |transition| {
        tell(transition);
        if let Some(end) = transition.ended() {
            let _ = ended.send(end.reason());
        }
    });

    sessions.record_activity(); // any span or log does the same: the first starts a session
    sessions.rotate(); // by hand: the next one is linked to it
    println!("ended: {}", wait.recv()?);

    println!("nothing happens for a second ..");
    println!("ended: {}", wait.recv_timeout(Duration::from_secs(10))?);

    sessions.record_activity(); // starts the third, linked too
    sessions.end(); // signed out: the next one is not linked
    println!("ended: {}", wait.recv()?);

    sessions.record_activity();
    sessions.shutdown(Duration::from_secs(5))?; // ends the fourth; nothing starts afterwards
    println!("ended: {}", wait.recv()?);
    drop(watch); // unsubscribes; Watch::detach() would keep the observer for good
    Ok(())
}

fn tell(transition: &Transition) {
    if let Some(end) = transition.ended() {
        println!("- {} ended after {:?}: {}", end.session().id(), end.duration(), end.reason());
    }
    if let Some(session) = transition.started() {
        println!("+ {} started, number {}, after {:?}", session.id(), session.index(), session.previous_id());
    }
}
