#!/usr/bin/env bash
# Signals and locks of a training run: the first signal saves and says how to go on, the second ends at once, a terminal that goes
# saves too, nohup holds; a second run into the same directory is refused.   tests/faults/signals.sh MINIBERT_FAULTS
source "$(dirname "$0")/../prelude.sh"
export OMP_NUM_THREADS=1

awk 'BEGIN { for (i = 0; i < 60; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 7, i % 8 == 7 ? "\n" : "" }' > text.txt
awk 'BEGIN { print "label\ttext"; for (i = 0; i < 12; i++) printf "%s\tthe %s house %d\n", i % 2 ? "r" : "g", i % 2 ? "red" : "green", i }' > train.tsv
run=("$minibert" pretrain --corpus text.txt --layers 1 --hidden 8 --heads 2 --intermediate 8 --seq-length 8 --batch-size 4 --vocab-size 60
    --steps 1000000 --eval-every 1000000 --log-every 1 --resume)
start() { # out [fault] [prefix...]: in the background, until it has made a step
    rm -f log
    MINIBERT_FAULT=${2-short:1000000} "${@:3}" "${run[@]}" --out "$1" > out 2> log &
    pid=$!
    wait_for log '^train [1-9]'
}
ends_with() { # code: that of the run
    local code=0
    wait $pid || code=$?
    [ "$code" -eq "$1" ] || fail "exit code $code, expected $1"
}
saved_step() { find "$1/checkpoints" -maxdepth 1 -name 'step-*' | sed 's/.*step-0*//' | sort -n | tail -n 1; }

"${run[@]}" --steps 1 --out done > out 2> log || fail "one step fails"
for signal in INT:130 TERM:143 HUP:129; do
    start model
    kill -s ${signal%:*} $pid
    ends_with ${signal#*:}
    grep -q "^minibert: stopped after step [0-9]*, saved in 'model/checkpoints': run the same command with --resume" log || fail "SIG$signal"
    last=$(saved_step model)
    [ "$last" -gt 0 ] || fail "SIG$signal saved nothing"
    start model
    grep -q "resuming after step $last," log || fail "did not go on after step $last"
    # While that one runs: nobody else may write there. TERM ends it.
    for command in pretrain finetune; do
        code=0
        case $command in
        pretrain) "${run[@]}" --steps 1 --out model > out2 2> log2 || code=$? ;;
        finetune) "$minibert" finetune --model done --train train.tsv --out model --overwrite > out2 2> log2 || code=$? ;;
        esac
        [ "$code" -eq 1 ] && grep -q "^minibert: another run (process $pid) is writing to 'model'" log2 || fail "a second run, $command: $code $(cat log2)"
    done
    kill -TERM $pid
    ends_with 143
done

# The second signal, sent while the checkpoint is being written very slowly, ends the run at once: it is never whole. What was
# saved before stays.
last=$(saved_step model)
start model slow:250000
kill -INT $pid
wait_for log 'once more to end it at once'
kill -INT $pid
ends_with 130
[ "$(saved_step model)" -eq "$last" ] || fail "the second signal lost step $last"

# A second SIGHUP is no second wish; and under nohup none is heard.
start model slow:20000
kill -HUP $pid
kill -HUP $pid
sleep 0.1
kill -HUP $pid 2> /dev/null || true
ends_with 129
[ "$(saved_step model)" -gt "$last" ] || fail "SIGHUP twice lost the checkpoint"
start model short:1000000 nohup
kill -HUP $pid
sleep 0.3
kill -0 $pid 2> /dev/null || fail "nohup did not hold"
kill -TERM $pid
ends_with 143
[ ! -e model/.lock ] || fail "the lock was left behind"
echo "signals: all as it should be"
