#!/usr/bin/env bash
# Builds the OpenTelemetry Collector used by tests/collector_peer.rs from its own Go modules and prints the path of the
# binary. Needs: Go 1.25 or later and access to the Go module proxy; the first build takes some minutes, later calls
# return the cached binary. The cache is ${XDG_CACHE_HOME:-~/.cache}/otel-session/otelcol-VERSION.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=0.161.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/otel-session"
binary="$cache/otelcol-$version"
if [ -x "$binary" ]; then
  echo "$binary"
  exit 0
fi
command -v go >/dev/null || { echo "scripts/otelcol/build.sh: Go is not installed (https://go.dev/dl)" >&2; exit 1; }
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/builder.yaml" "$work/"
cd "$work"
GOBIN="$work/bin" go install "go.opentelemetry.io/collector/cmd/builder@v$version" >&2
CGO_ENABLED=0 "$work/bin/builder" --config builder.yaml >&2
# Moved into place only when whole: an interrupted build leaves no half binary behind.
mv "$work/build/otelcol" "$binary.part"
mv "$binary.part" "$binary"
echo "$binary"
