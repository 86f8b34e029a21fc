#!/usr/bin/env bash
# Sets up, builds and tests minibert: the optimised build, then the one with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/test.sh [PRESET...]     default: release asan
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
export GOMP_SPINCOUNT=2000 # tests run beside each other: waiting threads shall not take the processor from the next
[ $# -gt 0 ] || set -- release asan
for preset in "$@"; do
    printf '\n== %s: build and test ==\n' "$preset"
    cmake --preset "$preset" --log-level=WARNING
    cmake --build --preset "$preset"
    ctest --test-dir "build/$preset" --output-on-failure
done
