//! Reading variables: a value that cannot be understood is an error that names it, never a silent default.
//!
//! An empty variable counts as unset, as the OpenTelemetry specification has it. The environment is a function, so that
//! what is decided from it can be tested without touching the process's.

use std::ffi::OsString;

use super::error::SetupError;

/// Where variables are looked up.
pub(super) struct Environment<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    /// The value of a variable without blanks around it; none if it is unset or empty.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, SetupError> {
        let Some(raw) = (self.0)(name).filter(|raw| !raw.is_empty()) else { return Ok(None) };
        // Not shown: this may be a variable that holds secrets.
        let refuse = |problem: &str| SetupError::Variable { name, value: HIDDEN.into(), problem: problem.into() };
        let text = raw.into_string().map_err(|_| refuse("is not UTF-8; write it anew or unset it"))?;
        match text.trim() {
            "" => Err(refuse("holds blanks only; give it a value or unset it")),
            text => Ok(Some(text.to_owned())),
        }
    }

    /// The value of a variable, as `parse` understands it.
    pub(super) fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SetupError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|problem| SetupError::Variable { name, value: text, problem })
    }

    /// Like [`parsed`](Self::parsed) for a variable whose value must not be shown.
    pub(super) fn secret<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SetupError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|problem| SetupError::Variable { name, value: HIDDEN.into(), problem })
    }

    /// Whether the user wants no telemetry: by `DO_NOT_TRACK`, or `OTEL_SDK_DISABLED` is true.
    pub(super) fn disabled(&self) -> Result<bool, SetupError> {
        Ok(self.do_not_track() || self.parsed("OTEL_SDK_DISABLED", flag)?.unwrap_or(false))
    }

    /// Whether `DO_NOT_TRACK` is anything but empty, 0, false.
    pub(super) fn do_not_track(&self) -> bool {
        (self.0)("DO_NOT_TRACK").is_some_and(|value| {
            let value = value.to_string_lossy();
            !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "false")
        })
    }

    /// Variables that the SDK reads by itself, and whose nonsense it would ignore.
    pub(super) fn check_sdk(&self) -> Result<(), SetupError> {
        for name in POSITIVE {
            self.exact(name, |text| whole(text).and_then(positive))?;
        }
        for name in SIZES {
            self.exact(name, |text| whole(text).and_then(positive).and_then(allocated))?;
        }
        for name in LIMITS {
            self.exact(name, |text| {
                text.parse::<u32>().map_err(|_| "is not a whole number from 0 to 4294967295".into())
            })?;
        }
        let ratio = self.exact("OTEL_TRACES_SAMPLER", sampler)?.unwrap_or(false);
        if ratio {
            self.exact("OTEL_TRACES_SAMPLER_ARG", share)?;
        }
        Ok(())
    }

    /// Like [`parsed`](Self::parsed) for a variable that the SDK reads: it takes the value as it stands, blanks and all, and
    /// ignores what it cannot understand then.
    fn exact<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SetupError> {
        let raw = (self.0)(name);
        self.parsed(name, |text| match raw.is_some_and(|raw| raw != text) {
            true => Err("has blanks around it, with which the SDK does not understand it; leave them out".into()),
            false => parse(text),
        })
    }
}

/// A whole number of milliseconds, from one to an hour.
pub(super) fn milliseconds(text: &str) -> Result<std::time::Duration, String> {
    let number = whole(text).and_then(positive)?;
    if number > 3_600_000 {
        return Err("is longer than an hour; it is in milliseconds, such as 10000".into());
    }
    Ok(std::time::Duration::from_millis(number))
}

/// `name=value,name=value` with percent-encoded values. Problems name the place and never the value.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let entries = text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
    entries
        .map(|(index, entry)| {
            let place = index + 1;
            let (name, value) = entry
                .split_once('=')
                .ok_or_else(|| format!("entry {place} has no '='; write name=value,name=value"))?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() {
                return Err(format!("entry {place} has no name; write name=value,name=value"));
            }
            let value = percent_decoded(value)
                .ok_or_else(|| format!("entry {place} has a '%' that encodes nothing; write %25 for a percent sign"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false; use one of them or unset it".into()),
    }
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "is not a whole number; use digits only, such as 5000".into())
}

fn positive(number: u64) -> Result<u64, String> {
    if number == 0 { Err("must be more than zero; unset it for the default".into()) } else { Ok(number) }
}

/// How many places the SDK may make room for: a queue is allocated as a whole as it is made.
fn allocated(number: u64) -> Result<u64, String> {
    if number > MAXIMUM_SIZE {
        Err(format!("is more than fits into memory; use 1 to {MAXIMUM_SIZE}"))
    } else {
        Ok(number)
    }
}

/// Whether the sampler takes a share of the traces, given by another variable.
fn sampler(text: &str) -> Result<bool, String> {
    match text {
        "always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off" => Ok(false),
        "traceidratio" | "parentbased_traceidratio" => Ok(true),
        _ => Err("is not a known sampler; use always_on, always_off, traceidratio, parentbased_always_on, \
                  parentbased_always_off or parentbased_traceidratio"
            .into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "is not a share of the traces; use a number from 0.0 to 1.0".into())
}

/// Shown in the place of a value that may be a secret.
pub(super) const HIDDEN: &str = "(not shown)";

const POSITIVE: [&str; 4] =
    ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BLRP_EXPORT_TIMEOUT"];

const SIZES: [&str; 4] = [
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
];

/// Some hundreds of megabytes.
const MAXIMUM_SIZE: u64 = 1_048_576;

const LIMITS: [&str; 3] =
    ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"];
