//! The options of Snowplow's own trackers, read from JSON: each is applied, has no effect, or is refused with what to use
//! instead.
//!
//! The rows of the tables [`javascript`] and [`python`] are the rows of the table in `docs/manual/snowplow.md`.

mod emitters;
mod javascript;
mod python;
mod value;

use serde_json::{Map, Value};

use super::SnowplowExporterBuilder;
use crate::error::BuildError;
use crate::export::endpoint::Address;
use emitters::{Arguments, Emitter};

pub(super) use value::Given;

/// What becomes of an option of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It means the same here.
    Adopted,
    /// It means what is closest to it here.
    Adapted,
    /// It is accepted and has no effect, since there is nothing here that it could change.
    NoEffect,
    /// It is refused, with what to use instead.
    Refused,
}

impl Verdict {
    /// The word in the manual's table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Adapted => "adapted",
            Self::NoEffect => "no effect",
            Self::Refused => "refused",
        }
    }
}

/// An option of a tracker, and what becomes of it here.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TrackerOption {
    /// Its name, with the names of the objects that it stands in: `contexts.session`.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The setting or call of ours, or nothing.
    pub setting: &'static str,
    /// What to know about it.
    pub note: &'static str,
    pub(super) read: Read,
}

/// A builder with an option applied; the error says what its value should be.
type Applied = Result<SnowplowExporterBuilder, String>;

/// How an option's value is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Read {
    /// Changes the builder; the error says what the value should be.
    Apply(fn(SnowplowExporterBuilder, &Given<'_>) -> Applied),
    /// The value is ignored, and that is noted.
    Ignore,
    /// A function or an object with methods, which no JSON holds.
    Code,
    /// Refused unless the value turns it off.
    Refuse,
    /// An object whose options stand in the table, too.
    Within,
    /// One collector or several.
    Emitters,
}

/// A row of a table.
const fn row(
    name: &'static str,
    verdict: Verdict,
    setting: &'static str,
    note: &'static str,
    read: Read,
) -> TrackerOption {
    TrackerOption { name, verdict, setting, note, read }
}

fn namespace(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_namespace(given.text()?))
}

fn method(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_method(given.method()?))
}

fn endpoint(builder: SnowplowExporterBuilder, given: &Given<'_>) -> Applied {
    Ok(builder.with_endpoint(given.text()?))
}

/// An option that was read but not applied as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionNote {
    /// The option's name.
    pub option: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// What to know about it.
    pub note: &'static str,
}

/// The options of the JavaScript tracker's `newTracker`.
#[must_use]
pub fn javascript_options() -> &'static [TrackerOption] {
    javascript::OPTIONS
}

/// The arguments of the Python tracker's `create_tracker`, of its configurations, and of its classes.
#[must_use]
pub fn python_options() -> &'static [TrackerOption] {
    python::OPTIONS
}

/// Reading the options of other trackers.
impl SnowplowExporterBuilder {
    /// A builder with the options of the JavaScript tracker's `newTracker(namespace, endpoint, options)`, given as JSON; and
    /// notes on those that mean something else here or nothing.
    ///
    /// ```
    /// use otel_session::SnowplowExporterBuilder;
    ///
    /// let options = r#"{"platform": "web", "bufferSize": 10, "cookieSameSite": "Lax"}"#;
    /// let (builder, notes) = SnowplowExporterBuilder::from_js_options("sp", "http://127.0.0.1:9090", options)?;
    /// assert_eq!(notes[0].option, "cookieSameSite");
    /// # let _ = builder;
    /// # Ok::<(), otel_session::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// When this is no JSON object, an option is unknown, its value makes no sense, or it is refused.
    pub fn from_js_options(
        namespace: &str,
        endpoint: &str,
        options: &str,
    ) -> Result<(Self, Vec<OptionNote>), BuildError> {
        let builder = Self::default().with_namespace(namespace).with_endpoint(endpoint);
        let mut reader = Reader::new(javascript::OPTIONS, "from_js_options", builder);
        reader.object("", &object("from_js_options", options)?)?;
        Ok((reader.builder, reader.notes))
    }

    /// A builder with the arguments of the Python tracker's `create_tracker` or of its class `Tracker`, given as a JSON
    /// object by their names; and notes on those that mean something else here or nothing. An `emitter` or each of `emitters`
    /// is a URL or an object of the arguments of the class `Emitter`.
    ///
    /// `endpoint`, `port`, `protocol` and `method` are of the emitter; all else that it says is of the exporter here, and
    /// all emitters must say it alike. What they leave out is as `emitter_config` has it. Without a `batch_size` it is 10,
    /// or 1 where all of them send by GET, as the tracker has it; where some do, it is 10, with a note.
    ///
    /// # Errors
    /// When this is no JSON object, an argument is unknown, its value makes no sense, or it is refused; when emitters differ
    /// in what is of the exporter.
    pub fn from_python_options(arguments: &str) -> Result<(Self, Vec<OptionNote>), BuildError> {
        // The trackers' own defaults are others than ours where that is of no harm; these two are what their users count on.
        let builder = Self::default().with_batch_size(10).with_base64(true);
        let mut reader = Reader::new(python::OPTIONS, "from_python_options", builder);
        let arguments = object("from_python_options", arguments)?;
        reader.object("", &arguments)?;
        reader.settle_emitters(&arguments)?;
        Ok((reader.builder, reader.notes))
    }
}

struct Reader {
    table: &'static [TrackerOption],
    source: &'static str,
    builder: SnowplowExporterBuilder,
    notes: Vec<OptionNote>,
    /// What each emitter says of the exporter.
    emitters: Vec<Arguments>,
}

impl Reader {
    fn new(table: &'static [TrackerOption], source: &'static str, builder: SnowplowExporterBuilder) -> Self {
        Self { table, source, builder, notes: Vec::new(), emitters: Vec::new() }
    }

    fn object(&mut self, within: &str, options: &Map<String, Value>) -> Result<(), BuildError> {
        for (key, value) in options {
            let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
            let Some(option) = self.table.iter().find(|it| it.name == name) else {
                return Err(self.unknown(&name));
            };
            self.option(option, value)?;
        }
        Ok(())
    }

    fn option(&mut self, option: &'static TrackerOption, value: &Value) -> Result<(), BuildError> {
        let refuse = |fix: String| BuildError::Setting {
            setting: self.source,
            value: format!("{}: {}", option.name, shown(value)),
            fix,
        };
        // What an option is when it is left out has no effect, whatever the option.
        let off = value.is_null() || *value == Value::Bool(false);
        match option.read {
            Read::Apply(apply) => {
                let builder = std::mem::take(&mut self.builder);
                self.builder = apply(builder, &Given(value)).map_err(refuse)?;
                if option.verdict == Verdict::Adopted {
                    return Ok(());
                }
            }
            Read::Within => {
                let Value::Object(inner) = value else { return Err(refuse("give an object".to_owned())) };
                return self.object(option.name, inner);
            }
            Read::Emitters => {
                for Emitter { collector, others } in Emitter::list(&Given(value)).map_err(refuse)? {
                    self.builder = std::mem::take(&mut self.builder).with_collector(collector);
                    self.emitters.push(others);
                }
                return Ok(());
            }
            Read::Ignore => {}
            Read::Code | Read::Refuse if off => return Ok(()),
            Read::Code => {
                let call = format!("this is code, which no JSON holds: call `{}` ({})", option.setting, option.note);
                return Err(refuse(call.replace(" ()", "")));
            }
            Read::Refuse => return Err(refuse(option.note.to_owned())),
        }
        self.notes.push(OptionNote { option: option.name, verdict: option.verdict, note: option.note });
        Ok(())
    }

    fn unknown(&self, name: &str) -> BuildError {
        let nearest = self.table.iter().map(|it| it.name).min_by_key(|known| distance(name, known));
        let fix = nearest.map_or_else(String::new, |it| format!("there is no such option; the nearest is `{it}`"));
        BuildError::Setting { setting: self.source, value: format!("{:?}", clipped(name)), fix }
    }
}

fn object(setting: &'static str, text: &str) -> Result<Map<String, Value>, BuildError> {
    // Not the text: there may be secrets in it.
    let refuse = |fix: String| BuildError::Setting { setting, value: format!("{} bytes", text.len()), fix };
    match serde_json::from_str(text) {
        Ok(Value::Object(options)) => Ok(options),
        Ok(_) => Err(refuse("give a JSON object of options".to_owned())),
        Err(error) => Err(refuse(format!("this is no JSON: {error}"))),
    }
}

/// A value for a message; never what stands in an object, which may be a header's secret, nor what in a URL may be one.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "{..}".to_owned(),
        Value::Array(values) => clipped(&format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))),
        Value::String(text) if text.contains("://") => clipped(&format!("{:?}", Address(text))),
        value => clipped(&value.to_string()),
    }
}

fn clipped(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(80).collect()
}

/// How many letters have to be changed, added or left out to make one name of the other, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let a: Vec<char> = a.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, b) in b.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, a) in a.iter().enumerate() {
            let changed = diagonal + usize::from(*a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
