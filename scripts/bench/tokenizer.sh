#!/usr/bin/env bash
# MB a second of WordPiece tokenizers, minibert and its peers by turns in one run.  scripts/bench/tokenizer.sh [--help]
set -euo pipefail
source "$(dirname "$0")/peers.sh"
build=${BUILD:-$checkout/build/release}
cmake --build "$build" --target bench_tokenizer > /dev/null
exec "$python" "$bench/tokenizer.py" --minibert "$checkout/minibert" --encoder "$build/tests/bench_tokenizer" "$@"
