#!/usr/bin/env bash
# Embeddings that begin as Skip-Gram vectors of the run's own text: the same at any number of threads, nothing left
# behind.   tests/e2e/init_embeddings.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

# Words of ten topics; a line keeps to one of them.
awk 'BEGIN {
    srand(1)
    for (line = 0; line < 9000; line++) {
        topic = int(rand() * 10)
        for (i = 0; i < 14; i++) printf "%s%c%c ", substr("bcdfghjklm", topic + 1, 1), 97 + int(rand() * rand() * rand() * 20), 97 + int(rand() * 5)
        print ""
        if (line % 9 == 8) print ""
    }
}' > text.txt
run tokenizer train --corpus text.txt --out tok --vocab-size 900 --quiet > /dev/null
train() { # out threads arguments...
    local out=$1 threads=$2
    shift 2
    "$minibert" pretrain --corpus text.txt --tokenizer tok --out "$out" --cache-dir cache --layers 1 --hidden 32 --heads 2 --intermediate 32 \
        --seq-length 32 --batch-size 64 --steps 16 --threads "$threads" "$@" > "$out.json" 2> "$out.err"
}
train one 1
train two 2
train random 2 --init-embeddings none
grep -q 'recipe: .*embeddings from Skip-Gram' two.err || fail "the recipe does not name them: $(cat two.err)"
grep -Eq 'begin as Skip-Gram vectors of 0\.[0-9] million tokens' two.err || fail "no word of what they were learnt from: $(cat two.err)"
cmp one/model.safetensors two/model.safetensors || fail "they depend on the number of threads"
[ -z "$(find two -name 'embeddings.*')" ] || fail "left behind: $(ls two)"
! cmp -s two/model.safetensors random/model.safetensors || fail "--init-embeddings none begins as skipgram does"
! grep -q 'Skip-Gram' random.err || fail "--init-embeddings none speaks of Skip-Gram"
train scattered 2 --init-attention random
grep -q 'recipe: .*attention to what is near' two.err || fail "the recipe does not name the attention: $(cat two.err)"
! grep -q "attention to what is near" scattered.err || fail "--init-attention random speaks of what is near"
! cmp -s two/model.safetensors scattered/model.safetensors || fail "--init-attention random begins as near does"
# with the pieces' frequencies in the output layer's bias the first loss is their entropy
train first 2 --lr 1e-9
awk -F '[:,]' '/"loss"/ { loss = $2 } /"unigram_entropy"/ { entropy = $2 } END { exit !(loss < entropy + 0.2 && entropy < 6) }' first.json ||
    fail "the first loss is not the entropy of the text: $(cat first.json)"
head -n 200 text.txt > little.txt
run pretrain --corpus little.txt --tokenizer tok --out little --layers 1 --hidden 32 --heads 2 --intermediate 32 --seq-length 32 --batch-size 4 \
    --steps 1 > /dev/null
grep -q 'embeddings begin at random' log || fail "a little text"
echo "init_embeddings: all as it should be"
