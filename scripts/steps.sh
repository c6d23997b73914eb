# The steps of .ci/run, one function each, sourced by it. Each runs in the repository's root, in a subshell with `set -e`.
# shellcheck shell=bash

step_tools() {
  cargo --version || { echo "Rust is needed: https://rustup.rs" >&2; return 1; }
  rust_component fmt rustfmt
  rust_component clippy clippy
  cargo_tool cargo-deny 0.20.2
  cargo_tool cargo-fuzz 0.13.2
  go version || [ -x "$(collector_binary)" ] || { echo "Go is needed to build the OpenTelemetry Collector: https://go.dev/dl" >&2; return 1; }
  pkg-config --exists openssl 2>/dev/null || debian_packages libssl-dev pkg-config || { echo "libssl-dev and pkg-config build the snowplow_tracker crate, a contender of benches/bridge" >&2; return 1; }
  python3 --version && node --version || { echo "Python 3 and Node.js run the real Snowplow trackers: see scripts/trackers/install.sh" >&2; return 1; }
}

step_fmt() {
  cargo fmt --all --check
}

step_clippy() {
  local features
  # A feature must stand alone, so each is also built without the others; tests come in with all of them.
  for features in "--no-default-features" "" $(single_features) "--all-features --all-targets"; do
    echo "clippy ${features:-(default features)}"
    # shellcheck disable=SC2086 # several words on purpose
    cargo clippy --locked --quiet -p otel-session ${features//,/ } -- -D warnings
  done
}

step_test() {
  local command
  command=$(readme_test_command)
  [ -n "$command" ] || { echo "README.md has no fenced block after <!-- test-command -->" >&2; return 1; }
  OTEL_SESSION_OTELCOL=$(prepared otelcol)
  OTEL_SESSION_TRACKERS=$(prepared trackers)
  # With OTEL_SESSION_REQUIRE a test that lacks something it needs fails instead of skipping itself.
  export OTEL_SESSION_OTELCOL OTEL_SESSION_TRACKERS OTEL_SESSION_REQUIRE=1
  printf '$ %s\n' "$command"
  bash -euo pipefail -c "$command"
}

step_crash() {
  # The whole of what tests/snowplow_crash.rs does in small: a process killed at 200 random moments.
  OTEL_SESSION_CRASH_KILLS=200 OTEL_SESSION_CRASH_EVENTS=100000 \
    cargo test --locked --all-features --test snowplow_crash -- --nocapture
}

step_docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features -p otel-session
}

step_examples() {
  local example name
  compgen -G 'examples/*.rs' >/dev/null || { echo "there are no examples" >&2; return 1; }
  cargo build --locked --release --all-features --examples
  for example in examples/*.rs; do
    name=$(basename "$example" .rs)
    echo "example $name"
    timeout 120 cargo run --locked --release --quiet --all-features --example "$name"
  done
}

step_models() {
  local output
  # Here and not with the other clippy: on a new machine the tests shall find no more packages than a user's would.
  cargo clippy --locked --quiet -p otel-session-models --all-targets -- -D warnings
  output=$(mktemp)
  cargo test --locked --release -p otel-session-models | tee "$output"
  # A model that is compiled out passes too: at least one must have run.
  grep -Eq '^test result: ok\. [1-9]' "$output" || { echo "no model was checked" >&2; return 1; }
  rm "$output"
}

step_deny() {
  cargo-deny --all-features check --hide-inclusion-graph bans licenses sources
}

step_fuzz() {
  fuzz/run.sh 10
}

step_bench() {
  cargo clippy --locked --quiet -p otel-session-trackers -- -D warnings
  OTEL_SESSION_TRACKERS=$(prepared trackers)
  export OTEL_SESSION_TRACKERS OTEL_SESSION_REQUIRE=1
  cargo bench --locked --bench hot_path --all-features -- --quick
  cargo bench --locked --bench bridge --all-features -- --quick
}

step_dependencies() {
  diff -u docs/adr/no-default-features.txt <(bare_dependencies) ||
    { echo "the bare crate's dependencies changed: give the reason in docs/adr/0001-dependencies.md" >&2; return 1; }
}

step_package() {
  # What a user downloads holds the licences, the readme and the registry, and none of our machinery.
  local listed wanted
  listed=$(cargo package --locked --allow-dirty --list)
  for wanted in LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md semconv/registry/attributes.yaml; do
    grep -qx "$wanted" <<<"$listed" || { echo "not in the package: $wanted" >&2; return 1; }
  done
  if grep -E '^(\.ci|scripts|fuzz|models)/' <<<"$listed"; then
    echo "the lines above should not be in the package" >&2
    return 1
  fi
  cargo package --locked --offline --allow-dirty --no-verify -p otel-session
}

all_steps() {
  declare -F | sed -n 's/^declare -f step_//p' | tr '\n' ' '
}

# Installs packages where that is possible: on Debian and its kin, as root.
debian_packages() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
}

# A part of the toolchain that a distribution may ship apart, and that rustup can add.
rust_component() {
  local command=$1 name=$2
  cargo "$command" --version 2>/dev/null && return
  command -v rustup >/dev/null || { echo "$name is needed: from https://rustup.rs, or where this Rust came from" >&2; return 1; }
  rustup component add "$name"
}

# Installs a tool at a pinned version where no other project sees it. Unoptimised: it takes longer to build than it ever runs.
cargo_tool() {
  local name=$1 version=$2
  if [ "$("$cache/tools/bin/$name" --version 2>/dev/null)" != "$name $version" ]; then
    env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
      cargo install --locked --quiet --root "$cache/tools" --version "$version" "$name"
  fi
  "$cache/tools/bin/$name" --version
}

single_features() {
  local feature
  for feature in tracing otlp dev-collector testing snowplow opentracker sqlite; do
    echo "--no-default-features,--features=$feature"
  done
}

# The commands of the fenced block that follows the marker in the README.
readme_test_command() {
  awk '/<!-- test-command -->/ { marked = 1; next }
       marked && /^```/ { if (inside) exit; inside = 1; next }
       inside { print }' README.md
}

# Direct dependencies of the bare crate on any platform, as in docs/adr/no-default-features.txt.
bare_dependencies() {
  cargo tree --locked -p otel-session --no-default-features -e normal --target all --depth 1 --prefix none --format '{p}' |
    tail -n +2 | awk '{ print $1 }' | sort -u
}

collector_binary() {
  echo "$cache/otelcol-$(sed -n 's/^version=//p' scripts/otelcol/build.sh)"
}

# Starts a script whose last line is the path of what it made ready; called with `set -m`.
prepare() {
  local name=$1 script
  case $name in
    otelcol) script=scripts/otelcol/build.sh ;;
    trackers) script=scripts/trackers/install.sh ;;
  esac
  "$script" >"$preparing/$name.path" 2>"$preparing/$name.log" &
  echo $! >"$preparing/$name.process"
}

# Waits for what `prepare` started, and prints the path.
prepared() {
  local name=$1
  while kill -0 "$(cat "$preparing/$name.process")" 2>/dev/null; do
    sleep 1
  done
  if [ ! -s "$preparing/$name.path" ]; then
    echo "$name is not ready:" >&2
    tail -n 40 "$preparing/$name.log" >&2
    return 1
  fi
  tail -n 1 "$preparing/$name.path"
}
