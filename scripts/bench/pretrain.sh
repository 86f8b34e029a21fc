#!/usr/bin/env bash
# Tokens a second of masked-LM training, minibert and PyTorch by turns in one run.  scripts/bench/pretrain.sh [--help]
set -euo pipefail
source "$(dirname "$0")/peers.sh"
exec "$python" "$bench/pretrain.py" --minibert "$checkout/minibert" "$@"
