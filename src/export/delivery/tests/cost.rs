//! What a request costs the delivery thread. `cargo test --release --features bridge,testing --lib cost -- --ignored --nocapture`

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use super::rig::{FIXED, PER_EVENT, id_of};
use super::server::{Answer, FaultServer};
use crate::clock::Source;
use crate::export::Chunk;
use crate::export::delivery::{Callbacks, Courier, DeliverySettings, Protocol};
use crate::export::endpoint::Endpoint;
use crate::export::http::{Bodies, HttpClient};
use crate::export::outbox::{Depot, Outbox, Parcel, Want};
use crate::sync::Mutex;
use crate::telemetry::LossCounters;

struct Plain {
    uri: http::Uri,
    cpu: Arc<Mutex<Vec<i64>>>,
    bodies: Bodies,
}

impl Protocol for Plain {
    fn want(&self) -> Want {
        Want { max_events: 50, max_bytes: 10_000_000, fixed: FIXED, per_event: PER_EVENT, one_per_lane: false }
    }

    fn request(&self, parcels: &[Parcel], _: i64) -> http::Request<Bytes> {
        let len = parcels.iter().map(|it| it.bytes().len() + 30).sum();
        let body = self.bodies.write(len, |body| {
            for parcel in parcels {
                body.extend_from_slice(parcel.bytes());
            }
        });
        http::Request::post(self.uri.clone()).header("content-type", "application/json").body(body).unwrap()
    }

    fn delivered(&self, _: &[Parcel], _: &[u8]) {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        self.cpu.lock().push(now.tv_sec * 1_000_000_000 + now.tv_nsec);
    }

    fn max_request_bytes(&self) -> usize {
        10_000_000
    }
}

fn measure(name: &str, client: Option<Arc<dyn HttpClient>>) {
    const REQUESTS: usize = 4000;
    let server = FaultServer::start();
    server.usually(Answer::Reply(200, vec![], "ok".to_owned()));
    let endpoint = Endpoint::parse("with_endpoint", &server.url()).unwrap();
    let losses = Arc::new(LossCounters::default());
    let (depot, _) = Depot::open(Outbox::memory().with_max_bytes(1 << 30), 1, Source::System, losses.clone()).unwrap();
    let event = vec![b'x'; 1200];
    let chunks = (0..REQUESTS).map(|chunk| {
        let mut it = Chunk::new(0, 0, Source::System.moment().wall);
        (0..50).for_each(|event_of| it.push(id_of((chunk * 50 + event_of) as u64), 0, &event));
        it
    });
    depot.accept(chunks.collect(), Vec::new()).unwrap();
    let cpu = Arc::new(Mutex::new(Vec::new()));
    let protocol = Plain { uri: endpoint.uri("x", "/tp2").unwrap(), cpu: cpu.clone(), bodies: Bodies::default() };
    let mut settings = DeliverySettings::new(endpoint);
    settings.client = client;
    let courier =
        Courier::start(depot, 0, Arc::new(protocol), settings, Source::System, losses, Callbacks::default()).unwrap();
    assert!(courier.flush(Duration::from_secs(60)));
    let cpu = cpu.lock();
    let (first, last) = (cpu[100], cpu[cpu.len() - 1]);
    println!("{name}: {} requests, {} ns CPU a request", cpu.len(), (last - first) / (cpu.len() as i64 - 101));
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    for _ in 0..3 {
        measure("default client", None);
    }
}
