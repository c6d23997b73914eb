//! Attribute values and lists of attributes.

use std::fmt;

/// A value of an attribute, a log body, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Sent without a value.
    #[default]
    Empty,
    /// A text.
    String(String),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number; may be NaN or infinite.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order, nested at most 32 deep.
    Array(Vec<Value>),
    /// Named values, nested at most 32 deep.
    Map(Attributes),
}

impl Value {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The floating-point number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Double(number) = self { Some(*number) } else { None }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    pub(super) fn size(&self) -> usize {
        let inner = match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(values) => values.iter().map(Self::size).sum(),
            Self::Map(values) => values.size(),
            Self::Empty | Self::Bool(_) | Self::Int(_) | Self::Double(_) => 0,
        };
        size_of::<Self>() + inner
    }
}

impl fmt::Display for Value {
    /// Text as it is, everything else in a form for reading; not meant to be parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::String(text) => f.write_str(text),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Double(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Array(values) => f.debug_list().entries(values.iter().map(Shown)).finish(),
            Self::Map(values) => f.debug_map().entries(values.iter().map(|(k, v)| (k, Shown(v)))).finish(),
        }
    }
}

/// Attributes in the order they were sent, duplicates included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(String, Value)>);

impl Attributes {
    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// How often this key was sent. More than once is a fault of the sender.
    pub fn occurrences(&self, key: &str) -> usize {
        self.iter().filter(|(name, _)| *name == key).count()
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All attributes, in the order they were sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(key, value)| size_of::<String>() + key.len() + value.size()).sum()
    }
}

impl FromIterator<(String, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Shows the parts of an array or a map the way the whole is shown.
struct Shown<'a>(&'a Value);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => write!(f, "{text:?}"),
            other => write!(f, "{other}"),
        }
    }
}
