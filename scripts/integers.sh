#!/usr/bin/env bash
# The tests under clang's checks of integers: besides what is undefined, unsigned numbers that wrap around and conversions that change a
# value. What is meant to wrap is marked MB_WRAPS (src/base/wraps.h). OpenMP is left out of this build: clang's own code for its
# loops wraps, and the numbers are the same on one thread.
#   scripts/integers.sh [BUILD]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
build=$(realpath -m "${1:-build/integers}")
mkdir -p "$build"
echo 'src:*/cpuid.h' > "$build/not-ours.txt"
lib=$(realpath "$(clang -print-resource-dir)/../..") # of LLVM
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo --log-level=WARNING \
    -DOpenMP_C_FLAGS=-fopenmp-simd -DOpenMP_C_LIB_NAMES=omp -DOpenMP_omp_LIBRARY="$lib/libomp.so" \
    -DCMAKE_C_FLAGS="-D_OPENMP=201511 -fsanitize=undefined,integer,implicit-conversion -fno-sanitize-recover=all -fsanitize-ignorelist=$build/not-ours.txt"
cmake --build "$build"
ctest --test-dir "$build" --output-on-failure -E 'layers|faults'
