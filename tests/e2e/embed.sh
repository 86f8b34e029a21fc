#!/usr/bin/env bash
# embed, neighbors, fill-mask and info on a small model: formats, order, streams, what is left behind.
#   tests/e2e/embed.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

awk 'BEGIN {
    split("red green blue small large old new", a, " "); split("house tree river stone bird", b, " ")
    for (i = 0; i < 600; i++) printf "the %s %s and the %s %s number %d\n%s", a[i % 7 + 1], b[i % 5 + 1], a[i % 3 + 2], b[i % 4 + 1], i, i % 10 == 9 ? "\n" : ""
}' > corpus.txt
run pretrain --corpus corpus.txt --out model --layers 2 --hidden 32 --heads 2 --intermediate 48 --seq-length 32 --batch-size 8 \
    --vocab-size 120 --steps 3 > /dev/null
grep . corpus.txt > texts.txt
n=$(wc -l < texts.txt)

# --- progress: none, or a line every N steps, and never on standard output ---
short=(pretrain --corpus corpus.txt --layers 1 --hidden 32 --heads 2 --intermediate 48 --seq-length 32 --vocab-size 120 --steps 7)
run "${short[@]}" --out quiet --quiet > out
[ ! -s log ] || fail "--quiet wrote $(head -n 1 log)"
run "${short[@]}" --out every --log-every 3 > out2
[ "$(grep -oE '^train [0-9]+/7 steps' log | tr '\n' ' ')" = "train 3/7 steps train 6/7 steps " ] || fail "--log-every 3: $(grep ^train log)"
! grep -q '^train' out2 || fail "progress on standard output"
rm -r quiet every

# --- formats ---
run embed --model model --input texts.txt --out vectors.npy
[ "$(head -c 6 vectors.npy | tail -c 5)" = NUMPY ] || fail "vectors.npy is no npy file"
grep -aq "'descr': '<f4', 'fortran_order': False, 'shape': ($n, 32)" vectors.npy || fail "the npy header: $(head -c 128 vectors.npy)"
[ "$(wc -c < vectors.npy)" -eq $((128 + n * 32 * 4)) ] || fail "vectors.npy has $(wc -c < vectors.npy) bytes"
run info vectors.npy > out
grep -q "$n x 32, <f4" out || fail "info vectors.npy: $(cat out)"
run embed --model model < texts.txt > stream.npy
cmp vectors.npy stream.npy || fail "a stream and a file give different vectors"
run embed --model model --input texts.txt --threads 1 --out one.npy
cmp vectors.npy one.npy || fail "the vectors depend on the number of threads"

run embed --model model --input texts.txt --format tsv > vectors.tsv
run embed --model model --input texts.txt --format jsonl > vectors.jsonl
run embed --model model --input texts.txt --format word2vec > vectors.vec
for file in tsv jsonl; do
    [ "$(wc -l < vectors.$file)" -eq "$n" ] || fail "vectors.$file has $(wc -l < vectors.$file) lines for $n texts"
done
awk -F '\t' 'NF != 32 { exit 1 }' vectors.tsv || fail "tsv: not 32 numbers a line"
[ "$(head -n 1 vectors.vec)" = "$n 32" ] || fail "word2vec: $(head -n 1 vectors.vec)"
awk 'NR > 1 && NF != 33 { exit 1 }' vectors.vec || fail "word2vec: not a word and 32 numbers a line"
# the same numbers in all three, and in jsonl the texts in order
sed 's/.*"vector": \[//; s/\]}$//; s/, /\t/g' vectors.jsonl | cmp - vectors.tsv || fail "jsonl and tsv differ"
tail -n +2 vectors.vec | cut -d ' ' -f 2- | tr ' ' '\t' | cmp - vectors.tsv || fail "word2vec and tsv differ"
sed 's/^{"text": "\(.*\)", "vector".*/\1/' vectors.jsonl | cmp - texts.txt || fail "jsonl: the texts are not those of the input"

# --- every line has a vector, empty ones too; lengths are one; a last line needs no line feed ---
printf 'the red house\n\n\nthe red house' | run embed --model model --normalize --format tsv > out
[ "$(wc -l < out)" -eq 4 ] || fail "four lines gave $(wc -l < out) vectors"
awk -F '\t' '{ s = 0; for (i = 1; i <= NF; i++) s += $i * $i; if (s < 0.9999 || s > 1.0001) exit 1 }' out || fail "--normalize: a length is not 1"
[ "$(sed -n 2p out)" = "$(sed -n 3p out)" ] || fail "two empty lines have different vectors"
: | run embed --model model --format word2vec > out
[ "$(cat out)" = "0 32" ] || fail "no lines: $(cat out)"

# --- a pipe: a line's vector is there before the next line comes, in order, and the same as from a file ---
awk 'NR % 7 == 0 { print "" } { print }' texts.txt | sed -n 1,40p > lines.txt
mkfifo to from
"$minibert" embed --model model --format jsonl --precision fp32 --quiet < to > from 2> log &
pid=$!
exec 4> to 5< from
: > streamed
while IFS= read -r line; do
    printf '%s\n' "$line" >&4
    IFS= read -r -t 60 vector <&5 || fail "a pipe: no vector for '$line' while the next line was not there"
    printf '%s\n' "$vector" >> streamed
    grep -qF "\"text\": \"$line\"" <<< "$vector" || fail "a pipe: '$line' came back as $vector"
done < <(head -n 10 lines.txt)
tail -n +11 lines.txt >&4 # many at once
exec 4>&-
cat <&5 >> streamed
exec 5<&-
wait $pid || fail "a pipe: embed failed"
run embed --model model --format jsonl --precision fp32 --input lines.txt > whole
diff <(sed 's/, "vector.*//' streamed) <(sed 's/, "vector.*//' whole) || fail "a pipe: the texts are not in order"
cmp streamed whole || fail "a pipe: other vectors than from a file"

# --- cutting is said, windows are whole ---
{ printf 'stone %.0s' {1..100} && echo && echo stone; } > long.txt
run embed --model model --input long.txt --max-length 20 --format tsv > cut
grep -q '1 of 2 lines were longer than 20 tokens and cut' log || fail "nothing was said of the cut line: $(cat log)"
run embed --model model --input long.txt --max-length 20 --stride 9 --format tsv > windows
[ ! -s log ] || fail "windows cut nothing: $(cat log)"
! cmp -s cut windows || fail "--stride changes nothing"
# the same numbers whatever is in the batch beside them
cmp <(sed -n 2p cut) <(sed -n 2p windows) || fail "--stride changes a short line"

# --- words with their places ---
printf 'the red house\n\nblue zzz\n' > few.txt
run embed --model model --input few.txt --pooling words --index words.tsv --out words.npy
cut -f 1-3 words.tsv > out
printf '1\t0\t3\n1\t4\t7\n1\t8\t13\n3\t0\t4\n3\t5\t8\n' | cmp - out || fail "the places of words: $(cat words.tsv)"
run embed --model model --input few.txt --pooling words --format tsv | cut -f 1-4 | cmp - words.tsv || fail "index and tsv differ"
run info words.npy > out
grep -q '5 x 32' out || fail "words.npy has not a row for each of the 5 words"

# --- the bridge to word vectors: distilled from the model, and as what a model begins with ---
run embed --model model --static corpus.txt --min-count 20 --out static.vec
head -n 1 static.vec | grep -qE '^[0-9]+ 32$' || fail "--static writes word2vec's text: $(head -n 1 static.vec)"
[ "$(sed -n 2p static.vec | cut -d ' ' -f 1)" = the ] || fail "--static: the most frequent word is not first"
! grep -qE '^(1|and\+) ' static.vec && grep -q '^house ' static.vec || fail "--static: the words are $(cut -d ' ' -f 1 static.vec | tr '\n' ' ')"
run neighbors --vectors static.vec --top-k 2 house > out
run senses --model model --corpus texts.txt --vectors static.vec --max-senses 3 --points senses.tsv house Tree > senses.json
[ "$(grep -c '"word":' senses.json)" -eq 2 ] && grep -q '"word": "tree"' senses.json || fail "senses wrote: $(cat senses.json)"
[ "$(grep -c '"neighbors":' senses.json)" -ge 6 ] || fail "senses: a word or a sense has no neighbours: $(cat senses.json)"
[ "$(wc -l < senses.tsv)" -eq "$((1 + $(grep -oE 'house|tree' texts.txt | wc -l)))" ] || fail "senses: $(wc -l < senses.tsv) points"
awk -F '\t' 'NF != 5 || (NR > 1 && ($2 < 1 || $2 > 3 || $3 * 0 != 0)) { exit 1 }' senses.tsv || fail "the points of senses: $(head -n 3 senses.tsv)"
run senses --model model --corpus texts.txt --threads 1 --vectors static.vec --max-senses 3 house Tree | cmp - senses.json || fail "senses depend on the threads"
! "$minibert" senses --model model --corpus texts.txt zebra 2> log || fail "a word that is not there has senses"
run skipgram --corpus corpus.txt --out words.vec --size 8 --epochs 1 > out
for vectors in static.vec words.vec; do
    run "${short[@]}" --out begun --init-embeddings $vectors > out
    grep -qE "[0-9]+ of [0-9]+ pieces begin as their vectors in '$vectors'" log || fail "--init-embeddings said: $(cat log)"
    rm -r begun
done
! "$minibert" "${short[@]}" --out begun --init-embeddings missing.vec 2> log || fail "missing vectors are not missed"
grep -q missing.vec log && [ ! -e begun/model.safetensors ] || fail "--init-embeddings missing.vec said: $(cat log)"

# --- neighbours, with kept vectors the same ---
run neighbors --model model --corpus texts.txt --top-k 4 --save-vectors kept.npy "the red house" "a bird" > near
[ "$(grep -c . near)" -eq 8 ] && [ "$(wc -l < near)" -eq 9 ] || fail "neighbors wrote: $(cat near)"
run neighbors --model model --corpus texts.txt --vectors kept.npy --top-k 4 "the red house" "a bird" | cmp - near || fail "kept vectors give other neighbours"
cmp kept.npy vectors.npy || fail "neighbors and embed make different vectors"
run neighbors --model model --corpus texts.txt --top-k 1 "$(sed -n 50p texts.txt)" > near
[ "$(cat near)" = "1.0000	$(sed -n 50p texts.txt)" ] || fail "a text is not nearest to itself: $(cat near)"
run neighbors --vectors vectors.vec --top-k 2 "$(sed -n 50p texts.txt | tr ' ' _)" > near
[ "$(wc -l < near)" -eq 2 ] && ! grep -q "number_49$" near || fail "word2vec neighbours: $(cat near)"

# --- masks ---
run fill-mask --model model --top-k 3 "the [MASK] house" "[MASK] and [MASK]" > filled
[ "$(grep -c . filled)" -eq 9 ] && [ "$(sed -n 4p filled)" = "" ] || fail "fill-mask wrote: $(cat filled)"
awk -F '\t' 'NF && (NF != 3 || $2 <= 0 || $2 >= 1) { exit 1 }' filled || fail "fill-mask: three columns, the second a probability"
run info model > out
grep -q 'BertForMaskedLM' out && grep -q '120 wordpieces' out || fail "info model: $(cat out)"

# --- nothing but results is left behind, also by a run that is stopped ---
mkdir clean && cd clean
mkfifo ../pipe
"$minibert" embed --model ../model --input ../pipe --out vectors.npy 2> ../log &
pid=$!
exec 3> ../pipe # comes back when minibert has opened its end
printf 'stone\n' >&3
kill -TERM $pid
code=0
wait $pid || code=$?
exec 3>&-
[ "$code" -eq 143 ] || fail "SIGTERM: exit code $code"
[ -z "$(ls -A)" ] || fail "a stopped run left $(ls -A)"
cd ..
[ -z "$(find . -name '.minibert*' -o -name '*.tmp*')" ] || fail "left behind: $(find . -name '.minibert*' -o -name '*.tmp*')"
echo "embed: all as it should be"
