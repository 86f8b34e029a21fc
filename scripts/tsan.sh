#!/usr/bin/env bash
# ThreadSanitizer over every command that computes with threads: clang and its OpenMP runtime, of which Archer (libarcher.so, in
# libomp) tells ThreadSanitizer what its barriers, tasks and reductions order. Skip-Gram's fast engine is left out: its threads write
# to the shared vectors without a lock, as word2vec's do (Hogwild). --deterministic is here.
#   scripts/tsan.sh [BUILD]
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
build=${1:-$PWD/build/tsan}
archer=$(ls "$(clang -print-resource-dir)"/../../../libarcher.so /usr/lib/llvm-*/lib/libarcher.so 2> /dev/null | head -n 1 || true)
[ -n "$archer" ] || { echo "tsan: no libarcher.so, which Debian has in libomp-NN-dev" >&2; exit 1; }
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS=-fsanitize=thread \
    -DMINIBERT_TESTS=OFF --log-level=WARNING
cmake --build "$build"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
# Only minibert is compiled for ThreadSanitizer: what OpenBLAS and the runtime do inside is not seen, and not judged.
export OMP_TOOL_LIBRARIES=$archer OMP_WAIT_POLICY=passive TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=0 exitcode=66"
n=0
check() {
    n=$((n + 1))
    # Without address randomisation: older ThreadSanitizers do not start where a new kernel puts the program.
    setarch -R "$build/minibert" "$@" --quiet > out 2> err || { cat err >&2; printf 'tsan: minibert %s\n' "$*" >&2; exit 1; }
}
awk 'BEGIN { for (i = 0; i < 600; i++) printf "the %s %s %d of %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 71, i % 13, i % 8 == 7 ? "\n" : "" }' > text.txt
for i in {1..800}; do cat text.txt; done > long.txt # enough for several pieces of work in the readers of text
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 60; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > train.tsv
for threads in 2 3; do
    rm -rf tok model long classifier
    check tokenizer train --corpus long.txt --out tok --vocab-size 120 --threads $threads
    check tokenizer encode --model tok --threads $threads < long.txt
    for precision in fp32 bf16; do
        # bf16 in C, so that it runs, and is seen, on any processor.
        export MINIBERT_BF16_KERNEL=generic
        for kind in "bert adamw" "modern muon"; do
            rm -rf model
            check pretrain --corpus text.txt --tokenizer tok --out model --arch ${kind% *} --optimizer ${kind#* } --precision $precision --layers 2 \
                --hidden 32 --heads 2 --intermediate 48 --seq-length 32 --batch-size 8 --steps 6 --save-every 3 --eval-every 3 --threads $threads
        done
    done
    check pretrain --corpus long.txt --tokenizer tok --out long --size tiny --seq-length 32 --batch-size 8 --steps 2 --dedup --threads $threads
    check evaluate --model model --data text.txt --threads $threads
    check finetune --model model --train train.tsv --out classifier --epochs 1 --threads $threads
    check predict --model classifier --input train.tsv --batch-size 8 --threads $threads
    check embed --model model --input text.txt --format npy --out vectors.npy --threads $threads
    check embed --model model --static text.txt --min-count 1 --out words.vec --threads $threads
    check senses --model model --corpus text.txt --threads $threads house
    check neighbors --model model --corpus text.txt --threads $threads "the red house"
    check skipgram --corpus long.txt --cbow --hs --deterministic --out words --size 8 --epochs 1 --threads $threads
    check skipgram --corpus text.txt --deterministic --out words --size 20 --min-count 1 --epochs 1 --threads $threads
    check phrases --corpus long.txt --out phrases.txt --min-count 1 --threads $threads
done
echo "tsan: $n commands, no data race"
