//! Reads request bodies within bounds: bytes before and after decompression, and time.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::refusals::Refusal;

/// Reads a body of at most `limit` bytes. Whatever goes over it is read and thrown away, up to [`MAX_DISCARDED`]:
/// a client that is still writing would otherwise see a broken connection instead of the answer.
pub(super) async fn read(body: Incoming, limit: usize, timeout: Duration) -> Result<Bytes, Refusal> {
    tokio::time::timeout(timeout, collect(body, limit)).await.unwrap_or(Err(Refusal::Unfinished))
}

/// Unpacks gzip to at most `limit` bytes: all its members, since a sender that packs piece by piece makes several.
pub(super) fn gunzip(packed: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(limit as u64 + 1);
    reader.read_to_end(&mut plain).map_err(|_| Refusal::Malformed)?;
    if plain.len() > limit { Err(Refusal::TooLarge) } else { Ok(plain) }
}

/// The body as it was before `Content-Encoding: gzip` or nothing.
pub(super) fn unpack(body: &[u8], gzip: bool, limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    if gzip { gunzip(body, limit).map(Cow::Owned) } else { Ok(Cow::Borrowed(body)) }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut read = Vec::with_capacity(announced.min(limit));
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        // Trailers have no meaning here.
        let Ok(data) = frame.map_err(|_| Refusal::Unfinished)?.into_data() else { continue };
        total += data.len();
        if total <= limit {
            read.extend_from_slice(&data);
        } else if total > limit.saturating_add(MAX_DISCARDED) {
            return Err(Refusal::TooLarge);
        } else {
            read = Vec::new();
        }
    }
    if total > limit { Err(Refusal::TooLarge) } else { Ok(read.into()) }
}

const MAX_DISCARDED: usize = 64 << 20;
