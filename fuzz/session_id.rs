//! What must hold of session ids that come from outside; shared by the fuzz target and the replay of its corpus.

use otel_session::SessionId;

/// Whatever is accepted is fit for a header and a log line, and stays as it was.
#[allow(unreachable_pub)] // a module of two programs
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = SessionId::parse(&text) {
        assert!(!text.is_empty() && text.len() <= SessionId::MAX_BYTES);
        assert!(!text.chars().any(char::is_control));
        assert_eq!(id.as_str(), text);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
