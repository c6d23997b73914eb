//! Prints the table, and beside each target whether it holds.

use crate::contenders::{Pipeline, Way};
use crate::measure::Cell;
use crate::rotation::Rotation;
use crate::signals::Signal;

/// Collects the verdicts while rows are printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    verdicts: Vec<String>,
}

impl Report {
    pub(crate) fn begin(quick: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("Nanoseconds that each way adds to one signal; medians of interleaved samples; {cores} cores.");
        if quick {
            println!("A quick run: it shows that the benchmark runs, and no more.");
        }
        Self::default()
    }

    pub(crate) fn pipeline(&self, pipeline: Pipeline) {
        let name = match pipeline {
            Pipeline::Wrapped => "Around a processor that does nothing",
            Pipeline::Batch => "Batch processors, on the thread of the application",
        };
        println!("\n{name}\n");
        println!(
            "| {:<18} | {:>7} | {:>6} | {:>6} | {:>6} | {:>6} | {:>7} | {:>6} | {:>7} | {:>10} | {:>11} | {:>10} | {:>10} |",
            "signal",
            "threads",
            "none",
            "static",
            "lawful",
            "mutex",
            "sibling",
            "ours",
            "+ layer",
            "ours/floor",
            "ours/static",
            "mutex/ours",
            "off-thread"
        );
        println!(
            "|{:-<20}|{:->9}|{:->8}|{:->8}|{:->8}|{:->8}|{:->9}|{:->8}|{:->9}|{:->12}|{:->13}|{:->12}|{:->12}|",
            "", ":", ":", ":", ":", ":", ":", ":", ":", ":", ":", ":", ":"
        );
    }

    pub(crate) fn cell(&mut self, pipeline: Pipeline, signal: Signal, threads: usize, cell: &Cell) {
        let [fixed, floor, mutex, sibling, ours] =
            [Way::Static, Way::LawfulFloor, Way::Mutex, Way::Sibling, Way::Ours].map(|way| cell.added(way));
        // What ours costs the batch thread; the others do their work on the thread of the application.
        let off_thread = match pipeline {
            Pipeline::Wrapped => "-".to_owned(),
            Pipeline::Batch => format!("{:.0}", cell.flush[Way::Ours as usize] - cell.flush[Way::None as usize]),
        };
        let layer = match signal {
            Signal::TracingSpan | Signal::TracingEvent => format!("{:.1}", cell.added(Way::OursAndLayer)),
            Signal::Log(_) | Signal::Span(_) => "-".to_owned(),
        };
        println!(
            "| {signal:<18} | {threads:>7} | {:>6.0} | {fixed:>6.1} | {floor:>6.1} | {mutex:>6.1} | {sibling:>7.1} | \
             {ours:>6.1} | {layer:>7} | {:>10} | {:>11} | {:>10} | {off_thread:>10} |",
            cell.none,
            ratio(ours, floor),
            ratio(ours, fixed),
            ratio(mutex, ours),
        );
        match (signal, pipeline) {
            (Signal::Log(_), _) => {
                self.at_most(signal, pipeline, threads, "of the lawful floor", ours, floor, 1.3);
                self.at_most(signal, pipeline, threads, "of a static attribute", ours, fixed, 2.0);
                if threads == 2 {
                    self.at_most(signal, pipeline, threads, "of mutex + String", ours, mutex, 1.0 / 6.0);
                }
            }
            (Signal::Span(_), Pipeline::Batch) => {
                self.at_most(signal, pipeline, threads, "of the lawful floor", ours, floor, 0.5);
            }
            _ => {}
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn at_most(
        &mut self,
        signal: Signal,
        pipeline: Pipeline,
        threads: usize,
        of: &str,
        ours: f64,
        theirs: f64,
        limit: f64,
    ) {
        let verdict = if ours.max(0.0) <= theirs * limit { "PASS" } else { "miss" };
        self.verdicts.push(format!(
            "{verdict}  {signal:<18} {pipeline:<8} {threads} thread(s)  {:>5} {of}, at most {limit:.2}",
            ratio(ours, theirs)
        ));
    }

    pub(crate) fn rotation(&mut self, now_and_then: &Rotation, back_to_back: &Rotation) {
        println!("\nrotate(), microseconds of its caller\n");
        println!("| {:<32} | {:>6} | {:>6} |", "", "median", "p99");
        println!("|{:-<34}|{:->8}|{:->8}|", "", ":", ":");
        for (name, rotation) in [("now and then", now_and_then), ("back to back", back_to_back)] {
            println!("| {name:<32} | {:>6.1} | {:>6.1} |", rotation.median, rotation.p99);
            let verdict = if rotation.median <= 20.0 { "PASS" } else { "miss" };
            self.verdicts.push(format!(
                "{verdict}  rotate(), {name}: median {:.1} µs, p99 {:.1} µs, at most 20 µs in the median",
                rotation.median, rotation.p99
            ));
        }
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

/// Less than half a nanosecond is noise: nothing can be said in terms of it.
fn ratio(ours: f64, theirs: f64) -> String {
    if theirs < 0.5 { "-".to_owned() } else { format!("{:.2}", ours.max(0.0) / theirs) }
}
