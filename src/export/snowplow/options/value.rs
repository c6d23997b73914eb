//! Values of options, and what they must be.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::super::Method;

/// A value that an option was given. The errors say what it should be.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Given<'a>(pub(in super::super) &'a Value);

impl Given<'_> {
    pub(super) fn text(&self) -> Result<&str, String> {
        self.0.as_str().ok_or_else(|| "give a text".to_owned())
    }

    pub(super) fn flag(&self) -> Result<bool, String> {
        self.0.as_bool().ok_or_else(|| "give true or false".to_owned())
    }

    pub(super) fn number(&self) -> Result<u64, String> {
        self.0.as_u64().ok_or_else(|| "give a whole number that is not negative".to_owned())
    }

    pub(super) fn size(&self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|_| "give a smaller number".to_owned())
    }

    pub(super) fn millis(&self) -> Result<Duration, String> {
        self.number().map(Duration::from_millis)
    }

    pub(super) fn seconds(&self) -> Result<Duration, String> {
        let seconds = self.0.as_f64().ok_or("give a number of seconds")?;
        Duration::try_from_secs_f64(seconds).map_err(|_| "give a number of seconds that is not negative".to_owned())
    }

    /// One number for both, or a pair: connecting, then the whole.
    pub(super) fn timeouts(&self) -> Result<(Duration, Duration), String> {
        match self.0.as_array().map(Vec::as_slice) {
            None => self.seconds().map(|timeout| (timeout, timeout)),
            Some([connect, read]) => Ok((Given(connect).seconds()?, Given(read).seconds()?)),
            Some(_) => Err("give a number of seconds, or two of them".to_owned()),
        }
    }

    pub(super) fn method(&self) -> Result<Method, String> {
        match self.0.as_str() {
            Some(text) if text.eq_ignore_ascii_case("post") => Ok(Method::Post),
            Some(text) if text.eq_ignore_ascii_case("get") => Ok(Method::Get),
            Some(text) if text.eq_ignore_ascii_case("beacon") => Err(
                "`beacon` is a browser's way to send while a page closes; use `post`, and `shutdown(timeout)` at the end"
                    .to_owned(),
            ),
            _ => Err("use `post` or `get`".to_owned()),
        }
    }

    pub(super) fn statuses(&self) -> Result<Vec<u16>, String> {
        let codes = self.0.as_array().ok_or("give a list of statuses")?;
        codes.iter().map(|code| Given(code).status()).collect()
    }

    fn status(&self) -> Result<u16, String> {
        let code = u16::try_from(self.number()?).ok().filter(|code| *code < 1000);
        code.ok_or_else(|| "a status is a number below 1000".to_owned())
    }

    /// JSON has no numbers for keys: they are texts here.
    pub(super) fn retry_codes(&self) -> Result<BTreeMap<u16, bool>, String> {
        let codes = self.0.as_object().ok_or("give an object such as {\"500\": false}")?;
        let read = |(code, retry): (&String, &Value)| {
            let code = code.parse().map_err(|_| format!("{code:?} is no status"))?;
            Ok((code, Given(retry).flag()?))
        };
        codes.iter().map(read).collect()
    }

    pub(super) fn texts(&self) -> Result<Vec<(String, String)>, String> {
        let texts = self.0.as_object().ok_or("give an object of texts")?;
        let read = |(name, value): (&String, &Value)| match value.as_str() {
            Some(value) => Ok((name.clone(), value.to_owned())),
            None => Err(format!("the value of {name:?} is no text")),
        };
        texts.iter().map(read).collect()
    }
}
