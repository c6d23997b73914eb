//! Processes that die in the middle of it: at a place that is named (`failpoint`), or killed at any.
//!
//! The child is this test binary, told to run [`the_child`] only. It writes down what it has been told was accepted and
//! what it has sent, and the parent compares that with what is left in the file.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::sqlite::{Folder, sqlite};
use super::*;

const ROLE: &str = "OTEL_SESSION_OUTBOX_CHILD";
const PLACE: &str = "OTEL_SESSION_OUTBOX_FILE";

/// Events in each batch that a child accepts.
pub(super) const BATCH: u32 = 120;

/// What a child said before its end.
#[derive(Default)]
pub(super) struct Said {
    accepted: Vec<u128>,
    sent: Vec<u128>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} accepted, {} sent", self.accepted.len(), self.sent.len())
    }
}

fn command(role: &str, folder: &Folder, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "export::outbox::tests::crash::the_child"])
        .env_remove("OTEL_SESSION_FAILPOINT")
        .env(ROLE, role)
        .env(PLACE, folder.file())
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Runs a child to its end; an error if it died.
pub(super) fn child(role: &str, folder: &Folder, variables: &[(&str, &str)]) -> Result<Said, Said> {
    let output = command(role, folder, variables).output().unwrap();
    let said = heard(BufReader::new(&output.stdout[..]), |_| ());
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// Reads what a child says; a line that was cut short by its end was not said.
fn heard(lines: impl BufRead, mut listen: impl FnMut(&Said)) -> Said {
    let mut said = Said::default();
    for line in lines.lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        let (first, from, to, end) = (words.next(), words.next(), words.next(), words.next());
        let (Some(from), Some(to), Some("end")) = (from, to, end) else { continue };
        let range = from.parse::<u128>().unwrap()..to.parse().unwrap();
        match first {
            Some("accepted") => said.accepted.extend(range),
            Some("sent") => said.sent.extend(range),
            _ => continue,
        }
        listen(&said);
    }
    said
}

fn say(what: &str, from: u128, to: u128) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {from} {to} end").unwrap();
    out.flush().unwrap();
}

/// The work of a child of the other tests; without a role there is none.
#[test]
fn the_child() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(PLACE)) else { return };
    let outbox = Outbox::sqlite(path).with_max_age(Duration::from_secs(3_600));
    let (depot, rows) = Depot::open(outbox, 2, SystemClock.into_source(), Arc::default()).unwrap();
    let mut next = match rows.first().and_then(|row| row.value.clone()) {
        Some(value) => u128::from_le_bytes(value.try_into().unwrap()),
        None => 0,
    };
    let batch = u128::from(BATCH);
    for turn in 0..2_000 {
        if role == "open" || (role == "deliver" && turn == 40) {
            return;
        }
        let row = StateRow::new(1, vec![1], Some((next + batch).to_le_bytes().to_vec()));
        depot.accept(vec![fresh(0, next..next + batch)], vec![row]).unwrap();
        say("accepted", next, next + batch);
        next += batch;
        if role != "accept" {
            let parcels = depot.take(0, &Want { max_events: 77, ..ALL });
            for number in numbers(&parcels) {
                say("sent", number, number + 1);
            }
            let (again, done) = parcels.split_at(parcels.len() / 3);
            depot.settle(0, &tickets(done), Outcome::Delivered);
            depot.settle(0, &tickets(again), Outcome::Again);
            depot.tend();
            if turn % 4 == 3 {
                depot.sync().unwrap();
            }
        }
    }
}

/// Compares what is left with what was said: nothing accepted is gone but what was sent, nothing is there twice, the order
/// is that of acceptance, and batch and state were committed together.
fn check(folder: &Folder, said: &Said, name: &str) -> Vec<u128> {
    let losses = Arc::new(LossCounters::default());
    let (depot, rows) = Depot::open(Outbox::sqlite(folder.file()), 2, SystemClock.into_source(), losses).unwrap();
    let left = numbers(&depot.take(0, &ALL));
    assert!(left.is_sorted_by(|one, next| one < next), "{name}: order");
    let there: std::collections::BTreeSet<_> = left.iter().chain(&said.sent).copied().collect();
    let lost: Vec<_> = said.accepted.iter().filter(|number| !there.contains(number)).collect();
    assert!(lost.is_empty(), "{name}: {} accepted, neither sent nor left: {:?}", lost.len(), lost[0]);
    let committed = rows.first().map_or(0, |row| u128::from_le_bytes(row.value.clone().unwrap().try_into().unwrap()));
    let known = said.accepted.last().map_or(0, |last| last + 1);
    assert!(committed == known || committed == known + u128::from(BATCH), "{name}: {committed} after {known}");
    assert!(left.last().is_none_or(|last| *last < committed), "{name}");
    // A batch that was committed but not acknowledged is there as a whole.
    assert!((known..committed).all(|number| left.contains(&number)), "{name}");
    left
}

#[test]
fn before_its_commit_a_batch_is_not_there_and_after_it_all_of_it_is() {
    for (place, batches) in [("before-commit:7", 6), ("after-commit:7", 7)] {
        let folder = Folder::new(&place.replace(':', "-"));
        let said = child("accept", &folder, &[("OTEL_SESSION_FAILPOINT", place)]).unwrap_err();
        assert_eq!(said.accepted.len(), 6 * BATCH as usize);
        assert_eq!(check(&folder, &said, place).len(), batches * BATCH as usize);
    }
}

#[test]
fn a_crash_between_delivery_and_removal_sends_the_same_ids_again() {
    let folder = Folder::new("before-delete");
    let said = child("deliver", &folder, &[("OTEL_SESSION_FAILPOINT", "before-delete:3")]).unwrap_err();
    let left = check(&folder, &said, "before-delete");
    assert!(said.sent.iter().any(|sent| left.contains(sent)), "{said:?}");
    assert!(said.sent.iter().any(|sent| !left.contains(sent)), "{said:?}");
}

#[test]
fn a_crash_while_opening_leaves_a_file_that_opens() {
    for pass in 1..=4 {
        let folder = Folder::new(&format!("during-open-{pass}"));
        let place = format!("during-open:{pass}");
        child("open", &folder, &[("OTEL_SESSION_FAILPOINT", &place)]).unwrap_err();
        // And once more, on what the first one left.
        let _ = child("open", &folder, &[("OTEL_SESSION_FAILPOINT", &place)]);
        let said = child("deliver", &folder, &[]).unwrap();
        assert_eq!(said.accepted.len(), 40 * BATCH as usize, "{place}");
        check(&folder, &said, &place);
    }
}

#[test]
fn killed_at_any_moment_nothing_accepted_is_lost_or_doubled() {
    let folder = Folder::new("kill");
    let mut all = Said::default();
    for round in 0_usize..12 {
        let mut child = command("forever", &folder, &[]).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // Killed after so many words: somewhere in the next accept, commit or settle.
        let (mut words, mut killed) = (0, false);
        let said = heard(out, |_| {
            words += 1;
            if !killed && words > 20 + 157 * round % 900 {
                killed = true;
                child.kill().unwrap();
            }
        });
        assert!(!child.wait().unwrap().success(), "it ended by itself");
        all.accepted.extend(said.accepted);
        all.sent.extend(said.sent);
        check(&folder, &all, &format!("round {round}"));
        // What was committed without a word counts from now on.
        let (depot, _) = sqlite(&folder.file());
        all.accepted.extend(numbers(&depot.take(0, &ALL)));
        all.accepted.sort_unstable();
        all.accepted.dedup();
    }
    assert!(all.sent.len() > 1_000 && all.accepted.len() > 5_000, "{} {}", all.sent.len(), all.accepted.len());
}
