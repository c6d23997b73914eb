//! Random operations, crashes among them, against a model so simple that it can be believed: a list of events per queue.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::shelf::Shelf;
use super::*;
use crate::telemetry::Loss;
use crate::testing::ManualClock;

const AGE: i64 = 10_000_000_000;
const MAX_EVENTS: usize = 120;

#[derive(Debug, Clone)]
enum Act {
    /// Chunks of (queue, mode, events), with a row of state or not, while the store works or not.
    Accept {
        chunks: Vec<(u16, u8, usize)>,
        row: bool,
        works: bool,
    },
    Take {
        queue: u16,
        max_events: usize,
        max_bytes: usize,
        one_per_lane: bool,
    },
    /// A part of what one `take` gave, by its place among those in flight.
    Settle {
        which: usize,
        from: usize,
        count: usize,
        outcome: usize,
    },
    /// While a batch is in the making, or not.
    Tend {
        works: bool,
        expects: bool,
    },
    Sync {
        works: bool,
    },
    Pass {
        ms: u64,
    },
    Crash,
    /// A crash that loses what the disk does not have.
    PowerCut,
    Close,
}

fn act() -> impl Strategy<Value = Act> {
    let chunk = (0..2_u16, 0..2_u8, prop_oneof![4 => 0..12_usize, 1 => 45..70_usize]);
    let works = || prop::bool::weighted(0.9);
    prop_oneof![
        6 => (prop::collection::vec(chunk, 0..4), any::<bool>(), works())
            .prop_map(|(chunks, row, works)| Act::Accept { chunks, row, works }),
        8 => (0..2_u16, 0..40_usize, 0..600_usize, any::<bool>()).prop_map(|(queue, max_events, max_bytes, one_per_lane)| {
            Act::Take { queue, max_events, max_bytes, one_per_lane }
        }),
        8 => (any::<usize>(), 0..5_usize, 1..40_usize, 0..3_usize)
            .prop_map(|(which, from, count, outcome)| Act::Settle { which, from, count, outcome }),
        3 => (works(), any::<bool>()).prop_map(|(works, expects)| Act::Tend { works, expects }),
        1 => works().prop_map(|works| Act::Sync { works }),
        3 => prop_oneof![0..150_u64, 0..4_000_u64].prop_map(|ms| Act::Pass { ms }),
        1 => Just(Act::Crash),
        1 => Just(Act::PowerCut),
        1 => Just(Act::Close),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    InFlight {
        in_lane: bool,
    },
    /// Settled, but the store does not know it yet.
    Settled,
}

#[derive(Debug, Clone)]
struct Event {
    number: u128,
    len: usize,
    lane: u32,
    mode: u8,
    born: i64,
    place: Place,
}

#[derive(Debug)]
struct Model {
    durable: bool,
    overflow: Overflow,
    queues: [Vec<Event>; 2],
    /// What a power cut leaves, and since when that is not all.
    on_disk: [Vec<Event>; 2],
    lazy_since: Option<i64>,
    /// When the first of the settled events was settled.
    since: Option<i64>,
    remove_again: Option<i64>,
    stopped: bool,
    losses: [u64; 4],
    row: Option<u8>,
}

/// How long a commit may be put off, and what is committed may be missing on the disk.
const LONGEST: i64 = 100_000_000;

const COUNTED: [Loss; 4] = [Loss::OutboxFull, Loss::OutboxAge, Loss::OutboxError, Loss::EventRejected];

impl Model {
    fn accept(&mut self, new: &[(u16, Vec<Event>)], row: Option<u8>, works: bool) -> bool {
        let (queues, mut refused, mut doomed) = (self.queues.clone(), 0, 0);
        for number in 0..2 {
            let queue = &mut self.queues[usize::from(number)];
            let mut new: Vec<_> =
                new.iter().filter(|(to, _)| *to == number).flat_map(|(_, events)| events.clone()).collect();
            let left = queue.iter().filter(|event| event.place != Place::Settled).count();
            let mut over =
                (left + new.len()).saturating_sub(MAX_EVENTS).min(if new.is_empty() { 0 } else { usize::MAX });
            if self.overflow == Overflow::DropOldest {
                queue.retain(|event| {
                    let goes = over > 0 && event.place == Place::Waiting;
                    over -= usize::from(goes);
                    doomed += u64::from(goes);
                    !goes
                });
                refused += over.min(new.len()) as u64;
                new.drain(..over.min(new.len()));
            } else {
                refused += over.min(new.len()) as u64;
                new.truncate(new.len().saturating_sub(over));
            }
            queue.extend(new);
        }
        let before: usize = queues.iter().map(Vec::len).sum();
        let after: usize = self.queues.iter().map(Vec::len).sum();
        if after == before && doomed == 0 && row.is_none() {
            self.losses[0] += refused;
            return true;
        }
        if self.durable && !works {
            self.queues = queues;
            self.losses[2] += new.iter().map(|(_, events)| events.len() as u64).sum::<u64>();
            return false;
        }
        self.losses[0] += refused + doomed;
        self.row = row.or(self.row);
        self.committed(None);
        true
    }

    /// The store knows everything; and the disk, unless that was put off.
    fn committed(&mut self, lazy_since: Option<i64>) {
        self.queues.iter_mut().for_each(|queue| queue.retain(|event| event.place != Place::Settled));
        self.lazy_since = lazy_since;
        if lazy_since.is_none() {
            self.on_disk = self.queues.clone();
        }
        (self.since, self.remove_again, self.stopped) = (None, None, false);
    }

    fn take(&mut self, queue: u16, want: &Want) -> Vec<u128> {
        let mut taken: Vec<(u128, u8)> = Vec::new();
        if self.stopped {
            return Vec::new();
        }
        let queue = &mut self.queues[usize::from(queue)];
        let busy = |event: &&Event| event.place == Place::InFlight { in_lane: true };
        let lanes: Vec<u32> = queue.iter().filter(busy).map(|event| event.lane).collect();
        let mut bytes = want.fixed;
        for event in queue.iter_mut().filter(|event| event.place == Place::Waiting) {
            if taken.first().is_some_and(|(_, mode)| *mode != event.mode) || taken.len() >= want.max_events.max(1) {
                break;
            }
            if want.one_per_lane && lanes.contains(&event.lane) {
                continue;
            }
            bytes += event.len + want.per_event;
            if bytes > want.max_bytes && !taken.is_empty() {
                break;
            }
            taken.push((event.number, event.mode));
            event.place = Place::InFlight { in_lane: want.one_per_lane };
        }
        taken.into_iter().map(|(number, _)| number).collect()
    }

    fn settle(&mut self, queue: u16, numbers: &[u128], outcome: Outcome, now: i64) {
        for event in self.queues[usize::from(queue)].iter_mut().filter(|event| numbers.contains(&event.number)) {
            if outcome == Outcome::Again {
                event.place = Place::Waiting;
                continue;
            }
            event.place = Place::Settled;
            self.losses[3] += u64::from(outcome != Outcome::Delivered);
            self.since = self.since.or(Some(now));
        }
        self.forget();
    }

    fn tend(&mut self, now: i64, works: bool, expects: bool) {
        for event in self.queues.iter_mut().flatten() {
            if event.place == Place::Waiting && event.born <= now - AGE {
                event.place = Place::Settled;
                self.losses[1] += 1;
                self.since = self.since.or(Some(now));
            }
        }
        self.forget();
        let due = [self.since, self.lazy_since].into_iter().flatten().map(|since| since + LONGEST).min();
        if self.remove_again.or(due).is_some_and(|due| due <= now) {
            self.sync(now, works, expects && !self.stopped);
        }
    }

    fn sync(&mut self, now: i64, works: bool, lazily: bool) {
        self.remove_again = None;
        let lazy = lazily && self.lazy_since.is_none_or(|since| now < since + LONGEST);
        if !self.durable || self.since.is_none() && (lazy || self.lazy_since.is_none()) {
            return;
        }
        if works {
            self.committed(lazy.then(|| self.lazy_since.unwrap_or(now)));
        } else {
            (self.remove_again, self.stopped) = (Some(now + 1_000_000_000), true);
        }
    }

    /// Without a store what is settled is gone.
    fn forget(&mut self) {
        if !self.durable {
            self.committed(None);
        }
    }

    fn restart(&mut self) {
        for event in self.queues.iter_mut().flatten() {
            event.place = Place::Waiting;
        }
        (self.since, self.lazy_since, self.remove_again, self.stopped) = (None, None, None, false);
        self.losses = [0; 4];
    }
}

/// A store that fails when it is told to.
#[derive(Debug)]
struct Shaky(Box<dyn OutboxStore>, Arc<AtomicBool>);

impl OutboxStore for Shaky {
    fn open(&mut self) -> Result<Opened, OutboxError> {
        self.0.open()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), OutboxError> {
        if self.1.load(Ordering::Relaxed) { self.0.commit(commit) } else { Err(OutboxError::Store("told to".into())) }
    }

    fn read(&mut self, chunk: u64) -> Result<Chunk, OutboxError> {
        self.0.read(chunk)
    }
}

struct Run {
    depot: Arc<Depot>,
    losses: Arc<LossCounters>,
    works: Arc<AtomicBool>,
    flying: Vec<(u16, Vec<Parcel>)>,
    next: u128,
    clock: ManualClock,
    model: Model,
}

type Make<'a> = &'a dyn Fn() -> Option<Box<dyn OutboxStore>>;

impl Run {
    fn new(make: Make<'_>, overflow: Overflow) -> Self {
        let clock = ManualClock::new(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        let works = Arc::new(AtomicBool::new(true));
        let (depot, losses, rows) = Self::open(make, overflow, &works, &clock);
        assert!(rows.is_empty());
        let model = Model {
            durable: depot.is_durable(),
            overflow,
            queues: Default::default(),
            on_disk: Default::default(),
            lazy_since: None,
            since: None,
            remove_again: None,
            stopped: false,
            losses: [0; 4],
            row: None,
        };
        Self { depot, losses, works, flying: Vec::new(), next: 0, clock, model }
    }

    fn open(
        make: Make<'_>,
        overflow: Overflow,
        works: &Arc<AtomicBool>,
        clock: &ManualClock,
    ) -> (Arc<Depot>, Arc<LossCounters>, Vec<StateRow>) {
        let outbox = match make() {
            None => Outbox::memory(),
            Some(store) => Outbox::custom(Shaky(store, Arc::clone(works))),
        };
        let age = Duration::from_nanos(AGE as u64);
        let outbox = outbox.with_max_events(MAX_EVENTS as u64).with_max_age(age).with_overflow(overflow);
        let losses = Arc::new(LossCounters::default());
        let (depot, rows) = Depot::open(outbox, 2, clock.clone().into_source(), Arc::clone(&losses)).unwrap();
        (depot, losses, rows)
    }

    fn now(&self) -> i64 {
        self.clock.clone().into_source().moment().boot
    }

    fn act(&mut self, act: &Act, shelf: Option<&Shelf>, make: Make<'_>) {
        let now = self.now();
        match act.clone() {
            Act::Accept { chunks, row, works } => self.accept(&chunks, row, works),
            Act::Take { queue, max_events, max_bytes, one_per_lane } => {
                let want = Want { max_events, max_bytes, fixed: 9, per_event: 2, one_per_lane };
                let parcels = self.depot.take(queue, &want);
                assert_eq!(numbers(&parcels), self.model.take(queue, &want), "{want:?}");
                self.flying.push((queue, parcels));
            }
            Act::Settle { which, from, count, outcome } => {
                if self.flying.is_empty() {
                    return;
                }
                let which = which % self.flying.len();
                let (queue, parcels) = &mut self.flying[which];
                let from = from.min(parcels.len());
                let settled: Vec<_> = parcels.drain(from..(from + count).min(parcels.len())).collect();
                let outcome = [Outcome::Delivered, Outcome::Dropped(Loss::EventRejected), Outcome::Again][outcome];
                self.depot.settle(*queue, &tickets(&settled), outcome);
                self.model.settle(*queue, &numbers(&settled), outcome, now);
            }
            Act::Tend { works, expects } => {
                self.works.store(works, Ordering::Relaxed);
                let depot = Arc::clone(&self.depot);
                let _batch = expects.then(|| depot.expect());
                self.depot.tend();
                self.model.tend(now, works, expects);
            }
            Act::Sync { works } => {
                self.works.store(works, Ordering::Relaxed);
                let _ = self.depot.sync();
                self.model.sync(now, works, false);
            }
            Act::Pass { ms } => _ = self.clock.advance(Duration::from_millis(ms)),
            Act::Crash | Act::PowerCut | Act::Close if !self.model.durable => {}
            Act::Crash => self.reopen(false, make),
            Act::PowerCut => {
                if let Some(shelf) = shelf {
                    shelf.lose_power();
                    self.model.queues = self.model.on_disk.clone();
                }
                self.reopen(false, make);
            }
            Act::Close => self.reopen(true, make),
        }
        self.works.store(true, Ordering::Relaxed);
        self.compare();
    }

    fn accept(&mut self, chunks: &[(u16, u8, usize)], row: bool, works: bool) {
        let moment = self.clock.clone().into_source().moment();
        let (mut given, mut modelled) = (Vec::new(), Vec::new());
        for (queue, mode, count) in chunks.iter().copied() {
            let mut chunk = Chunk::new(queue, mode, moment.wall);
            let mut events = Vec::new();
            for number in self.next..self.next + count as u128 {
                let (len, lane) = ((number * 7 % 31) as usize, (number % 5) as u32);
                // Ten bytes would be read as the number.
                let len = len + usize::from(len == 10);
                chunk.push(id(number), lane, &vec![b'x'; len]);
                events.push(Event { number, len, lane, mode, born: moment.boot, place: Place::Waiting });
            }
            self.next += count as u128;
            given.push(chunk);
            modelled.push((queue, events));
        }
        self.works.store(works, Ordering::Relaxed);
        let row = row.then_some(self.next as u8);
        let rows = row.iter().map(|row| StateRow::new(1, vec![1], Some(vec![*row]))).collect();
        let accepted = self.depot.accept(given, rows).is_ok();
        assert_eq!(accepted, self.model.accept(&modelled, row, works));
    }

    fn reopen(&mut self, clean: bool, make: Make<'_>) {
        self.works.store(clean, Ordering::Relaxed);
        if clean {
            self.model.sync(0, true, false);
        }
        self.flying.clear();
        // The old one has to let go of the file first.
        let (memory, ..) = Self::open(&|| None, self.model.overflow, &self.works, &self.clock);
        drop(std::mem::replace(&mut self.depot, memory));
        self.works.store(true, Ordering::Relaxed);
        let (depot, losses, rows) = Self::open(make, self.model.overflow, &self.works, &self.clock);
        assert_eq!(rows.first().and_then(|row| row.value.clone()), self.model.row.map(|row| vec![row]));
        (self.depot, self.losses) = (depot, losses);
        self.model.restart();
    }

    fn compare(&self) {
        for (number, queue) in (0_u16..).zip(&self.model.queues) {
            let pending = self.depot.pending(number);
            let count = |wanted: fn(Place) -> bool| queue.iter().filter(|event| wanted(event.place)).count() as u64;
            assert_eq!(pending.events, count(|place| place != Place::Settled));
            assert_eq!(pending.in_flight, count(|place| matches!(place, Place::InFlight { .. })));
        }
        let losses = self.losses.read();
        assert_eq!(COUNTED.map(|loss| losses.count(loss)), self.model.losses);
        assert_eq!(losses.total(), self.model.losses.iter().sum::<u64>());
        assert_eq!(self.depot.is_stopped(), self.model.stopped);
    }
}

fn run(acts: &[Act], newest: bool, shelf: Option<&Shelf>, make: Make<'_>) {
    let mut run = Run::new(make, if newest { Overflow::DropNewest } else { Overflow::DropOldest });
    acts.iter().for_each(|act| run.act(act, shelf, make));
    // Whatever happened, what is left can be sent in order.
    run.act(&Act::Sync { works: true }, shelf, make);
    for queue in [0, 1] {
        let want = Want { max_events: usize::MAX, max_bytes: usize::MAX, fixed: 9, per_event: 2, one_per_lane: false };
        while !run.model.take(queue, &want).is_empty() {
            assert!(!run.depot.take(queue, &want).is_empty(), "more is left");
        }
    }
    run.compare();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn memory_does_what_the_model_does(acts in prop::collection::vec(act(), 1..80), newest: bool) {
        run(&acts, newest, None, &|| None);
    }

    #[test]
    fn a_store_and_its_crashes_do_what_the_model_does(acts in prop::collection::vec(act(), 1..80), newest: bool) {
        let shelf = Shelf::default();
        run(&acts, newest, Some(&shelf), &|| Some(Box::new(shelf.clone())));
    }
}

#[cfg(feature = "sqlite")]
proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn sqlite_and_its_crashes_do_what_the_model_does(acts in prop::collection::vec(act(), 1..80), newest: bool) {
        let folder = super::sqlite::Folder::new("model");
        run(&acts, newest, None, &|| Outbox::sqlite(folder.file()).with_synchronous(Synchronous::Normal).store);
    }
}
