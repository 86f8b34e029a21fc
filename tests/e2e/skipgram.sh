#!/usr/bin/env bash
# skipgram, similarity, analogy, neighbors on a small text: both spellings of the options, formats, streams, signals.
#   tests/e2e/skipgram.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

# what it must refuse, with which exit code, and what it must say
refuse() { # code text arguments...
    local code=$1 text=$2 got=0
    shift 2
    "$minibert" "$@" > out 2> log || got=$?
    [ "$got" -eq "$code" ] || fail "minibert $*: exit code $got, expected $code"
    grep -q -- "$text" log || fail "minibert $*: '$text' is not in: $(cat log)"
}

awk 'BEGIN { srand(1); for (i = 0; i < 3000; i++) { t = int(rand() * 9); printf "king%d queen%d of land%d king%d\n", t, t, t, t } }' > text.txt
words=$(tr ' ' '\n' < text.txt | sort -u | wc -l)

# --- our spelling and word2vec.c's are the same run ---
run skipgram --corpus text.txt --out ours.bin --binary --size 24 --window 3 --negative 4 --sample 0 --min-count 2 --epochs 2 \
    --alpha 0.02 --deterministic --save-vocab ours.counts > result.json
run skipgram -train text.txt -output theirs.bin -binary 1 -cbow 0 -hs 0 -size 24 -window 3 -negative 4 -sample 0 -min-count 2 -iter 2 \
    -alpha 0.02 -debug 2 -threads 2 --deterministic -save-vocab theirs.counts > /dev/null
cmp ours.bin theirs.bin || fail "the two spellings give different vectors"
cmp ours.counts theirs.counts || fail "the two spellings give different counts"
[ "$(wc -l < ours.counts)" -eq "$words" ] || fail "$(wc -l < ours.counts) words, expected $words"
tr ' ' '\n' < text.txt | sort | uniq -c | awk '{ print $2, $1 }' | sort -k2,2nr -k1,1 | cmp - ours.counts || fail "the counts are wrong"
grep -q '"trained_words": 30000' result.json || fail "the result: $(cat result.json)"
[ "$(head -n 1 ours.bin)" = "$words 24" ] || fail "binary header: $(head -n 1 ours.bin | head -c 80)"
for threads in 1 3; do
    run skipgram --corpus text.txt --out again.bin --binary --size 24 --window 3 --negative 4 --sample 0 --min-count 2 --epochs 2 \
        --alpha 0.02 --deterministic --threads $threads > /dev/null
    cmp ours.bin again.bin || fail "--deterministic depends on the threads: $threads"
done

# --- formats: the same numbers in each ---
for format in text npy; do
    run skipgram --corpus text.txt --out ours.$format --format $format --size 24 --window 3 --negative 4 --sample 0 --min-count 2 \
        --epochs 2 --alpha 0.02 --deterministic > /dev/null
done
[ "$(head -n 1 ours.text)" = "$words 24" ] || fail "text header: $(head -n 1 ours.text)"
awk 'NR > 1 && NF != 25 { exit 1 }' ours.text || fail "text: not a word and 24 numbers a line"
cmp ours.npy.vocab ours.counts || fail "the list beside the npy is not the vocabulary"
printf 'king1 queen1 9\nking1 land1 8\nking1 queen2 3\nking1 of 2\nking1 nobody 1\n' > pairs.txt
for format in bin text npy; do
    run similarity --vectors ours.$format pairs.txt > similarity.$format
    grep -q '"out_of_vocabulary": 1' similarity.$format || fail "$format: $(cat similarity.$format)"
    [ "$(grep spearman similarity.$format)" = "$(grep spearman similarity.bin)" ] || fail "$format and binary differ in similarity"
done

# --- other objectives ---
for options in --cbow "--hs --negative 0" "--cbow --hs" "--engine plain" "--unk --max-vocab 5" "--maxn 4 --bucket 500" "--fixed-window"; do
    # shellcheck disable=SC2086
    run skipgram --corpus text.txt --out kind.vec --size 10 --epochs 1 $options > kind.json
    awk 'NR > 1 { for (i = 2; i <= NF; i++) if ($i * 0 != 0) exit 1 }' kind.vec || fail "$options: a number that is none"
done
run skipgram --corpus text.txt --out unk.vec --size 10 --epochs 1 --unk --max-vocab 5 > /dev/null
grep -q '^\[UNK\] ' unk.vec || fail "--unk made no [UNK]"

# --- phrases: both spellings, and vectors of them ---
awk 'BEGIN { for (i = 0; i < 300; i++) printf "in new york w%d\n\n", i % 20 }' > city.txt
run phrases --corpus city.txt --out joined.txt --threshold 2.8 > phrases.json
run phrases -train city.txt -output joined2.txt -threshold 2.8 -min-count 5 -debug 2 --threads 3 > /dev/null
cmp joined.txt joined2.txt || fail "the two spellings of phrases differ"
[ "$(head -n 1 joined.txt)" = "in_new york w0" ] || fail "phrases: $(head -n 1 joined.txt)"
run phrases --corpus city.txt --out joined.txt --threshold 2.8 --passes 2 > /dev/null
[ "$(tr _ ' ' < joined.txt | cmp - city.txt 2>&1)" = "" ] || fail "phrases changed more than white space"
grep -q '^in_new_york' joined.txt || fail "phrases --passes 2: $(head -n 1 joined.txt)"
run skipgram --corpus joined.txt --out joined.vec --size 8 --epochs 1 > /dev/null
grep -q '^in_new_york' joined.vec || fail "a phrase has no vector"
refuse 2 "--out FILE is missing" phrases --corpus city.txt
refuse 1 "'missing.txt'" phrases --corpus missing.txt --out x
refuse 1 "lower --min-count" phrases --corpus city.txt --out x --min-count 100000

# --- analogies, neighbors ---
run skipgram --corpus text.txt --out words.vec --size 30 --window 3 --sample 0 --epochs 30 --alpha 0.01 > /dev/null
printf ': topic\nking1 queen1 KING2 queen2\nking3 land3 king4 land4\n: gram-none\na b c d\n' > questions.txt
run analogy --vectors words.vec questions.txt > analogy.json
grep -q '"asked": 2' analogy.json && grep -q '"passed_over": 1' analogy.json || fail "analogy: $(cat analogy.json)"
run analogy --vectors words.vec --method multiply --restrict 0 questions.txt > /dev/null
run neighbors --vectors words.vec --top-k 3 king5 > near.txt
grep -qE 'queen5|land5' near.txt || fail "the neighbours of king5: $(cat near.txt)"
for format in bin npy text; do
    run neighbors --vectors ours.$format --top-k 4 king5 > near.$format
    cmp near.$format near.bin || fail "neighbors: $format and binary differ: $(cat near.$format near.bin)"
done

# --- broken UTF-8 and long words pass through ---
{ printf 'a\377b caf\303\251 '; head -c 5000 /dev/zero | tr '\0' x; printf ' a\377b caf\303\251\n'; } > bytes.txt
run skipgram --corpus bytes.txt --out bytes.bin --binary --min-count 1 --size 8 --epochs 1 > /dev/null
printf 'a\377b caf\303\251 1\n' > bytes.pairs
run similarity --vectors bytes.bin bytes.pairs > out
grep -q '"found": 1' out || fail "words that are no UTF-8 are lost: $(cat out)"

# --- streams and errors ---
run skipgram --corpus text.txt --out quiet.vec --quiet --epochs 1 > /dev/null
[ ! -s log ] || fail "--quiet: $(cat log)"
refuse 2 "--corpus FILE is missing" skipgram --out x
refuse 2 "--out FILE is missing" skipgram -train text.txt
refuse 2 "unexpected argument '7'" skipgram --corpus text.txt --out x --cbow 7
refuse 2 "--classes" skipgram -train text.txt -output x -classes 5
refuse 1 "'missing.txt'" skipgram --corpus missing.txt --out x
refuse 1 "lower --min-count" skipgram --corpus text.txt --out x --min-count 1000000
refuse 1 "cannot read 'text.txt'" similarity --vectors text.txt pairs.txt
refuse 1 "line 1" analogy --vectors words.vec pairs.txt
refuse 2 "--vectors" similarity pairs.txt
[ ! -e x ] || fail "a failed run left a file"

# --- Ctrl-C: nothing is left behind ---
"$minibert" skipgram --corpus text.txt --out stopped.vec --epochs 100000 > out 2> log &
pid=$!
wait_for log ' words, '
kill -INT $pid
code=0
wait $pid || code=$?
[ "$code" -eq 130 ] || fail "interrupted: exit code $code"
[ -z "$(find . -name '*stopped*')" ] || fail "interrupted: left $(find . -name '*stopped*')"
