//! Tests of deadlocks: what must return is run with a bound, and what must wait waits at a gate.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than anything that is not stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Runs `f` on a thread of its own and fails if it does not return.
pub fn returns<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = channel();
    let thread = std::thread::spawn(move || {
        let value = f();
        let _ = done.send(());
        value
    });
    match finished.recv_timeout(STUCK) {
        Err(RecvTimeoutError::Timeout) => panic!("stuck: {what}"),
        // Disconnected: it panicked, and joining tells.
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// A gate that is shut until it is opened. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// Waits until the gate is open.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.arrived += 1;
        changed.notify_all();
        let (_state, result) = changed.wait_timeout_while(state, STUCK, |state| !state.open).unwrap();
        assert!(!result.timed_out(), "nobody opened the gate");
    }

    /// Waits until somebody stands at the gate, or has passed it.
    pub fn arrival(&self) {
        let (state, changed) = &*self.0;
        let (_state, result) =
            changed.wait_timeout_while(state.lock().unwrap(), STUCK, |state| state.arrived == 0).unwrap();
        assert!(!result.timed_out(), "nobody came to the gate");
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }
}
