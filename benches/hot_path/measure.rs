//! Times contenders side by side: in every round each makes one sample, in an order shuffled for every round, so
//! that what disturbs the machine disturbs all of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::{Contender, Pipeline, QUEUE, Way};
use crate::signals::{Signal, worker};

/// How long a measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often the contenders are built.
    pub(crate) builds: usize,
    /// For each of these.
    pub(crate) rounds: usize,
    /// How long a sample should take.
    pub(crate) sample: Duration,
}

/// The medians of one kind of signal on that many threads, by contender.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Nanoseconds a signal, without sessions.
    pub(crate) none: f64,
    /// Nanoseconds that a way adds to it, in the order of [`Way::ALL`].
    added: [f64; Way::ALL.len()],
    /// Nanoseconds a signal that the flush after a sample took, on a batch thread and outside of `added`.
    pub(crate) flush: [f64; Way::ALL.len()],
}

impl Cell {
    pub(crate) fn added(&self, way: Way) -> f64 {
        self.added[way as usize]
    }
}

/// Rounds that are thrown away: caches, first sessions, first allocations.
const WARM_UP: usize = 3;

/// Measures every way with one kind of signal on that many threads.
///
/// The contenders are built anew several times: where their parts happen to lie on the heap can cost as much as what they do.
pub(crate) fn measure(pipeline: Pipeline, signal: Signal, threads: usize, effort: Effort) -> Cell {
    let mut samples = Samples::default();
    for _ in 0..effort.builds {
        let contenders = Way::ALL.map(|way| Contender::new(way, pipeline, threads));
        sample(&contenders, signal, threads, effort, &mut samples);
    }
    samples.summary()
}

/// What was measured, round by round.
#[derive(Default)]
struct Samples {
    signals: [Vec<f64>; Way::ALL.len()],
    flushes: [Vec<f64>; Way::ALL.len()],
}

impl Samples {
    /// Differences are taken within a round, where the machine was in the same mood, and then the median of them.
    fn summary(&self) -> Cell {
        let none = &self.signals[Way::None as usize];
        let added = |way: Way| {
            let own = &self.signals[way as usize];
            median(own.iter().zip(none).map(|(own, none)| own - none).collect())
        };
        Cell {
            none: median(none.clone()),
            added: Way::ALL.map(added),
            flush: Way::ALL.map(|way| median(self.flushes[way as usize].clone())),
        }
    }
}

fn sample(contenders: &[Contender], signal: Signal, threads: usize, effort: Effort, samples: &mut Samples) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // The cores share a sample, whatever the threads: what all make of it must fit into the same caches.
    let count = calibrate(&contenders[0], signal, effort.sample) / threads.div_ceil(cores);
    let mut workers: Vec<Vec<_>> =
        (0..threads).map(|thread| contenders.iter().map(|it| worker(signal, it.lane(thread))).collect()).collect();
    let schedule = schedule(contenders.len(), effort.rounds + WARM_UP);
    let warm_up = contenders.len() * WARM_UP;

    let origin = Instant::now();
    let times: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    let (start, end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let ready = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (workers, time) in workers.iter_mut().zip(&times) {
            let (start, end, ready, schedule) = (&start, &end, &ready, &schedule);
            scope.spawn(move || {
                for (turn, contender) in schedule.iter().enumerate() {
                    start.wait();
                    if threads <= cores {
                        start_together(ready, threads * (turn + 1), origin);
                    }
                    let start = Stopwatch::start(threads > cores);
                    workers[*contender](count);
                    time.store(start.nanos(), Ordering::Relaxed);
                    end.wait();
                }
            });
        }
        for (turn, contender) in schedule.iter().enumerate() {
            start.wait();
            end.wait();
            let total: u64 = times.iter().map(|time| time.load(Ordering::Relaxed)).sum();
            let before = Instant::now();
            contenders[*contender].flush();
            if turn >= warm_up {
                samples.signals[*contender].push(total as f64 / (threads * count) as f64);
                samples.flushes[*contender].push(before.elapsed().as_nanos() as f64 / (count * threads) as f64);
            }
        }
    });
}

/// Whose turn it is: every contender once a round, shuffled, since a sample finds the heap as the one before left it.
fn schedule(contenders: usize, rounds: usize) -> Vec<usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut round: Vec<usize> = (0..contenders).collect();
    let mut schedule = Vec::with_capacity(contenders * rounds);
    for _ in 0..rounds {
        for left in (1..contenders).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            round.swap(left, (state >> 33) as usize % (left + 1));
        }
        schedule.extend(&round);
    }
    schedule
}

/// The time that a thread takes for its part of a sample. With more threads than cores it is the time that it was on a core:
/// when the others had theirs, and how long the last one worked alone, is not what is asked.
enum Stopwatch {
    Wall(Instant),
    #[cfg(target_os = "linux")]
    OnCore(rustix::time::Timespec),
}

impl Stopwatch {
    #[cfg(target_os = "linux")]
    fn start(shared: bool) -> Self {
        if shared { Self::OnCore(on_core()) } else { Self::Wall(Instant::now()) }
    }

    #[cfg(not(target_os = "linux"))]
    fn start(_shared: bool) -> Self {
        Self::Wall(Instant::now())
    }

    fn nanos(&self) -> u64 {
        match self {
            Self::Wall(start) => start.elapsed().as_nanos() as u64,
            #[cfg(target_os = "linux")]
            Self::OnCore(start) => {
                let end = on_core();
                let nanos = (end.tv_sec - start.tv_sec) * 1_000_000_000 + (end.tv_nsec - start.tv_nsec);
                u64::try_from(nanos).unwrap_or(0)
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn on_core() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
}

/// How many signals each thread makes in a sample: what takes the time wanted, and fits into a queue.
fn calibrate(contender: &Contender, signal: Signal, sample: Duration) -> usize {
    const PROBE: usize = 500;
    let mut worker = worker(signal, contender.lane(0));
    let probe = |_| {
        let start = Instant::now();
        worker(PROBE);
        let elapsed = start.elapsed();
        contender.flush();
        elapsed
    };
    let fastest = (0..5).map(probe).min().unwrap_or_default();
    let count = sample.as_nanos() as usize * PROBE / fastest.as_nanos().max(1) as usize;
    count.clamp(100, QUEUE - 10)
}

/// A barrier wakes threads one after the other; here they wait for each other awake, but not for ever.
fn start_together(ready: &AtomicUsize, all: usize, origin: Instant) {
    ready.fetch_add(1, Ordering::AcqRel);
    let give_up = nanos(origin) + 20_000_000;
    while ready.load(Ordering::Acquire) < all && nanos(origin) < give_up {
        std::hint::spin_loop();
    }
}

fn nanos(origin: Instant) -> u64 {
    origin.elapsed().as_nanos() as u64
}

pub(crate) fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

pub(crate) fn quantile(mut samples: Vec<f64>, at: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = (samples.len().saturating_sub(1)) as f64 * at;
    samples.get(index.round() as usize).copied().unwrap_or(f64::NAN)
}
