#!/usr/bin/env bash
# Fuzzes the readers of foreign files with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, one target after the other.
# A finding stops the target; its input lies in build/fuzz/findings. Put it, once mended, into tests/fuzz/TARGET_seeds.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     default: 600 seconds of each target
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
[ $# -gt 0 ] || set -- tokenizer tokenizer_json vocab safetensors model_config shard labelled checkpoint word_vectors npy
build=${MINIBERT_FUZZ_BUILD:-build/fuzz}
export OMP_NUM_THREADS=1

scripts/setup.sh --dev
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMINIBERT_SANITIZE=ON -DMINIBERT_FUZZ=ON --log-level=WARNING
cmake --build "$build" --target minibert "${@/#/libfuzzer_}"
tests/fuzz/seeds.sh "$build/minibert" "$build/seeds"
mkdir -p "$build/findings"
TIMEFORMAT=%U
failed=0 all_failed=0
for target in "$@"; do
    mkdir -p "$build/corpus/$target" "$build/seeds/$target"
    seeds=("$build/seeds/$target")
    [ ! -d "tests/fuzz/${target}_seeds" ] || seeds+=("tests/fuzz/${target}_seeds")
    dictionary=()
    case $target in
    *json* | *config | checkpoint | safetensors | labelled) dictionary=(-dict=tests/fuzz/json.dict) ;;
    esac
    printf '\n== %s ==\n' "$target"
    # libFuzzer counts the clock's seconds. The processor's are what was asked for: on a busy machine it goes on until they are spent.
    spent=0
    while [ "$spent" -lt "$seconds" ] && [ "$failed" -eq 0 ]; do
        { time "$build/tests/libfuzzer_$target" -max_total_time="$((seconds - spent))" -max_len=100000 -timeout=600 -rss_limit_mb=2048 \
            -print_final_stats=1 -artifact_prefix="$build/findings/$target-" "${dictionary[@]}" "$build/corpus/$target" "${seeds[@]}" \
            > "$build/$target.log" 2>&1 || failed=1; } 2> "$build/time"
        spent=$((spent + $(cut -d . -f 1 "$build/time") + 1))
    done
    grep -E '^stat::number_of_executed|ERROR|SUMMARY' "$build/$target.log" || tail -n 5 "$build/$target.log"
    printf '%d seconds of processor time\n' "$spent"
    all_failed=$((all_failed + failed)) failed=0
done
exit "$((all_failed > 0))"
