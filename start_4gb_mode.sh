#!/usr/bin/env bash
# headroom within 4 GB: a menu of the page, the API, both, and a test of the memory settings.
# What is given here goes on to `acestep 4gb`, as in `./start_4gb_mode.sh both --host 0.0.0.0`.
# PYTHON names an interpreter in which headroom is installed; without it start.py brings one.
set -eu

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
if [ -n "${PYTHON:-}" ]; then
    exec "$PYTHON" -m headroom 4gb "$@"
fi
exec python3 start.py 4gb "$@"
