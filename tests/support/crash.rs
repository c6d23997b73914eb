//! kill -9 in a loop: a child process accepts events and delivers them, and is killed at random moments; the collector and
//! the journal of what was accepted live in the test's own process.
//!
//! ```text
//! parent: collector, journal <──stdout── child: the same binary, one test of it, an outbox in a file
//!            └────── kill -9 at a random moment, start it again on the same file ──────┘
//! ```
//!
//! The child writes a line to its standard output *after* `export()` has returned. So what is in the journal was accepted;
//! what was accepted and is not in the journal (killed between the two) may arrive, but need not be known. No number is
//! used again by a later child, so whatever arrives is one event.

#![allow(clippy::disallowed_methods, reason = "a real process is killed at random moments of real time")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What a child is told: whoever finds one in its environment is a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The file of the outbox.
    pub outbox: PathBuf,
    pub endpoint: String,
    /// The number of the first event; the others follow.
    pub first: u64,
    /// How many events to accept; then the child only delivers, until it is killed or asked to end.
    pub count: u64,
    /// Whether to end by itself once everything is delivered, instead of waiting to be killed.
    pub last: bool,
}

impl Task {
    /// The task of this process, if it is a child.
    pub fn of_this_process() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut lines = text.lines();
        let mut next = || lines.next().expect("a task has five lines").to_owned();
        Some(Self {
            outbox: next().into(),
            endpoint: next(),
            first: next().parse().unwrap(),
            count: next().parse().unwrap(),
            last: next() == "true",
        })
    }

    fn to_text(&self) -> String {
        let Self { outbox, endpoint, first, count, last } = self;
        format!("{}\n{endpoint}\n{first}\n{count}\n{last}", outbox.display())
    }

    /// Says that the events with these numbers were accepted.
    pub fn journal(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut line = String::from(ACCEPTED);
        for number in numbers {
            line.push_str(&format!(" {number}"));
        }
        line.push('\n');
        let mut out = std::io::stdout().lock();
        // Nobody reads on once the parent has gone; then there is nothing left to do here either.
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::abort();
        }
    }

    /// After the last event: waits for the end, which comes from outside.
    pub fn wait_to_be_killed(&self) -> ! {
        loop {
            std::thread::park();
        }
    }
}

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub kills: u64,
    /// Events to accept over all lives, at least.
    pub events: u64,
    pub seed: u64,
}

impl Plan {
    /// A quick one, unless `OTEL_SESSION_CRASH_KILLS`, `_EVENTS` and `_SEED` say otherwise.
    pub fn or_from_environment(kills: u64, events: u64) -> Self {
        let number = |name: &str, default| std::env::var(name).map_or(default, |it| it.parse().unwrap());
        Self {
            kills: number("OTEL_SESSION_CRASH_KILLS", kills),
            events: number("OTEL_SESSION_CRASH_EVENTS", events),
            seed: number("OTEL_SESSION_CRASH_SEED", 1),
        }
    }
}

/// Runs children one after the other, each on the same outbox, and kills them; the last one delivers what is left. Returns the
/// numbers of all events known to have been accepted, in order.
///
/// `entry` is the full name of the test function that does the child's work.
pub fn run(plan: Plan, entry: &str, outbox: &Path, endpoint: &str) -> Vec<u64> {
    let mut random = Random(plan.seed);
    let mut accepted = Vec::new();
    let mut first = 0;
    for life in 0..plan.kills {
        let left = plan.events.saturating_sub(accepted.len() as u64);
        // Some lives do nothing but deliver, most accept more than their share, since they are killed half-way.
        let share = left.div_ceil(plan.kills - life) * 2;
        let count = if random.below(8) == 0 { 0 } else { share };
        let task = Task { outbox: outbox.to_owned(), endpoint: endpoint.to_owned(), first, count, last: false };
        let mut life = Life::start(entry, &task);
        // At a random event, then at a random moment after it. Few of them: already while the outbox is being opened.
        let enough = random.below(count + 1);
        let bound = if random.below(10) == 0 { Duration::from_millis(random.below(40)) } else { LONG };
        life.read_until(&mut accepted, enough, bound);
        std::thread::sleep(Duration::from_micros(random.below(4_000)));
        life.kill(&mut accepted);
        first += count;
    }
    let left = plan.events.saturating_sub(accepted.len() as u64);
    let task = Task { outbox: outbox.to_owned(), endpoint: endpoint.to_owned(), first, count: left, last: true };
    Life::start(entry, &task).finish(&mut accepted);
    assert!(accepted.len() as u64 >= plan.events, "{} of {} events were accepted", accepted.len(), plan.events);
    accepted
}

/// A child, killed when it is dropped.
struct Life {
    child: Child,
    lines: Receiver<String>,
    entry: String,
}

impl Life {
    fn start(entry: &str, task: &Task) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", entry, "--nocapture", "--test-threads=1"])
            .env(VARIABLE, task.to_text())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            // A line that the kill cut off has no end: it counts as not written.
            while out.read_line(&mut line).is_ok_and(|read| read > 0 && line.ends_with('\n')) {
                if send.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, entry: entry.to_owned() }
    }

    /// Reads the journal until so many more events were accepted, or the bound is over.
    fn read_until(&mut self, accepted: &mut Vec<u64>, more: u64, bound: Duration) {
        let enough = accepted.len() as u64 + more;
        let start = Instant::now();
        while (accepted.len() as u64) < enough {
            match self.lines.recv_timeout(bound.saturating_sub(start.elapsed())) {
                Ok(line) => note(accepted, &line),
                Err(RecvTimeoutError::Timeout) if bound < LONG => return,
                Err(RecvTimeoutError::Timeout) => panic!("the child of {} is stuck", self.entry),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the child of {} went away by itself: {:?}", self.entry, self.child.wait());
                }
            }
        }
    }

    fn kill(mut self, accepted: &mut Vec<u64>) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(!status.success(), "it ended before it was killed");
        self.lines.iter().for_each(|line| note(accepted, &line));
    }

    fn finish(mut self, accepted: &mut Vec<u64>) {
        self.lines.iter().for_each(|line| note(accepted, &line));
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the last child of {} failed: {status}", self.entry);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn note(accepted: &mut Vec<u64>, line: &str) {
    // The harness of the tests writes to the same pipe.
    if let Some(numbers) = line.trim_end().split(ACCEPTED).nth(1) {
        accepted.extend(numbers.split_whitespace().map(|number| number.parse::<u64>().unwrap()));
    }
}

/// A folder that is empty at first, and gone in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otel-session-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

const VARIABLE: &str = "OTEL_SESSION_CRASH_TASK";
const ACCEPTED: &str = "ACCEPTED";
/// Longer than anything that is not stuck.
const LONG: Duration = Duration::from_secs(120);
