//! Lifecycle records on their way into a log pipeline: in order, each once, before the logs that follow them.

use std::sync::{Arc, Mutex as Plain};

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread::spawn;

use crate::lifecycle::{Paired, Queue, Turn};
use crate::rig::{Rig, explore};
use crate::session::{Decided, IdSource, Sink};
use crate::sync::Mutex;

/// What a pipeline emits, in order. What it does to emit a lifecycle record is visible to another thread only if the queue
/// makes it so.
#[derive(Debug, Default)]
struct Pipeline {
    lines: Plain<Vec<Line>>,
    /// Tells the model checker that emissions depend on each other, and orders nothing.
    step: AtomicU64,
    /// By number.
    emitted: [AtomicBool; 5],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    End(u64),
    Start(u64, &'static str),
    Log(&'static str),
}

impl Line {
    fn number(&self) -> Option<u64> {
        match self {
            Self::End(number) | Self::Start(number, _) => Some(*number),
            Self::Log(_) => None,
        }
    }
}

impl Paired for Line {
    fn is_start(&self) -> bool {
        matches!(self, Self::Start(..))
    }
}

impl Pipeline {
    fn emit(&self, line: Line) {
        if let Some(number) = line.number() {
            self.emitted[number as usize].store(true, Ordering::Relaxed);
        }
        self.step.fetch_add(1, Ordering::Relaxed);
        self.lines.lock().expect("no panic").push(line);
    }

    /// Whether this thread finds the record emitted.
    fn has_emitted(&self, number: u64) -> bool {
        self.emitted[number as usize].load(Ordering::Relaxed)
    }

    fn lines(&self) -> Vec<Line> {
        self.lines.lock().expect("no panic").clone()
    }

    fn numbers(&self) -> Vec<u64> {
        self.lines().iter().filter_map(Line::number).collect()
    }
}

/// Every other record is a start.
fn record(number: u64) -> Line {
    if number % 2 == 1 { Line::Start(number, "") } else { Line::End(number) }
}

pub(crate) fn two_emitters_and_a_pusher_keep_the_order_and_lose_nothing() {
    explore(4, || {
        let queue = Arc::new(Queue::new(8));
        let pipeline = Arc::new(Pipeline::default());
        queue.push(1, record(1));
        let emitter = spawn({
            let (queue, pipeline) = (queue.clone(), pipeline.clone());
            move || see(&queue, &pipeline, 1)
        });
        let pusher = spawn({
            let (queue, pipeline) = (queue.clone(), pipeline.clone());
            move || {
                queue.push(2, record(2));
                queue.push(3, record(3));
                see(&queue, &pipeline, 3);
            }
        });
        see(&queue, &pipeline, 1);
        emitter.join().expect("no panic");
        pusher.join().expect("no panic");
        assert_eq!(pipeline.numbers(), [1, 2, 3]);
        assert_eq!(queue.pending(), None);
    });
}

/// What a log does that was stamped with the session which this record starts.
fn see(queue: &Queue<Line>, pipeline: &Pipeline, number: u64) {
    if !queue.is_published(number) {
        assert_eq!(queue.publish(Some(number), |line| pipeline.emit(line)), Turn::Taken);
    }
    assert!(pipeline.has_emitted(number), "whoever may go on finds the record emitted");
    assert!(queue.is_published(number));
}

/// Waits have no bound here: a thread that nobody wakes would be a deadlock, which the model checker reports.
pub(crate) fn whoever_waits_for_a_turn_is_woken() {
    explore(4, || {
        let queue = Arc::new(Queue::new(8));
        let pipeline = Arc::new(Pipeline::default());
        for number in 1..=3 {
            queue.push(number, record(number));
        }
        let everything = spawn({
            let (queue, pipeline) = (queue.clone(), pipeline.clone());
            move || assert_eq!(queue.publish(None, |line| pipeline.emit(line)), Turn::Taken)
        });
        let last = spawn({
            let (queue, pipeline) = (queue.clone(), pipeline.clone());
            move || see(&queue, &pipeline, 3)
        });
        see(&queue, &pipeline, 1);
        everything.join().expect("no panic");
        last.join().expect("no panic");
        assert_eq!(pipeline.numbers(), [1, 2, 3]);
    });
}

/// The batch thread takes records away by itself; a log marks the record before it and goes into the batch.
pub(crate) fn a_batch_that_takes_all_has_the_records_that_its_logs_marked() {
    explore(None, || {
        let queue = Arc::new(Queue::new(8));
        let batch = Arc::new(Mutex::new(Vec::new()));
        queue.push(1, record(1));
        let pusher = spawn({
            let (queue, batch) = (queue.clone(), batch.clone());
            move || {
                queue.push(2, record(2));
                queue.push(3, record(3));
                mark(&queue, &batch, 3);
            }
        });
        let emitter = spawn({
            let (queue, batch) = (queue.clone(), batch.clone());
            move || mark(&queue, &batch, 1)
        });
        // As the exporter does: first the batch, then what is pending.
        let logs: Vec<u64> = batch.lock().clone();
        let mut taken: Vec<u64> = queue.take_all().into_iter().map(|(number, _)| number).collect();
        assert!(logs.iter().all(|log| taken.contains(log)), "the record of each log of the batch is at hand");
        pusher.join().expect("no panic");
        emitter.join().expect("no panic");
        assert!(queue.is_published(3), "a mark is never taken back");
        taken.extend(queue.take_all().into_iter().map(|(number, _)| number));
        assert_eq!(taken, [1, 2, 3], "in order, each once");
    });
}

fn mark(queue: &Queue<Line>, batch: &Mutex<Vec<u64>>, number: u64) {
    if !queue.is_published(number) {
        queue.mark_published(number);
    }
    batch.lock().push(number);
}

/// Fills a pipeline's queue, as the hub does.
#[derive(Debug)]
struct Feed(Queue<Line>);

impl Sink for Feed {
    fn decided(&self, decided: Decided) {
        let started = decided.transition.started();
        if decided.transition.ended().is_some() {
            let number = decided.last_record - u64::from(started.is_some());
            self.0.push(number, Line::End(number));
        }
        if let Some(started) = started {
            self.0.push(decided.last_record, Line::Start(decided.last_record, started.0.id));
        }
    }
}

pub(crate) fn no_log_goes_out_before_the_start_of_its_session() {
    explore(3, || {
        let rig = Rig::with(IdSource::Uuid, Feed(Queue::new(8)));
        let pipeline = Arc::new(Pipeline::default());
        log(&rig, &pipeline);
        rig.clock.move_to(1);
        let rotator = spawn({
            let rig = rig.clone();
            move || rig.current.rotate()
        });
        let other = spawn({
            let (rig, pipeline) = (rig.clone(), pipeline.clone());
            move || log(&rig, &pipeline)
        });
        log(&rig, &pipeline);
        rotator.join().expect("no panic");
        other.join().expect("no panic");
        rig.current.sink().0.publish(None, |line| pipeline.emit(line));
        let lines = pipeline.lines();
        assert_eq!(pipeline.numbers(), [1, 2, 3]);
        for (place, line) in lines.iter().enumerate() {
            if let Line::Log(id) = line {
                assert!(lines[..place].iter().any(|line| matches!(line, Line::Start(_, started) if started == id)));
            }
        }
    });
}

/// The steps of a log processor's `emit`.
fn log(rig: &Rig<Feed>, pipeline: &Pipeline) {
    let live = rig.current.touch(true, || None).expect("not stopped");
    let queue = &rig.current.sink().0;
    if !queue.is_published(live.record) {
        assert_eq!(queue.publish(Some(live.record), |line| pipeline.emit(line)), Turn::Taken);
    }
    pipeline.emit(Line::Log(live.snapshot.id));
}
