//! What a user can set about the Snowplow side.

use super::registry::Registry;

/// The limits and names of the Snowplow side; the builder says what they are.
#[derive(Debug)]
pub(in crate::collector) struct Settings {
    pub(in crate::collector) registry: Registry,
    /// A larger body is answered with 200 and becomes one bad row.
    pub(in crate::collector) max_payload_bytes: usize,
    /// A larger body is answered with 413.
    pub(in crate::collector) drop_payload_bytes: usize,
    /// A larger body is split into its events; an event that is larger by itself becomes a bad row.
    pub(in crate::collector) max_record_bytes: usize,
    /// A cookie with this name and value means: answer, and keep nothing.
    pub(in crate::collector) do_not_track: Option<(String, String)>,
    /// Paths that mean the tracker protocol's own.
    pub(in crate::collector) post_paths: Vec<String>,
}

/// A request line longer than this is refused.
pub(super) const MAX_REQUEST_LINE: usize = 20_480;

/// Headers that are longer together are refused.
pub(super) const MAX_HEADERS: usize = 40_960;

/// What the connection buffers of a request before its body: both of the above and room for being told so.
pub(in crate::collector) const MAX_HEAD_BYTES: usize = MAX_REQUEST_LINE + MAX_HEADERS + (4 << 10);
