#!/usr/bin/env bash
# Valgrind's memcheck over every command on small files: no wrong access, no value that was never set, nothing lost.
#   scripts/memcheck.sh      builds in build/memcheck, for x86-64-v3: valgrind knows no AVX-512
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind > /dev/null || { echo "memcheck: valgrind is missing: apt-get install valgrind" >&2; exit 1; }
build=${1:-$PWD/build/memcheck}
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMINIBERT_NATIVE=OFF -DMINIBERT_TESTS=OFF --log-level=WARNING
cmake --build "$build"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
awk 'BEGIN { for (i = 0; i < 60; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 7, i % 8 == 7 ? "\n" : "" }' > text.txt
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 12; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > train.tsv
export OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=Haswell GOMP_SPINCOUNT=2000 # the last: so that it does not start itself anew
check() {
    valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$build/minibert" "$@" --quiet --threads 1 > out 2> err ||
        { cat err >&2; printf 'memcheck: minibert %s\n' "$*" >&2; exit 1; }
}
check pretrain --corpus text.txt --out model --layers 1 --hidden 8 --heads 2 --intermediate 8 --seq-length 8 --batch-size 4 --vocab-size 60 --steps 3
check pretrain --corpus text.txt --out bert --arch bert --optimizer adamw --tokenizer model --layers 1 --hidden 8 --heads 2 --intermediate 8 --seq-length 8 \
    --batch-size 4 --steps 3
for model in model bert; do
    check evaluate --model $model --data text.txt
    check finetune --model $model --train train.tsv --out classifier_$model --epochs 1
    check predict --model classifier_$model --input train.tsv
    check embed --model $model --input text.txt --format npy --out vectors.npy
    check fill-mask --model $model "the [MASK] house"
    check neighbors --model $model --corpus text.txt "the red house"
    check info $model
done
check tokenizer train --corpus text.txt --out tok --vocab-size 60
check skipgram --corpus text.txt --out words --size 4 --min-count 1 --epochs 1
check neighbors --vectors words house
check phrases --corpus text.txt --out phrases.txt --min-count 1
echo "memcheck: nothing found"
