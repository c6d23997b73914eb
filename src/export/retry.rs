//! What becomes of a request that failed, and when it is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::BuildError;

/// Which replies are retried, and how long to wait before.
///
/// By default every fault of the network and every status but 2xx is retried, except 400, 401, 403, 410 and 422, whose
/// events are dropped and counted as [`Loss::EventRejected`](crate::Loss::EventRejected). A 413 halves the batch; a single
/// event that is answered so is dropped as [`Loss::EventTooLarge`](crate::Loss::EventTooLarge). Redirects are never
/// followed; they are retried, with one warning.
///
/// Before the n-th retry in a row it waits a random time between zero and 0.5 s · 2ⁿ⁻¹, at most [the
/// maximum](Self::with_max_delay). A `Retry-After` of the collector, in seconds or as a date, stands in its place, whatever
/// the status, from a second up to an hour; a shorter one changes nothing. A fault of the network is always retried.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Whether each is retried, and the setting that said so last.
    codes: BTreeMap<u16, (bool, &'static str)>,
    retry_failed_requests: bool,
    max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { codes: BTreeMap::new(), retry_failed_requests: true, max_delay: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The default policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest wait between two attempts, unless the collector asks for a longer one. Default: 60 s; from 1 ms to a day.
    #[must_use]
    pub fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// Whether a status is retried (true) or its events are dropped (false). A 2xx is refused by `build()`. A 413 that is
    /// retried is halved as always: the same events would get the same answer.
    #[must_use]
    pub fn with_retry_code(mut self, code: u16, retry: bool) -> Self {
        self.codes.insert(code, (retry, "with_retry_code"));
        self
    }

    /// The same for a map of statuses (`custom_retry_codes` of the Python tracker).
    #[must_use]
    pub fn with_retry_codes(mut self, codes: impl IntoIterator<Item = (u16, bool)>) -> Self {
        self.codes.extend(codes.into_iter().map(|(code, retry)| (code, (retry, "with_retry_codes"))));
        self
    }

    /// Statuses to retry (`retryStatusCodes` of the JavaScript tracker). One that is in both lists is retried.
    #[must_use]
    pub fn with_retry_status_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes.extend(codes.into_iter().map(|code| (code, (true, "with_retry_status_codes"))));
        self
    }

    /// Statuses not to retry (`dontRetryStatusCodes` of the JavaScript tracker).
    #[must_use]
    pub fn with_dont_retry_status_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        for code in codes {
            self.codes.entry(code).or_insert((false, "with_dont_retry_status_codes"));
        }
        self
    }

    /// False drops the events of every request that is answered with another status than 2xx. Faults of the network, where
    /// nobody knows what arrived, are retried all the same. Default: true.
    #[must_use]
    pub fn with_retry_failed_requests(mut self, retry: bool) -> Self {
        self.retry_failed_requests = retry;
        self
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if let Some((code, (retry, setting))) = self.codes.iter().find(|(code, _)| is_success(**code)) {
            return Err(BuildError::Setting {
                setting,
                value: format!("{code}, {retry}"),
                fix: "a 2xx says that the events have arrived; name other statuses".to_owned(),
            });
        }
        if self.max_delay < SHORTEST || self.max_delay > LONGEST {
            return Err(BuildError::Setting {
                setting: "with_max_delay",
                value: format!("{:?}", self.max_delay),
                fix: "use from 1 ms to a day".to_owned(),
            });
        }
        Ok(())
    }

    /// What a reply of this status means.
    pub(crate) fn verdict(&self, status: u16) -> Verdict {
        match (status, self.codes.get(&status).map(|(retry, _)| retry)) {
            (200..=299, _) => Verdict::Delivered,
            _ if !self.retry_failed_requests => Verdict::Drop,
            (_, Some(false)) => Verdict::Drop,
            (413, _) => Verdict::Halve,
            (_, Some(true)) => Verdict::Retry,
            (400 | 401 | 403 | 410 | 422, None) => Verdict::Drop,
            (_, None) => Verdict::Retry,
        }
    }

    /// How long to wait after so many failures in a row: full jitter, so that a thousand programs that saw the same outage
    /// do not come back at the same moment.
    pub(crate) fn delay(&self, failures: u32, random: u64) -> Duration {
        let doubled = BASE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let ceiling = doubled.min(self.max_delay);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % nanos.saturating_add(1))
    }
}

/// What a reply means for the events of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Later, the same.
    Retry,
    /// At once, in halves; one alone is dropped.
    Halve,
    Drop,
}

/// How long the collector asks to wait: seconds, or a date by `wall` (nanoseconds since 1970). At most an hour, since a
/// mistake there must not stop delivery for ever.
pub(crate) fn retry_after(headers: &http::HeaderMap, wall: i64) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let nanos = crate::clock::to_nanos(date).saturating_sub(wall);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    };
    Some(delay.min(LONGEST_ASKED))
}

fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}

const BASE: Duration = Duration::from_millis(500);
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_from_0_to_599_is_delivered_retried_halved_or_dropped_as_ruled() {
        let policy = RetryPolicy::new();
        for status in 0..=599 {
            let ruled = match status {
                200..=299 => Verdict::Delivered,
                400 | 401 | 403 | 410 | 422 => Verdict::Drop,
                413 => Verdict::Halve,
                _ => Verdict::Retry,
            };
            assert_eq!(policy.verdict(status), ruled, "{status}");
        }
    }

    #[test]
    fn a_map_overrides_both_ways_and_2xx_is_always_a_success() {
        let policy = RetryPolicy::new().with_retry_codes([(500, false), (422, true), (413, false)]);
        assert_eq!(policy.verdict(500), Verdict::Drop);
        assert_eq!(policy.verdict(422), Verdict::Retry);
        assert_eq!(policy.verdict(413), Verdict::Drop);
        assert_eq!(policy.verdict(502), Verdict::Retry);
        let never = RetryPolicy::new().with_retry_failed_requests(false).with_retry_code(503, true);
        for status in 0..=599 {
            let ruled = if is_success(status) { Verdict::Delivered } else { Verdict::Drop };
            assert_eq!(never.verdict(status), ruled, "{status}");
        }
    }

    #[test]
    fn a_status_in_both_lists_is_retried_whichever_came_first() {
        let lists = RetryPolicy::new().with_dont_retry_status_codes([500, 501]).with_retry_status_codes([500, 403]);
        let turned = RetryPolicy::new().with_retry_status_codes([500, 403]).with_dont_retry_status_codes([500, 501]);
        for policy in [lists, turned] {
            let verdicts = [500, 501, 403].map(|status| policy.verdict(status));
            assert_eq!(verdicts, [Verdict::Retry, Verdict::Drop, Verdict::Retry]);
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for code in 200..300 {
            let error = RetryPolicy::new().with_retry_code(code, true).check().unwrap_err();
            assert!(error.to_string().contains(&code.to_string()), "{error}");
        }
        let named = [
            (RetryPolicy::new().with_retry_code(204, false), "with_retry_code(204"),
            (RetryPolicy::new().with_retry_codes([(204, false)]), "with_retry_codes(204"),
            (RetryPolicy::new().with_retry_status_codes([204]), "with_retry_status_codes(204"),
            (RetryPolicy::new().with_dont_retry_status_codes([204]), "with_dont_retry_status_codes(204"),
        ];
        for (policy, setting) in named {
            let error = policy.check().unwrap_err().to_string();
            assert!(error.starts_with(setting), "{error}");
        }
        assert!(RetryPolicy::new().with_max_delay(Duration::ZERO).check().is_err());
        assert!(RetryPolicy::new().with_max_delay(Duration::MAX).check().is_err());
        assert!(RetryPolicy::new().with_retry_codes([(199, true), (300, false)]).check().is_ok());
    }

    #[test]
    fn the_wait_doubles_up_to_its_maximum_and_is_spread_from_zero() {
        let policy = RetryPolicy::new();
        let longest = |failures| {
            let ceiling = policy.delay(failures, u64::MAX).max(policy.delay(failures, 60_000_000_000));
            (0..64).map(|shift| policy.delay(failures, u64::MAX >> shift)).fold(ceiling, Duration::max)
        };
        assert!(longest(1) <= Duration::from_millis(500) && longest(1) > Duration::from_millis(250));
        assert!(longest(2) <= Duration::from_secs(1) && longest(2) > Duration::from_millis(500));
        for failures in [8, 31, 32, 33, 64, u32::MAX] {
            assert!(longest(failures) <= Duration::from_secs(60) && longest(failures) > Duration::from_secs(30));
            assert_eq!(policy.delay(failures, 0), Duration::ZERO);
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date_and_has_a_bound() {
        let asked = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            // 1994-11-06T08:49:37Z
            retry_after(&headers, 784_111_777_000_000_000)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sunday, 06-Nov-94 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Sat, 06 Nov 2094 08:00:00 GMT"), Some(LONGEST_ASKED));
        assert_eq!(asked("99999999999999999999999"), Some(LONGEST_ASKED));
        for nonsense in ["", "soon", "-5", "1.5", "\u{e9}"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
    }
}
