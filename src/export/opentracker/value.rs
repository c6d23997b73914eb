//! Values of attributes as the text of a property.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry::logs::AnyValue;

/// How long the text of one value may be, in bytes before percent-encoding.
pub(super) const MAX_VALUE_BYTES: usize = 4_096;

/// How deep lists and maps are followed.
pub(super) const MAX_DEPTH: usize = 16;

/// The text of a value, and how often something of it was cut, replaced or left out.
#[derive(Debug, PartialEq)]
pub(super) struct Text {
    /// None if the whole value was left out.
    pub(super) text: Option<String>,
    pub(super) losses: u64,
}

/// The text that a property carries for a value.
///
/// | value | text |
/// |---|---|
/// | string | itself, cut at [`MAX_VALUE_BYTES`] |
/// | integer, boolean | decimal, `true` or `false` |
/// | double | the shortest text that reads as the same number; `NaN`, `Infinity`, `-Infinity` count as replaced |
/// | bytes | base64, counted as replaced; cut before encoding |
/// | list, map | JSON with sorted keys; what lies deeper than [`MAX_DEPTH`] is null; left out if longer than a string may be |
pub(super) fn text_of(value: &AnyValue) -> Text {
    match value {
        AnyValue::String(text) => cut(text.as_str(), MAX_VALUE_BYTES),
        AnyValue::Int(number) => Text { text: Some(number.to_string()), losses: 0 },
        AnyValue::Boolean(value) => Text { text: Some(value.to_string()), losses: 0 },
        AnyValue::Double(number) => Text { text: Some(double(*number)), losses: u64::from(!number.is_finite()) },
        AnyValue::Bytes(bytes) => {
            let kept = &bytes[..bytes.len().min(MAX_VALUE_BYTES / 4 * 3)];
            Text { text: Some(STANDARD.encode(kept)), losses: 1 }
        }
        AnyValue::ListAny(_) | AnyValue::Map(_) => {
            let mut json = Json::default();
            json.value(value, 0);
            if json.is_full() { LEFT_OUT } else { Text { text: Some(json.text), losses: json.losses } }
        }
        // A kind of value that did not exist when this was written.
        _ => LEFT_OUT,
    }
}

const LEFT_OUT: Text = Text { text: None, losses: 1 };

/// The longest beginning of at most so many bytes that ends between two characters.
pub(super) fn cut(text: &str, max_bytes: usize) -> Text {
    let kept = beginning(text, max_bytes);
    Text { text: Some(kept.to_owned()), losses: u64::from(kept.len() < text.len()) }
}

pub(super) fn beginning(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn double(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        number.to_string()
    }
}

/// Writes JSON until the text is as long as a value may be; then it stops, however much is left.
#[derive(Default)]
struct Json {
    text: String,
    losses: u64,
}

impl Json {
    fn is_full(&self) -> bool {
        self.text.len() > MAX_VALUE_BYTES
    }

    fn value(&mut self, value: &AnyValue, depth: usize) {
        if self.is_full() {
            return;
        }
        match value {
            AnyValue::ListAny(values) if depth < MAX_DEPTH => self.list(values, depth),
            AnyValue::Map(map) if depth < MAX_DEPTH => {
                let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                self.map(&entries, depth);
            }
            AnyValue::ListAny(_) | AnyValue::Map(_) => {
                self.losses += 1;
                self.text.push_str("null");
            }
            AnyValue::String(text) => self.string(text.as_str()),
            AnyValue::Double(number) if !number.is_finite() => {
                self.losses += 1;
                self.string(&double(*number));
            }
            AnyValue::Bytes(bytes) => {
                self.losses += 1;
                let kept = &bytes[..bytes.len().min(MAX_VALUE_BYTES)];
                self.string(&STANDARD.encode(kept));
            }
            plain => {
                let Text { text, losses } = text_of(plain);
                self.losses += losses;
                self.text.push_str(text.as_deref().unwrap_or("null"));
            }
        }
    }

    fn list(&mut self, values: &[AnyValue], depth: usize) {
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.text.push_str(if index == 0 { "" } else { "," });
            self.value(value, depth + 1);
        }
        self.text.push(']');
    }

    fn map(&mut self, entries: &[(&str, &AnyValue)], depth: usize) {
        self.text.push('{');
        for (index, (key, value)) in entries.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.text.push_str(if index == 0 { "" } else { "," });
            self.string(key);
            self.text.push(':');
            self.value(value, depth + 1);
        }
        self.text.push('}');
    }

    /// One string; a huge one is not copied as a whole, since the text is too long already by its beginning.
    fn string(&mut self, text: &str) {
        let beginning = beginning(text, MAX_VALUE_BYTES + 1);
        self.text.push_str(&serde_json::Value::from(beginning).to_string());
    }
}
