#!/usr/bin/env bash
# Kills a pretraining with SIGKILL at random moments, up to three times a run, and resumes it. Every other run is slowed in its file
# calls, so that many kills fall into the writing of a checkpoint. Each time: the run goes on from the newest checkpoint that was
# complete, the final weights are byte-identical to those of an undisturbed run, the records are the same, and nothing is left over.
#
#   tests/faults/kill.sh MINIBERT_FAULTS [RUNS [SEED]]
source "$(dirname "$0")/../prelude.sh"
runs=${2:-3}
RANDOM=${3:-1}

awk 'BEGIN { for (i = 0; i < 2000; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 71, i % 8 == 7 ? "\n" : "" }' > text.txt
"$minibert" tokenizer train --quiet --corpus text.txt --out tok --vocab-size 120
command=("$minibert" pretrain --corpus text.txt --tokenizer tok --cache-dir cache --layers 2 --hidden 32 --heads 2 --intermediate 64 --seq-length 32 --batch-size 8
    --steps 60 --save-every 5 --eval-every 20 --log-every 10 --threads 1 --resume)
records() { sed -E 's/"(seconds|tokens_per_second)":[^,}]*,?//g' "$1/metrics.jsonl"; }
now() { date +%s%N; }
newest() { { find "$1/checkpoints" -maxdepth 1 -name "step-*" 2> /dev/null || true; } | sed "s/.*step-0*//" | sort -n | tail -n 1; }

"${command[@]}" --out cached > /dev/null 2> log || fail "the undisturbed run fails" # from here on the tokens are in the cache
delays=(0 4000) # microseconds a file call, in turn
for i in 0 1; do
    began=$(now)
    MINIBERT_FAULT=slow:${delays[i]} "${command[@]}" --out whole$i > /dev/null 2> log || fail "the undisturbed run fails"
    took[i]=$((($(now) - began) / 1000))
done
cmp whole0/model.safetensors whole1/model.safetensors || fail "a slow disk changes the weights"
mv whole0 whole

n_kills=0 n_in_checkpoint=0
for ((n = 1; n <= runs; n++)); do
    rm -rf model
    i=$((n % 2))
    for ((k = 0; k < 1 + RANDOM % 3; k++)); do
        MINIBERT_FAULT=slow:${delays[i]} "${command[@]}" --out model > /dev/null 2> log &
        pid=$!
        sleep "$((took[i] * (RANDOM % 1000) / 1000))e-6"
        kill -KILL $pid 2> /dev/null || true
        code=0
        wait $pid 2> /dev/null || code=$?
        [ "$code" -eq 137 ] || break # it was over already
        n_kills=$((n_kills + 1))
        if compgen -G 'model/checkpoints/.*step-*' > /dev/null; then
            n_in_checkpoint=$((n_in_checkpoint + 1))
        fi
        last=$(newest model)
        code=0
        # What matters here is where the resumed run begins; it is soon asked to stop.
        timeout --signal=TERM --preserve-status 0.2 "${command[@]}" --out model > /dev/null 2> log || code=$?
        [ "$code" -eq 143 ] || [ "$code" -eq 0 ] || fail "exit code $code when resumed"
        [ -z "$last" ] || ! grep -q 'resuming after\|starting at' log || grep -q "resuming after step $last," log || fail "step $last was saved"
        ! grep -q 'trying the checkpoint before' log || fail "a checkpoint is damaged"
    done
    "${command[@]}" --out model > /dev/null 2> log || fail "cannot be resumed"
    ! grep -q 'trying the checkpoint before' log || fail "a checkpoint is damaged"
    cmp -s whole/model.safetensors model/model.safetensors || fail "other weights"
    cmp -s <(records whole) <(records model) || { diff <(records whole) <(records model) >> log || true; fail "other records"; }
    left=$(find model \( -name '*.tmp.*' -o -name '.new-*' -o -name '.old-*' -o -name .lock \))
    [ -z "$left" ] || fail "left behind: $left"
done
echo "kill: $n_kills times killed in $runs runs, $n_in_checkpoint of them while a checkpoint was written; the weights are the same to the byte"
