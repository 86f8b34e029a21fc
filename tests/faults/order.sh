#!/usr/bin/env bash
# What is written is synced before it takes its name, and then the name's directory is: in this order, for every file and checkpoint.
# And a model's files lead to no file outside its directory.   tests/faults/order.sh MINIBERT_FAULTS
source "$(dirname "$0")/../prelude.sh"
export OMP_NUM_THREADS=1

awk 'BEGIN { for (i = 0; i < 60; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 7, i % 8 == 7 ? "\n" : "" }' > text.txt
run() { MINIBERT_FAULT_LOG=$dir/calls "$minibert" "$@" --quiet --threads 1 > out 2> err || { cat err >&2; fail "minibert $*"; }; }

check_order() { # paths without blanks
    awk -v dir="$dir/" '
        function whole(path) { return path ~ /^\// ? path : dir path }
        function parent(path) { sub(/\/[^\/]*$/, "", path); return path }
        $1 == "write" { unsynced[$2] = 1; n_writes++ }
        $1 == "sync" { delete unsynced[$2]; delete unnamed[$2]; n_syncs++ }
        $1 == "rename" {
            from = whole($2); to = whole($3); n_renames++
            for (path in unsynced) if (path == from || index(path, from "/") == 1) { print path " takes its name unsynced"; bad = 1 }
            for (name in unnamed) if (index(name, from) == 1) { print name " is not synced when it is moved"; bad = 1 }
            unnamed[parent(to)] = 1
        }
        END {
            for (name in unnamed) { print name ": a name in it is not synced"; bad = 1 }
            if (n_writes < least || n_syncs < least || n_renames < least) { print "nothing was seen"; bad = 1 }
            exit bad
        }' least="$1" calls || fail "${*:2}"
}
least=12 # six files, two checkpoints of four files
run pretrain --corpus text.txt --out model --layers 1 --hidden 4 --heads 2 --intermediate 4 --seq-length 8 --batch-size 4 --vocab-size 60 --steps 4 --save-every 2
check_order "$least" pretrain
run tokenizer train --corpus text.txt --out tok --vocab-size 60
check_order 3 tokenizer train
run embed --model model --input text.txt --format npy --out vectors
check_order 1 embed

# Every text of the model's JSON that could be a path is one that leads out of it.
mkdir outside
cp model/vocab.txt model/config.json model/model.safetensors outside
for file in config.json tokenizer_config.json; do
    sed -i "1a \"_name_or_path\": \"$dir/outside\", \"tokenizer_file\": \"../outside/vocab.txt\", \"vocab_file\": \"$dir/outside/vocab.txt\", \
        \"weights\": \"../outside/model.safetensors\", \"auto_map\": {\"AutoModel\": \"../outside/config.json\"}," model/$file
done
printf '{"weight_map": {"model.embeddings.tok_embeddings.weight": "../outside/model.safetensors"}}' > model/model.safetensors.index.json
run embed --model model --input text.txt --format npy --out vectors
grep -q '^open model/config.json$' calls || fail "the log does not show what is opened"
! grep outside calls >&2 || fail "a path from a file was followed"
echo "order: synced, named, synced; and no path followed"
