#!/usr/bin/env bash
# What users script against: help, versions, exit codes, where output goes, signals.   tests/e2e/usage.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"

# code arguments...: runs with output in `out` and `err`
expect() {
    local expected=$1 code=0
    shift
    "$minibert" "$@" > out 2> err < /dev/null || code=$?
    [ "$code" -eq "$expected" ] || { cat err >&2; fail "minibert $*: exit code $code, expected $expected"; }
}
# one line of error with a text in it, nothing on standard output
says() {
    [ ! -s out ] || fail "something on standard output: $(head -n 3 out)"
    [ "$(wc -l < err)" -eq 1 ] || { cat err >&2; fail "expected one line of error"; }
    grep -q '^minibert: ' err || fail "the error does not begin with 'minibert: ': $(cat err)"
    grep -qF -- "$1" err || fail "the error does not say '$1': $(cat err)"
}

# --- help and version ---
expect 0 help
cp out list
# every command that is listed has help that is worth the name, and the ones that users rely on are listed
sed -nE 's/^  ([a-z-]+( [a-z]+)?)  +[A-Z].*/\1/p' list > commands
for command in "tokenizer train" "tokenizer encode" "tokenizer decode" pretrain finetune evaluate predict embed fill-mask neighbors info check; do
    grep -qx "$command" commands || fail "help does not list '$command'"
done
while IFS= read -r command; do
    # shellcheck disable=SC2086
    expect 0 help $command
    cp out by_help
    # shellcheck disable=SC2086
    expect 0 $command --help
    cmp -s out by_help || fail "'$command --help' and 'help $command' differ"
    [ ! -s err ] || fail "help wrote to standard error"
    grep -q "^usage: minibert $command " out || fail "help $command has no usage line"
    for flag in --threads --seed --precision --quiet --log-every --config; do
        grep -q -- "^  $flag" out || fail "help $command lacks $flag"
    done
    awk 'length > 140 { exit 1 }' out || fail "help $command has a line of more than 140 characters"
done < commands
expect 0 --help && cmp -s out list || fail "--help and help differ"
expect 0 help tokenizer
[ "$(grep -c '^usage:' out)" -eq 3 ] || fail "help tokenizer does not show the three commands"
expect 0 tokenizer --help
expect 0 help pretrain
grep -qE -- '--vocab-size N +.*\[30522\]' out || fail "help pretrain does not show the default of --vocab-size"
expect 0 --version
grep -qE '^minibert [0-9]+\.[0-9]+\.[0-9]+$' out || fail "--version: $(cat out)"
for word in compiler OpenBLAS CPU; do
    grep -q "$word" out || fail "--version does not tell the $word"
done

# --- check: right on this machine, in both architectures; the roofline has every operation ---
for arch in bert modern; do
    expect 0 check --gradients --arch $arch
    [ "$(grep -c ' ok$' out)" -ge 30 ] || fail "check --gradients --arch $arch: $(cat out)"
done
for precision in fp32 bf16; do
    expect 0 check --roofline --json --size tiny --batch-size 2 --seq-length 16 --vocab-size 100 --precision $precision
    for word in '"ok": true' '"linear_cross_entropy"' '"attention"' '"add_layer_norm"' '"embedding"' '"adamw"' '"gemm_bound_fraction"'; do
        grep -qF -- "$word" out || fail "check --roofline --precision $precision lacks $word: $(cat out)"
    done
done

# --- wrong usage: 2 ---
expect 2
grep -q 'a command is needed' err || fail "no command: $(cat err)"
expect 2 pretain && says "did you mean 'pretrain'?"
expect 2 tokenizer && says "more words are needed after 'tokenizer'"
expect 2 tokenizer trian && says "did you mean 'tokenizer train'?"
expect 2 help nonsense && says "unknown command 'nonsense'"
expect 2 translate --corpus x && says "unknown command 'translate'"
expect 2 embed && says "--model DIR is missing"
expect 2 embed --model x --poolin mean && says "unknown option '--poolin'; did you mean '--pooling'?"
expect 2 embed --model x --pooling avg && says "--pooling must be one of mean, cls, max, tokens, words"
expect 2 embed --model x --max-length 2 && says "--max-length must be at least 3"
expect 2 embed --model x --threads -1 && says "--threads must be at least 0"
expect 2 embed --model x --precision fp16 && says "--precision must be one of auto, fp32, bf16"
expect 2 embed --model && says "--model needs a value"
expect 2 embed --model x stray && says "unexpected argument 'stray'"
expect 2 fill-mask --model x && says "TEXT is missing"
expect 2 neighbors text && says "give --model DIR and --corpus FILE, or --vectors FILE"
expect 2 tokenizer train --corpus x --out y --vocab-size 1.5 && says "--vocab-size must be a whole number"

# --- configuration files ---
echo '{"model": "nowhere", "max_length": 77, "pooling": "cls"}' > good.json
expect 1 embed --config good.json && says "nowhere"
echo '{"modell": "x"}' > unknown.json
expect 2 embed --config unknown.json && says "'unknown.json': unknown key 'modell'; did you mean 'model'?"
echo '{"model": "x", "max_length": "many"}' > wrong.json
expect 2 embed --config wrong.json && says "'wrong.json': max-length must be a whole number"
echo '{"model": ' > broken.json
expect 1 embed --config broken.json && says "broken.json"
expect 1 embed --config missing.json && says "missing.json"

# --- output that cannot be written is an error, not a silence ---
if [ -w /dev/full ]; then
    code=0
    "$minibert" help > /dev/full 2> err || code=$?
    [ "$code" -eq 1 ] || fail "a full disk: exit code $code"
    : > out
    says "cannot write to standard output: No space left on device"
fi
printf 'hello world\n%.0s' {1..200000} > many.txt
printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n' > vocab.txt
code=0
{ "$minibert" tokenizer encode --model vocab.txt < many.txt 2> err || echo $? > code; } | head -n 1 > out
[ "$(cat out)" = "2 5 6 3" ] || fail "encode wrote '$(cat out)'"
[ "$(cat code)" = 1 ] || fail "a closed pipe: exit code $(cat code)"
: > out
says "cannot write to standard output: Broken pipe"

# --- the tokenizer's three formats, order, and back again ---
printf 'hello world\n\nworld  Hello!\nhello' > few.txt
"$minibert" tokenizer encode --model vocab.txt < few.txt > out
printf '2 5 6 3\n2 3\n2 6 5 1 3\n2 5 3\n' | cmp - out || fail "encode --format ids"
"$minibert" tokenizer encode --model vocab.txt --no-special --format tokens < few.txt > out
printf 'hello world\n\nworld hello [UNK]\nhello\n' | cmp - out || fail "encode --format tokens"
"$minibert" tokenizer encode --model vocab.txt --max_length=3 --format=jsonl < few.txt | sed -n 3p > out
echo '{"ids": [2, 6, 3], "tokens": ["[CLS]", "world", "[SEP]"], "offsets": [[0, 0], [0, 5], [0, 0]]}' | cmp - out || fail "encode --format jsonl: $(cat out)"
"$minibert" tokenizer encode --model vocab.txt < few.txt | "$minibert" tokenizer decode --model vocab.txt > out
printf 'hello world\n\nworld hello\nhello\n' | cmp - out || fail "decode: $(cat out)"
echo '2 99 3' | { code=0; "$minibert" tokenizer decode --model vocab.txt > out 2> err || code=$?; [ "$code" -eq 1 ]; } || fail "decode took id 99"
says "line 1"
for threads in 1 2; do
    "$minibert" tokenizer encode --model vocab.txt --threads $threads < many.txt | cksum > sum$threads
done
cmp sum1 sum2 || fail "encode depends on the number of threads"

# --- signals: the first one stops, with 128 + its number ---
for signal in INT TERM; do
    mkfifo pipe
    "$minibert" tokenizer encode --model vocab.txt < pipe > out 2> err &
    pid=$!
    exec 3> pipe
    cat many.txt >&3 # more than a pipe holds: it is reading
    kill -s $signal $pid
    code=0
    wait $pid || code=$?
    exec 3>&-
    rm pipe
    [ "$code" -eq "$([ $signal = INT ] && echo 130 || echo 143)" ] || { cat err >&2; fail "SIG$signal: exit code $code"; }
    grep -q '^minibert: interrupted' err || fail "SIG$signal: $(cat err)"
done
echo "usage: all as it should be"
