//! The trackers that others wrote, as commands: the crate is built by this benchmark, the others are where
//! `scripts/trackers/install.sh` puts them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/trackers");

/// A program apart: the crate brings a TLS library that needs headers of the system, which `cargo test` shall not need.
pub(crate) fn snowplow_tracker() -> Result<Command, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).clone().map(Command::new)
}

pub(crate) fn python(emitter: &str) -> Result<Command, String> {
    let mut command = Command::new(installed()?.join("python/bin/python"));
    command.args([&format!("{SCRIPTS}/bench.py"), emitter]);
    Ok(command)
}

pub(crate) fn node() -> Result<Command, String> {
    let mut command = Command::new("node");
    command.arg(format!("{SCRIPTS}/bench.mjs")).env("OTEL_SESSION_TRACKERS", installed()?);
    Ok(command)
}

fn installed() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let named = std::env::var_os("OTEL_SESSION_TRACKERS").map(PathBuf::from);
    let found = named.or(cache.map(|cache| cache.join("otel-session/trackers")));
    found.filter(|folder| folder.join("installed").exists()).ok_or_else(|| "run scripts/trackers/install.sh".to_owned())
}

fn build() -> Result<PathBuf, String> {
    if !Path::new(SCRIPTS).exists() {
        return Err("its program is in the repository only".to_owned());
    }
    // The profile of this executable, beside which the other one is built: target/<profile>/deps/bridge-….
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = this.parent().and_then(Path::parent).ok_or("this executable is in no folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--locked", "--quiet", "--release", "-p", "otel-session-trackers"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", profile.parent().ok_or("this executable is in no folder")?)
        .stdin(Stdio::null())
        .status();
    let program = profile.join("otel-session-trackers").with_extension(std::env::consts::EXE_EXTENSION);
    match status {
        Ok(status) if status.success() && program.exists() => Ok(program),
        _ => Err("it could not be built; it needs OpenSSL's headers (libssl-dev) and pkg-config".to_owned()),
    }
}
