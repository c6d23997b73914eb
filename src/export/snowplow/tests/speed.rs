//! What an event costs. The figures that are held are benches/bridge's; this only keeps allocations out of the usual path
//! and prints the rest.

use std::hint::black_box;

use super::*;

/// 50 events of one session with five attributes, as a batch processor hands them over.
fn batch() -> Vec<SdkLogRecord> {
    (0..50)
        .map(|number| {
            let mut record = event_of(A);
            record.add_attribute("cart.item", "a pair of socks");
            record.add_attribute("cart.price", 9.99);
            record.add_attribute("cart.count", number);
            record.add_attribute("user.id", "ada@example.com");
            record
        })
        .collect()
}

#[test]
fn mapping_a_batch_allocates_nothing_for_its_events() {
    for base64 in [false, true] {
        let mut bridge = Bridge::new(MapSettings { base64, ..MapSettings::default() });
        let scope = InstrumentationScope::builder("shop.cart").build();
        let records = batch();
        let borrowed: Vec<_> = records.iter().map(|record| (record, &scope)).collect();
        let mut map = |count: usize| {
            let batch = LogBatch::new(&borrowed[..count]);
            let decisions = bridge.mapper.decider().logs(&batch, &bridge.resource);
            bridge.mapper.map_logs(&batch, decisions, &bridge.resource, now(), &mut bridge.mapped);
            bridge.mapper.commit();
        };
        map(50);
        let one = allocation_counter::measure(|| map(1)).count_total;
        let all = allocation_counter::measure(|| map(50)).count_total;
        assert!(all <= one + 4, "{one} allocations for one event, {all} for 50");
    }
}

#[test]
#[allow(clippy::cast_precision_loss)] // nanoseconds
fn how_fast_events_are_mapped() {
    for base64 in [false, true] {
        let mut bridge = Bridge::new(MapSettings { base64, ..MapSettings::default() });
        let scope = InstrumentationScope::builder("shop.cart").build();
        let records = batch();
        let borrowed: Vec<_> = records.iter().map(|record| (record, &scope)).collect();
        let rounds = if cfg!(debug_assertions) { 20 } else { 20_000 };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let begun = on_processor();
            for _ in 0..rounds / 5 {
                let batch = LogBatch::new(&borrowed);
                let decisions = bridge.mapper.decider().logs(&batch, &bridge.resource);
                bridge.mapper.map_logs(&batch, decisions, &bridge.resource, now(), &mut bridge.mapped);
                bridge.mapper.commit();
                black_box(&bridge.mapped);
            }
            best = best.min((on_processor() - begun) as f64 / f64::from(rounds / 5 * 50));
        }
        println!("base64 {base64}: {best:.0} ns an event of {} bytes", bridge.mapped.events[0].len);
    }
}

/// How long this thread has been on a processor, in nanoseconds; other work on the machine hardly counts.
fn on_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0)
}
