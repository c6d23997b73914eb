//! Headers that a user adds to every request.

use http::header::{ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};

use crate::error::BuildError;

/// A header of the user's, if it is none that the exporter or the client writes itself. Its value may be a secret: it is
/// marked as one, and no message shows it.
pub(crate) fn custom_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    let parsed = HeaderName::try_from(name)
        .map_err(|_| refused(name, "this is no name of a header; use letters, digits and `-`"))?;
    if RESERVED.contains(&parsed) {
        return Err(refused(name, "this header is the exporter's own to write; leave it out"));
    }
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| refused(name, "its value holds characters that no header may hold; encode them"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Why a header cannot be sent.
pub(crate) fn refused(name: &str, fix: &str) -> BuildError {
    let value = format!("{:?}", name.chars().take(80).collect::<String>());
    BuildError::Setting { setting: "with_custom_header", value, fix: fix.to_owned() }
}

/// Headers that decide how a request is read.
const RESERVED: [HeaderName; 7] =
    [ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];
