//! Who is compared, each in a process of its own.

use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::ours::Outbox;
use crate::sink::{Counts, Sink};
use crate::{floor, peers};

/// The event that all send, for those that are told it as JSON.
pub(crate) const EVENT: &str = include_str!("event.json");

/// Events in a request, where requests are not filled.
pub(crate) const A_REQUEST: usize = 50;

/// Requests that the crate may have under way; beyond four nothing changes as long as replies come at once.
const IN_FLIGHT: &str = "32";

/// Events that are handed over at once, and how often after a round that warms up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) round: u64,
    pub(crate) rounds: u64,
}

/// Enough for more than one request, and for one that is not full.
pub(crate) const A_FEW: Load = Load { round: 130, rounds: 1 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The crate `snowplow_tracker`.
    Crate,
    Python {
        emitter: &'static str,
    },
    Node,
    /// No tracker: what sending costs by itself.
    Floor,
    Ours {
        outbox: Outbox,
        filled: bool,
    },
}

/// What a contender did in its timed rounds, and what the collector saw of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) events_a_second: f64,
    /// Microseconds; none where the system does not say.
    pub(crate) cpu: Option<f64>,
    /// Microseconds of the caller for a record, and milliseconds for the slowest batch of 512.
    pub(crate) export: Option<(f64, f64)>,
    /// With the round that warms up.
    pub(crate) counts: Counts,
}

impl Contender {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Crate,
            Self::Python { emitter: "Emitter" },
            Self::Python { emitter: "AsyncEmitter" },
            Self::Node,
            Self::Floor,
        ];
        all.extend(Outbox::ALL.map(|outbox| Self::Ours { outbox, filled: false }));
        all.extend(Outbox::ALL.map(|outbox| Self::Ours { outbox, filled: true }));
        all
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Crate => "snowplow_tracker 0.2.0",
            Self::Python { emitter: "Emitter" } => "Python 1.1.0, Emitter",
            Self::Python { .. } => "Python 1.1.0, AsyncEmitter",
            Self::Node => "Node 4.8.0",
            Self::Floor => floor::NAME,
            Self::Ours { outbox, filled: false } => outbox.name(),
            Self::Ours { outbox, filled: true } => outbox.name_when_filled(),
        }
    }

    /// Whether it can run here, or what it lacks.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.command().map(drop)
    }

    /// Enough for a second or so.
    pub(crate) fn load(&self, quick: bool) -> Load {
        let (round, rounds) = match self {
            Self::Crate => (50_000, 4),
            Self::Python { .. } | Self::Node => (5_000, 3),
            Self::Floor | Self::Ours { .. } => (51_200, 10),
        };
        if quick { Load { round: round / 50, rounds: 1 } } else { Load { round, rounds } }
    }

    /// With replies delayed by 50 ms; the backlog is the round.
    pub(crate) fn load_delayed(&self, quick: bool) -> Load {
        let round = match self {
            Self::Crate => 10_000,
            Self::Python { .. } | Self::Node => 1_000,
            Self::Floor | Self::Ours { filled: false, .. } => 5_120,
            Self::Ours { filled: true, .. } => 51_200,
        };
        Load { round: if quick { round / 10 } else { round }, rounds: 1 }
    }

    /// Runs it against the sink, and compares what it handed over with what arrived.
    pub(crate) fn run(&self, sink: &Sink, load: Load) -> io::Result<Outcome> {
        let before = sink.counts()?;
        let mut command = self.command().map_err(io::Error::other)?;
        command.args([sink.endpoint(), EVENT.to_owned(), load.round.to_string(), load.rounds.to_string()]);
        match self {
            Self::Crate => _ = command.arg(IN_FLIGHT),
            Self::Ours { filled, .. } => _ = command.arg(filled.to_string()),
            Self::Python { .. } | Self::Node | Self::Floor => {}
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        let failed = |why: &str| io::Error::other(format!("{}: {why}", self.name()));
        let said: Value = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))?;
        let number = |name: &str| said[name].as_f64();
        let counts = sink.counts()?.since(before);
        let (Some(timed), Some(wall)) = (number("timed"), number("wall")) else { return Err(failed("no times")) };
        if said["events"] != counts.events {
            return Err(failed(&format!("it said {said}, but {counts:?} arrived")));
        }
        Ok(Outcome {
            events_a_second: timed / wall * 1e9,
            cpu: number("cpu").filter(|cpu| *cpu > 0.0).map(|cpu| cpu / timed / 1e3),
            export: number("export").zip(number("slowest")).map(|(all, slowest)| (all / timed / 1e3, slowest / 1e6)),
            counts,
        })
    }

    fn command(&self) -> Result<Command, String> {
        match self {
            Self::Crate => peers::snowplow_tracker(),
            Self::Python { emitter } => peers::python(emitter),
            Self::Node => peers::node(),
            Self::Floor => this_program(floor::NAME),
            Self::Ours { outbox, .. } => this_program(outbox.name()),
        }
    }
}

fn this_program(contender: &str) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args(["--contender", contender]);
    Ok(command)
}

/// The run in the middle, by speed; the slowest batch is that of all runs.
pub(crate) fn median(mut runs: Vec<Outcome>) -> Outcome {
    runs.sort_by(|one, other| one.events_a_second.total_cmp(&other.events_a_second));
    let slowest = runs.iter().filter_map(|run| run.export).map(|(_, slowest)| slowest).fold(0.0, f64::max);
    let mut middle = runs.swap_remove(runs.len() / 2);
    middle.export = middle.export.map(|(mean, _)| (mean, slowest));
    middle
}
