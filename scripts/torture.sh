#!/usr/bin/env bash
# The long versions of the tests of durability: a hundred runs killed at random moments, a fault of each kind at every file call and
# at every allocation, every allocation that fails once more with AddressSanitizer watching for leaks, and large hostile files for
# every reader. About an hour of one core.
#
#   scripts/torture.sh [RUNS]      default: 100
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
for preset in release asan; do
    cmake --preset $preset --log-level=WARNING
    cmake --build --preset $preset --target minibert minibert_faults
done
time tests/faults/kill.sh build/release/tests/minibert_faults "${1:-100}"
time tests/faults/sweep.sh build/release/tests/minibert_faults 0
time tests/faults/sweep.sh build/asan/tests/minibert_faults 0 memory
time tests/faults/sweep.sh build/asan/tests/minibert_faults 40 files
time scripts/hostile.sh
