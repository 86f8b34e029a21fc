#!/usr/bin/env bash
# Bad input of every kind: one line of error that names what is wrong, the right exit code, nothing written.
#   tests/e2e/bad_input.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

n_cases=0 n_failed=0
snapshot() { find . -type f ! -name out ! -name err -exec cksum {} + | sort; }
bad() {
    printf 'bad_input: %s\n' "$*" >&2
    sed 's/^/    /' err >&2
    n_failed=$((n_failed + 1))
}
# code text arguments...: the run must fail with the code, say the text in one line, and leave no `nothing` and no other file
refuses() {
    local expected=$1 text=$2 code=0
    shift 2
    n_cases=$((n_cases + 1))
    "$minibert" "$@" > out 2> err < /dev/null || code=$?
    [ "$code" -eq "$expected" ] || bad "minibert $*: exit code $code, expected $expected"
    [ "$(grep -c '^minibert: ' err)" -eq 1 ] || bad "minibert $*: expected one line of error"
    grep '^minibert: ' err | grep -qF -- "$text" || bad "minibert $*: the error does not say '$text'"
    [ ! -s out ] || bad "minibert $*: wrote results: $(head -c 200 out)"
    [ ! -e nothing ] || { bad "minibert $*: left $(find nothing)"; rm -rf nothing; }
    [ "$(snapshot)" = "$before" ] || bad "minibert $*: files changed"
}

# --- good files, and the ways to spoil them ---
awk 'BEGIN { for (i = 0; i < 400; i++) printf "the %s %s number %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "river", i, i % 8 == 7 ? "\n" : "" }' > text.txt
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 60; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > good.tsv
"$minibert" pretrain --quiet --corpus text.txt --out model --layers 1 --hidden 32 --heads 2 --intermediate 48 --seq-length 32 --batch-size 8 \
    --vocab-size 100 --steps 2 > /dev/null
"$minibert" finetune --quiet --model model --train good.tsv --out classifier --epochs 1 > /dev/null
rm -rf model/cache model/checkpoints

: > empty.txt
printf '\n \n\n' > blank.txt
printf 'a text\nwith a \0 in it\n' > binary.txt
head -c 3000 "$minibert" > program.txt
printf '\xff\xfe\x41\x00%.0s' {1..200} > utf16.txt
printf 'label\ttext\nr\tone\textra\n' > three.tsv
printf 'label\ttext\nr\n' > one.tsv
printf 'colour\twords\nr\tone\n' > names.tsv
printf 'label\ttext\n' > header.tsv
printf 'label\ttext\nr\tone\nr\ttwo\n' > same.tsv
printf '{"label": "r", "text": "one"}\n{"label": "r", "text": \n' > broken.jsonl
spoil() { cp -r model "$1"; }
spoil cut && head -c 5000 model/model.safetensors > cut/model.safetensors
spoil none && rm none/model.safetensors
spoil noise && head -c 5000 text.txt > noise/model.safetensors
spoil huge && { printf '\377\377\377\377\377\377\377\177' && tail -c +9 model/model.safetensors; } > huge/model.safetensors
spoil noconfig && rm noconfig/config.json
spoil badconfig && echo '{"vocab_size": ' > badconfig/config.json
spoil zeroconfig && sed 's/"hidden_size": 32/"hidden_size": 0/' model/config.json > zeroconfig/config.json
spoil wideconfig && sed 's/"hidden_size": 32/"hidden_size": 64/' model/config.json > wideconfig/config.json
spoil moreconfig && sed 's/"vocab_size": 100/"vocab_size": 200/' model/config.json > moreconfig/config.json
spoil novocab && rm novocab/vocab.txt novocab/tokenizer.json
spoil morevocab && rm morevocab/tokenizer.json && printf 'extra%s\n' {1..50} >> morevocab/vocab.txt
spoil badvocab && rm badvocab/tokenizer.json && grep -v '^\[SEP\]$' model/vocab.txt > badvocab/vocab.txt
before=$(snapshot)

# --- corpora ---
train=(pretrain --layers 1 --hidden 32 --heads 2 --intermediate 48 --seq-length 32 --batch-size 8 --vocab-size 100 --steps 1 --out nothing)
refuses 1 "missing.txt" "${train[@]}" --corpus missing.txt
refuses 1 "missing.txt" "${train[@]}" --corpus text.txt missing.txt
refuses 1 "empty.txt" "${train[@]}" --corpus empty.txt
refuses 1 "blank.txt" "${train[@]}" --corpus blank.txt
refuses 1 "binary.txt" "${train[@]}" --corpus binary.txt
refuses 1 "program.txt" "${train[@]}" --corpus program.txt
refuses 1 "utf16.txt" "${train[@]}" --corpus utf16.txt
refuses 1 "model" "${train[@]}" --corpus model
refuses 1 "binary.txt" "${train[@]}" --corpus text.txt --valid binary.txt
refuses 1 "nowhere" "${train[@]}" --corpus text.txt --tokenizer nowhere
refuses 1 "missing.txt" tokenizer train --corpus missing.txt --out nothing
refuses 1 "empty.txt" tokenizer train --corpus empty.txt --out nothing
refuses 1 "binary.txt" tokenizer train --corpus binary.txt --out nothing

# --- numbers ---
refuses 2 "--lr must be a finite number, not 'nan'" "${train[@]}" --corpus text.txt --lr nan
refuses 2 "--lr must be" "${train[@]}" --corpus text.txt --lr inf
refuses 2 "--lr must be" "${train[@]}" --corpus text.txt --lr 0
refuses 2 "--lr must be" "${train[@]}" --corpus text.txt --lr -1e-3
refuses 2 "--batch-size must be at least 1" "${train[@]}" --corpus text.txt --batch-size 0
refuses 2 "--seq-length must be" "${train[@]}" --corpus text.txt --seq-length 0
refuses 2 "--vocab-size must be" "${train[@]}" --corpus text.txt --vocab-size 0
refuses 2 "--mlm-probability must be" "${train[@]}" --corpus text.txt --mlm-probability 0
refuses 2 "--mlm-probability must be" "${train[@]}" --corpus text.txt --mlm-probability 1.5
refuses 2 "--layers must be" "${train[@]}" --corpus text.txt --layers -1
refuses 2 "--hidden must be" "${train[@]}" --corpus text.txt --hidden -8
refuses 2 "head" "${train[@]}" --corpus text.txt --hidden 32 --heads 5
refuses 2 "--grad-accum must be at least 1" "${train[@]}" --corpus text.txt --grad-accum 0
refuses 2 "--dropout must be" "${train[@]}" --corpus text.txt --dropout 1
refuses 2 "--budget must be a time" "${train[@]}" --corpus text.txt --budget soon
refuses 2 "--size must be one of tiny, mini, small, medium, base" "${train[@]}" --corpus text.txt --size huge
refuses 2 "--epochs must be" finetune --model model --train good.tsv --out nothing --epochs -1
refuses 2 "--lr must be" finetune --model model --train good.tsv --out nothing --lr nan
refuses 2 "--max-length must be" finetune --model model --train good.tsv --out nothing --max-length 0
refuses 2 "--runs must be" finetune --model model --train good.tsv --out nothing --runs 0
refuses 2 "--top-k must be" fill-mask --model model --top-k 0 "[MASK]"
refuses 2 "--layers 7" embed --model model --input text.txt --layers 7 --out nothing

# --- labelled files ---
for file in three one names header empty; do
    [ $file = empty ] && name=empty.txt || name=$file.tsv
    refuses 1 "$name" finetune --model model --train $name --out nothing
done
refuses 1 "line 2 has 3 columns, expected 2" finetune --model model --train three.tsv --out nothing
refuses 1 "line 2" finetune --model model --train broken.jsonl --out nothing
refuses 1 "same.tsv" finetune --model model --train same.tsv --out nothing
refuses 1 "missing.tsv" finetune --model model --train missing.tsv --out nothing
refuses 1 "three.tsv" finetune --model model --train good.tsv --dev three.tsv --out nothing
refuses 1 "binary.txt" finetune --model model --train binary.txt --out nothing
refuses 1 "three.tsv" evaluate --model classifier --data three.tsv
refuses 1 "empty.txt" evaluate --model model --data empty.txt
refuses 1 "binary.txt" evaluate --model model --data binary.txt
refuses 1 "names.tsv" predict --model classifier --input names.tsv
refuses 1 "missing.tsv" predict --model classifier --input missing.tsv
refuses 1 "model" predict --model model --input good.tsv

# --- model directories, through every command that reads one ---
for broken in cut none noise huge noconfig badconfig zeroconfig wideconfig moreconfig novocab morevocab badvocab nowhere empty.txt; do
    refuses 1 "$broken" embed --model $broken --input text.txt --out nothing
    refuses 1 "$broken" info $broken
    refuses 1 "$broken" fill-mask --model $broken "the [MASK]"
    refuses 1 "$broken" finetune --model $broken --train good.tsv --out nothing
    refuses 1 "$broken" evaluate --model $broken --data text.txt
    refuses 1 "$broken" neighbors --model $broken --corpus text.txt house
    refuses 1 "$broken" pretrain --corpus text.txt --init $broken --steps 1 --out nothing
done
refuses 1 "cut/model.safetensors" info cut/model.safetensors

# --- texts and vectors ---
refuses 1 "missing.txt" embed --model model --input missing.txt --out nothing
refuses 1 "binary.txt" embed --model model --input binary.txt --out nothing
refuses 1 "nowhere/v.npy" embed --model model --input text.txt --out nowhere/v.npy
refuses 1 "missing.txt" neighbors --model model --corpus missing.txt house
refuses 1 "empty.txt" neighbors --model model --corpus empty.txt house
refuses 1 "text.txt" neighbors --vectors text.txt house
refuses 1 "novocab" tokenizer encode --model novocab
refuses 2 "has no [MASK]" fill-mask --model model "no mask"

[ "$n_failed" -eq 0 ] || { printf 'bad_input: %d failures in %d cases\n' "$n_failed" "$n_cases" >&2; exit 1; }
echo "bad_input: $n_cases refused as they should be"
