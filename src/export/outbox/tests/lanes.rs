//! What a queue gives out one per lane is what it would give out if it were looked through from its front each time.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::export::outbox::queue::{Entry, Queue};

#[derive(Debug, Clone)]
enum Act {
    /// A chunk whose events have these lanes.
    Push {
        lanes: Vec<u32>,
        mode: u8,
    },
    Take {
        max_events: usize,
        max_bytes: usize,
        one_per_lane: bool,
    },
    /// Of the parcels in flight, those from a place on, at most so many.
    Land {
        from: prop::sample::Index,
        most: usize,
        done: bool,
    },
    Doom {
        events: u64,
        bytes: u64,
    },
    Execute {
        drop: bool,
    },
    Expire {
        oldest: i64,
    },
    GiveUp {
        chunk: prop::sample::Index,
    },
}

fn act() -> impl Strategy<Value = Act> {
    // Few lanes, so that they are often busy; now and then as many events of one as make a queue stop looking.
    let lanes = prop_oneof![
        4 => prop::collection::vec(0..6_u32, 1..6),
        2 => prop::collection::vec(0..100_u32, 1..50),
        2 => Just(vec![3; 50]),
    ];
    prop_oneof![
        8 => (lanes, 0..8_u8).prop_map(|(lanes, mode)| Act::Push { lanes, mode: mode / 7 }),
        12 => (1..60_usize, 1..400_usize, 0..8_u8).prop_map(|(max_events, max_bytes, one)| {
            Act::Take { max_events, max_bytes, one_per_lane: one > 0 }
        }),
        8 => (any::<prop::sample::Index>(), 1..60_usize, 0..4_u8).prop_map(|(from, most, done)| {
            Act::Land { from, most, done: done > 0 }
        }),
        1 => (0..9_u64, 0..999_u64).prop_map(|(events, bytes)| Act::Doom { events, bytes }),
        1 => any::<bool>().prop_map(|drop| Act::Execute { drop }),
        1 => (0..40_i64).prop_map(|oldest| Act::Expire { oldest }),
        1 => any::<prop::sample::Index>().prop_map(|chunk| Act::GiveUp { chunk }),
    ]
}

#[derive(Default)]
struct Rig {
    queue: Queue,
    next: u64,
    in_flight: Vec<Ticket>,
    doomed: Vec<u64>,
}

impl Rig {
    fn push(&mut self, lanes: &[u32], mode: u8) {
        let mut chunk = Chunk::new(0, mode, 0);
        for lane in lanes {
            chunk.push(id(u128::from(self.next)), *lane, b"0123456");
        }
        self.queue.push(Entry::new(self.next, &Arc::new(chunk), i64::try_from(self.next).unwrap()));
        self.next += 1;
    }

    fn take(&mut self, want: &Want) {
        let nothing_to_read = HashMap::new();
        let picked = self.queue.pick(want, &nothing_to_read);
        let from_front = self.queue.pick_behind(None, want, &nothing_to_read);
        assert_eq!(tickets(&picked.parcels), tickets(&from_front.parcels));
        self.in_flight.extend(self.queue.send(picked).iter().map(|parcel| parcel.ticket));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Push { lanes, mode } => self.push(&lanes, mode),
            Act::Take { max_events, max_bytes, one_per_lane } => {
                self.take(&Want { max_events, max_bytes, fixed: 0, per_event: 1, one_per_lane });
            }
            Act::Land { from, most, done } => {
                let from = from.index(self.in_flight.len() + 1);
                let landing = self.in_flight.iter().skip(from).take(most).copied().collect::<Vec<_>>();
                self.in_flight.drain(from..from + landing.len());
                self.queue.land(&landing, done, |_, _, _| ());
            }
            Act::Doom { events, bytes } if self.doomed.is_empty() => {
                self.doomed = self.queue.doom(events, bytes).chunks;
            }
            Act::Doom { .. } => {}
            Act::Execute { drop } => {
                for chunk in std::mem::take(&mut self.doomed) {
                    self.queue.execute(chunk, drop, |_| ());
                }
            }
            // As in a depot, where nothing is doomed when this is called.
            Act::Expire { oldest } if self.doomed.is_empty() => self.queue.expire(oldest, |_, _, _| ()),
            Act::GiveUp { chunk } if self.doomed.is_empty() => {
                self.queue.give_up(chunk.index(usize::try_from(self.next).unwrap() + 1) as u64);
            }
            Act::Expire { .. } | Act::GiveUp { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_that_remembers_how_far_it_is_blocked_gives_what_one_gives_that_does_not(
        // Many events of a busy lane at the front bring the end of looking ahead near.
        ahead in prop_oneof![Just(0), 62..66_usize],
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut rig = Rig::default();
        for _ in 0..ahead {
            rig.push(&[3; 50], 0);
        }
        rig.act(Act::Take { max_events: 30, max_bytes: 10_000, one_per_lane: true });
        for act in acts {
            rig.act(act);
        }
    }
}

/// What this is for: with several requests in flight, each reply has the queue looked through for one more.
#[test]
fn a_queue_whose_lanes_are_all_busy_is_not_looked_through_again_for_each_reply() {
    let mut rig = Rig::default();
    (0..60).for_each(|_| rig.push(&(0..50).collect::<Vec<_>>(), 0));
    let want = Want { max_events: 25, max_bytes: 10_000, fixed: 0, per_event: 1, one_per_lane: true };
    let looked_at = |rig: &mut Rig| {
        let picked = rig.queue.pick(&want, &HashMap::new());
        let begin = picked.behind.map_or(0, |(begin, _)| begin).max(rig.queue.oldest().unwrap());
        let (events, looked_at) = (picked.parcels.len(), picked.end - begin);
        rig.in_flight.extend(rig.queue.send(picked).iter().map(|parcel| parcel.ticket));
        (events, looked_at)
    };
    assert_eq!([looked_at(&mut rig), looked_at(&mut rig)].map(|(events, _)| events), [25, 25]);
    // Once, to find that there is nothing.
    assert_eq!(looked_at(&mut rig), (0, 59));
    for _ in 0..20 {
        assert_eq!(looked_at(&mut rig), (0, 0));
        let landed: Vec<_> = rig.in_flight.drain(..25).collect();
        rig.queue.land(&landed, true, |_, _, _| ());
        let (events, chunks) = looked_at(&mut rig);
        assert!(events == 25 && chunks <= 3, "{events} events in {chunks} chunks");
    }
}

#[test]
fn what_fails_and_is_sent_again_does_not_let_a_queue_look_further_ahead() {
    let mut rig = Rig::default();
    (0..65).for_each(|_| rig.push(&[3; 50], 0));
    rig.push(&[9], 0);
    for _ in 0..5 {
        rig.act(Act::Take { max_events: 30, max_bytes: 10_000, one_per_lane: true });
        assert_eq!(rig.in_flight.len(), 30);
        rig.act(Act::Take { max_events: 30, max_bytes: 10_000, one_per_lane: true });
        assert_eq!(rig.in_flight.len(), 30, "3,200 events are passed over, and no more");
        let landed = std::mem::take(&mut rig.in_flight);
        rig.queue.land(&landed, false, |_, _, _| ());
    }
}

#[test]
fn failures_of_requests_that_do_not_keep_lanes_apart_leave_nothing_behind() {
    let mut rig = Rig::default();
    let sessions = |rig: &mut Rig, chunks: u32| {
        for from in (0..chunks).map(|number| number * 50) {
            rig.push(&(from..from + 50).collect::<Vec<_>>(), 0);
            for done in [false, true] {
                rig.act(Act::Take { max_events: 50, max_bytes: 10_000, one_per_lane: false });
                let landed = std::mem::take(&mut rig.in_flight);
                rig.queue.land(&landed, done, |_, _, _| ());
            }
        }
    };
    sessions(&mut rig, 2);
    let kept = allocation_counter::measure(|| sessions(&mut rig, 200)).bytes_current;
    assert!(kept < 4_000, "{kept} bytes after 10,000 sessions");
}

/// Replies come in the order of their requests, more or less. One that overtakes all others each time leaves few lanes for the
/// next request, which is then sent as it is rather than held back behind the slow ones.
#[test]
fn behind_a_backlog_requests_are_full_although_several_are_in_flight() {
    for (lanes, in_flight) in [(3, 2), (30, 2), (100, 4), (1000, 8)] {
        let mut rig = Rig::default();
        let mut random = 1_u64;
        let mut lane = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from(random >> 33).unwrap() % lanes
        };
        (0..200).for_each(|_| rig.push(&(0..50).map(|_| lane()).collect::<Vec<_>>(), 0));
        let want = Want { max_events: 70, max_bytes: 10_000, fixed: 0, per_event: 1, one_per_lane: true };
        let mut requests = VecDeque::new();
        let (mut number, mut events) = (0, 0);
        // Until less is left than a queue looks through.
        while rig.queue.pending().events > 4_000 {
            while requests.len() < in_flight {
                let picked = rig.queue.pick(&want, &HashMap::new());
                let taken = tickets(&rig.queue.send(picked));
                if taken.is_empty() {
                    break;
                }
                (number, events) = (number + 1, events + taken.len());
                requests.push_back(taken);
            }
            rig.queue.land(&requests.pop_front().unwrap(), true, |_, _, _| ());
        }
        let full = events * 100 / (number * want.max_events);
        assert!(full >= 95, "{lanes} lanes, {in_flight} in flight: {full} % full");
    }
}
