# Each recipe is the step of the gate of the same name; `just ci` is the whole gate. Without `just`: `.ci/run NAME`.

default:
    @just --list

# Everything that must pass.
ci:
    .ci/run

# Install what the other steps need.
tools:
    .ci/run tools

# Formatting; `just fmt-fix` writes it.
fmt:
    .ci/run fmt

fmt-fix:
    cargo fmt --all

# Lints, for each feature alone and for all together.
clippy:
    .ci/run clippy

# The README's test command, with nothing skipped.
test:
    .ci/run test

docs:
    .ci/run docs

# Run every example to its end.
examples:
    .ci/run examples

# The model checker on the shipped concurrent modules.
models:
    .ci/run models

# Licences, sources, banned and duplicate crates.
deny:
    .ci/run deny

# Ten seconds of fuzzing for each target.
fuzz:
    .ci/run fuzz

# A quick pass of the benchmark, to see that it runs.
bench:
    .ci/run bench

# The bare crate's dependencies are those of docs/adr/no-default-features.txt.
dependencies:
    .ci/run dependencies

# Accept a change of the bare crate's dependencies, after giving its reason in docs/adr/0001-dependencies.md.
dependencies-bless:
    bash -c 'source scripts/steps.sh && bare_dependencies > docs/adr/no-default-features.txt'

# What would be published.
package:
    .ci/run package

# Generate src/semconv.rs from the registry.
semconv-bless:
    OTEL_SESSION_BLESS=1 cargo test --test semconv
