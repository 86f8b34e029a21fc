# Sourced first by the tests that run the whole program, TEST.sh PROGRAM [MORE...]: strict bash in the C locale; `minibert`, the
# program's absolute path; a new directory to work in, which goes at the end with what still runs; and a word on whatever command
# ends the test unforeseen.
set -Eeuo pipefail
export LC_ALL=C
test_name=$(basename "$0" .sh)
if [ $# -lt 1 ] || ! [ -x "$1" ]; then
    echo "$test_name: there is no program '${1-}': $0 PROGRAM" >&2
    exit 2
fi
minibert=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# In memory where there is room, unless TMPDIR says where: the tests sync all the time.
parent=${TMPDIR:-/tmp}
if [ -z "${TMPDIR-}" ] && [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -ge 500000 ]; then
    parent=/dev/shm
fi
dir=$(cd "$(mktemp -d -p "$parent" "minibert-$test_name-XXXXXX")" && pwd -P)
clean_up() {
    local running
    running=$(jobs -p)
    # shellcheck disable=SC2086
    [ -z "$running" ] || kill -KILL $running 2> /dev/null || true
    rm -rf "$dir"
}
unforeseen() { # exit code, line, command
    [ "$BASH_SUBSHELL" -gt 0 ] || printf '%s: line %s: exit code %s from: %s\n' "$test_name" "$2" "$1" "$3" >&2
}
trap clean_up EXIT
trap 'unforeseen $? $LINENO "$BASH_COMMAND"' ERR
cd "$dir"

fail() { # with what the last run said
    printf '%s: %s\n' "$test_name" "$*" >&2
    [ ! -s "$dir/log" ] || tail -n 20 "$dir/log" | sed 's/^/    /' >&2
    exit 1
}
run() { "$minibert" "$@" 2> "$dir/log" || fail "minibert $* failed"; }
# The number of the first such member in a file of JSON. jansson writes "key": value.
member() { sed -n "/\"$1\": *[-0-9]/{s/.*\"$1\": *\\([-0-9.e+]*\\).*/\\1/p;q;}" "$2" | grep . || fail "$2 has no \"$1\""; }
holds() { awk "BEGIN { exit !($1) }" || fail "expected $1: $2"; }
# For what runs beside the test: a minute for what takes a moment, on a machine that has other work.
wait_for() { # file, pattern
    local i
    for ((i = 0; i < 1200; i++)); do
        ! grep -qs -- "$2" "$1" || return 0
        sleep 0.05
    done
    fail "no '$2' in $1"
}
