//! The collector of the benchmark, in a process of its own: answers 200 to what trackers post, as cheaply as it can, and
//! counts. It speaks as much HTTP/1.1 as the contenders do.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use serde_json::{Value, json};

/// How a sink behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behaviour {
    /// How long it keeps back each reply; other connections are answered meanwhile.
    pub(crate) delay: Duration,
    /// Reads every event instead of counting them: for what is said about the event, never for what is timed.
    pub(crate) reads: bool,
}

/// A sink that runs in a child process, and ends with this value.
#[derive(Debug)]
pub(crate) struct Sink {
    child: Child,
    address: String,
}

/// What a sink has got so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Sink {
    /// Starts this executable again, as a sink.
    pub(crate) fn start(behaviour: Behaviour) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--sink", &behaviour.delay.as_millis().to_string(), &behaviour.reads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = [0; 6];
        child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut port)?;
        let address = format!("127.0.0.1:{}", String::from_utf8_lossy(&port).trim_start());
        Ok(Self { child, address })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn counts(&self) -> io::Result<Counts> {
        let counts = self.ask("/counts")?;
        let number = |name: &str| counts[name].as_u64().unwrap_or_default();
        Ok(Counts { events: number("events"), requests: number("requests"), bytes: number("bytes") })
    }

    /// What a sink that reads has read.
    pub(crate) fn read(&self) -> io::Result<Value> {
        self.ask("/read")
    }

    fn ask(&self, path: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: sink\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(io::Error::other)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Counts {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            events: self.events - before.events,
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// The child's side: serves until its standard input closes, which also happens when the benchmark is killed.
pub(crate) fn serve(arguments: &[String]) -> io::Result<()> {
    let [delay, reads] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let behaviour =
        Behaviour { delay: Duration::from_millis(delay.parse().map_err(io::Error::other)?), reads: reads == "true" };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stdout = io::stdout();
    write!(stdout, "{:>6}", listener.local_addr()?.port())?;
    stdout.flush()?;
    let state = Arc::new(State { behaviour, ..State::default() });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || Connection::new(stream).serve(&state));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    events: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    read: Mutex<Reading>,
}

impl State {
    fn post(&self, body: &[u8]) {
        // A field name in quotes: JSON within a JSON string has backslashes before its own.
        let events = memmem::find_iter(body, b"\"eid\"").count() as u64;
        self.events.fetch_add(events, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        if self.behaviour.reads {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).body(body);
        }
        thread::sleep(self.behaviour.delay);
    }

    fn answer(&self, path: &str) -> String {
        if path == "/read" {
            return self.read.lock().unwrap_or_else(PoisonError::into_inner).summary().to_string();
        }
        let [events, requests, bytes] =
            [&self.events, &self.requests, &self.bytes].map(|count| count.load(Ordering::Relaxed));
        json!({ "events": events, "requests": requests, "bytes": bytes }).to_string()
    }
}

/// What the events said.
#[derive(Debug, Default)]
struct Reading {
    events: u64,
    ids: HashSet<String>,
    /// Events that are not self-describing, or have another number of entities than one.
    odd: u64,
    sample: Value,
}

impl Reading {
    fn body(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for event in body["data"].as_array().into_iter().flatten() {
            self.events += 1;
            self.ids.extend(event["eid"].as_str().map(str::to_owned));
            let described = decoded(event, "ue_px", "ue_pr");
            let entities = decoded(event, "cx", "co");
            let session = &entities["data"][0]["data"];
            let alike = event["e"] == "ue"
                && entities["data"].as_array().is_some_and(|entities| entities.len() == 1)
                && session["sessionId"].is_string()
                && session["eventIndex"].is_u64();
            self.odd += u64::from(!alike);
            self.sample = json!({ "event": event, "describes": described["data"], "session": session });
        }
    }

    fn summary(&self) -> Value {
        json!({ "events": self.events, "distinct": self.ids.len(), "odd": self.odd, "sample": self.sample })
    }
}

fn decoded(event: &Value, encoded: &str, plain: &str) -> Value {
    // Python pads, the others do not.
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient);
    let text = match event[encoded].as_str() {
        Some(text) => engine.decode(text).unwrap_or_default(),
        None => event[plain].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    serde_json::from_slice(&text).unwrap_or_default()
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // Without this a reply may wait for the other side's acknowledgement.
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: vec![0; 256 * 1024], filled: 0 }
    }

    /// Until the other side closes, or says something else than a request.
    fn serve(mut self, state: &State) {
        while let Ok(Some(head)) = self.head() {
            if head.expects && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
                return;
            }
            let end = head.bytes + head.content_length;
            if self.fill(end).is_err() {
                return;
            }
            let answer = if head.post {
                state.post(&self.buffer[head.bytes..end]);
                "ok".to_owned()
            } else {
                state.answer(&head.path)
            };
            self.buffer.copy_within(end..self.filled, 0);
            self.filled -= end;
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            if self.stream.write_all(reply.as_bytes()).is_err() || head.closes {
                return;
            }
        }
    }

    fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                return Ok(Some(Head::parse(&self.buffer[..end])));
            }
            if self.read()? == 0 {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.filled < wanted {
            if self.read()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        Ok(read)
    }
}

struct Head {
    /// With the empty line.
    bytes: usize,
    post: bool,
    path: String,
    content_length: usize,
    expects: bool,
    closes: bool,
}

impl Head {
    fn parse(text: &[u8]) -> Self {
        let bytes = text.len() + 4;
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let post = words.next() == Some("POST");
        let path = words.next().unwrap_or_default().to_owned();
        let mut head = Self { bytes, post, path, content_length: 0, expects: false, closes: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.content_length = value.parse().unwrap_or_default();
            } else if name.eq_ignore_ascii_case("expect") {
                head.expects = true;
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        head
    }
}
