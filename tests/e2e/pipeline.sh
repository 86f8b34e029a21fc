#!/usr/bin/env bash
# The whole program on a small made-up text: tokenizer -> pretrain -> evaluate -> finetune -> predict -> embed -> fill-mask ->
# neighbors, each result checked for what it must be.   tests/e2e/pipeline.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

# --- texts: sentences about animals, ships or cooking, from a small grammar and a fixed generator ---
make_texts() { # seed n_sentences; lines of label<TAB>sentence
    awk -v state="$1" -v n="$2" '
        function below(k) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * k) }
        function pick(list,    words, k) { k = split(list, words, " "); return words[below(k) + 1] }
        BEGIN {
            label[0] = "animals"; who[0] = "cat dog horse fox bird"; does[0] = "chases hears follows"; what[0] = "mouse rabbit cow duck"
            label[1] = "ships"; who[1] = "captain sailor pilot crew"; does[1] = "steers repairs anchors"; what[1] = "boat ferry vessel tanker"
            label[2] = "cooking"; who[2] = "cook baker guest waiter"; does[2] = "tastes bakes serves"; what[2] = "soup bread cake pasta"
            for (i = 0; i < n; i++) {
                t = below(3)
                printf "%s\tThe %s %s %s the %s %s.\n", label[t], pick("old young quiet happy"), pick(who[t]), pick(does[t]),
                    pick(what[t]), pick("today again slowly every day")
            }
        }'
}
labelled() { printf 'label\ttext\n' && make_texts "$@"; }
make_texts 1 3000 | cut -f 2 | awk '{ print } NR % 5 == 0 { print "" }' > corpus.txt
labelled 2 600 > train.tsv
labelled 3 60 > dev.tsv
labelled 4 60 > test.tsv

# --- a vocabulary, and one that extends it: the old ids stay, pieces of the new text follow ---
run tokenizer train --corpus corpus.txt --out vocabulary --vocab-size 60
awk 'BEGIN { for (i = 0; i < 50; i++) print "zymurgy quaffs zymurgy" }' > domain.txt
run tokenizer train --corpus domain.txt --out extended --initial-vocab vocabulary --vocab-size 90
head -n "$(wc -l < vocabulary/vocab.txt)" extended/vocab.txt | cmp - vocabulary/vocab.txt || fail "--initial-vocab moved ids"
[ "$(echo 'zymurgy quaffs' | "$minibert" tokenizer encode --model extended --format tokens --no-special 2> log)" = "zymurgy quaffs" ] ||
    fail "--initial-vocab learnt no pieces of the new text"
[ "$(echo 'zymurgy' | "$minibert" tokenizer encode --model vocabulary --format tokens --no-special 2> log)" != "zymurgy" ] ||
    fail "the vocabulary to extend knew the word already"

# --- pretrain ---
shape=(--layers 1 --hidden 64 --heads 2 --intermediate 128 --seq-length 12 --batch-size 32 --vocab-size 200)
run pretrain --corpus corpus.txt --out model "${shape[@]}" --steps 1000 --lr 3e-3 --dropout 0 --threads 1 > pretrain.json
for file in config.json model.safetensors vocab.txt tokenizer.json tokenizer_config.json training.json metrics.jsonl; do
    [ -s "model/$file" ] || fail "pretrain left no model/$file"
done
run evaluate --model model --data corpus.txt > evaluate.json
loss=$(member loss evaluate.json)
entropy=$(member unigram_entropy evaluate.json)
holds "$loss > 0 && $loss < $entropy" "the model has learnt more than word frequencies"

# The same run on one thread gives the same weights, to the byte; another seed does not.
run pretrain --corpus corpus.txt --out again "${shape[@]}" --steps 10 --threads 1 > /dev/null
run pretrain --corpus corpus.txt --out again2 "${shape[@]}" --steps 10 --threads 2 > /dev/null
cmp again/model.safetensors again2/model.safetensors || fail "the weights depend on the number of threads"
run pretrain --corpus corpus.txt --out other "${shape[@]}" --steps 10 --seed 7 > /dev/null
! cmp -s again/model.safetensors other/model.safetensors || fail "the seed changes nothing"

# --- finetune, evaluate, predict ---
run finetune --model model --task classify --train train.tsv --dev dev.tsv --out classifier --threads 1 --epochs 6 --lr 1e-3 --runs 2 --batch-size 8 > finetune.json
run evaluate --model classifier --data test.tsv > test.json
accuracy=$(member accuracy test.json)
# The largest topic has about 0.4 of the texts; 0.6 is more than any single topic gives.
holds "$accuracy > 0.6 && $accuracy > $(member majority test.json) + 0.15" "the words tell the topics apart"
tail -n +2 test.tsv | cut -f 2 > texts.txt
{ echo text && cat texts.txt; } > texts.tsv
run predict --model classifier --input texts.tsv > predicted.tsv
[ "$(wc -l < predicted.tsv)" -eq 60 ] || fail "predict wrote $(wc -l < predicted.tsv) lines for 60 texts"
right=$(paste <(tail -n +2 test.tsv) predicted.tsv | awk -F '\t' '$1 == $3 { n++ } END { print n + 0 }')
holds "$right / 60 - $accuracy < 1e-6 && $accuracy - $right / 60 < 1e-6" "predict's labels give evaluate's accuracy"
# A pipe: a text's label is there before the next text comes; a directory of another program leaves the task to the columns.
cp -r classifier foreign && rm foreign/training.json
mkfifo to from
"$minibert" predict --model foreign < to > from 2> log &
pid=$!
exec 4> to 5< from
echo text >&4
while IFS= read -r text; do
    echo "$text" >&4
    IFS= read -r -t 60 label <&5 || fail "a pipe: no label for '$text' while the next text was not there"
    echo "$label"
done < texts.txt > streamed.tsv
exec 4>&- 5<&-
wait $pid || fail "a pipe: predict failed"
cut -f 1 predicted.tsv | diff - <(cut -f 1 streamed.tsv) || fail "a pipe: other labels than from a file"
# More lines than are read at once, by one thread and by two, in batches of three: the same rows.
{ echo text && for _ in $(seq 40); do cat texts.txt; done; } > many.tsv
run predict --model classifier --input many.tsv --threads 1 > one.tsv
run predict --model classifier --input many.tsv --threads 2 --batch-size 3 --format jsonl > two.jsonl
for _ in $(seq 40); do cat predicted.tsv; done | cut -f 1 | diff - <(cut -f 1 one.tsv) > /dev/null || fail "predict: another order in blocks"
cut -f 1 one.tsv | diff - <(sed 's/{"label": "\([^"]*\)".*/\1/' two.jsonl) > /dev/null || fail "predict: other labels by two threads"
# What cannot be read ends it, after what could.
{ cat texts.tsv && printf 'a\tb\n'; } > broken.tsv
if "$minibert" predict --model classifier --input broken.tsv > out.tsv 2> log; then fail "predict took a line of two columns"; fi
grep -q "broken.tsv.*line 62 has 2 columns" log || fail "predict: $(cat log)"
cmp out.tsv predicted.tsv || fail "predict: the lines before one that cannot be read have not their labels"

# --- embed, neighbors, fill-mask ---
run embed --model model --input texts.txt --format tsv > vectors.tsv
[ "$(wc -l < vectors.tsv)" -eq 60 ] || fail "embed wrote $(wc -l < vectors.tsv) lines for 60 texts"
awk -F '\t' 'NF != 64 { exit 1 }' vectors.tsv || fail "embed: a line of tsv has not the 64 numbers of a vector"
run embed --model model --input texts.txt --format npy --out vectors.npy
[ "$(head -c 6 vectors.npy | tail -c 5)" = NUMPY ] || fail "vectors.npy is no npy file"
grep -aq "'shape': (60, 64)" vectors.npy || fail "vectors.npy has not the shape (60, 64)"

query=$(sed -n 7p texts.txt)
run neighbors --model model --corpus texts.txt "$query" > near.txt
head -n 1 near.txt | grep -qF "$query" || fail "a text's nearest neighbour is not the text itself: $(head -n 1 near.txt)"

# What can stand before the adverb: one of the twelve objects.
run fill-mask --model model --top-k 4 "The old captain steers the [MASK] today." > filled.tsv
[ "$(wc -l < filled.tsv)" -eq 4 ] || fail "fill-mask --top-k 4 wrote $(wc -l < filled.tsv) lines"
objects='mouse|rabbit|cow|duck|boat|ferry|vessel|tanker|soup|bread|cake|pasta'
[ "$(grep -cE "^($objects)	" filled.tsv)" -eq 4 ] || { cat filled.tsv >&2; fail "fill-mask: not four objects"; }
grep -qE "	The old captain steers the ($objects) today\.$" filled.tsv || { cat filled.tsv >&2; fail "fill-mask: the mask is not filled"; }
awk -F '\t' '$2 <= 0 || $2 > last { exit 1 } { last = $2; sum += $2 } END { if (sum > 1) exit 1 }' last=1 filled.tsv ||
    { cat filled.tsv >&2; fail "fill-mask: probabilities out of order or above 1 together"; }

# --- bad input: one line, the right exit code, nothing written ---
refuses() { # expected_code arguments...
    local expected=$1 code=0
    shift
    "$minibert" "$@" > out 2> log || code=$?
    [ "$code" -eq "$expected" ] || fail "minibert $*: exit code $code, expected $expected"
    [ "$(grep -c '^minibert: ' log)" -eq 1 ] || fail "minibert $*: expected one line of error"
    [ ! -e nothing ] || fail "minibert $* left something behind"
}
printf 'label\ttext\nanimals\ttext\tmore\n' > columns.tsv
printf 'a\0b\n' > binary.txt
: > empty.txt
refuses 1 pretrain --corpus missing.txt --out nothing --steps 1
refuses 1 pretrain --corpus binary.txt --out nothing --steps 1
refuses 1 pretrain --corpus empty.txt --out nothing --steps 1
refuses 2 pretrain --corpus corpus.txt --out nothing --steps 1 --lr nan
refuses 2 pretrain --corpus corpus.txt --out nothing --steps 1 --batch-size 0
refuses 2 pretrain --corpus corpus.txt --out nothing --no-such-flag
refuses 1 finetune --model model --task classify --train columns.tsv --out nothing
refuses 1 embed --model missing --input texts.txt --out nothing
head -c 1000 model/model.safetensors > cut.safetensors
cp -r model cut && mv cut.safetensors cut/model.safetensors
refuses 1 embed --model cut --input texts.txt --out nothing
echo "pipeline: all as it should be"
