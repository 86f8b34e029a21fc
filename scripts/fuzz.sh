#!/usr/bin/env bash
# Fuzzes the readers of foreign files with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, a target on each core.
# A finding stops the target; its input lies in build/fuzz/findings. Put it, once mended, into tests/fuzz/TARGET_seeds.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     default: 600 seconds of each target
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
[ $# -gt 0 ] || set -- tokenizer tokenizer_json vocab safetensors model_config shard labelled checkpoint word_vectors npy
build=${MINIBERT_FUZZ_BUILD:-build/fuzz}
jobs=$(nproc) # before OMP_NUM_THREADS says otherwise
export OMP_NUM_THREADS=1

scripts/setup.sh --dev
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMINIBERT_SANITIZE=ON -DMINIBERT_FUZZ=ON --log-level=WARNING
cmake --build "$build" --target minibert "${@/#/libfuzzer_}"
exec {lock}> "$build/lock"
flock -n "$lock" || { echo "fuzz.sh: another one runs in '$build'; MINIBERT_FUZZ_BUILD names another directory" >&2; exit 1; }
tests/fuzz/seeds.sh "$build/minibert" "$build/seeds"
mkdir -p "$build/findings"
TIMEFORMAT='%0U %0S'
fuzz() { # target
    local target=$1 spent=0 executions=0 failed=0 seeds=("$build/seeds/$1") dictionary=()
    mkdir -p "$build/corpus/$target" "$build/seeds/$target"
    [ ! -d "tests/fuzz/${target}_seeds" ] || seeds+=("tests/fuzz/${target}_seeds")
    case $target in
    *json* | *config | checkpoint | safetensors | labelled) dictionary=(-dict=tests/fuzz/json.dict) ;;
    esac
    # libFuzzer counts the clock's seconds. The processor's, the system's calls included, are what was asked for: on a busy machine it
    # goes on until they are spent.
    while [ "$spent" -lt "$seconds" ] && [ "$failed" -eq 0 ]; do
        { time "$build/tests/libfuzzer_$target" -max_total_time="$((seconds - spent))" -max_len=100000 -timeout=600 -rss_limit_mb=2048 \
            -print_final_stats=1 -artifact_prefix="$build/findings/$target-" "${dictionary[@]}" "$build/corpus/$target" "${seeds[@]}" \
            > "$build/$target.log" 2>&1 || failed=1; } 2> "$build/$target.time"
        spent=$((spent + $(awk '{ print $1 + $2 }' "$build/$target.time") + 1))
        executions=$((executions + $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log" | tail -n 1)))
    done
    printf '%-15s %9d executions, %d seconds of processor time\n' "$target" "$executions" "$spent"
    [ "$failed" -eq 0 ] || { grep -E 'ERROR|SUMMARY' "$build/$target.log" || tail -n 5 "$build/$target.log"; }
    return "$failed"
}
running=0 failed=0
for target in "$@"; do
    if [ "$running" -eq "$jobs" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    fuzz "$target" &
    running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || failed=1; done
exit "$failed"
