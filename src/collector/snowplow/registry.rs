//! Schemas by their Iglu address, and validation against them.
//!
//! Sources, in this order: schemas given one by one, folders laid out as static registries, this crate's own schemas, and
//! the official ones of the tracker protocol. Nothing is fetched. A schema is compiled when it is first needed.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::Value as Json;

/// Where schemas are found.
#[derive(Default)]
pub(in crate::collector) struct Registry {
    given: HashMap<String, String>,
    folders: Vec<PathBuf>,
    built_in: HashMap<String, &'static str>,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Why a schema given to the builder is none: a sentence.
#[derive(Debug)]
pub(in crate::collector) struct InvalidSchema(pub(in crate::collector) String);

impl Registry {
    /// The schemas that need no configuration.
    pub(in crate::collector) fn built_in() -> Self {
        let official = OFFICIAL.iter().map(|(uri, text)| ((*uri).to_owned(), *text));
        // A path in a registry is an address but for what stands before it.
        let own = ours().into_iter().map(|(path, text)| (path.replacen("schemas/", "iglu:", 1), text));
        Self { built_in: official.chain(own).collect(), ..Self::default() }
    }

    /// Adds one schema, which stands before all others of its address.
    pub(in crate::collector) fn give(&mut self, uri: &str, text: &str) -> Result<(), InvalidSchema> {
        let invalid = |why: String| InvalidSchema(format!("{uri}: {why}"));
        if Address::parse(uri).is_none() {
            return Err(invalid("not of the form iglu:vendor/name/jsonschema/1-0-0".to_owned()));
        }
        compile(text).map_err(invalid)?;
        self.given.insert(uri.to_owned(), text.to_owned());
        Ok(())
    }

    /// Adds a folder with `schemas/<vendor>/<name>/jsonschema/<version>`, or with the same from the vendor on.
    pub(in crate::collector) fn add_folder(&mut self, path: &Path) -> Result<(), InvalidSchema> {
        let nested = path.join("schemas");
        let root = if nested.is_dir() { nested } else { path.to_path_buf() };
        if !root.is_dir() {
            return Err(InvalidSchema(format!("{}: no such folder", path.display())));
        }
        self.folders.push(root);
        Ok(())
    }

    /// The text of a schema.
    pub(super) fn text(&self, uri: &str) -> Option<String> {
        let address = Address::parse(uri)?;
        if let Some(text) = self.given.get(uri) {
            return Some(text.clone());
        }
        let path = address.path();
        let in_folder = |root: &PathBuf| std::fs::read_to_string(root.join(&path)).ok();
        let built_in = || self.built_in.get(uri).map(|text| (*text).to_owned());
        self.folders.iter().find_map(in_folder).or_else(built_in)
    }

    /// What is wrong with data that claims to follow a schema: nothing, that the schema cannot be found or used, or where
    /// it does not follow it.
    pub(super) fn errors(&self, uri: &str, data: &Json) -> Vec<String> {
        let validator = match self.validator(uri) {
            Ok(validator) => validator,
            Err(why) => return vec![why],
        };
        let explained = validator.iter_errors(data).take(MAX_ERRORS);
        explained.map(|error| shorten(format!("{uri}: ${}: {error}", error.instance_path()))).collect()
    }

    fn validator(&self, uri: &str) -> Result<Arc<Validator>, String> {
        let known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned();
        if let Some(validator) = known {
            return Ok(validator);
        }
        // Only what was found is remembered: a sender can name any number of schemas that do not exist.
        let text = self.text(uri).ok_or_else(|| shorten(not_found(uri)))?;
        let validator =
            compile(&text).map_err(|why| shorten(format!("ResolutionError: {uri} cannot be used: {why}")))?;
        let validator = Arc::new(validator);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(compiled.entry(uri.to_owned()).or_insert(validator)))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("given", &self.given.keys())
            .field("folders", &self.folders)
            .field("built_in", &self.built_in.keys())
            .finish_non_exhaustive()
    }
}

/// The parts of `iglu:vendor/name/format/model-revision-addition`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) vendor: &'a str,
    pub(super) name: &'a str,
    pub(super) format: &'a str,
    pub(super) version: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn parse(uri: &'a str) -> Option<Self> {
        let mut parts = uri.strip_prefix("iglu:")?.split('/');
        let (vendor, name, format) = (parts.next()?, parts.next()?, parts.next()?);
        let version = parts.next()?;
        let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let numbers = version.split('-').filter(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit())).count();
        // No empty part between dots: a vendor must not lead out of a folder.
        let fits = vendor.split('.').all(word) && word(name) && word(format);
        let fits = fits && numbers == 3 && version.split('-').count() == 3 && parts.next().is_none();
        fits.then_some(Self { vendor, name, format, version })
    }

    fn path(&self) -> PathBuf {
        [self.vendor, self.name, self.format, self.version].iter().collect()
    }
}

fn compile(text: &str) -> Result<Validator, String> {
    let mut schema: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    // Iglu's own metaschema describes `self`; the rest is draft 4.
    schema.as_object_mut().ok_or("not a JSON object")?.remove("$schema");
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .offline()
        .should_validate_formats(true)
        .with_format("uuid", is_uuid)
        .build(&schema)
        .map_err(|error| error.to_string())
}

/// The canonical form, in either case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn not_found(uri: &str) -> String {
    match Address::parse(uri) {
        Some(_) => format!(
            "ResolutionError: no schema {uri} in this collector; add it with with_schema or with_iglu_dir if it is real"
        ),
        None => format!("ParseError: {uri:?} is no Iglu address"),
    }
}

/// An error quotes what it is about, which may be long: the middle goes, since what is wrong with it stands last.
pub(super) fn shorten(mut error: String) -> String {
    if error.len() > MAX_ERROR_BYTES {
        let (mut start, mut end) = (MAX_ERROR_BYTES - ERROR_END_BYTES, error.len() - ERROR_END_BYTES);
        while !error.is_char_boundary(start) {
            start -= 1;
        }
        while !error.is_char_boundary(end) {
            end += 1;
        }
        error.replace_range(start..end, "…");
    }
    error
}

/// For one schema, and for one event.
pub(super) const MAX_ERRORS: usize = 10;
const MAX_ERROR_BYTES: usize = 500;
const ERROR_END_BYTES: usize = 200;

/// The schemas of this crate's own events: path in a static registry, and text.
fn ours() -> Vec<(&'static str, &'static str)> {
    crate::iglu::schemas().iter().map(|schema| (schema.path, schema.text)).collect()
}

macro_rules! official {
    ($($path:literal),* $(,)?) => {
        &[$((concat!("iglu:", $path), include_str!(concat!("../iglu/", $path)))),*]
    };
}

/// See `iglu/README.md`.
const OFFICIAL: &[(&str, &str)] = official![
    "com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/application/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-1",
    "com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
    "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-0",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-1",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-2",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-3",
    "com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_built_in_can_be_used_and_is_what_its_address_says() {
        let registry = Registry::built_in();
        assert_eq!(registry.built_in.len(), OFFICIAL.len() + ours().len(), "no address stands twice");
        for (uri, text) in &registry.built_in {
            let schema: Json = serde_json::from_str(text).unwrap();
            let address = Address::parse(uri).unwrap();
            compile(text).unwrap_or_else(|why| panic!("{uri}: {why}"));
            assert_eq!(schema["self"]["vendor"], address.vendor);
            assert_eq!(schema["self"]["name"], address.name);
            assert_eq!(schema["self"]["version"], address.version);
        }
    }

    #[test]
    fn an_address_cannot_lead_out_of_a_folder() {
        let vendors = ["..", ".", "a..b", "", "a/b", "a b", "é"];
        for vendor in vendors {
            assert_eq!(Address::parse(&format!("iglu:{vendor}/n/jsonschema/1-0-0")), None, "{vendor}");
        }
        assert!(Address::parse("iglu:com.acme-x_y/n/jsonschema/1-0-0").is_some());
        for uri in ["iglu:a/b/c/1-0", "iglu:a/b/c/1-0-0/d", "iglu:a/b/c/1-0-x", "a/b/c/1-0-0", "iglu:a/b/c/1--0-0"] {
            assert_eq!(Address::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn formats_and_patterns_are_enforced() {
        let registry = Registry::built_in();
        let session = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2";
        let valid = serde_json::json!({
            "userId": "6de9024e-17b9-4026-bd4d-efec50ae84cb", "sessionId": "6D15A4FB-9623-4ba1-b876-5240e72e6970",
            "sessionIndex": 1, "eventIndex": null, "previousSessionId": null, "storageMechanism": "SQLITE",
            "firstEventId": null, "firstEventTimestamp": "2026-11-20T08:00:00.000Z",
        });
        assert_eq!(registry.errors(session, &valid), Vec::<String>::new());
        for (field, wrong) in [
            ("userId", "6DE9024E-17b9-4026-bd4d-efec50ae84cb"),
            ("sessionId", "1234567891234"),
            ("firstEventTimestamp", "yesterday"),
            ("storageMechanism", "MEMORY"),
        ] {
            let mut invalid = valid.clone();
            invalid[field] = wrong.into();
            assert_eq!(registry.errors(session, &invalid).len(), 1, "{field}");
        }
        let list = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0";
        let entity = |schema: &str| serde_json::json!([{ "schema": schema, "data": {} }]);
        assert!(registry.errors(list, &entity("iglu:com.a-b.c_d/n-1_a/jsonschema/1-0-0")).is_empty());
        assert_eq!(registry.errors(list, &entity("com.a/n/jsonschema/1-0-0")).len(), 1);
    }
}
