//! `setup()` in processes of its own: it reads the environment and installs globals, so each case runs this test binary
//! again as a child with its own variables. The child's part is in `child.rs`; what arrives is checked here.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod child;
mod export;
mod refusals;
mod trouble;

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

/// Longer than any child may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a case of `child.rs` with these variables and no other that could matter.
fn child(case: &str, variables: &[(&str, &str)]) -> Told {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child::the_case_of_this_process", "--nocapture", "--test-threads=1"]);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("OTEL_") || ["RUST_LOG", "DO_NOT_TRACK"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env(child::CASE, case).envs(variables.iter().copied());
    Told::of(command.output().unwrap())
}

#[test]
fn the_guard_the_settings_and_the_errors_go_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<otel_session::Telemetry>();
    shared::<otel_session::SetupError>();
    sent::<otel_session::Setup>();
}

/// What a child told.
struct Told {
    values: BTreeMap<String, String>,
    /// What went to standard error.
    stderr: String,
}

impl Told {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "the child failed:\n{stdout}\n{stderr}");
        let told = stdout.lines().filter_map(|line| line.split_once(child::TOLD));
        let pairs = told.filter_map(|(_, pair)| pair.split_once('='));
        Self { values: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(), stderr }
    }

    fn value(&self, key: &str) -> &str {
        self.values.get(key).unwrap_or_else(|| panic!("the child told no {key}: {:?}\n{}", self.values, self.stderr))
    }
}
