#!/usr/bin/env bash
# A ModernBERT from pretraining to use: pretrain, stop and resume, info, evaluate, finetune, predict, embed, fill-mask.
#   tests/e2e/modern.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

# Who does what is one of three topics: the masked word is to be told from its neighbours alone.
make_texts() { # seed n_sentences; lines of label<TAB>sentence
    awk -v state="$1" -v n="$2" '
        function below(k) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * k) }
        function pick(list,    words, k) { k = split(list, words, " "); return words[below(k) + 1] }
        BEGIN {
            label[0] = "animals"; who[0] = "cat dog horse"; does[0] = "chases hears"; what[0] = "mouse rabbit"
            label[1] = "ships"; who[1] = "captain sailor pilot"; does[1] = "steers repairs"; what[1] = "boat ferry"
            label[2] = "cooking"; who[2] = "cook baker guest"; does[2] = "tastes bakes"; what[2] = "soup bread"
            for (i = 0; i < n; i++) {
                t = below(3)
                printf "%s\tThe %s %s %s the %s %s.\n", label[t], pick("old young quiet happy"), pick(who[t]), pick(does[t]),
                    pick(what[t]), pick("today again slowly")
            }
        }'
}
make_texts 1 2000 | cut -f 2 | awk '{ print } NR % 4 == 0 { print "" }' > corpus.txt
{ printf 'label\ttext\n' && make_texts 2 400; } > train.tsv
{ printf 'label\ttext\n' && make_texts 3 60; } > test.tsv

# Layers 0 and 2 see all of a sequence, 1 and 3 what is at most two tokens away.
modern=(--corpus corpus.txt --recipe classic --arch modern --layers 4 --hidden 64 --heads 2 --intermediate 64 --global-attn-every-n-layers 2
    --local-attention 4 --seq-length 32 --batch-size 16 --vocab-size 150 --optimizer muon --lr 1e-2 --dropout 0.05
    --depth-ramp 0.8 --sampled-softmax 0.8 --threads 1)
run pretrain "${modern[@]}" --out model --steps 300 --save-every 200 --keep 9 > /dev/null
cp -r model resumed
rm -r resumed/checkpoints/step-00000300 resumed/model.safetensors
run pretrain "${modern[@]}" --out resumed --steps 300 --save-every 200 --keep 9 --resume > /dev/null
grep -q 'from step 241 on all 4 layers learn' log || fail "all layers do not join in: $(cat log)"
grep -q 'resuming after step 200' log || fail "nothing was resumed"
cmp model/model.safetensors resumed/model.safetensors || fail "a run that was resumed has other weights"
cmp model/checkpoints/step-00000300/optimizer.safetensors resumed/checkpoints/step-00000300/optimizer.safetensors ||
    fail "a run that was resumed has another optimizer state"

for key in '"model_type": "modernbert"' '"ModernBertForMaskedLM"' '"local_attention": 4' '"global_attn_every_n_layers": 2'; do
    grep -qF "$key" model/config.json || { cat model/config.json >&2; fail "config.json has no $key"; }
done
run info model > info.txt
grep -qi 'modern' info.txt || { cat info.txt >&2; fail "info does not name the architecture"; }
head -n 400 corpus.txt > part.txt
run evaluate --model model --data part.txt > evaluate.json
holds "$(member loss evaluate.json) < 0.75 * $(member unigram_entropy evaluate.json)" "the model uses context"
run fill-mask --model model --top-k 2 "The old captain steers the [MASK] today." > filled.tsv
[ "$(grep -cE '^(boat|ferry)	' filled.tsv)" -eq 2 ] || { cat filled.tsv >&2; fail "fill-mask: not what is steered"; }
run finetune --model model --task classify --train train.tsv --out classifier --epochs 2 --lr 1e-3 --batch-size 8 --threads 1 > /dev/null
grep -qF '"ModernBertForSequenceClassification"' classifier/config.json || fail "finetune wrote another architecture"
run evaluate --model classifier --data test.tsv > test.json
holds "$(member accuracy test.json) > 0.9" "the words tell the topics apart"
cut -f 2 test.tsv > texts.tsv
run predict --model classifier --input texts.tsv > predicted.tsv
[ "$(wc -l < predicted.tsv)" -eq 60 ] || fail "predict wrote $(wc -l < predicted.tsv) lines for 60 texts"
tail -n +2 texts.tsv > texts.txt
run embed --model model --input texts.txt --format tsv > vectors.tsv
awk -F '\t' 'NF != 64 { exit 1 } END { exit NR != 60 }' vectors.tsv || fail "embed: not 60 vectors of 64 numbers"

# A corpus of another kind: the trained model goes on, and keeps its architecture.
run pretrain --corpus corpus.txt --recipe classic --init model --out further --seq-length 32 --batch-size 16 --steps 5 --threads 1 > /dev/null
grep -qF '"model_type": "modernbert"' further/config.json || fail "--init changed the architecture"
echo "modern: all as it should be"
