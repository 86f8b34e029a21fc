#!/usr/bin/env bash
# Large hostile files for every reader: each must be refused, or read, in a time that grows with its size and not with the square
# of it (at most SECONDS of processor time), and without a crash.
#   scripts/hostile.sh [MINIBERT [MEGABYTES [SECONDS]]]      default: ./minibert 50 30
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
source tests/prelude.sh "${1:-./minibert}"
n=$((${2:-50} * 1000000)) limit=${3:-30}
export TIMEFORMAT=%U

awk 'BEGIN { for (i = 0; i < 400; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 71, i % 8 == 7 ? "\n" : "" }' > text.txt
run pretrain --quiet --corpus text.txt --out model --arch bert --layers 1 --hidden 8 --heads 2 --intermediate 8 --seq-length 8 --batch-size 4 --vocab-size 60 \
    --steps 4 --save-every 2 > /dev/null
fill() { head -c "$n" /dev/zero | tr '\0' "$1"; } # a byte, as tr spells it: n of it
# a text, and in the second a line feed behind it: as often as it fits in n bytes
repeat() { { yes "$1" || true; } | tr -d '\n' | head -c $((n - n % ${#1})) || true; } # `yes` and `tr` end by SIGPIPE
repeat_line() { { yes "$1" || true; } | head -c $((n - n % (${#1} + 1))); }
numbered() { # format of about 16 bytes, with one %d
    awk -v n=$((n / 16)) -v format="$1" 'BEGIN { for (i = 0; i < n; i++) printf format, i }'
}
n_cases=0 n_failed=0
# name codes arguments...: one of the exit codes ("1" or "0 1"), soon
meets() {
    local name=$1 codes=$2 code=0 seconds
    shift 2
    n_cases=$((n_cases + 1))
    seconds=$({ time bash -c 'ulimit -t "$0" && exec "$@"' "$limit" "$minibert" "$@" --quiet > out 2> log < "${input:-/dev/null}" || echo $? > code; } 2>&1)
    [ ! -e code ] || { code=$(cat code) && rm code; }
    printf '%-44s exit code %3d after %6.2f s: %.90s\n' "$name" "$code" "$seconds" "$(sed -n '/^minibert/{p;q;}' log)"
    case " $codes " in
    *" $code "*) ;;
    *) n_failed=$((n_failed + 1)) && printf 'hostile: %s: exit code %d, expected %s\n' "$name" "$code" "$codes" >&2 ;;
    esac
}
spoilt() { # the file of a copy of the model that is now to come from standard input
    rm -rf bad && cp -r model bad && cat > "bad/$1"
}
length_of() { # 8 bytes, little endian
    printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))\0\0\0\0"
}
tensors() { # format, of about 64 bytes: a safetensors file whose header is many of these
    awk -v n=$((n / 64)) -v format="$1" 'BEGIN { for (i = 0; i < n; i++) printf (i ? "," : "{") format, i; print "}" }' > header
    length_of "$(wc -c < header)"
    cat header
    printf '\0\0\0\0'
}

# --- JSON, wherever it is read ---
make() { # kind
    case $1 in
    brackets) repeat '[' ;;
    braces) repeat '{"a":' ;;
    text) printf '{"a": "' && repeat x && printf '"}' ;;
    escapes) printf '{"a": "' && repeat '\u00e9' && printf '"}' ;;
    numbers) printf '{"a": [' && repeat '1,' && printf '1]}' ;;
    digits) printf '{"vocab_size": ' && repeat 9 && printf '}' ;;
    keys) printf '{' && numbered '"key%09d": 1, ' && printf '"z": 1}' ;;
    same) printf '{' && repeat '"hidden_size": 8, ' && printf '"z": 1}' ;;
    esac
}
for kind in brackets braces text escapes numbers digits keys same; do
    make $kind > made.json
    for file in config.json tokenizer.json tokenizer_config.json; do
        spoilt $file < made.json
        meets "$file: $kind" "0 1" embed --model bad --input text.txt --out vectors
    done
    { length_of "$(wc -c < made.json)" && cat made.json; } | spoilt model.safetensors
    meets "safetensors: $kind" 1 embed --model bad --input text.txt --out vectors
    rm -rf bad && cp -r model bad && cp made.json bad/checkpoints/step-00000004/state.json
    meets "state.json: $kind" "0 1" pretrain --corpus text.txt --out bad --tokenizer model --arch bert --layers 1 --hidden 8 --heads 2 --intermediate 8 \
        --seq-length 8 --batch-size 4 --steps 4 --save-every 2 --resume
    cp made.json made.jsonl
    meets "jsonl: $kind" 1 finetune --model model --train made.jsonl --out classifier
    meets "--config: $kind" "1 2" embed --config made.json
done

# --- safetensors ---
printf '\377\377\377\377\377\377\377\017%s' '{}' | spoilt model.safetensors
meets "safetensors: a header of 2^60 bytes" 1 info bad
tensors '"t%07d":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}' | spoilt model.safetensors
meets "safetensors: as many tensors as fit, overlapping" 1 info bad
tensors '"t":{"dtype":"F32","shape":[1],"number":%d,"data_offsets":[0,4]}' | spoilt model.safetensors
meets "safetensors: as many of the same name" 1 info bad
{ printf '{"t":{"dtype":"F32","shape":[' && repeat '1,' && printf '1],"data_offsets":[0,4]}}'; } > header
{ length_of "$(wc -c < header)" && cat header && printf '\0\0\0\0'; } | spoilt model.safetensors
meets "safetensors: as many dimensions as fit" 1 info bad

# --- vocabularies ---
for kind in 'one line:x' 'empty lines:\n' 'carriage returns:\r' 'broken UTF-8:\377'; do
    { cat model/vocab.txt && fill "${kind#*:}"; } > vocab.txt
    meets "vocab.txt: ${kind%:*}" "0 1" tokenizer encode --model vocab.txt
done
{ cat model/vocab.txt && repeat_line a; } > vocab.txt
meets "vocab.txt: the same piece" "0 1" tokenizer encode --model vocab.txt
{ cat model/vocab.txt && numbered '##%013d\n'; } > vocab.txt
input=text.txt meets "vocab.txt: as many pieces as fit" 0 tokenizer encode --model vocab.txt
awk -v n=$((n / 22)) 'BEGIN { for (i = 0; i < n; i++) printf "\"##%08d\": %d,\n", i, i + 60 }' > pieces
sed '/"vocab": *{/r pieces' model/tokenizer.json | spoilt tokenizer.json
rm bad/vocab.txt
input=text.txt meets "tokenizer.json: as many pieces as fit" 0 tokenizer encode --model bad
awk -v n=$((n / 150)) 'BEGIN {
    for (i = 0; i < n; i++) printf "{\"id\": %d, \"content\": \"<%d>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true},\n", i + 60, i
}' > tokens
sed '/"added_tokens": *\[/r tokens' model/tokenizer.json | spoilt tokenizer.json
input=text.txt meets "tokenizer.json: as many added tokens as fit" "0 1" tokenizer encode --model bad

# --- labelled files ---
for kind in 'one field:x' 'tabs:\t' 'line feeds:\n' 'carriage returns:\r' 'quotes:"' 'NUL:\000'; do
    { printf 'label\ttext\nr\tone\ng\ttwo\n' && fill "${kind#*:}"; } > made.tsv
    meets "tsv: ${kind%:*}" "0 1" finetune --model model --train made.tsv --out classifier --overwrite
done
{ printf 'label\ttext\n' && numbered 'label%08d\tx\n'; } > made.tsv
meets "tsv: as many labels as fit" 1 finetune --model model --train made.tsv --out classifier --overwrite

# --- vectors and numbers ---
printf '1000000000000 1000000000000\nthe 1 2 3\n' > made.vec
meets "word2vec: 10^24 numbers promised" 1 neighbors --vectors made.vec the
{ printf '1 %d\nthe' $((n / 2)) && repeat ' 1' && echo; } > made.vec
meets "word2vec: one long vector" "0 1" neighbors --vectors made.vec the
{ printf '2 3\n' && repeat x && printf ' 1 2 3\nb 1 2 3\n'; } > made.vec
meets "word2vec: one long word" "0 1" neighbors --vectors made.vec b
{ printf '%d 1\n' $((n / 16)) && numbered 'word%09d 1\n'; } > made.vec
meets "word2vec: as many words as fit" 0 neighbors --vectors made.vec word000000001
{ printf '%d 1\n' $((n / 4)) && repeat_line 'a 1'; } > made.vec
meets "word2vec: the same word" "0 1" neighbors --vectors made.vec a
{ printf '\223NUMPY\2\0' && printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))" && repeat '('; } > made.npy
meets "npy: a header of brackets" 1 info made.npy
printf "\223NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }%46s\n" "" > made.npy
meets "npy: 2^64 bytes promised" 1 info made.npy

# --- texts ---
for kind in 'one word:x' 'hashes:#' 'blanks: ' 'line feeds:\n' 'carriage returns:\r' 'broken UTF-8:\377' words; do
    if [ "$kind" = words ]; then repeat 'a b '; else fill "${kind#*:}"; fi > made.txt
    cat text.txt >> made.txt
    input=made.txt meets "tokenizer encode: ${kind%:*}" "0 1" tokenizer encode --model model
    meets "tokenizer train: ${kind%:*}" "0 1" tokenizer train --corpus made.txt --out made --vocab-size 100
    meets "skipgram: ${kind%:*}" "0 1" skipgram --corpus made.txt --out made.vec --size 4 --epochs 1 --min-count 1
    meets "phrases: ${kind%:*}" "0 1" phrases --corpus made.txt --out made.out --min-count 1
    rm -rf made
    meets "pretrain: ${kind%:*}" "0 1" pretrain --corpus made.txt --tokenizer model --out made --layers 1 --hidden 4 --heads 2 --intermediate 4 --seq-length 8 \
        --batch-size 4 --steps 1
done
[ "$n_failed" -eq 0 ] || fail "$n_failed of $n_cases"
echo "hostile: $n_cases files of $((n / 1000000)) MB, each met as it should be"
