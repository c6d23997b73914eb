//! Prints the tables, and beside each target whether it holds.

use serde_json::Value;

use crate::contenders::{Contender, Outcome};
use crate::encoding::Encoding;
use crate::ours::Outbox;

/// What 50 events a request, one request at a time, give when every reply takes 50 ms.
const ONE_AT_A_TIME: f64 = 1_000.0;

/// Collects the verdicts while rows are printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    verdicts: Vec<String>,
    /// Events a second of the `snowplow_tracker` crate.
    peer: Option<f64>,
}

impl Report {
    pub(crate) fn begin(quick: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("Events to a collector on loopback, in another process; {cores} cores.");
        if quick {
            println!("A quick run: it shows that the benchmark runs, and no more.");
        }
        Self::default()
    }

    pub(crate) fn absent(&self, name: &str, lack: &str) {
        println!("not measured: {name}: {lack}");
    }

    pub(crate) fn events(&self) {
        println!("\nThe event of each, as the collector read it\n");
        println!("| {:<38} | {:>11} | {:<47} |", "", "bytes/event", "event");
        println!("|{:-<40}|{:->13}|{:-<49}|", "", ":", "");
    }

    pub(crate) fn event(&self, name: &str, sample: &Value) {
        let schema = sample["describes"]["schema"].as_str().unwrap_or_default();
        println!("| {name:<38} | {:>11} | {:<47} |", sample["bytes"].to_string(), schema.trim_start_matches("iglu:"));
        if std::env::var_os("BRIDGE_BENCH_SHOW").is_some() {
            println!("{sample:#}");
        }
    }

    /// The column at the right compares with something that the caller knows.
    pub(crate) fn loads(&self, title: &str, compared: &str) {
        println!("\n{title}\n");
        println!(
            "| {:<38} | {:>9} | {:>12} | {:>15} | {:>16} | {:>8} | {:>14} | {:>10} |",
            "",
            "events/s",
            "CPU µs/event",
            "export() µs/rec",
            "slowest batch ms",
            "requests",
            "events/request",
            compared
        );
        println!(
            "|{:-<40}|{:->11}|{:->14}|{:->17}|{:->18}|{:->10}|{:->16}|{:->12}|",
            "", ":", ":", ":", ":", ":", ":", ":"
        );
    }

    fn row(contender: &Contender, outcome: &Outcome, compared: Option<f64>) {
        let Outcome { events_a_second, cpu, export, counts } = outcome;
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
        println!(
            "| {:<38} | {events_a_second:>9.0} | {:>12} | {:>15} | {:>16} | {:>8} | {:>14.1} | {:>10} |",
            contender.name(),
            number(*cpu),
            number(export.map(|(mean, _)| mean)),
            number(export.map(|(_, slowest)| slowest)),
            counts.requests,
            counts.events as f64 / counts.requests as f64,
            number(compared.map(|other| events_a_second / other)),
        );
    }

    pub(crate) fn load(&mut self, contender: &Contender, outcome: &Outcome) {
        if let Contender::Crate = contender {
            self.peer = Some(outcome.events_a_second);
        }
        Self::row(contender, outcome, self.peer);
        let Contender::Ours { outbox, filled: false } = contender else { return };
        let name = contender.name();
        let speed = outcome.events_a_second;
        let (mean, slowest) = outcome.export.unwrap_or((f64::NAN, f64::NAN));
        let cpu = outcome.cpu.unwrap_or(f64::NAN);
        match outbox {
            Outbox::Memory => {
                if let Some(peer) = self.peer {
                    self.target(
                        speed / peer >= 1.5,
                        name,
                        &format!("{:.2} x snowplow_tracker, at least 1.5", speed / peer),
                    );
                }
                self.target(cpu <= 1.5, name, &format!("{cpu:.2} µs CPU an event, at most 1.5"));
                self.target(mean <= 2.0, name, &format!("export() {mean:.2} µs a record, at most 2"));
            }
            Outbox::SqliteFull => {
                self.target(speed >= 100_000.0, name, &format!("{speed:.0} events/s, at least 100,000"));
                self.target(mean <= 6.0, name, &format!("export() {mean:.2} µs a record, at most 6"));
                self.target(slowest <= 50.0, name, &format!("slowest batch {slowest:.1} ms, at most 50"));
            }
            Outbox::SqliteNormal => {}
        }
    }

    pub(crate) fn load_delayed(&mut self, contender: &Contender, outcome: &Outcome) {
        Self::row(contender, outcome, Some(ONE_AT_A_TIME));
        if let Contender::Ours { outbox: Outbox::Memory | Outbox::SqliteFull, filled: true } = contender {
            let times = outcome.events_a_second / ONE_AT_A_TIME;
            let said = format!("{times:.1} x what 50 events a request, one at a time, give; at least 8");
            self.target(times >= 8.0, contender.name(), &format!("replies after 50 ms: {said}"));
        }
    }

    pub(crate) fn encoding(&mut self, encoding: &Encoding) {
        println!("\nEncoding alone, on one core\n");
        println!("| {:<38} | {:>9} |", "", "events/s");
        println!("|{:-<40}|{:->11}|", "", ":");
        println!("| {:<38} | {:>9.0} |", "serde_json, json!", encoding.values);
        println!("| {:<38} | {:>9.0} |", "serde_json, derived", encoding.derived);
        if let Some(ours) = encoding.ours {
            println!("| {:<38} | {ours:>9.0} |", "ours");
            self.target(ours >= 2e6, "encoding", &format!("{ours:.0} events/s, at least 2,000,000"));
        }
    }

    fn target(&mut self, holds: bool, name: &str, said: &str) {
        let verdict = if holds { "PASS" } else { "miss" };
        self.verdicts.push(format!("{verdict}  {name:<38} {said}"));
    }

    pub(crate) fn end(self) {
        println!("\nTargets\n");
        for verdict in &self.verdicts {
            println!("{verdict}");
        }
        let missed = self.verdicts.iter().filter(|verdict| verdict.starts_with("miss")).count();
        println!("\n{} of {} targets hold.", self.verdicts.len() - missed, self.verdicts.len());
    }
}
