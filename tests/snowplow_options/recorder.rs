//! A collector that keeps what it is sent, and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// How long a test waits for what must come.
pub const BOUND: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What it answers: a status, and headers.
pub type Reply = (u16, Vec<(&'static str, String)>);

type Script = dyn Fn(usize, &Recorded) -> Option<Reply> + Send + Sync;

#[derive(Clone)]
pub struct Recorder {
    port: u16,
    kept: Arc<(Mutex<Vec<Recorded>>, Condvar)>,
}

impl Recorder {
    /// Answers 200 to everything.
    pub fn start() -> Self {
        Self::answering(|_, _| Some((200, Vec::new())))
    }

    /// Answers this status to everything.
    pub fn status(status: u16) -> Self {
        Self::answering(move |_, _| Some((status, Vec::new())))
    }

    /// Answers by the number of the request, from 0; `None` never answers, and holds the connection open.
    pub fn answering(script: impl Fn(usize, &Recorded) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::<(Mutex<Vec<Recorded>>, Condvar)>::default();
        let (keeping, script): (_, Arc<Script>) = (kept.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, script) = (keeping.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &kept, &*script));
            }
        });
        Self { port, kept }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.kept.0.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    #[track_caller]
    pub fn wait_requests(&self, count: usize) -> Vec<Recorded> {
        self.wait(|requests| requests.len() >= count, &format!("{count} requests"))
    }

    /// Waits until so many events have come.
    #[track_caller]
    pub fn wait_events(&self, count: usize) -> Vec<Event> {
        let enough = |requests: &[Recorded]| requests.iter().map(|it| it.events().len()).sum::<usize>() >= count;
        self.wait(enough, &format!("{count} events"));
        self.events()
    }

    pub fn events(&self) -> Vec<Event> {
        self.requests().iter().flat_map(Recorded::events).collect()
    }

    #[track_caller]
    fn wait(&self, enough: impl Fn(&[Recorded]) -> bool, what: &str) -> Vec<Recorded> {
        let (kept, more) = &*self.kept;
        let (kept, late) = more.wait_timeout_while(kept.lock().unwrap(), BOUND, |requests| !enough(requests)).unwrap();
        assert!(!late.timed_out(), "waited for {what}, got {} requests", kept.len());
        kept.clone()
    }
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        if self.method == "GET" {
            let Some((_, query)) = self.path.split_once('?') else { return Vec::new() };
            let fields = url::form_urlencoded::parse(query.as_bytes());
            return vec![Event(fields.map(|(key, value)| (key.into_owned(), Value::from(value))).collect())];
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["schema"], "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4");
        let events = body["data"].as_array().unwrap().iter();
        events.map(|it| Event(it.as_object().unwrap().clone())).collect()
    }
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(pub Map<String, Value>);

impl Event {
    /// A field's text; every field of an event is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|it| it.as_str().unwrap_or_else(|| panic!("{key} is no text: {it}")))
    }

    /// The schema and the data of a self-describing event.
    pub fn own(&self) -> (String, Value) {
        let outer = self.json("ue_pr", "ue_px").expect("a self-describing event");
        let inner = &outer["data"];
        (inner["schema"].as_str().unwrap().to_owned(), inner["data"].clone())
    }

    /// The data of the entity whose schema has this name.
    pub fn entity(&self, name: &str) -> Option<Value> {
        let all = self.json("co", "cx")?;
        let mut entities = all["data"].as_array().unwrap().iter();
        let named = |it: &&Value| it["schema"].as_str().unwrap().split('/').nth(1) == Some(name);
        entities.find(named).map(|it| it["data"].clone())
    }

    fn json(&self, plain: &str, encoded: &str) -> Option<Value> {
        assert!(self.0.get(plain).is_none() || self.0.get(encoded).is_none(), "one of {plain} and {encoded}");
        let text = match (self.text(plain), self.text(encoded)) {
            (Some(text), _) => text.to_owned(),
            (None, Some(text)) => String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap(),
            (None, None) => return None,
        };
        Some(serde_json::from_str(&text).unwrap())
    }
}

fn serve(stream: TcpStream, kept: &(Mutex<Vec<Recorded>>, Condvar), script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut requests = kept.0.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        kept.1.notify_all();
        let Some((status, headers)) = script(number, &request) else {
            // Until the client goes.
            let _ = reader.read(&mut [0]);
            return;
        };
        let mut reply = format!("HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n");
        for (name, value) in headers {
            reply.push_str(&format!("{name}: {value}\r\n"));
        }
        reply.push_str("\r\nok");
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Recorded> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Recorded { method, path, headers, body })
}
