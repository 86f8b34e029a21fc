#!/usr/bin/env bash
# Sentences a second embedded with all-MiniLM-L6-v2, minibert and its peers by turns in one run, and its cold start.  scripts/bench/embed.sh [--help]
set -euo pipefail
source "$(dirname "$0")/peers.sh"
exec "$python" "$bench/embed.py" --minibert "$checkout/minibert" "$@"
