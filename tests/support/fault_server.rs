//! A small HTTP/1 server that misbehaves as told, on plain sockets, so that it can do what no HTTP library would.
//!
//! It answers from a script, one answer a request, and then with its usual answer. It keeps every request that it has read
//! completely, in order of arrival. Connections are kept alive.
#![allow(dead_code, unreachable_pub)] // each test uses a part of it

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A complete reply: status, header lines, body.
    Reply(u16, Vec<(String, String)>, String),
    /// The connection is closed when half of the body has been read: a reset for the sender.
    ResetMidBody,
    /// The request is read, and the connection closed without a reply.
    Close,
    /// A status line and headers that promise more body than there is.
    Truncated(u16),
    /// The same with a chunked body.
    TruncatedChunks(u16),
    /// Bytes that are no HTTP.
    Garbage(Vec<u8>),
    /// Nothing, until the server goes.
    Never,
    /// The head, and then nothing until the server goes.
    NeverEnds(u16),
    /// A complete reply with a body of so many bytes.
    Long(u16, usize),
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Reply(status, Vec::new(), format!("status {status}"))
    }

    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Reply(status, vec![(name.to_owned(), value.to_owned())], String::new())
    }
}

/// A request that was read completely.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What it got.
    pub answer: Answer,
    /// Which connection it came by, from 0.
    pub connection: u64,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }
}

/// The server; it goes when it is dropped.
pub struct FaultServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
    connections: AtomicU64,
}

struct State {
    script: VecDeque<Answer>,
    usual: Answer,
    received: Vec<Received>,
    streams: Vec<TcpStream>,
}

impl FaultServer {
    /// One that answers 200 unless told otherwise.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// One at a given address, to come back after it refused connections.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = State {
            script: VecDeque::new(),
            usual: Answer::Reply(200, Vec::new(), "ok".to_owned()),
            received: Vec::new(),
            streams: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let accepting = shared.clone();
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answers to the next requests.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().script.extend(answers);
    }

    /// Forgets what is left of the script.
    pub fn unscript(&self) {
        self.shared.lock().script.clear();
    }

    /// The answer when the script is over.
    pub fn usually(&self, answer: Answer) {
        self.shared.lock().usual = answer;
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    pub fn count(&self) -> usize {
        self.shared.lock().received.len()
    }

    /// Waits until so many requests have come, at most 20 s.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let state = self.shared.lock();
        let (state, result) = self
            .shared
            .changed
            .wait_timeout_while(state, Duration::from_secs(20), |state| state.received.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "{} of {count} requests came", state.received.len());
        state.received.clone()
    }

    /// Forgets what has come.
    pub fn forget(&self) {
        self.shared.lock().received.clear();
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        for stream in &self.shared.lock().streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        // Wakes the thread that accepts, which then lets the port go.
        let _ = TcpStream::connect(self.address);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_over() {
                return;
            }
            let Ok(stream) = stream else { continue };
            let _ = stream.set_nodelay(true);
            self.lock().streams.extend(stream.try_clone());
            let (shared, connection) = (self.clone(), self.connections.fetch_add(1, Ordering::AcqRel));
            thread::spawn(move || shared.serve(stream, connection));
        }
    }

    fn serve(&self, mut stream: TcpStream, connection: u64) {
        let mut buffer = Vec::new();
        while let Some(()) = self.exchange(&mut stream, &mut buffer, connection) {}
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    /// One request and its answer; none when the connection is over.
    fn exchange(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: u64) -> Option<()> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            read_more(stream, buffer)?;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        let answer = {
            let mut state = self.lock();
            let answer = state.script.pop_front();
            answer.unwrap_or_else(|| state.usual.clone())
        };
        while buffer.len() < length {
            if answer == Answer::ResetMidBody && buffer.len() * 2 >= length {
                break;
            }
            read_more(stream, buffer)?;
        }
        let body: Vec<u8> = buffer.drain(..length.min(buffer.len())).collect();
        let reset = answer == Answer::ResetMidBody;
        let received = Received { method, target, headers, body, answer: answer.clone(), connection };
        if reset {
            return None;
        }
        // It is seen to have come before the sender can know of an answer.
        self.lock().received.push(received);
        self.changed.notify_all();
        self.answer(stream, answer)
    }

    fn answer(&self, stream: &mut TcpStream, answer: Answer) -> Option<()> {
        let head = |status: u16, length: usize| format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n");
        match answer {
            Answer::Reply(status, headers, body) => {
                let mut reply = head(status, body.len());
                for (name, value) in headers {
                    reply.push_str(&format!("{name}: {value}\r\n"));
                }
                stream.write_all(format!("{reply}\r\n{body}").as_bytes()).ok()
            }
            Answer::ResetMidBody | Answer::Close => None,
            Answer::Truncated(status) => {
                let _ = stream.write_all(format!("{}\r\nok", head(status, 20)).as_bytes());
                None
            }
            Answer::TruncatedChunks(status) => {
                let head = format!("HTTP/1.1 {status} Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
                let _ = stream.write_all(head.as_bytes());
                None
            }
            Answer::Garbage(bytes) => {
                let _ = stream.write_all(&bytes);
                None
            }
            Answer::Never => self.hold(stream),
            Answer::NeverEnds(status) => {
                let _ = stream.write_all(format!("{}\r\nok", head(status, 20)).as_bytes());
                self.hold(stream)
            }
            Answer::Long(status, length) => {
                stream.write_all(format!("{}\r\n", head(status, length)).as_bytes()).ok()?;
                stream.write_all(&vec![b'x'; length]).ok()
            }
        }
    }

    /// Keeps the connection open until the other side closes it, or the server goes.
    fn hold(&self, stream: &mut TcpStream) -> Option<()> {
        let mut ignored = [0; 1024];
        while !self.is_over() && matches!(stream.read(&mut ignored), Ok(read) if read > 0) {}
        None
    }
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.extend_from_slice(&chunk[..read]);
            Some(())
        }
    }
}
