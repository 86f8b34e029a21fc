#!/usr/bin/env bash
# Word vectors and a model's hidden states after the same CPU-seconds on the same text: rated word pairs, and sections of packages
# from averaged vectors.  scripts/bench/vectors.sh [--help]
set -euo pipefail
source "$(dirname "$0")/peers.sh"
exec "$python" "$bench/vectors.py" --minibert "$checkout/minibert" "$@"
