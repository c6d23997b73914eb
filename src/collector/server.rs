//! The listeners and their thread.
//!
//! One thread with a runtime of its own, so the collector works inside any runtime and without one. Bounds: at most
//! [`MAX_CONNECTIONS`] connections (further ones wait in the kernel's backlog), [`MAX_STREAMS`] calls on each, a first
//! request within [`FIRST_REQUEST`], header blocks of [`Door::max_head_bytes`]. A connection that breaks any of them, or
//! HTTP, is closed; the others do not notice.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use opentelemetry::Context;
use tokio::runtime::{self, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::intake::Intake;
use super::{grpc, http, opentracker, snowplow};

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Otlp,
    Snowplow,
    Opentracker,
}

impl Door {
    fn max_head_bytes(self) -> usize {
        match self {
            Self::Otlp => MAX_OTLP_HEAD_BYTES,
            Self::Snowplow => snowplow::MAX_HEAD_BYTES,
            Self::Opentracker => opentracker::MAX_HEAD_BYTES,
        }
    }
}

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The running server; dropping it stops the thread and closes everything.
#[derive(Debug)]
pub(super) struct Server {
    handle: Handle,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(listeners: Vec<(TcpListener, Door)>, intake: Arc<Intake>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("otel-session-collector".to_owned())
            .spawn(move || run(listeners, intake, &ready, stopped))?;
        // An error on the other end means that the thread died before it could say why.
        let handle =
            started.recv().unwrap_or_else(|_| Err(io::Error::other("the collector's thread did not start")))?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// The runtime of the thread, for timers.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed already; there is nothing to add to it.
            drop(thread.join());
        }
    }
}

/// Listens on a loopback port; zero takes a free one.
pub(super) fn listen(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn run(
    listeners: Vec<(TcpListener, Door)>,
    intake: Arc<Intake>,
    ready: &mpsc::SyncSender<io::Result<Handle>>,
    stopped: oneshot::Receiver<Infallible>,
) {
    // The HTTP/2 library traces what it does. Under a subscriber that exports to this very collector each export would
    // make the next one.
    let _quiet = Context::enter_telemetry_suppressed_scope();
    let _closing = Closing(Arc::clone(&intake));
    let started = runtime::Builder::new_current_thread().enable_io().enable_time().build().and_then(|runtime| {
        let entered = runtime.enter();
        let registered = |(listener, door)| Ok((tokio::net::TcpListener::from_std(listener)?, door));
        let listeners = listeners.into_iter().map(registered).collect::<io::Result<Vec<_>>>()?;
        drop(entered);
        Ok((runtime, listeners))
    });
    match started {
        Err(error) => drop(ready.send(Err(error))),
        Ok((runtime, listeners)) => {
            drop(ready.send(Ok(runtime.handle().clone())));
            let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            for (listener, door) in listeners {
                runtime.spawn(accept(listener, door, Arc::clone(&places), Arc::clone(&intake)));
            }
            // The sender never sends: this ends when it is dropped.
            drop(runtime.block_on(stopped));
        }
    }
}

/// Wakes whoever still waits, also when the thread ends by a panic.
struct Closing(Arc<Intake>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn accept(listener: tokio::net::TcpListener, door: Door, places: Arc<Semaphore>, intake: Arc<Intake>) {
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, peer)) => drop(tokio::spawn(converse(socket, peer.ip(), door, Arc::clone(&intake), place))),
            // Out of file descriptors, or the peer is gone already: trying again at once would spin.
            Err(_) => drop(tokio::time::timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await),
        }
    }
}

async fn converse(
    socket: tokio::net::TcpStream,
    peer: IpAddr,
    door: Door,
    intake: Arc<Intake>,
    _place: OwnedSemaphorePermit,
) {
    // Only a matter of speed.
    drop(socket.set_nodelay(true));
    let spoken = AtomicBool::new(false);
    let service = service_fn(|request| {
        spoken.store(true, Ordering::Relaxed);
        let intake = Arc::clone(&intake);
        async move { Ok::<_, Infallible>(answer(request, peer, door, &intake).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(door.max_head_bytes());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(IDLE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(door.max_head_bytes() as u32);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    // How a connection ends is the peer's affair.
    let first = tokio::time::timeout(FIRST_REQUEST, connection.as_mut()).await;
    if first.is_err() && spoken.load(Ordering::Relaxed) {
        drop(connection.await);
    }
}

async fn answer(request: Request<Incoming>, peer: IpAddr, door: Door, intake: &Intake) -> Answer {
    // The semaphore is never closed; without a place there would be no bound, but still an answer.
    let _place = intake.in_flight.acquire().await.ok();
    match door {
        Door::Otlp if grpc::is_grpc(&request) => grpc::answer(request, intake).await,
        Door::Otlp => http::answer(request, intake).await,
        Door::Snowplow => snowplow::answer(request, peer, intake).await,
        Door::Opentracker => opentracker::answer(request, intake).await,
    }
}

const MAX_CONNECTIONS: usize = 256;
const MAX_STREAMS: u32 = 32;
const MAX_OTLP_HEAD_BYTES: usize = 16 << 10;

/// Exporters connect when they have something to send.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// Longer than the usual export intervals, so that exporters find their connection open.
const IDLE: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
