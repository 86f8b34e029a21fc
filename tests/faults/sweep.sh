#!/usr/bin/env bash
# Lets every command that writes files meet a fault at every k-th file call, and at every k-th allocation. Each time: the run either
# gives the result of an undisturbed one, or exits 1 with one line of error; what was whole before is whole after; the same command
# without the fault then gives the very bytes of an undisturbed run and leaves no temporary file.
#
#   tests/faults/sweep.sh MINIBERT_FAULTS [POINTS [files|memory|both [COMMAND...]]]
#       POINTS: how many k of each series are tried, evenly spread; 0: all.  COMMAND: new, resume, finetune, tokenizer, embed, skipgram
source "$(dirname "$0")/../prelude.sh"
export OMP_NUM_THREADS=1
points=${2:-6} only=${3:-both} wanted=("${@:4}")
n_runs=0 n_failed=0

awk 'BEGIN { for (i = 0; i < 60; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 7, i % 8 == 7 ? "\n" : "" }' > text.txt
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 12; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > train.tsv

# Each command works in a directory of its own, from what is in start/COMMAND, and leaves result files there.
pretrain=(pretrain --corpus "$dir/text.txt" --tokenizer "$dir/tok" --out model --layers 1 --hidden 4 --heads 2 --intermediate 4 --seq-length 8
    --batch-size 4 --steps 4 --save-every 2 --keep 1 --resume)
command_new=("${pretrain[@]}") results_new=(model/model.safetensors model/config.json model/vocab.txt)
command_resume=("${pretrain[@]}") results_resume=("${results_new[@]}")
command_finetune=(finetune --model "$dir/base" --train "$dir/train.tsv" --out classifier --overwrite --epochs 1) results_finetune=(classifier/model.safetensors)
command_tokenizer=(tokenizer train --corpus "$dir/text.txt" --out tok --vocab-size 60) results_tokenizer=(tok/vocab.txt tok/tokenizer.json)
command_embed=(embed --model "$dir/base" --input "$dir/text.txt" --format npy --out vectors) results_embed=(vectors)
command_skipgram=(skipgram --corpus "$dir/text.txt" --out words --size 3 --min-count 1 --epochs 1) results_skipgram=(words)
commands=(new resume finetune tokenizer embed skipgram)

run() { "$minibert" "$@" --quiet --threads 1; } # in the current directory
select_command() { # name: sets `arguments` and `results`
    local -n a="command_$1" r="results_$1"
    arguments=("${a[@]}") results=("${r[@]}")
}

run tokenizer train --corpus text.txt --out tok --vocab-size 60
mkdir -p base reference start
(cd base && run "${pretrain[@]}" --keep 2 > /dev/null)
mv base/model model && rm -rf base && mv model base
for name in "${commands[@]}"; do mkdir "start/$name"; done
# A run that was killed after its first checkpoint, and outputs of an earlier run.
cp -r base start/resume/model
(cd start/resume/model && rm -r checkpoints/step-00000004 model.safetensors && sed -i 's/"keep": 2/"keep": 1/' training.json && cp -r checkpoints/step-00000002 checkpoints/.new-step-00000004 &&
    echo half > model.safetensors.tmp.1.0)
(cd start/finetune && run finetune --model "$dir/base" --train "$dir/train.tsv" --out classifier --epochs 1 --seed 2 > /dev/null)
echo old | tee start/embed/vectors > start/skipgram/words
for name in "${commands[@]}"; do
    select_command "$name"
    cp -r "start/$name" "reference/$name"
    (cd "reference/$name" && MINIBERT_FAULT_COUNT=../$name.counts run "${arguments[@]}" > /dev/null) || fail "$name fails undisturbed"
done
cmp reference/new/model/model.safetensors reference/resume/model/model.safetensors || fail "resume and new differ"

same_as_reference() { # name
    local result
    for result in "${results[@]}"; do
        cmp -s "$result" "../reference/$1/$result" || return 1
    done
}
bad() {
    n_failed=$((n_failed + 1))
    printf 'sweep: %s, MINIBERT_FAULT=%s: %s\n' "$name" "$fault" "$*" >&2
    sed 's/^/    /' ../err >&2
}
leftovers() { find . \( -name '*.tmp.*' -o -name '.new-*' -o -name '.old-*' -o -name '*spool*' -o -name .lock -o -name '.minibert*' \) | sed -n 1,10p; }

# One run that meets a fault, and what must hold after it.
try() {
    local code=0 result
    n_runs=$((n_runs + 1))
    rm -rf work && cp -r "start/$name" work && cd work
    MINIBERT_FAULT=$fault run "${arguments[@]}" > ../out 2> ../err || code=$?
    case $code in
    0) same_as_reference "$name" || bad "exit code 0, but another result" ;;
    1)
        [ "$(grep -c '^minibert: ' ../err)" -eq 1 ] || bad "not one line of error"
        [ ! -s ../out ] || bad "wrote a result and failed"
        case $fault in short:* | interrupt:*) bad "took for a failure what is none" ;; esac
        ;;
    137) [ "${fault%%:*}" = kill ] || bad "killed" ;;
    *) bad "exit code $code" ;;
    esac
    for result in "${results[@]}"; do # under its name a file is the old one, or whole
        [ ! -e "$result" ] || cmp -s "$result" "../reference/$name/$result" || cmp -s "$result" "../start/$name/$result" || bad "$result is damaged"
    done
    if [ "$code" -ne 0 ] || [ -n "$(leftovers)" ]; then
        "$minibert" "${arguments[@]}" --threads 1 > ../out 2> ../err || bad "cannot be run again"
        same_as_reference "$name" || bad "another result when run again"
        [ "$name" != resume ] || grep -qE 'resuming after step [24],' ../err || bad "a checkpoint was lost"
        ! grep -q 'trying the checkpoint before' ../err || bad "a checkpoint was damaged"
    fi
    [ -z "$(leftovers)" ] || bad "left behind: $(leftovers)"
    cd ..
}
# kinds: at `points` places of the command's series of calls, or at all of them; each kind begins somewhere else
series() { # calls kind...
    local calls=$1 step k i=0
    shift
    step=$((points > 0 && calls > points ? calls / points : 1))
    for kind in "$@"; do
        i=$((i + 1))
        for ((k = 1 + (i * 7919) % step; k <= calls; k += step)); do
            fault=${kind/K/$k}
            try
        done
    done
}
[ "${#wanted[@]}" -gt 0 ] || wanted=("${commands[@]}")
for name in "${wanted[@]}"; do
    select_command "$name"
    calls=$(sed -n 's/^files //p' "reference/$name.counts")
    if [ "$only" != memory ]; then # EIO, no space, over quota, read-only, killed, no space for a moment
        series "$calls" fail:K:5 full:K full:K:122 readonly:K kill:K fail:K:28
        for fault in short:1 interrupt:1 short:40 interrupt:40; do try; done
    fi
    [ "$only" = files ] || series "$(sed -n 's/^allocations //p' "reference/$name.counts")" memory:K
done
[ "$n_failed" -eq 0 ] || fail "$n_failed failures in $n_runs runs"
echo "sweep: $n_runs runs with a fault, each reported and got over"
