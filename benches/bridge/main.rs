//! What the bridge to Snowplow delivers, beside the trackers that there are:
//!
//! ```text
//! scripts/trackers/install.sh                                  # once: the real Python and Node trackers
//! cargo bench --bench bridge --all-features                    # some minutes
//! cargo bench --bench bridge --all-features -- --quick         # to see that it runs
//! cargo bench --bench bridge --all-features -- SQLite encoding # only the rows whose name has one of these in it
//! ```
//!
//! Every contender is a process of its own, so that its CPU is its own, and so is the collector that they send to. All send
//! the same event, a self-describing one with one `client_session` entity, fifty to a request; what they are handed is made
//! before the clock starts, which stops when the last one is acknowledged. Prints a table and which targets hold. It never
//! fails for being slow: time is no test. It fails if an event is missing at the collector, or came twice.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss)]

mod contenders;
mod encoding;
mod floor;
mod ours;
mod peers;
mod report;
mod sink;

use std::io;
use std::time::Duration;

use contenders::{Contender, Load, Outcome, median};
use report::Report;
use sink::{Behaviour, Sink};

/// How long the slow collector keeps a reply back.
const DELAY: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--sink") => return Ok(sink::serve(&arguments[1..])?),
        Some("--contender") if arguments.get(1).is_some_and(|name| name == floor::NAME) => {
            return floor::run(&arguments[2..]);
        }
        Some("--contender") => return ours::run(&arguments[1..]),
        _ => {}
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    // Cargo adds `--bench`.
    arguments.retain(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| name.contains(word));

    let contenders: Vec<_> = Contender::all().into_iter().filter(|it| wanted(it.name())).collect();
    let mut report = Report::begin(quick);
    let mut ready = Vec::new();
    for contender in &contenders {
        match contender.ready() {
            Ok(()) => ready.push(contender),
            Err(lack) if std::env::var("OTEL_SESSION_REQUIRE").as_deref() == Ok("1") => {
                return Err(format!("{}: {lack}", contender.name()).into());
            }
            Err(lack) => report.absent(contender.name(), &lack),
        }
    }
    if !ready.is_empty() {
        compare(&ready, quick, &mut report)?;
    }
    if wanted("encoding") {
        report.encoding(&encoding::measure(quick));
    }
    report.end();
    Ok(())
}

fn compare(ready: &[&Contender], quick: bool, report: &mut Report) -> io::Result<()> {
    report.events();
    for contender in ready.iter().filter(|it| ***it != Contender::Floor) {
        report.event(contender.name(), &look(contender)?);
    }
    report.loads("Replies at once", "x crate");
    let rounds = if quick { 1 } else { 3 };
    for (contender, outcome) in measure(ready, rounds, Duration::ZERO, |it| it.load(quick))? {
        report.load(contender, &outcome);
    }
    report.loads("Replies delayed by 50 ms, and a backlog", "x 1,000/s");
    let ready: Vec<_> = ready.iter().copied().filter(|it| **it != Contender::Floor).collect();
    for (contender, outcome) in measure(&ready, 1, DELAY, |it| it.load_delayed(quick))? {
        report.load_delayed(contender, &outcome);
    }
    Ok(())
}

/// A few events of a contender, read by the collector: whether they are what they should be, and one of them.
fn look(contender: &Contender) -> io::Result<serde_json::Value> {
    let sink = Sink::start(Behaviour { reads: true, ..Behaviour::default() })?;
    let outcome = contender.run(&sink, contenders::A_FEW)?;
    let (read, counts) = (sink.read()?, sink.counts()?);
    let all = [&read["events"], &read["distinct"]].map(serde_json::Value::as_u64);
    if all != [Some(outcome.counts.events); 2] || read["odd"] != 0 || counts.events != outcome.counts.events {
        return Err(io::Error::other(format!(
            "{}: handed over {outcome:?}, the collector read {read}",
            contender.name()
        )));
    }
    let mut sample = read["sample"].clone();
    sample["bytes"] = (outcome.counts.bytes / outcome.counts.events).into();
    Ok(sample)
}

/// Lets every contender run in turn, several times, so that what disturbs the machine disturbs all of them.
fn measure<'a>(
    contenders: &[&'a Contender],
    rounds: usize,
    delay: Duration,
    load: impl Fn(&Contender) -> Load,
) -> io::Result<Vec<(&'a Contender, Outcome)>> {
    let sink = Sink::start(Behaviour { delay, ..Behaviour::default() })?;
    let mut outcomes = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, outcomes) in contenders.iter().zip(&mut outcomes) {
            outcomes.push(contender.run(&sink, load(contender))?);
        }
    }
    Ok(contenders.iter().copied().zip(outcomes.into_iter().map(median)).collect())
}
