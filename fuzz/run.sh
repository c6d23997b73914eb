#!/usr/bin/env bash
# Fuzzes the development collector's decoders and session ids: fuzz/run.sh [SECONDS_PER_TARGET], 20 by default.
#
# cargo-fuzz is installed beside the other tools when it is missing. No nightly compiler is needed: the sanitizer is off
# (the crate has no unsafe code) and RUSTC_BOOTSTRAP admits the coverage flags. What the fuzzer finds of interest goes to
# fuzz/target; a crash goes to fuzz/artifacts: reduce it with `cargo fuzz tmin`, and check it in under fuzz/corpus, where
# `cargo test` replays it.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-20}"
tools="${XDG_CACHE_HOME:-${HOME}/.cache}/otel-session/tools"
export PATH="${tools}/bin:${PATH}"
export RUSTC_BOOTSTRAP=1

command -v cargo > /dev/null || { echo "fuzz/run.sh: Rust is not installed (https://rustup.rs)" >&2; exit 1; }
if ! command -v cargo-fuzz > /dev/null; then
    # At the version that the gate installs.
    version=$(sed -n 's/^ *cargo_tool cargo-fuzz //p' ../scripts/steps.sh)
    cargo install --locked --version "${version}" --root "${tools}" cargo-fuzz
fi

for target in otlp_protobuf otlp_json grpc_frame snowplow_post snowplow_get opentracker_form session_id; do
    found="target/found/${target}"
    mkdir -p "${found}"
    echo "fuzzing ${target} for ${seconds} s"
    # The first directory takes new inputs; the checked-in seeds stay few and readable.
    cargo fuzz run -s none "${target}" "${found}" "corpus/${target}" -- \
        -max_total_time="${seconds}" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1
done
