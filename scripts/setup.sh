#!/usr/bin/env bash
# Installs by apt what building and testing minibert needs and this machine lacks, and nothing else. Silent when all is there.
#
#   scripts/setup.sh          compiler, CMake, Ninja, OpenBLAS, utf8proc, jansson, Criterion
#   scripts/setup.sh --dev    and what .ci/run checks with: clang, its sanitizers and libFuzzer, clang-format, clang-tidy, cppcheck
#
# Made for Debian 12 and 13 and Ubuntu 24.04. Where there is no apt it names what is missing and exits 1.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

compiles() { # compiler flag header
    printf '#include <%s>\nint main(void) { return 0; }\n' "$3" | "$1" "$2" -fsyntax-only -x c - 2> /dev/null
}

# Is the thing that the package brings here, from wherever it came?
have() {
    case $1 in
    gcc) compiles cc -fopenmp omp.h ;;
    libc6-dev) compiles cc -O0 stdio.h ;;
    cmake) command -v cmake > /dev/null ;;
    ninja-build) command -v ninja > /dev/null ;;
    pkg-config) command -v pkg-config > /dev/null ;;
    libopenblas-openmp-dev) compgen -G '/usr/include/*/openblas-openmp/cblas.h' > /dev/null || { ! has_apt && has_other_openblas; } ;;
    libutf8proc-dev) pkg-config --exists libutf8proc 2> /dev/null ;;
    libjansson-dev) pkg-config --exists jansson 2> /dev/null ;;
    libcriterion-dev) pkg-config --exists criterion 2> /dev/null ;;
    clang) command -v clang > /dev/null ;;
    libomp-dev) compiles clang -fopenmp omp.h ;;
    libclang-rt-dev) compgen -G "$(clang -print-resource-dir)/lib/*/libclang_rt.fuzzer*" > /dev/null ;;
    clang-format | clang-tidy | cppcheck) command -v "$1" > /dev/null ;;
    *) say "no check for $1" && exit 1 ;;
    esac
}
has_apt() { command -v apt-get > /dev/null && command -v dpkg > /dev/null; }
has_other_openblas() { pkg-config --exists openblas 2> /dev/null || compiles cc -I/usr/include/openblas cblas.h; }

packages=(gcc libc6-dev cmake ninja-build pkg-config libopenblas-openmp-dev libutf8proc-dev libjansson-dev libcriterion-dev)
case ${1-} in
"") ;;
--dev) packages+=(clang libomp-dev libclang-rt-dev clang-format clang-tidy cppcheck) ;;
*) say "usage: scripts/setup.sh [--dev]" && exit 2 ;;
esac

find_missing() {
    missing=()
    for package in "${packages[@]}"; do
        have "$package" || missing+=("$package")
    done
}

find_missing
if [ "${#missing[@]}" -gt 0 ] && ! has_apt; then
    say "there is no apt here. Please install what Debian calls: ${missing[*]}"
    say "(OpenBLAS should be its OpenMP build), then run this again."
    exit 1
fi
if [ "${#missing[@]}" -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo > /dev/null; then
            say "missing: ${missing[*]}. There is no sudo here; as root, run: apt-get install --no-install-recommends ${missing[*]}"
            exit 1
        fi
        root=(sudo)
    fi
    say "installing by apt: ${missing[*]}"
    "${root[@]}" apt-get -qq update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${missing[@]}" > /dev/null
    find_missing
    if [ "${#missing[@]}" -gt 0 ]; then
        say "installed, but still not usable: ${missing[*]}"
        exit 1
    fi
fi

version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p')
if [ "${version%%.*}" -lt 3 ] || { [ "${version%%.*}" -eq 3 ] && [ "${version#*.}" -lt 25 ]; }; then
    say "CMake is $version here and 3.25 is needed (Ubuntu 22.04 brings 3.22). Put a newer one first in PATH,"
    say "for example by 'pip install cmake' or 'snap install cmake --classic', then run this again."
    exit 1
fi
