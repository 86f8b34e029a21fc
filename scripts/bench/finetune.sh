#!/usr/bin/env bash
# Sentences a second of fine-tuning a classifier, minibert and PyTorch by turns in one run.  scripts/bench/finetune.sh [--help]
set -euo pipefail
source "$(dirname "$0")/peers.sh"
exec "$python" "$bench/finetune.py" --minibert "$checkout/minibert" "$@"
