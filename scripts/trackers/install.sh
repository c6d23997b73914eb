#!/usr/bin/env bash
# Installs the real Snowplow trackers that tests/snowplow_peers.rs and `cargo bench --bench bridge` talk to, from their
# registries, and prints the folder that holds them as its last line: `python/bin/python` can import the Python tracker,
# `node_modules` holds the Node tracker. Needs: python3 with venv and pip, Node.js 18 or later with npm, access to PyPI and
# npm. The first call takes some seconds, later ones return at once. The folder is
# ${XDG_CACHE_HOME:-~/.cache}/otel-session/trackers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python_tracker=1.1.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/otel-session"
folder="$cache/trackers"
# What is installed: another version, another lock file or another format of the folder installs again.
wanted="1 snowplow-tracker==$python_tracker $(cksum <"$here/package-lock.json")"

lacks() {
  echo "scripts/trackers/install.sh: $1" >&2
  exit 1
}

works() {
  "$folder/python/bin/python" -c 'import snowplow_tracker' 2>/dev/null && [ -d "$folder/node_modules/@snowplow/node-tracker" ]
}

if [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ] && works; then
  echo "$folder"
  exit 0
fi
command -v python3 >/dev/null || lacks "python3 is not installed (https://www.python.org/downloads)"
python3 -c 'import venv, ensurepip' 2>/dev/null || lacks "python3 lacks venv; on Debian and Ubuntu: apt-get install python3-venv"
command -v npm >/dev/null || lacks "npm is not installed (https://nodejs.org)"
node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null ||
  lacks "Node.js 18 or later is needed (https://nodejs.org); there is: $(node --version 2>/dev/null || echo none)"

mkdir -p "$cache"
part=$(mktemp -d "$cache/trackers.part.XXXXXX")
trap 'rm -rf "$part"' EXIT
# By the path of the interpreter itself: behind a version manager `python3` is a script that depends on the folder it is
# called in. Only the interpreter is used later, so the environment may be moved into its place.
python=$(python3 -c 'import sys; print(sys.executable)')
"$python" -m venv "$part/python" >&2
"$part/python/bin/python" -m pip install --quiet --disable-pip-version-check "snowplow-tracker==$python_tracker" >&2
cp "$here/package.json" "$here/package-lock.json" "$part/"
npm ci --prefix "$part" --no-audit --no-fund --ignore-scripts --loglevel=error >&2
echo "$wanted" >"$part/installed"
# Moved into place only when whole: an interrupted install leaves nothing half behind.
rm -rf "$folder"
mv "$part" "$folder"
works || lacks "$folder does not work after the install"
echo "$folder"
