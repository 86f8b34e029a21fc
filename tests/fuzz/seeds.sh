#!/usr/bin/env bash
# Makes the seed corpora of the fuzz targets: small whole files of every format that minibert reads.
#   tests/fuzz/seeds.sh MINIBERT DIR     makes DIR/TARGET/*
set -euo pipefail
export LC_ALL=C OMP_NUM_THREADS=1
golden=$(cd "$(dirname "$0")/../golden" && pwd)
minibert=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
rm -rf "$2"
mkdir -p "$2"
cd "$2"
mkdir tokenizer_json vocab safetensors model_config shard labelled word_vectors npy checkpoint

awk 'BEGIN { for (i = 0; i < 60; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 7, i % 8 == 7 ? "\n" : "" }' > text.txt
"$minibert" pretrain --quiet --corpus text.txt --out model --arch bert --layers 1 --hidden 4 --heads 2 --intermediate 4 --seq-length 8 --batch-size 4 \
    --vocab-size 45 --steps 1 > /dev/null
"$minibert" pretrain --quiet --corpus text.txt --out modern --arch modern --tokenizer model --layers 1 --hidden 8 --heads 2 --intermediate 4 \
    --seq-length 8 --batch-size 4 --steps 1 > /dev/null

cp model/tokenizer.json tokenizer_json/own
{ cat model/tokenizer.json && printf '\0' && cat model/tokenizer_config.json; } > tokenizer_json/both
cp model/vocab.txt vocab/own
printf '[UNK]\r\n[CLS]\r\n[SEP]\r\n[PAD]\r\n[MASK]\r\nna\303\257ve\r\n##s' > vocab/windows
for n in 0 1 2 3; do # the first byte is the target's mode
    { printf "\\00$n" && cat model/model.safetensors; } > safetensors/own$n
done
{ printf '\002' && cat "$golden/model_classifier/model.safetensors"; } > safetensors/classifier
cp model/config.json model_config/bert
cp modern/config.json model_config/modern
cp "$golden/model_classifier/config.json" model_config/classifier
cp "$golden/model_modernbert_classifier/config.json" model_config/modernbert
for shard in model/cache/*.shard; do
    cp "$shard" "shard/$(basename "$shard" .shard)"
done
printf 'label\ttext\nr\tone two\ng\t\303\251\n' > labelled/classify.tsv
printf 'n\ttext_b\tlabel\ttext_a\r\n1\tb\tx\ta\r\n2\td\ty\tc\r\n' > labelled/pair.tsv
printf '{"label": "r", "text": "one"}\n\n{"text": "\\u00e9\\n", "label": 3, "more": [1]}\n' > labelled/classify.jsonl
printf '\357\273\277{"label": "r", "text_a": "one", "text_b": null}\n{"text_a": "", "text_b": "x"}' > labelled/pair.jsonl
"$minibert" skipgram --quiet --corpus text.txt --out word_vectors/text --size 3 --min-count 1 --epochs 1 > /dev/null
"$minibert" skipgram --quiet --corpus text.txt --out word_vectors/binary --size 3 --min-count 1 --epochs 1 --binary > /dev/null
tail -n +2 word_vectors/text > word_vectors/glove
printf 'one\ntwo three\n' > few.txt
"$minibert" embed --quiet --model model --input few.txt --format npy --out npy/own
{ cat npy/own && printf '\n\0one 3\ntwo 2\n'; } > word_vectors/npy
sed "s/<f4/<f8/" npy/own > npy/double
number=1
for file in state.json config.json model.safetensors optimizer.safetensors; do
    { printf "\\00$number" && cat model/checkpoints/step-*/$file; } > "checkpoint/$file"
    number=$((number + 1))
done
{ printf '\0' && cat model/checkpoints/step-*/state.json; } > checkpoint/whole
rm -rf model modern text.txt few.txt
