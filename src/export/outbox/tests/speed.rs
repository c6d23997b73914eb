//! The outbox at full speed: nothing is lost, and the figures are printed. For figures that mean something:
//! `OTEL_SESSION_SPEED_BATCHES=1000 cargo test --release --lib --features bridge,testing,sqlite -- --nocapture speed`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::sqlite::{Folder, Noise};
use super::*;
use crate::sync::{Condvar, Mutex};

const BATCH: u64 = 512;

/// So many batches, few unless asked otherwise.
fn batches() -> u64 {
    std::env::var("OTEL_SESSION_SPEED_BATCHES").map_or(16, |it| it.parse().unwrap())
}

/// Events that are as alike as those of a program are: three quarters the same.
fn batch(common: &[u8], noise: &mut Noise, from: u128) -> Vec<Chunk> {
    let wall = SystemClock.into_source().moment().wall;
    let mut chunks = Vec::new();
    let mut left = BATCH;
    while left > 0 {
        let mut chunk = Chunk::new(0, 0, wall);
        chunk.bytes.reserve_exact(1_200 * Chunk::MAX_EVENTS);
        for _ in 0..left.min(Chunk::MAX_EVENTS as u64) {
            chunk.push(id(from + u128::from(left)), 0, &[common, &noise.bytes(300)].concat());
            left -= 1;
        }
        chunks.push(chunk);
    }
    chunks
}

fn ring(work: &(Mutex<bool>, Condvar)) {
    *work.0.lock() = true;
    work.1.notify_all();
}

/// Accepts batches of 512 events of 1.2 kB while another thread takes and settles them.
fn measure(name: &str, outbox: Outbox, max_bytes: usize) {
    let source = SystemClock.into_source();
    let (depot, losses) = open(outbox, &source);
    let over = AtomicBool::new(false);
    let work = Arc::new((Mutex::new(false), Condvar::new()));
    let bell = Arc::clone(&work);
    depot.on_work(0, Arc::new(move || ring(&bell)));
    let (mut worst, mut sum) = (0, 0);
    let start = source.moment().boot;
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let want = Want { max_bytes, fixed: 100, per_event: 22, ..ALL };
            let mut delivered = 0;
            loop {
                let last = over.load(Ordering::Acquire);
                let parcels = depot.take(0, &want);
                delivered += parcels.len() as u64;
                depot.settle(0, &tickets(&parcels), Outcome::Delivered);
                depot.tend();
                if parcels.is_empty() {
                    if last {
                        return delivered;
                    }
                    let (mut there, _) = work.1.wait_until(work.0.lock(), Duration::from_millis(100), |there| *there);
                    *there = false;
                }
            }
        });
        let mut noise = Noise::new();
        let common = noise.bytes(900);
        for number in 0..batches() {
            let chunks = batch(&common, &mut noise, u128::from(number) << 32);
            let before = source.moment().boot;
            depot.accept(chunks, vec![StateRow::new(1, b"session".to_vec(), Some(vec![0; 200]))]).unwrap();
            let took = source.moment().boot - before;
            worst = worst.max(took);
            sum += took;
        }
        let accepted = source.moment().boot - start;
        over.store(true, Ordering::Release);
        ring(&work);
        let delivered = worker.join().unwrap();
        depot.sync().unwrap();
        let all = source.moment().boot - start;
        let events = batches() * BATCH;
        assert_eq!(delivered, events, "{name}: {}", losses.read());
        // By Linux's count, in ticks of 10 ms.
        println!(
            "{name}: {} ms CPU since the start, accept {:.2} µs an event, worst batch {:.1} ms, {} k events/s accepted, {} k/s delivered, lost {}",
            cpu(),
            sum as f64 / events as f64 / 1e3,
            worst as f64 / 1e6,
            events * 1_000_000 / accepted as u64,
            events * 1_000_000 / all as u64,
            losses.read(),
        );
    });
}

/// The CPU time of the process so far, in ms; 0 where it cannot be read.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

/// What the disk alone takes for as many bytes, not packed: one write and one sync a batch, over and over the same 16 MB.
fn floor(folder: &Folder) {
    use std::io::{Seek, SeekFrom, Write};
    let source = SystemClock.into_source();
    let mut file = std::fs::File::create(folder.0.join("floor")).unwrap();
    file.write_all(&vec![0; 16 << 20]).unwrap();
    file.sync_all().unwrap();
    let batch = vec![b'x'; 640_000];
    let start = source.moment().boot;
    for number in 0..batches() / 4 {
        file.seek(SeekFrom::Start(number % 24 * 640_000)).unwrap();
        file.write_all(&batch).unwrap();
        file.sync_data().unwrap();
    }
    let took = source.moment().boot - start;
    println!("the disk alone, not packed: {:.2} µs an event", took as f64 / (batches() / 4 * BATCH) as f64 / 1e3);
}

#[test]
fn at_full_speed_every_event_is_delivered_once() {
    for max_bytes in [60_000, 1_000_000] {
        println!("requests of {max_bytes} bytes");
        measure("memory", Outbox::memory(), max_bytes);
        let folder = Folder::new("speed-full");
        floor(&folder);
        measure("sqlite full", Outbox::sqlite(folder.file()), max_bytes);
        println!("  file {:?}", std::fs::metadata(folder.file()).map(|file| file.len() >> 20));
        let folder = Folder::new("speed-normal");
        measure("sqlite normal", Outbox::sqlite(folder.file()).with_synchronous(Synchronous::Normal), max_bytes);
    }
}

#[test]
fn at_full_speed_everything_that_waits_in_a_file_is_read_and_removed() {
    let folder = Folder::new("speed-reopen");
    let source = SystemClock.into_source();
    // However many are asked for, all of them are to wait.
    let outbox = || Outbox::sqlite(folder.file()).with_synchronous(Synchronous::Normal).with_max_bytes(1 << 40);
    let (depot, _) = open(outbox(), &source);
    let mut noise = Noise::new();
    let common = noise.bytes(900);
    for number in 0..batches() {
        depot.accept(batch(&common, &mut noise, u128::from(number) << 32), Vec::new()).unwrap();
    }
    drop(depot);
    let start = source.moment().boot;
    let (depot, _) = open(outbox(), &source);
    let opened = source.moment().boot;
    let mut events = 0;
    loop {
        let taken = depot.take(0, &Want { max_bytes: 1_000_000, ..ALL });
        if taken.is_empty() {
            break;
        }
        events += taken.len();
        depot.settle(0, &tickets(&taken), Outcome::Delivered);
        depot.tend();
    }
    let read = source.moment().boot;
    assert_eq!(events as u64, batches() * BATCH);
    assert_eq!(depot.pending(0).events, 0);
    println!(
        "{events} events that wait: opened in {:.1} ms, read and removed in {:.2} µs an event",
        (opened - start) as f64 / 1e6,
        (read - opened) as f64 / events as f64 / 1e3
    );
}
