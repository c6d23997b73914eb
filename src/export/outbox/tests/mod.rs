//! What the tests of the outbox share.

mod contract;
#[cfg(feature = "sqlite")]
mod crash;
mod durable;
mod lanes;
mod limits;
mod model;
mod shelf;
#[cfg(feature = "sqlite")]
mod speed;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::clock::{Clock, Source, SystemClock};
use crate::export::Chunk;
use crate::telemetry::LossCounters;

/// A request that takes everything.
const ALL: Want = Want { max_events: usize::MAX, max_bytes: usize::MAX, fixed: 0, per_event: 0, one_per_lane: false };

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A chunk accepted at 1970 whose events have these numbers as ids, and ten bytes each.
fn chunk(queue: u16, numbers: impl IntoIterator<Item = u128>) -> Chunk {
    let mut chunk = Chunk::new(queue, 0, 0);
    for number in numbers {
        chunk.push(id(number), 0, format!("{number:10}").as_bytes());
    }
    chunk
}

/// The same, accepted now by the system's clock.
fn fresh(queue: u16, numbers: impl IntoIterator<Item = u128>) -> Chunk {
    let mut chunk = chunk(queue, numbers);
    chunk.accepted_at = now();
    chunk
}

fn now() -> i64 {
    SystemClock.into_source().moment().wall
}

fn numbers(parcels: &[Parcel]) -> Vec<u128> {
    for parcel in parcels.iter().filter(|parcel| parcel.bytes().len() == 10) {
        let text = std::str::from_utf8(parcel.bytes()).unwrap();
        assert_eq!(text.trim().parse::<u128>().unwrap(), parcel.id().as_u128());
    }
    parcels.iter().map(|parcel| parcel.id().as_u128()).collect()
}

fn tickets(parcels: &[Parcel]) -> Vec<Ticket> {
    parcels.iter().map(|parcel| parcel.ticket).collect()
}

fn open(outbox: Outbox, source: &Source) -> (Arc<Depot>, Arc<LossCounters>) {
    let losses = Arc::new(LossCounters::default());
    let (depot, _) = Depot::open(outbox, 2, source.clone(), Arc::clone(&losses)).unwrap();
    (depot, losses)
}
