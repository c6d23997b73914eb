//! A collector of HTTP requests whose replies a test decides, faults included.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// What stands behind the `?`.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A complete reply: status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection is closed without a reply.
    Nothing,
    /// The reply breaks off within its body.
    Truncated(u16),
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Full(200, Vec::new(), body.into())
    }

    pub fn status(status: u16) -> Self {
        Self::Full(status, Vec::new(), b"a reply".to_vec())
    }
}

type Handler = dyn Fn(&Call) -> Reply + Send + Sync;

/// Listens on a free port of 127.0.0.1 until it is dropped.
pub struct Sink {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Sink {
    pub fn start(handler: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let over = Arc::clone(&closed);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let handler = Arc::clone(&handler);
                // Each ends with its connection, which the client closes at the latest when its process goes away.
                std::thread::spawn(move || drop(serve(&connection, &*handler)));
            }
        });
        Self { address, closed }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(connection: &TcpStream, handler: &Handler) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(call) = read(&mut reader)? {
        match handler(&call) {
            Reply::Full(status, headers, body) => {
                let mut reply = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    reply.push_str(&format!("{name}: {value}\r\n"));
                }
                reply.push_str("\r\n");
                (&mut &*connection).write_all(&[reply.as_bytes(), &body].concat())?;
            }
            Reply::Truncated(status) => {
                let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: 100\r\n\r\nhalf");
                (&mut &*connection).write_all(head.as_bytes())?;
                return connection.shutdown(Shutdown::Both);
            }
            Reply::Nothing => return connection.shutdown(Shutdown::Both),
        }
    }
    Ok(())
}

/// The next request; none if the connection has ended.
fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut call = Call { method, target, headers, body: Vec::new() };
    let length = call.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    call.body = vec![0; length];
    reader.read_exact(&mut call.body)?;
    Ok(Some(call))
}
