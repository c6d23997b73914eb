//! Writes JSON straight into a buffer, also where the JSON stands inside a string of other JSON.
//!
//! `ue_pr` and `co` are JSON as a string within the payload's JSON. Writing it at that level in one go, each quotation mark
//! as `\"`, costs a third of writing it and escaping it afterwards. In base64 the inner JSON is plain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry::logs::AnyValue;
use opentelemetry::{Array, Value};
use uuid::Uuid;

use super::NonFinite;

/// How deep within strings the JSON stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Not within a string.
    Plain,
    /// Within a string of other JSON.
    Quoted,
}

/// A writer of values that come from outside, within bounds.
#[derive(Debug)]
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
    level: Level,
    bounds: Bounds,
    /// Where in `out` no more members are begun.
    full_at: usize,
    /// Where in `out` the last text has to end, about.
    end: usize,
    cuts: u64,
}

/// What is taken of a value from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The longest text, in bytes.
    pub(super) text: usize,
    /// All of the data, in bytes: at this length, no more members are begun. The last text may make it three times that.
    pub(super) data: usize,
    pub(super) non_finite: NonFinite,
}

impl Level {
    /// Constant JSON, ready to be copied into a buffer.
    pub(super) fn piece(self, json: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() + 32);
        match self {
            Self::Plain => out.extend_from_slice(json.as_bytes()),
            Self::Quoted => _ = escape(&mut out, json, Level::Plain),
        }
        out
    }

    /// Appends one of two pieces. Each has a length that the compiler knows, so that no function is called to copy it.
    #[inline]
    pub(super) fn push<const P: usize, const Q: usize>(self, out: &mut Vec<u8>, plain: &[u8; P], quoted: &[u8; Q]) {
        match self {
            Self::Plain => out.extend_from_slice(plain),
            Self::Quoted => out.extend_from_slice(quoted),
        }
    }
}

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, level: Level, bounds: Bounds) -> Self {
        let full_at = out.len() + bounds.data;
        let end = full_at + bounds.data * 2;
        Self { out, level, bounds, full_at, end, cuts: 0 }
    }

    /// How many values were cut, replaced or left out.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts
    }

    /// Counts values that the caller left out.
    pub(super) fn add_cuts(&mut self, cuts: u64) {
        self.cuts += cuts;
    }

    /// Whether a further member would make the event too large; counts it as left out then.
    pub(super) fn is_full(&mut self) -> bool {
        let full = self.out.len() > self.full_at;
        self.cuts += u64::from(full);
        full
    }

    /// What is known to need no escape, or has been escaped for this level.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// The key of a member of ours, which needs no escape, with the comma before it unless it is the first.
    pub(super) fn fixed_key(&mut self, first: &mut bool, key: &'static str) {
        self.open_key(first);
        self.out.extend_from_slice(key.as_bytes());
        self.level.push(self.out, b"\":", b"\\\":");
    }

    /// The key of a member, with the comma before it unless it is the first.
    pub(super) fn key(&mut self, first: &mut bool, key: &str) {
        self.open_key(first);
        self.cuts += u64::from(escape(self.out, key, self.level));
        self.level.push(self.out, b"\":", b"\\\":");
    }

    #[inline]
    fn open_key(&mut self, first: &mut bool) {
        if std::mem::take(first) {
            self.quote();
        } else {
            self.level.push(self.out, b",\"", b",\\\"");
        }
    }

    #[inline]
    fn quote(&mut self) {
        self.level.push(self.out, b"\"", b"\\\"");
    }

    /// A key that is ready with the comma before it, which the first one does without.
    pub(super) fn ready_key(&mut self, first: &mut bool, text: &[u8]) {
        self.raw(&text[usize::from(std::mem::take(first))..]);
    }

    /// A text that is in bounds by its origin.
    pub(super) fn string(&mut self, text: &str) {
        self.out.reserve(text.len() + 4);
        self.quote();
        self.cuts += u64::from(escape(self.out, text, self.level));
        self.quote();
    }

    /// A text from outside.
    pub(super) fn text(&mut self, text: &str) {
        let cut = cut_bytes(text, self.bounds.text.min(self.room()));
        self.cuts += u64::from(cut.len() < text.len());
        self.string(cut);
    }

    /// How long a text may be, if every byte of it had to be escaped.
    fn room(&self) -> usize {
        const LONGEST_ESCAPE: usize = r"\\u0000".len();
        self.end.saturating_sub(self.out.len()) / LONGEST_ESCAPE
    }

    /// A text from outside of which a schema takes a number of characters.
    pub(super) fn short_text(&mut self, text: &str, characters: usize) {
        let cut = cut_chars(text, characters);
        self.cuts += u64::from(cut.len() < text.len());
        self.string(cut);
    }

    pub(super) fn int(&mut self, value: i64) {
        write_int(self.out, value);
    }

    pub(super) fn float(&mut self, value: f64) {
        if let Some(thousandths) = thousandths(value) {
            write_thousandths(self.out, thousandths);
            return;
        }
        if value.is_finite() {
            self.raw(ryu::Buffer::new().format_finite(value).as_bytes());
            return;
        }
        self.cuts += 1;
        match self.bounds.non_finite {
            NonFinite::Null => self.raw(b"null"),
            NonFinite::Text if value.is_nan() => self.string("NaN"),
            NonFinite::Text if value > 0.0 => self.string("Infinity"),
            NonFinite::Text => self.string("-Infinity"),
        }
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// The lowest digits of a number, in lower case.
    pub(super) fn hex(&mut self, value: u128, digits: u32) {
        self.quote();
        for place in (0..digits).rev() {
            let digit = (value >> (place * 4)) & 15;
            self.out.push(HEX[digit as usize]);
        }
        self.quote();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let kept = &bytes[..bytes.len().min(self.bounds.text / 4 * 3).min(self.room())];
        self.cuts += u64::from(kept.len() < bytes.len());
        self.quote();
        append_base64(self.out, &STANDARD, kept);
        self.quote();
    }

    /// Any value of a log; beyond [`MAX_DEPTH`] it is `null`.
    pub(super) fn any(&mut self, value: &AnyValue) {
        self.any_within(value, MAX_DEPTH);
    }

    /// Most values are one number or text.
    #[inline]
    fn any_within(&mut self, value: &AnyValue, depth: usize) {
        match value {
            AnyValue::Int(value) => self.int(*value),
            AnyValue::Double(value) => self.float(*value),
            AnyValue::String(text) => self.text(text.as_str()),
            AnyValue::Boolean(value) => self.bool(*value),
            _ => self.compound(value, depth),
        }
    }

    #[inline(never)]
    fn compound(&mut self, value: &AnyValue, depth: usize) {
        match value {
            AnyValue::Bytes(bytes) => self.bytes(bytes),
            AnyValue::ListAny(values) if depth > 0 => {
                self.list(values.iter(), |json, value| json.any_within(value, depth - 1));
            }
            AnyValue::Map(members) if depth > 0 => {
                self.raw(b"{");
                let mut first = true;
                for (key, value) in members.iter() {
                    if self.is_full() {
                        break;
                    }
                    self.member_key(&mut first, key.as_str());
                    self.any_within(value, depth - 1);
                }
                self.raw(b"}");
            }
            _ => {
                self.cuts += 1;
                self.raw(b"null");
            }
        }
    }

    /// The key of a member that comes from outside.
    pub(super) fn member_key(&mut self, first: &mut bool, key: &str) {
        let cut = cut_bytes(key, MAX_KEY_BYTES);
        self.cuts += u64::from(cut.len() < key.len());
        self.key(first, cut);
    }

    /// Any value of a span or resource.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::I64(value) => self.int(*value),
            Value::F64(value) => self.float(*value),
            Value::String(text) => self.text(text.as_str()),
            Value::Array(Array::Bool(values)) => self.list(values.iter(), |json, value| json.bool(*value)),
            Value::Array(Array::I64(values)) => self.list(values.iter(), |json, value| json.int(*value)),
            Value::Array(Array::F64(values)) => self.list(values.iter(), |json, value| json.float(*value)),
            Value::Array(Array::String(values)) => self.list(values.iter(), |json, value| json.text(value.as_str())),
            _ => {
                self.cuts += 1;
                self.raw(b"null");
            }
        }
    }

    /// An array, as far as there is room for its values.
    pub(super) fn list<T>(&mut self, values: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.raw(b"[");
        for (index, value) in values.enumerate() {
            if self.is_full() {
                break;
            }
            if index > 0 {
                self.raw(b",");
            }
            write(self, value);
        }
        self.raw(b"]");
    }

    /// The data of an application's own event or entity. They are not cut, since a schema describes them; their depth
    /// has been checked.
    pub(super) fn json(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::Null => self.raw(b"null"),
            serde_json::Value::Bool(value) => self.bool(*value),
            serde_json::Value::Number(number) => self.raw(number.to_string().as_bytes()),
            serde_json::Value::String(text) => self.string(text),
            serde_json::Value::Array(values) => {
                self.raw(b"[");
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.raw(b",");
                    }
                    self.json(value);
                }
                self.raw(b"]");
            }
            serde_json::Value::Object(members) => {
                self.raw(b"{");
                let mut first = true;
                for (key, value) in members {
                    self.key(&mut first, key);
                    self.json(value);
                }
                self.raw(b"}");
            }
        }
    }
}

/// Whether a value is nested no deeper than an event's data may be.
pub(super) fn is_shallow(value: &serde_json::Value, depth: usize) -> bool {
    match value {
        serde_json::Value::Array(values) => depth > 0 && values.iter().all(|it| is_shallow(it, depth - 1)),
        serde_json::Value::Object(members) => depth > 0 && members.values().all(|it| is_shallow(it, depth - 1)),
        _ => true,
    }
}

/// Appends a text as the contents of a JSON string; true if something of it had to be replaced.
///
/// U+0000 becomes U+FFFD: the common warehouses refuse it, also where it is escaped.
pub(super) fn escape(out: &mut Vec<u8>, text: &str, level: Level) -> bool {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return false;
    }
    let mut replaced = false;
    let mut done = 0;
    while let Some(at) = first_special(&bytes[done..]) {
        out.extend_from_slice(&bytes[done..done + at]);
        done += at + 1;
        replaced |= escape_byte(out, bytes[done - 1], level);
    }
    out.extend_from_slice(&bytes[done..]);
    replaced
}

#[inline(never)]
fn escape_byte(out: &mut Vec<u8>, byte: u8, level: Level) -> bool {
    let backslash: &[u8] = if level == Level::Plain { b"\\" } else { b"\\\\" };
    match byte {
        0 => {
            out.extend_from_slice("\u{FFFD}".as_bytes());
            return true;
        }
        b'"' if level == Level::Plain => out.extend_from_slice(b"\\\""),
        b'"' => out.extend_from_slice(b"\\\\\\\""),
        b'\\' => {
            out.extend_from_slice(backslash);
            out.extend_from_slice(backslash);
        }
        _ => {
            out.extend_from_slice(backslash);
            match byte {
                b'\n' => out.push(b'n'),
                b'\r' => out.push(b'r'),
                b'\t' => out.push(b't'),
                _ => {
                    let [high, low] = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
                    out.extend_from_slice(&[b'u', b'0', b'0', high, low]);
                }
            }
        }
    }
    false
}

/// Where the first byte stands that a JSON string cannot hold as it is.
fn first_special(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Borrows can mark bytes above a special one, never below, so the lowest is right.
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return Some(index * 8 + (special.trailing_zeros() / 8) as usize);
        }
    }
    let at = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\')?;
    Some(words.len() * 8 + at)
}

/// Whether a JSON string can hold all of it as it is. Most texts are short and plain: no byte is looked at alone.
#[inline]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let mut special = 0;
    for word in words {
        special |= specials(u64::from_le_bytes(*word));
    }
    let last = match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => bytes.iter().fold(u64::from_le_bytes(*b"plain..."), |word, byte| word << 8 | u64::from(*byte)),
        },
    };
    special | specials(last) == 0
}

/// Marks bytes that a JSON string cannot hold as they are; zero if there are none.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
    // Each term sets the high bit of a byte that is below 0x20, a quotation mark or a backslash.
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH
}

/// A number that is a whole number of thousandths, as that number: most amounts and durations are.
///
/// With at most fifteen digits no two such numbers are the same in binary, so their decimals are the shortest ones that
/// mean them, which is what is written of any number.
fn thousandths(value: f64) -> Option<i64> {
    const MOST: f64 = 1e15;
    let scaled = value * 1000.0;
    // Zero may have a sign, and what is beyond, or not a number at all, is not less.
    if !(scaled.abs() >= 1.0 && scaled.abs() < MOST) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)] // within 15 digits
    let whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
    #[allow(clippy::cast_precision_loss, clippy::float_cmp)] // within 15 digits; the very same number
    let same = whole as f64 / 1000.0 == value;
    same.then_some(whole)
}

fn write_thousandths(out: &mut Vec<u8>, thousandths: i64) {
    if thousandths < 0 {
        out.push(b'-');
    }
    let thousandths = thousandths.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(thousandths / 1000).as_bytes());
    let rest = thousandths % 1000;
    let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or(0));
    let kept = match digits {
        [_, b'0', b'0'] => 1,
        [_, _, b'0'] => 2,
        _ => 3,
    };
    out.push(b'.');
    out.extend_from_slice(&digits[..kept]);
}

/// The longest beginning of at most so many bytes.
pub(super) fn cut_bytes(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// The longest beginning of at most so many characters.
pub(super) fn cut_chars(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// The longest beginning of at most so many units of UTF-16: as the pipeline counts what stands in a field of its own.
pub(super) fn cut_utf16(text: &str, units: usize) -> &str {
    if text.len() <= units {
        return text;
    }
    let mut left = units;
    let end = text.char_indices().find(|(_, char)| {
        let fits = char.len_utf16() <= left;
        left = left.saturating_sub(char.len_utf16());
        !fits
    });
    end.map_or(text, |(end, _)| &text[..end])
}

pub(super) fn write_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn write_uuid(out: &mut Vec<u8>, id: Uuid) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    id.hyphenated().encode_lower(&mut buffer);
    out.extend_from_slice(&buffer);
}

pub(super) fn append_base64(out: &mut Vec<u8>, engine: &impl Engine, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = engine.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Enrich takes 40 levels; ours around a value are 5.
pub(super) const MAX_DEPTH: usize = 24;

/// When an event's data are full: three times that, in base64, is still below the 1,000,000 bytes that a pipeline takes.
pub(super) const MAX_DATA_BYTES: usize = 220_000;

/// The longest key of an attribute.
const MAX_KEY_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_reads_as_what_it_was(text in "(?s).{0,64}") {
            let expected = text.replace('\0', "\u{FFFD}");
            let mut once = b"\"".to_vec();
            escape(&mut once, &text, Level::Plain);
            once.push(b'"');
            prop_assert_eq!(&serde_json::from_slice::<String>(&once).unwrap(), &expected);

            let mut twice = b"\"".to_vec();
            twice.extend(Level::Quoted.piece("\""));
            escape(&mut twice, &text, Level::Quoted);
            twice.extend(Level::Quoted.piece("\""));
            twice.push(b'"');
            let inner = serde_json::from_slice::<String>(&twice).unwrap();
            prop_assert_eq!(&serde_json::from_str::<String>(&inner).unwrap(), &expected);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_shortest_decimals_that_mean_them(
            thousandths in -2_000_000_000_000_000_i64..2_000_000_000_000_000,
            places in 0_i32..16,
            any in proptest::num::f64::NORMAL,
        ) {
            #[allow(clippy::cast_precision_loss)]
            for value in [thousandths as f64 / 1000.0, thousandths as f64 / 10_f64.powi(places), any] {
                let mut out = Vec::new();
                Json::new(&mut out, Level::Plain, Bounds { text: 1, data: 1, non_finite: NonFinite::Null }).float(value);
                prop_assert_eq!(String::from_utf8(out).unwrap(), ryu::Buffer::new().format_finite(value).to_owned());
            }
        }
    }

    #[test]
    fn small_and_whole_numbers_are_written_as_any_others() {
        for value in [0.0, -0.0, 0.001, -0.001, 0.0005, 0.1, 1.0, -1.5, 59.9, 0.999_999, 1e12, 1e-7, 123_456_789.125] {
            let mut out = Vec::new();
            Json::new(&mut out, Level::Plain, Bounds { text: 1, data: 1, non_finite: NonFinite::Null }).float(value);
            assert_eq!(String::from_utf8(out).unwrap(), ryu::Buffer::new().format_finite(value));
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut_bytes("a✓b", 3), "a");
        assert_eq!(cut_bytes("a✓b", 4), "a✓");
        assert_eq!(cut_chars("✓✓✓", 2), "✓✓");
        assert_eq!(cut_chars("✓✓", 2), "✓✓");
        assert_eq!(cut_utf16("a😀b", 2), "a");
        assert_eq!(cut_utf16("a😀b", 3), "a😀");
        assert_eq!(cut_utf16("a😀b", 4), "a😀b");
        assert_eq!(cut_utf16("✓✓✓", 2), "✓✓");
    }
}
