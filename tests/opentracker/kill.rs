//! kill -9 while events are accepted and delivered: nothing that was accepted is lost, and nothing changes its id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use opentelemetry::logs::AnyValue;
use otel_session::export::Outbox;

use crate::crash::{Plan, Random, Scratch, Task, run};
use crate::records::{event, export};
use crate::sink::{Reply, Sink};
use crate::{LONG, builder, now, properties, value};

/// Events of one batch.
const BATCH: u64 = 20;
const SESSIONS: u64 = 7;

/// What came, in order: number, session and event id.
type Arrivals = Arc<Mutex<Vec<(u64, String, String)>>>;

#[test]
fn every_accepted_event_arrives_through_kill_minus_9_in_its_sessions_order_and_under_one_id() {
    let plan = Plan::or_from_environment(20, 4_000);
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    let random = Mutex::new(Random(plan.seed));
    let sink = Sink::start(move |call| {
        // Faults before anything is taken, and faults after: the reply is lost, so the event comes again.
        let fault = random.lock().unwrap().below(20);
        if fault == 0 {
            return Reply::status(503);
        }
        let sent = properties(call.query().as_bytes());
        let text = |name| value(&sent, name).expect("every event carries it").to_owned();
        seen.lock().unwrap().push((text("n").parse().unwrap(), text("sid"), text("event_id")));
        match fault {
            1 => Reply::Nothing,
            2 => Reply::Truncated(200),
            _ => Reply::ok("4454d621-e056-4afc-bb5b-063a3f98e4a7"),
        }
    });
    let scratch = Scratch::new("opentracker-kill");
    let accepted = run(plan, "kill::child", &scratch.path("outbox.db"), &sink.endpoint());
    let arrivals = arrivals.lock().unwrap();
    let arrived: BTreeSet<u64> = arrivals.iter().map(|(number, ..)| *number).collect();
    let lost: Vec<_> = accepted.iter().filter(|number| !arrived.contains(number)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");

    let mut ids: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut known = BTreeSet::new();
    for (number, session, id) in arrivals.iter() {
        ids.entry(*number).or_default().insert(id);
        if known.insert(number) {
            let before = newest.insert(session, *number);
            assert!(before.is_none_or(|before| before < *number), "{number} comes late in {session}");
        }
    }
    let changed: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(changed.is_empty(), "under several ids: {changed:?}");
    let distinct: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(distinct.len(), ids.len(), "two events share an id");
    println!(
        "{} kills, {} events accepted, {} arrived, {} requests",
        plan.kills,
        accepted.len(),
        arrived.len(),
        arrivals.len()
    );
}

/// The work of a child process; without a task it is no test.
#[test]
fn child() {
    let Some(task) = Task::of_this_process() else { return };
    let exporter = builder(&task.endpoint).with_outbox(Outbox::sqlite(&task.outbox)).build().unwrap();
    let mut next = task.first;
    while next < task.first + task.count {
        let numbers = next..(next + BATCH).min(task.first + task.count);
        let records: Vec<_> = numbers
            .clone()
            .map(|number| {
                let session = AnyValue::from(format!("session {}", number % SESSIONS));
                event("work", now(), &[("session.id", session), ("n", (number as i64).into())])
            })
            .collect();
        export(&exporter, &records).unwrap();
        task.journal(numbers.clone());
        next = numbers.end;
    }
    if !task.last {
        task.wait_to_be_killed();
    }
    let report = exporter.shutdown(LONG);
    assert_eq!((report.pending, report.dropped.total()), (0, 0), "{report}");
}
