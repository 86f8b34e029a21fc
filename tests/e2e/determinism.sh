#!/usr/bin/env bash
# The same seed gives the same bytes at 1, 2, 3 and 8 threads (more than there are cores): pretrain in every precision of the build,
# finetune, and skipgram --deterministic; and another seed gives others.   tests/e2e/determinism.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

awk 'BEGIN { srand(1); for (i = 0; i < 800; i++) printf "the %s %s %d of %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", rand() * 90, rand() * 90, i % 8 == 7 ? "\n" : "" }' > text.txt
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 80; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > train.tsv
"$minibert" tokenizer train --quiet --corpus text.txt --out tok --vocab-size 300 2> log

# Shapes that no block size divides: 3 heads of 11, sequences cut at 37, batches of 7.
command_pretrain=(pretrain --corpus text.txt --tokenizer tok --cache-dir cache --layers 2 --hidden 66 --heads 3 --intermediate 131 --seq-length 37
    --batch-size 7 --steps 4)
command_finetune=(finetune --model model --train train.tsv --epochs 1 --batch-size 9)
command_skipgram=(skipgram --corpus text.txt --deterministic --size 21 --min-count 1 --epochs 2)
same() { # name out-file command...
    local name=$1 file=$2 threads
    shift 2
    for threads in 1 2 3 8; do
        rm -rf "out$threads"
        "$minibert" "$@" --quiet --threads $threads --out out$threads > /dev/null 2> log || fail "$name, $threads threads: failed"
        cmp "out1$file" "out$threads$file" || fail "$name: $threads threads give other bytes than one"
    done
    rm -rf other
    "$minibert" "$@" --quiet --threads 2 --seed 12345 --out other > /dev/null 2> log || fail "$name, another seed: failed"
    ! cmp -s "out1$file" "other$file" || fail "$name: the seed changes nothing"
}
n_cases=0
for precision in fp32 bf16; do
    code=0
    "$minibert" "${command_pretrain[@]}" --precision $precision --out probe --dry-run > /dev/null 2> log || code=$?
    if [ "$code" -eq 2 ] && grep -q bf16 log; then
        continue # not on this processor
    fi
    for kind in "bert adamw" "modern muon"; do
        same "pretrain, $kind, $precision" /model.safetensors "${command_pretrain[@]}" --arch ${kind% *} --optimizer ${kind#* } --precision $precision
        n_cases=$((n_cases + 1))
    done
done
mv out1 model
same finetune /model.safetensors "${command_finetune[@]}"
same skipgram "" "${command_skipgram[@]}"
same "skipgram --cbow --hs" "" "${command_skipgram[@]}" --cbow --hs
echo "determinism: $n_cases kinds of pretraining, finetune, skipgram: the same bytes at 1, 2, 3 and 8 threads"
