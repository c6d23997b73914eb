//! The platforms that Snowplow's enrichment knows.

use std::fmt;
use std::str::FromStr;

use crate::error::BuildError;

/// Where events come from (`p`). Enrichment fails every event with a value that is not one of these nine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Platform {
    /// `web`: a web site, the browser tracker's own default.
    Web,
    /// `mob`: a phone or tablet.
    Mobile,
    /// `pc`: a desktop program.
    Desktop,
    /// `srv`: a server; the default.
    #[default]
    Server,
    /// `app`: an application in general.
    App,
    /// `tv`: a television.
    Television,
    /// `cnsl`: a games console.
    Console,
    /// `iot`: a thing with an internet connection.
    InternetOfThings,
    /// `headset`: a virtual reality headset.
    Headset,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Self; 9] = [
        Self::Web,
        Self::Mobile,
        Self::Desktop,
        Self::Server,
        Self::App,
        Self::Television,
        Self::Console,
        Self::InternetOfThings,
        Self::Headset,
    ];

    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mobile => "mob",
            Self::Desktop => "pc",
            Self::Server => "srv",
            Self::App => "app",
            Self::Television => "tv",
            Self::Console => "cnsl",
            Self::InternetOfThings => "iot",
            Self::Headset => "headset",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Platform {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| BuildError::Setting {
            setting: "with_platform",
            value: format!("{:?}", text.chars().take(80).collect::<String>()),
            fix: format!("use one of {}; Snowplow fails events of any other", Self::ALL.map(Self::as_str).join(", ")),
        })
    }
}
