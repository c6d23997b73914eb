//! A real OpenTelemetry Collector as a child process, and what it wrote.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a collector takes for anything.
const DEADLINE: Duration = Duration::from_secs(30);

/// A collector on free ports of the loopback interface that writes what it gets to a file; it ends with this value.
pub(crate) struct Collector {
    binary: PathBuf,
    folder: PathBuf,
    ports: Ports,
    process: Option<Child>,
}

struct Ports {
    grpc: u16,
    http: u16,
    health: u16,
}

impl Collector {
    /// A collector that is up. None, with a message, if there is no binary.
    pub(crate) fn start() -> Option<Self> {
        let binary = binary()?;
        // Held until all are known, so that no two are the same.
        let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |index: usize| held[index].local_addr().unwrap().port();
        let ports = Ports { grpc: port(0), http: port(1), health: port(2) };
        drop(held);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("otelcol-{}", ports.grpc));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut collector = Self { binary, folder, ports, process: None };
        std::fs::write(collector.folder.join("config.yaml"), collector.config()).unwrap();
        collector.restart();
        Some(collector)
    }

    pub(crate) fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.grpc)
    }

    pub(crate) fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Starts it where it was, and waits until it says that it is up.
    pub(crate) fn restart(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.join("config.yaml")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let health = self.ports.health;
        let is_up = || {
            let exited = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "the collector ended: {}", read(&self.folder.join("log")));
            healthy(health).unwrap_or(false)
        };
        poll("the collector is not up", is_up);
    }

    /// Ends it as a service manager would, so that it writes everything that it got.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // The standard library can only kill, which loses what is not written yet.
        let terminated = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
        assert!(terminated.success());
        poll("the collector does not stop", || process.try_wait().unwrap().is_some());
    }

    /// What it has written so far.
    pub(crate) fn received(&self) -> Received {
        Received::parse(&read(&self.folder.join("received.jsonl")))
    }

    fn config(&self) -> String {
        let Ports { grpc, http, health } = self.ports;
        let file = self.folder.join("received.jsonl");
        format!(
            "receivers:\n  otlp:\n    protocols:\n      grpc: {{ endpoint: '127.0.0.1:{grpc}' }}\n      \
             http: {{ endpoint: '127.0.0.1:{http}' }}\n\
             exporters:\n  file: {{ path: '{file}', append: true, flush_interval: 100ms }}\n\
             extensions:\n  health_check: {{ endpoint: '127.0.0.1:{health}' }}\n\
             service:\n  extensions: [health_check]\n  telemetry:\n    metrics: {{ level: none }}\n  pipelines:\n    \
             traces: {{ receivers: [otlp], exporters: [file] }}\n    logs: {{ receivers: [otlp], exporters: [file] }}\n",
            file = file.display()
        )
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// What a collector wrote, in the order it wrote it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<Log>,
}

type Attributes = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Span {
    resource: Attributes,
    scope: String,
    pub(crate) session: String,
    /// The session of each event.
    pub(crate) events: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Log {
    resource: Attributes,
    pub(crate) scope: String,
    pub(crate) session: String,
    pub(crate) previous: Option<String>,
    pub(crate) event_name: String,
    body: String,
}

impl Log {
    pub(crate) fn is_lifecycle(&self) -> bool {
        ["session.start", "session.end"].contains(&self.event_name.as_str())
    }
}

impl Received {
    /// Whether a log with this body has arrived.
    pub(crate) fn holds(&self, body: &str) -> bool {
        self.logs.iter().any(|log| log.body == body)
    }

    /// The resource and scope of every record.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (&Attributes, &str)> {
        let spans = self.spans.iter().map(|span| (&span.resource, span.scope.as_str()));
        spans.chain(self.logs.iter().map(|log| (&log.resource, log.scope.as_str())))
    }

    fn parse(text: &str) -> Self {
        let mut received = Self::default();
        // The last line may be half written while the collector runs.
        for request in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            for (resource, scope, span) in records(&request, ["resourceSpans", "scopeSpans", "spans"]) {
                let events = list(span, "events").iter().map(|event| session(&attributes(event))).collect();
                received.spans.push(Span { resource, scope, session: session(&attributes(span)), events });
            }
            for (resource, scope, log) in records(&request, ["resourceLogs", "scopeLogs", "logRecords"]) {
                let own = attributes(log);
                received.logs.push(Log {
                    resource,
                    scope,
                    session: session(&own),
                    previous: own.get("session.previous_id").cloned(),
                    event_name: text_of(&log["eventName"]),
                    body: text_of(&log["body"]["stringValue"]),
                });
            }
        }
        received
    }
}

/// Waits for a condition that only another process can make true: there is nothing to be woken by, so it is asked again.
pub(crate) fn poll(otherwise: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that sees none of the variables that could change what it does.
pub(crate) fn command(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["OTEL_EXPORTER_", "OTEL_TRACES_", "OTEL_LOGS_", "OTEL_BSP_", "OTEL_BLRP_"]
            .iter()
            .any(|it| text.starts_with(it))
            || ["OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "DO_NOT_TRACK", "RUST_LOG"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The path of an example, which `cargo test` has built beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().and_then(Path::parent).unwrap().join("examples");
    let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: cargo build --all-features --example {name}", path.display());
    path
}

fn binary() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let built = cache.map(|cache| cache.join(format!("otel-session/otelcol-{}", version())));
    let named = std::env::var_os("OTEL_SESSION_OTELCOL").map(PathBuf::from);
    let found = named.or(built).filter(|path| path.exists());
    if found.is_none() {
        let message =
            "there is no OpenTelemetry Collector: run scripts/otelcol/build.sh, or name one by OTEL_SESSION_OTELCOL";
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{message}");
        eprintln!("skipped: {message}");
    }
    found
}

/// The version that the build script builds.
fn version() -> String {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));
    let script = std::fs::read_to_string(root.join("scripts/otelcol/build.sh")).unwrap_or_default();
    script.lines().find_map(|line| line.strip_prefix("version=")).unwrap_or("unknown").to_owned()
}

fn healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The records of a request, each with its resource and the name of its scope.
fn records<'a>(request: &'a Value, [resources, scopes, items]: [&str; 3]) -> Vec<(Attributes, String, &'a Value)> {
    let mut records = Vec::new();
    for by_resource in list(request, resources) {
        for by_scope in list(by_resource, scopes) {
            let origin = || (attributes(&by_resource["resource"]), text_of(&by_scope["scope"]["name"]));
            records.extend(list(by_scope, items).iter().map(|item| {
                let (resource, scope) = origin();
                (resource, scope, item)
            }));
        }
    }
    records
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The attributes that are texts; no key stands twice.
fn attributes(value: &Value) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in list(value, "attributes") {
        let before = attributes.insert(text_of(&attribute["key"]), text_of(&attribute["value"]["stringValue"]));
        assert!(before.is_none(), "{} stands twice", attribute["key"]);
    }
    attributes
}

fn session(attributes: &Attributes) -> String {
    attributes.get("session.id").cloned().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
