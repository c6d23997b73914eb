//! A courier with a manual clock between a depot in memory and a server that misbehaves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::server::{FaultServer, Received};
use crate::clock::{Clock, Source};
use crate::export::Chunk;
use crate::export::delivery::{Callbacks, Courier, DeliverySettings, Protocol};
use crate::export::endpoint::Endpoint;
use crate::export::outbox::{Depot, Outbox, Parcel, Want};
use crate::sync::Mutex;
use crate::telemetry::{Loss, LossCounters};
use crate::testing::ManualClock;

/// A body is `{"data":[` event `,` event `]}`, an event `{"eid":"…","n":"…","stm":"…"}`.
#[derive(Debug, Clone)]
pub(super) struct TestProtocol {
    pub(super) uri: http::Uri,
    pub(super) want: Want,
    pub(super) max_request_bytes: usize,
    pub(super) replies: Arc<Mutex<Vec<Vec<u8>>>>,
}

pub(super) const FIXED: usize = r#"{"data":[]}"#.len();
pub(super) const PER_EVENT: usize = r#","stm":"1700000000000","#.len();

impl Protocol for TestProtocol {
    fn want(&self) -> Want {
        self.want
    }

    fn request(&self, parcels: &[Parcel], now: i64) -> http::Request<Bytes> {
        assert_ne!(parcels[0].mode(), 9, "a request that cannot be made");
        let mut body = b"{\"data\":[".to_vec();
        for (place, parcel) in parcels.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            let event = parcel.bytes();
            body.extend_from_slice(&event[..event.len() - 1]);
            body.extend_from_slice(format!(",\"stm\":\"{}\"}}", now / 1_000_000).as_bytes());
        }
        body.extend_from_slice(b"]}");
        let mode = parcels[0].mode();
        let mut request = http::Request::post(self.uri.clone()).header("mode", mode.to_string());
        if mode == ANONYMOUS {
            request = request.header("SP-Anonymous", "*");
        }
        request.body(body.into()).unwrap()
    }

    fn delivered(&self, _: &[Parcel], reply: &[u8]) {
        self.replies.lock().push(reply.to_vec());
    }

    fn max_request_bytes(&self) -> usize {
        self.max_request_bytes
    }
}

/// The mode whose requests carry `SP-Anonymous`.
pub(super) const ANONYMOUS: u8 = 3;

/// What the callbacks were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Delivered(Vec<u64>, u16),
    Failed(Vec<u64>, Option<u16>, bool),
}

pub(super) struct Rig {
    pub(super) clock: ManualClock,
    pub(super) server: FaultServer,
    pub(super) depot: Arc<Depot>,
    pub(super) courier: Courier,
    pub(super) losses: Arc<LossCounters>,
    pub(super) told: Arc<Mutex<Vec<Told>>>,
    pub(super) protocol: TestProtocol,
    source: Source,
    next: u64,
}

pub(super) struct Plan {
    pub(super) settings: DeliverySettings,
    pub(super) want: Want,
    pub(super) max_request_bytes: usize,
    pub(super) outbox: Outbox,
    pub(super) system_clock: bool,
    /// Instead of those that remember what they are told.
    pub(super) callbacks: Option<Callbacks>,
}

/// A rig as a bridge is by default, but for a schedule.
pub(super) fn rig(plan: impl FnOnce(&mut Plan)) -> Rig {
    let server = FaultServer::start();
    let endpoint = Endpoint::parse("with_endpoint", &server.url()).unwrap();
    let mut planned = Plan {
        settings: DeliverySettings::new(endpoint.clone()),
        want: Want { max_events: 1000, max_bytes: 1_000_000, fixed: FIXED, per_event: PER_EVENT, one_per_lane: false },
        max_request_bytes: 1_000_000,
        outbox: Outbox::memory(),
        system_clock: false,
        callbacks: None,
    };
    planned.settings.schedule_delay = Duration::ZERO;
    plan(&mut planned);
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let source = if planned.system_clock { Source::System } else { clock.clone().into_source() };
    let losses = Arc::new(LossCounters::default());
    let (depot, _) = Depot::open(planned.outbox, 1, source.clone(), losses.clone()).unwrap();
    let protocol = TestProtocol {
        uri: endpoint.uri("with_post_path", "/tp2").unwrap(),
        want: planned.want,
        max_request_bytes: planned.max_request_bytes,
        replies: Arc::default(),
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, noticed) = (told.clone(), told.clone());
    let callbacks = Callbacks {
        on_success: Some(Arc::new(move |it| {
            let numbers = it.events.iter().map(number_of).collect();
            heard.lock().push(Told::Delivered(numbers, it.status));
        })),
        on_failure: Some(Arc::new(move |it| {
            assert!(!it.message.is_empty());
            let numbers = it.events.iter().map(number_of).collect();
            noticed.lock().push(Told::Failed(numbers, it.status, it.will_retry));
        })),
    };
    let callbacks = planned.callbacks.unwrap_or(callbacks);
    let courier = Courier::start(
        depot.clone(),
        0,
        Arc::new(protocol.clone()),
        planned.settings,
        source.clone(),
        losses.clone(),
        callbacks,
    );
    Rig { clock, server, depot, courier: courier.unwrap(), losses, told, protocol, source, next: 0 }
}

impl Rig {
    /// Accepts so many events of lane 0 and mode 0; their numbers count on.
    pub(super) fn accept(&mut self, events: u64) {
        self.accept_each(0, events, |_| 0, 20);
    }

    pub(super) fn accept_each(&mut self, mode: u8, events: u64, lane: impl Fn(u64) -> u32, padding: usize) {
        let accepted_at = self.source.moment().wall;
        let mut chunks: Vec<Chunk> = Vec::new();
        for _ in 0..events {
            if chunks.last().is_none_or(|chunk| chunk.events.len() == Chunk::MAX_EVENTS) {
                chunks.push(Chunk::new(0, mode, accepted_at));
            }
            let (id, number) = (id_of(self.next), self.next);
            let event = format!("{{\"eid\":\"{id}\",\"n\":\"{number}\",\"pad\":\"{}\"}}", "x".repeat(padding));
            chunks.last_mut().unwrap().push(id, lane(number), event.as_bytes());
            self.next += 1;
        }
        self.depot.accept(chunks, Vec::new()).unwrap();
    }

    /// Waits until everything that is due has been attempted.
    pub(super) fn settle(&self) {
        assert!(self.clock.advance(Duration::ZERO), "the worker settles");
    }

    pub(super) fn advance(&self, duration: Duration) {
        assert!(self.clock.advance(duration), "the worker settles");
    }

    pub(super) fn pending(&self) -> u64 {
        self.courier.pending()
    }

    pub(super) fn delivered(&self) -> u64 {
        self.depot.balance().0[0].delivered
    }

    pub(super) fn lost(&self, loss: Loss) -> u64 {
        self.losses.read().count(loss)
    }

    /// The numbers of the events in each complete request, in order of arrival.
    pub(super) fn requests(&self) -> Vec<Vec<u64>> {
        self.server.received().iter().map(numbers).collect()
    }

    pub(super) fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock())
    }
}

pub(super) fn id_of(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0123_4567_89ab_4def, 0x8000_0000_0000_0000 | number)
}

fn number_of(id: &Uuid) -> u64 {
    let (_, low) = id.as_u64_pair();
    low & 0x7fff_ffff_ffff_ffff
}

/// The events of a request.
pub(super) fn numbers(request: &Received) -> Vec<u64> {
    events(request).iter().map(|event| event["n"].as_str().unwrap().parse().unwrap()).collect()
}

pub(super) fn events(request: &Received) -> Vec<serde_json::Value> {
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("a body of JSON");
    body["data"].as_array().expect("a list of events").clone()
}
