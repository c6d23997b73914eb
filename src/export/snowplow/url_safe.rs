//! Base64 as Snowplow's decoder takes it: the alphabet of URLs, without padding.
//!
//! Where the processor allows it, by its wide registers: without them this is a third of what an event costs.

use base64::engine::general_purpose::NO_PAD;

use super::json::append_base64;

pub(super) use engine::{UrlSafe, url_safe};

/// Appends the base64 of some JSON, which is left longer than it was.
pub(super) fn append(out: &mut Vec<u8>, engine: &UrlSafe, json: &mut Vec<u8>) {
    let len = json.len();
    if len < SHORT {
        return append_short(out, json);
    }
    // The engine takes 24 bytes at a time while there are eight more, and the rest byte by byte: with zeros after it, which
    // change nothing of the characters before, all of the JSON is among the first ones.
    json.resize((len.next_multiple_of(24) + 8).max(ENOUGH), 0);
    let end = out.len() + len + len.div_ceil(3);
    append_base64(out, engine, json);
    out.truncate(end);
}

fn append_short(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let characters = |bits: u32| [18, 12, 6, 0].map(|place| ALPHABET[(bits >> place & 63) as usize]);
    let (groups, rest) = bytes.as_chunks::<3>();
    for [one, two, three] in groups {
        out.extend_from_slice(&characters(u32::from_be_bytes([0, *one, *two, *three])));
    }
    match rest {
        [one, two] => out.extend_from_slice(&characters(u32::from_be_bytes([0, *one, *two, 0]))[..3]),
        [one] => out.extend_from_slice(&characters(u32::from_be_bytes([0, *one, 0, 0]))[..2]),
        _ => {}
    }
}

/// Below this a table is faster than the engine.
const SHORT: usize = 48;

/// From this on the engine uses the wide registers.
const ENOUGH: usize = 128;

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod engine {
    /// The fastest engine that the processor has.
    pub(in super::super) type UrlSafe = base64::engine::Simd;

    pub(in super::super) fn url_safe() -> UrlSafe {
        UrlSafe::url_safe(super::NO_PAD)
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
mod engine {
    /// The engine that every processor has.
    pub(in super::super) type UrlSafe = base64::engine::GeneralPurpose;

    pub(in super::super) fn url_safe() -> UrlSafe {
        UrlSafe::new(&base64::alphabet::URL_SAFE, super::NO_PAD)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn every_length_is_encoded_as_by_the_plain_engine() {
        let bytes: Vec<u8> = (0..400_u32).map(|it| u8::try_from(it * 7919 % 251).unwrap()).collect();
        for len in 0..bytes.len() {
            let mut out = b"before".to_vec();
            append(&mut out, &url_safe(), &mut bytes[bytes.len() - len..].to_vec());
            let expected = format!("before{}", URL_SAFE_NO_PAD.encode(&bytes[bytes.len() - len..]));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
