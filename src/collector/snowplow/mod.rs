//! The Snowplow side: a collector, the validation behind it, and the REST interface of Snowplow Micro.
//!
//! ```text
//! tracker ──> http ──> payload ──> judge ──> atomic ────┐
//!              │ 200   (envelope)    └─────> entities ──┴─> good, bad ──> Stream, /micro/*
//!              └─ answers (cookie, CORS, pixel)  └─ registry (Iglu schemas)
//! ```
//!
//! Written from a description of what the real pipeline does, not from its source. As there, a request is answered with
//! 200 whatever is in it; only afterwards is it judged, each event by itself. Left out: redirects (`/r/`), the cookie
//! bounce, payloads other than the tracker protocol, enrichments.
//!
//! Bounds: request lines of 20,480 bytes, headers of 40,960, bodies of 2 MiB, JSON nested at most 40 deep, ten errors
//! of 500 bytes each for one event.

mod answers;
mod atomic;
mod columns;
mod entities;
mod http;
mod judge;
mod micro;
mod payload;
mod records;
mod registry;
mod settings;

pub use records::{ClientSession, SnowplowBad, SnowplowEvent};

pub(super) use http::answer;
pub(super) use judge::{Verdict, judge};
pub(super) use payload::{Payload, RequestFacts};
pub(super) use registry::{InvalidSchema, Registry};
pub(super) use settings::{MAX_HEAD_BYTES, Settings};
