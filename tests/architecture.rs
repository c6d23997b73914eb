//! Holds the shape of the crate: which room may name which, how long a file may be, how many `cfg`s there are, who reads
//! a clock, and the one stated minimum Rust version. The rules are explained in `docs/architecture.md`.
//!
//! The sources are scanned as text: comments are left out, and so are inline test modules and `tests.rs` files where a
//! rule is about the shipped code only. A room in the table that does not exist is fine; one that is not in it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Rooms that everybody may name. They may name each other, in one direction.
const GROUND: &[&str] = &["calendar", "clock", "error", "event_name", "host", "iglu", "semconv", "telemetry", "sync"];

/// The left half's upper rooms: they may name each other, in one direction.
const LEFT: &[&str] = &["sessions", "stamp", "lifecycle", "layer", "scope"];

/// What each room may name besides [`GROUND`]; a room is a file or a folder right under `src`.
fn rooms() -> BTreeMap<&'static str, Vec<&'static str>> {
    let left = || [LEFT, &["activity", "session", "store"]].concat();
    let mut rooms: BTreeMap<_, _> = GROUND.iter().map(|room| (*room, Vec::new())).collect();
    rooms.extend(LEFT.iter().map(|room| (*room, left())));
    rooms.insert("activity", vec![]);
    rooms.insert("session", vec![]);
    rooms.insert("store", vec!["session"]);
    // No left-half room: the bridges work on any stream of logs that carries `session.id`.
    rooms.insert("export", vec![]);
    rooms.insert("collector", vec![]);
    rooms.insert("testing", left());
    rooms.insert("setup", [left(), vec!["export"]].concat());
    rooms
}

#[test]
fn every_room_is_in_the_table() {
    let rooms = rooms();
    let unknown: BTreeSet<_> = sources().into_iter().map(|it| it.room).filter(|it| it != "lib").collect();
    let unknown: Vec<_> = unknown.into_iter().filter(|room| !rooms.contains_key(room.as_str())).collect();
    assert!(unknown.is_empty(), "not in the table of tests/architecture.rs: {unknown:?}");
}

#[test]
fn imports_go_one_way() {
    let allowed = rooms();
    let mut wrong = Vec::new();
    for import in imports(&sources()) {
        let may_name = |room: &str| allowed.get(import.from.as_str()).is_some_and(|rooms| rooms.contains(&room));
        let ground = GROUND.contains(&import.to.as_str()) && import.from != "collector";
        // The collector decodes the wire on its own, so that it checks the encoders instead of sharing their mistakes.
        // What it shares is names and schemas, which are data, and the time.
        let shared_with_it = ["semconv", "iglu", "clock", "calendar"];
        let names_of_the_collector = import.from == "collector" && shared_with_it.contains(&import.to.as_str());
        if import.to != import.from && !ground && !names_of_the_collector && !may_name(&import.to) {
            wrong.push(format!("{}: `{}` may not name `{}`", import.place, import.from, import.to));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_two_rooms_import_each_other() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for import in imports(&sources()).into_iter().filter(|import| import.from != import.to) {
        edges.entry(import.from).or_default().insert(import.to);
    }
    // Rooms without imports are taken away until none is left, or only those that stand in a circle.
    while let Some(free) = edges.values().flatten().find(|room| !edges.contains_key(*room)).cloned() {
        edges.values_mut().for_each(|targets| _ = targets.remove(&free));
        edges.retain(|_, targets| !targets.is_empty());
    }
    assert!(edges.is_empty(), "rooms that import each other in a circle: {edges:?}");
}

#[test]
fn the_core_knows_no_opentelemetry_no_threads_and_no_input_or_output() {
    const FOREIGN: [&str; 7] =
        ["opentelemetry", "tracing::", "tokio::", "std::thread::spawn", "std::fs", "std::net", "std::io"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room == "session") {
        for (number, line) in source.shipped_code() {
            wrong.extend(
                FOREIGN.iter().filter(|it| line.contains(*it)).map(|it| format!("{}:{number}: {it}", source.path)),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_file_of_more_than_600_lines_says_why() {
    let long = |source: &Source| source.text.lines().count() > 600 && !source.text.contains(LONG_FILE_REASON);
    let wrong: Vec<_> = sources().into_iter().filter(long).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "over 600 lines without a line `{LONG_FILE_REASON} ..`: {wrong:?}");
}

#[test]
fn features_gate_rooms_and_hardly_ever_statements() {
    let sources = sources();
    let mut scattered = Vec::new();
    for source in &sources {
        let contents = source.path == "lib.rs" || source.path.ends_with("/mod.rs");
        let code = source.code();
        for (index, (number, _)) in code.iter().enumerate().filter(|(_, (_, line))| asks_for_a_feature(line)) {
            // Attributes may stand between the condition and what it gates.
            let gated = code[index + 1..].iter().map(|(_, line)| line.trim()).find(|line| !line.starts_with("#["));
            if !(contents && gated.is_some_and(gates_a_room)) {
                scattered.push(format!("{}:{number}", source.path));
            }
        }
    }
    let code: usize = sources.iter().map(|source| source.code().len()).sum();
    let budget = (code / 100).max(1);
    assert!(
        scattered.len() <= budget,
        "{} scattered cfg(feature), the budget is {budget}: {scattered:?}",
        scattered.len()
    );
}

#[test]
fn only_the_clock_reads_a_clock_and_nobody_sleeps() {
    const BANNED: [&str; 3] = ["SystemTime::now(", "Instant::now(", "sleep("];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path != "clock.rs") {
        for (number, line) in source.code() {
            wrong.extend(
                BANNED.iter().filter(|it| line.contains(*it)).map(|it| format!("{}:{number}: {it})", source.path)),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_name_of_the_registry_is_never_written_out() {
    let sources = sources();
    let generated = sources.iter().find(|source| source.path == "semconv.rs").expect("the generated names");
    let names: Vec<_> = generated
        .text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("pub const ")?.split_once("= ")?.1.trim_end_matches(';')))
        .collect();
    assert!(names.contains(&"\"session.id\""), "{names:?}");
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| source.path != "semconv.rs") {
        for (number, line) in source.shipped_code() {
            let written = names.iter().filter(|name| line.contains(*name));
            wrong.extend(written.map(|name| format!("{}:{number}: {name}", source.path)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_minimum_rust_version_is_that_of_the_default_dependencies() {
    let Some(metadata) = metadata() else { return };
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let tree = ["tree", "--offline", "--locked", "-p", "otel-session", "-e", "normal,build", "--prefix", "none"];
    let tree = cargo(&tree);
    let mut stated = None;
    let mut highest = ((0, 0), String::new());
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let is_it = |it: &&serde_json::Value| it["name"] == name && it["version"] == version.trim_start_matches('v');
        let package = packages.iter().find(is_it).unwrap_or_else(|| panic!("{name} {version} is not in the metadata"));
        let Some(needs) = package["rust_version"].as_str().map(major_and_minor) else { continue };
        if name == "otel-session" {
            stated = Some(needs);
        } else {
            highest = highest.max((needs, name.to_owned()));
        }
    }
    assert_eq!(stated, Some(highest.0), "Cargo.toml's rust-version and what {} needs", highest.1);
}

mod the_scanner {
    use super::*;

    #[test]
    fn finds_each_room_of_a_grouped_import() {
        let from =
            "use crate::{\n    clock::Source, // crate::setup\n    session::{policy, self},\n    telemetry,\n};\n";
        assert_eq!(named_by("stamp/span.rs", from), ["clock", "session", "telemetry"]);
    }

    #[test]
    fn finds_paths_within_code_and_ignores_comments_and_tests() {
        let text = "//! [`x`](crate::setup)\nfn f() { crate::layer::g(\"http://a\"); } // crate::setup\n\
             #[cfg(test)]\nmod tests {\n    use crate::setup::S;\n}\n";
        assert_eq!(named_by("stamp/mod.rs", text), ["layer"]);
    }

    #[test]
    fn follows_super_out_of_a_room_and_exports_of_the_root_into_one() {
        assert_eq!(named_by("stamp/span.rs", "use super::super::lifecycle::Keeper;\nuse super::log;\n"), ["lifecycle"]);
        assert_eq!(named_by("stamp/mod.rs", "fn f(it: &crate::Session) {}\n"), ["session"]);
    }

    fn named_by(path: &str, text: &str) -> Vec<String> {
        let lib = "pub use session::{Session, Transition as T};\npub mod clock;\n";
        let sources = [Source::new("lib.rs", lib), Source::new(path, text)];
        imports(&sources).into_iter().map(|import| import.to).collect()
    }
}

struct Source {
    /// Relative to `src`, with `/` between folders.
    path: String,
    room: String,
    text: String,
}

struct Import {
    from: String,
    to: String,
    place: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let room = path.split('/').next().unwrap_or(path).trim_end_matches(".rs");
        Self { path: path.to_owned(), room: room.to_owned(), text: text.to_owned() }
    }

    /// Lines with their numbers, without comments and without empty ones.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)));
        lines.filter(|(_, line)| !line.trim().is_empty()).collect()
    }

    /// The same without test modules, which stand at the end of a file or in a file of their own.
    fn shipped_code(&self) -> Vec<(usize, &str)> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let mut code = self.code();
        let tests =
            |pair: &[(usize, &str)]| pair[0].1.trim() == "#[cfg(test)]" && pair[1].1.trim().starts_with("mod tests {");
        if let Some(start) = code.windows(2).position(tests) {
            code.truncate(start);
        }
        code
    }

    /// How many `super` lead from the file's own module to the root of the crate.
    fn depth(&self) -> usize {
        let parts = self.path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").count();
        if self.path == "lib.rs" { 0 } else { parts }
    }
}

fn sources() -> Vec<Source> {
    let root = package().join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be read") {
            let path = entry.expect("a folder entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(&root).expect("inside src").to_string_lossy().replace('\\', "/");
                sources.push(Source::new(&name, &fs::read_to_string(&path).expect("a source file can be read")));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Every naming of a room by the shipped code of another file than `lib.rs`, which is the table of contents.
fn imports(sources: &[Source]) -> Vec<Import> {
    let exported = sources.iter().find(|source| source.path == "lib.rs").map(root_exports).unwrap_or_default();
    let mut imports = Vec::new();
    for source in sources.iter().filter(|source| source.room != "lib") {
        let code = source.shipped_code();
        let text = code.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
        let out_of_the_room = "super::".repeat(source.depth());
        for prefix in ["crate::", out_of_the_room.as_str()] {
            for (at, _) in text.match_indices(prefix) {
                // `$crate::` and identifiers that only end in `crate` or `super` are something else.
                if text[..at].ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) {
                    continue;
                }
                let line = code[text[..at].matches('\n').count()].0;
                for name in first_names(&text[at + prefix.len()..]) {
                    // In a file right under `src`, `super` may also stand in an inline module and mean the file itself.
                    let known = exported.get(name).cloned().or_else(|| is_room(name).then(|| name.to_owned()));
                    let Some(to) = known else { continue };
                    imports.push(Import {
                        from: source.room.clone(),
                        to,
                        place: format!("src/{}:{line}", source.path),
                    });
                }
            }
        }
    }
    imports
}

/// The names right behind `crate::`: one, or those of a group in braces.
fn first_names(path: &str) -> Vec<&str> {
    let name = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (index, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let part = group[start..index].trim();
                names.push(&part[..name(part)]);
                start = index + 1;
                if char == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What `lib.rs` exports at the root, and the room it comes from: naming `crate::Session` is naming `session`.
fn root_exports(lib: &Source) -> BTreeMap<String, String> {
    let text = lib.code().iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
    let mut exports = BTreeMap::new();
    for statement in text.split(';').filter_map(|it| it.split_once("pub use ").map(|(_, path)| path)) {
        let path = statement.trim().trim_start_matches("crate::").trim_start_matches("self::");
        let Some((room, rest)) = path.split_once("::") else { continue };
        for word in rest.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()) {
            exports.insert(word.to_owned(), room.to_owned());
        }
    }
    exports
}

fn is_room(name: &str) -> bool {
    rooms().contains_key(name)
}

fn without_comment(line: &str) -> &str {
    // A comment begins the line or follows a blank; `//` within a string literal is nearly always part of a URL.
    if line.trim_start().starts_with("//") { "" } else { line.split_once(" // ").map_or(line, |(code, _)| code) }
}

fn asks_for_a_feature(line: &str) -> bool {
    let documentation = line.contains("cfg_attr(docsrs");
    !documentation
        && (line.contains("cfg(") || line.contains("cfg!(") || line.contains("cfg_attr("))
        && line.contains("feature =")
}

fn gates_a_room(line: &str) -> bool {
    let item = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    item.starts_with("mod ") || item.starts_with("use ")
}

/// The package's folder, asked at run time: checkouts that share a target folder also share test binaries, and a path
/// compiled into one of them may be another checkout's.
fn package() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"))
}

/// What cargo knows of the packages. That is about the whole workspace, of which a machine that has only built this package
/// may lack some: those are fetched. None, which it says, where they cannot be.
fn metadata() -> Option<String> {
    let host = host();
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &host];
    let offline = [&arguments[..], &["--offline"]].concat();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = try_run(&cargo, &offline).or_else(|_| try_run(&cargo, &arguments));
    if let Err(lack) = &metadata {
        assert!(std::env::var("OTEL_SESSION_REQUIRE").as_deref() != Ok("1"), "{lack}");
        eprintln!("skipped: the workspace's packages are not all on this machine (cargo fetch gets them): {lack}");
    }
    metadata.ok()
}

fn cargo(arguments: &[&str]) -> String {
    run(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

fn host() -> String {
    let version = run("rustc", &["-vV"]);
    version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

fn run(program: &str, arguments: &[&str]) -> String {
    try_run(program, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// What a program prints; its complaints if it fails.
fn try_run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).current_dir(package()).output();
    let output = output.map_err(|error| format!("{program} does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program} {arguments:?}: {error}"))
}

fn major_and_minor(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().expect("a version is made of numbers"));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

const LONG_FILE_REASON: &str = "//! Longer than 600 lines because:";
