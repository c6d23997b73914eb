//! Emitters of the Python tracker: each is a collector. What is a setting of the exporter here they must say alike, since an
//! exporter has it once; otherwise one of them would decide for all.

use serde_json::{Map, Value};

use super::{Given, OptionNote, Reader, Verdict, shown};
use crate::error::BuildError;
use crate::export::snowplow::{Collector, Method};

/// Arguments by their names, without those that are null: that is the same as left out.
pub(super) type Arguments = Map<String, Value>;

/// An emitter as it is described: a URL, or an object of the arguments of the class `Emitter`.
pub(super) struct Emitter {
    pub(super) collector: Collector,
    /// Its arguments that are the exporter's here.
    pub(super) others: Arguments,
}

impl Emitter {
    /// One, or a list of them.
    pub(super) fn list(given: &Given<'_>) -> Result<Vec<Self>, String> {
        match given.0 {
            Value::Array(list) if list.is_empty() => Err("give at least one emitter".to_owned()),
            Value::Array(list) => list.iter().map(|one| Self::read(&Given(one))).collect(),
            _ => Self::read(given).map(|one| vec![one]),
        }
    }

    fn read(given: &Given<'_>) -> Result<Self, String> {
        if let Some(endpoint) = given.0.as_str() {
            return Ok(Self { collector: Collector::new(endpoint), others: Arguments::new() });
        }
        let Value::Object(arguments) = given.0 else {
            return Err("give a URL, or an object of Emitter's arguments".to_owned());
        };
        let Some(endpoint) = arguments.get("endpoint").and_then(Value::as_str) else {
            return Err("an emitter needs its `endpoint`".to_owned());
        };
        let mut collector = Collector::new(endpoint);
        let mut others = Arguments::new();
        for (key, value) in arguments.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "endpoint" => {}
                "port" => {
                    let port = u16::try_from(Given(value).number()?).ok().filter(|it| *it > 0);
                    collector = collector.with_port(port.ok_or("a port is a number from 1 to 65535")?);
                }
                "protocol" => match value.as_str() {
                    Some(scheme @ ("http" | "https")) if !endpoint.contains("://") => {
                        collector = collector.at(format!("{scheme}://{endpoint}"));
                    }
                    Some("http" | "https") => {}
                    _ => return Err("the protocol is http or https".to_owned()),
                },
                "method" => collector = collector.with_method(Given(value).method()?),
                _ => _ = others.insert(key.clone(), value.clone()),
            }
        }
        Ok(Self { collector, others })
    }
}

impl Reader {
    /// Applies what the emitters that were read say of the exporter, once all `arguments` are known.
    pub(super) fn settle_emitters(&mut self, arguments: &Map<String, Value>) -> Result<(), BuildError> {
        let given = |(key, value): (&String, &Value)| (!value.is_null()).then(|| (key.clone(), value.clone()));
        let config = arguments.get("emitter_config").and_then(Value::as_object);
        let config: Arguments = config.into_iter().flatten().filter_map(given).collect();
        let own = std::mem::take(&mut self.emitters);
        let mut emitters: Vec<_> = own.into_iter().map(|own| config.clone().into_iter().chain(own).collect()).collect();
        if emitters.is_empty() || arguments.contains_key("endpoint") {
            // The emitter that `create_tracker` makes.
            emitters.insert(0, config.clone());
        }
        let first_wins = |mut all: Arguments, one: &Arguments| {
            one.iter().for_each(|(key, value)| _ = all.entry(key).or_insert_with(|| value.clone()));
            all
        };
        let all = emitters.iter().fold(Arguments::new(), first_wins);
        // Names and values first: what is misspelt differs, too, but not for that reason.
        let news = all.iter().filter(|(key, value)| config.get(*key) != Some(*value)).filter_map(given).collect();
        self.object("emitter_config", &news)?;
        for key in all.keys() {
            self.check_alike(key, &emitters)?;
        }
        if !all.contains_key("batch_size") {
            self.batch_as_the_methods_have_it();
        }
        Ok(())
    }

    fn check_alike(&self, key: &str, emitters: &[Arguments]) -> Result<(), BuildError> {
        let mut values = emitters.iter().map(|it| it.get(key));
        let first = values.next().flatten();
        let Some(other) = values.find(|value| *value != first) else { return Ok(()) };
        let said = |value: Option<&Value>| value.map_or_else(|| "left out".to_owned(), shown);
        Err(BuildError::Setting {
            setting: self.source,
            value: format!("{key}: {} and {}", said(first), said(other)),
            fix: format!(
                "emitters differ in `{key}`, which an exporter has once for all of its collectors; give it to all of them \
                 alike, or build an exporter for each"
            ),
        })
    }

    /// The tracker collects 10 events for a POST, and sends each at once by GET.
    fn batch_as_the_methods_have_it(&mut self) {
        let usual = self.builder.transport.method;
        let methods: Vec<_> = self.builder.collectors.iter().map(|it| it.method().unwrap_or(usual)).collect();
        let gets = methods.iter().filter(|method| **method == Method::Get).count();
        if gets == methods.len() && (gets > 0 || usual == Method::Get) {
            self.builder = std::mem::take(&mut self.builder).with_batch_size(1);
        } else if gets > 0 {
            self.notes.push(OptionNote {
                option: "emitter_config.batch_size",
                verdict: Verdict::Adapted,
                note: "10 for all emitters: only where all of them send by GET each event goes at once",
            });
        }
    }
}
