#!/usr/bin/env bash
# From nothing to a BERT trained on real text and put to use, in one command.
#
#   scripts/quickstart.sh                   the descriptions of all packages of this Debian or Ubuntu release, brought by apt-get:
#                                           pretrain, fine-tune on the packages' sections, search (under 15 minutes on 2 cores)
#   scripts/quickstart.sh TEXT...           your own UTF-8 text: pretrain, then fill masks and find related lines. A blank line
#                                           ends a document
#   --budget TIME                           time for pretraining; default 5m
#
# Everything it makes lies in quickstart/ in this checkout. Ctrl-C is fine: the same command goes on where it stopped.
set -euo pipefail

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" | sed '$d'; }
budget=5m
texts=()
while [ $# -gt 0 ]; do
    case $1 in
    --budget) [ $# -ge 2 ] || { usage >&2; exit 2; }; budget=$2; shift ;;
    --budget=*) budget=${1#*=} ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *)
        [ -f "$1" ] && [ -r "$1" ] || { echo "quickstart: cannot read the text '$1'" >&2; exit 2; }
        texts+=("$(cd "$(dirname "$1")" && pwd)/$(basename "$1")")
        ;;
    esac
    shift
done
cd "$(dirname "$0")/.."

at_exit() {
    case $1 in
    0) ;;
    130 | 143) printf '\nquickstart: stopped. The same command goes on from here.\n' >&2 ;;
    *) printf 'quickstart: failed at: %s\n' "${doing-}" >&2 ;;
    esac
}
trap 'at_exit $?' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- stages: each says what it does; one that leaves a result is done once ---
n_stages=7
[ "${#texts[@]}" -eq 0 ] || n_stages=4
stage=0
announce() {
    stage=$((stage + 1))
    doing=$1
    printf '\n[%d/%d  %02d:%02d] %s\n' "$stage" "$n_stages" $((SECONDS / 60)) $((SECONDS % 60)) "$1"
}
is_done() {
    [ -e "$out/done/$1" ] && printf '  done before; remove %s to do it again\n' "$out/done/$1"
}
mark_done() { mkdir -p "$out/done" && : > "$out/done/$1"; }
number() { sed -n "/\"$1\": *[-0-9]/{s/.*\"$1\": *\\([-0-9.e+]*\\).*/\\1/p;q;}" "$2"; } # a number of a JSON file, by key
percent() { awk -v x="$1" 'BEGIN { printf "%.1f", 100 * x }'; }

set_up_and_build() {
    announce "setting up: compiler, CMake, OpenBLAS, utf8proc, jansson (scripts/setup.sh)"
    scripts/setup.sh
    announce "building minibert (build/release)"
    cmake --preset release --log-level=WARNING > /dev/null
    cmake --build --preset release --target minibert -- --quiet | { grep -v 'no work to do' || true; }
    ./minibert --version | sed -n '1s/^/  /p'
}

# Pretrains a mini ModernBERT (4 layers, 256 wide) on the corpus files, by minibert's default recipe for that time.
pretrain() {
    announce "pretraining: a vocabulary of 8,192 wordpieces, then a masked language model for $budget"
    is_done pretrain && return
    local resume=()
    [ ! -d "$out/model/checkpoints" ] || resume=(--resume)
    ./minibert pretrain --corpus "$@" --out "$out/model" --vocab-size 8192 --size mini \
        --budget "$budget" "${resume[@]}" > "$out/pretrain.json"
    rm -f "$out/vectors.npy" "$out/section/train-part.tsv" "$out/done/classifier" "$out/done/from-scratch" # of an earlier model
    mark_done pretrain
}
tell_pretraining() {
    printf '  held-out masked loss %.3f nats; word frequencies alone would give %.3f. %.1f%% of the masked pieces are guessed right\n' \
        "$(number loss "$out/pretrain.json")" "$(number unigram_entropy "$out/pretrain.json")" \
        "$(percent "$(number accuracy "$out/pretrain.json")")"
}

# Three guesses for each text, as "0.123  the filled text".
fill_masks() {
    ./minibert fill-mask --model "$out/model" --top-k 3 "$@" | awk -F '\t' '{ if (NF) printf "  %.3f  %s\n", $2, $3; else print "" }'
}
# The five nearest lines of a file to each query; the file's vectors are made once.
nearest() { # lines.txt model queries...
    local lines=$1 model=$2 vectors=(--save-vectors "$out/vectors.npy") query
    shift 2
    [ ! -s "$out/vectors.npy" ] || vectors=(--vectors "$out/vectors.npy")
    ./minibert neighbors --model "$model" --corpus "$lines" "${vectors[@]}" --max-length 64 --top-k 5 "$@" > "$out/nearest.txt"
    for query in "$@"; do printf '%s\n' "$query"; done |
        awk -F '\t' 'NR == FNR { query[NR] = $0; next }
            FNR == 1 || last == "" { printf "  \"%s\"\n", query[++n] }
            NF { printf "    %.2f  %.110s\n", $1, $2 } { last = $0 }' - "$out/nearest.txt"
}

# --- the user's own text ---
if [ "${#texts[@]}" -gt 0 ]; then
    name=$(basename "${texts[0]%.*}" | LC_ALL=C tr -c 'A-Za-z0-9._\n' '-')
    out=quickstart/$name-$(cat "${texts[@]}" | cksum | cut -d ' ' -f 1) # another text, another directory
    mkdir -p "$out"
    set_up_and_build
    pretrain "${texts[@]}"

    tell_pretraining

    announce "using it: three lines of your text with a word masked, and the lines nearest to them"
    lines=$(awk 'NF >= 6 && NF <= 30 { n++; if (n == 10 || n == 100 || n == 1000) print }' "${texts[0]}")
    [ -n "$lines" ] || lines=$(awk 'NF >= 3 { print; exit }' "${texts[0]}")
    mapfile -t queries <<< "$lines"
    masked=()
    for query in "${queries[@]}"; do
        masked+=("$(awk '{ $(int((NF + 1) / 2)) = "[MASK]"; print }' <<< "$query")")
    done
    fill_masks "${masked[@]}"
    echo
    awk 'NF >= 3 { print; if (++n == 20000) exit }' "${texts[0]}" > "$out/lines.txt"
    nearest "$out/lines.txt" "$out/model" "${queries[@]}"

    printf '\nThe model is %s, a Hugging Face directory. More to try:\n' "$out/model"
    printf '  ./minibert fill-mask --model %s "some text with a [MASK] in it"\n' "$out/model"
    printf '  ./minibert embed --model %s --input FILE --out vectors.npy\n' "$out/model"
    exit 0
fi

# --- the package descriptions ---
out=quickstart/debian
if ! command -v apt-get > /dev/null; then
    scripts/setup.sh || true
    cat >&2 <<'END'
quickstart: the package descriptions come through apt, and there is no apt here. With the tools that scripts/setup.sh names
installed, give a text of your own instead: scripts/quickstart.sh my.txt
END
    exit 1
fi
mkdir -p "$out"
set_up_and_build

announce "bringing the descriptions of all packages by apt-get, into $out/apt"
if ! is_done texts; then
    scripts/quickstart/debian-texts.sh "$out"
    mark_done texts
fi
printf '  %s: %d words\n' "$out/corpus.txt" "$(wc -w < "$out/corpus.txt")"
printf '  %s: %d train, %d dev, %d test descriptions with their section\n' "$out/section/" \
    $(($(wc -l < "$out/section/train.tsv") - 1)) $(($(wc -l < "$out/section/dev.tsv") - 1)) $(($(wc -l < "$out/section/test.tsv") - 1))

pretrain "$out/corpus.txt"
tell_pretraining
fill_masks "This package contains the [MASK] files." "A fast and lightweight web [MASK]." "This is a [MASK] game for one player."

# Both classifiers learn from the same rows, each once: as many as 160 seconds allow at the speed seen in pretraining. A slow machine
# computes in fp32, where fine-tuning has only 0.6 of that speed: fewer, or all this takes 17 minutes.
if ! [ -s "$out/section/train-part.tsv" ]; then
    n_rows=$(awk -v rate="$(number tokens_per_second "$out/pretrain.json")" 'BEGIN {
        n = int((rate < 10000 ? 120 : 160) * rate / 55 / 500) * 500; print n < 3000 ? 3000 : n }') # a row has about 55 tokens
    head -n $((n_rows + 1)) "$out/section/train.tsv" > "$out/section/train-part.tsv"
fi
n_rows=$(($(wc -l < "$out/section/train-part.tsv") - 1))
finetune() { # name options...
    local name=$1
    shift
    if ! is_done "$name"; then
        ./minibert finetune --model "$out/model" --task classify --train "$out/section/train-part.tsv" --out "$out/$name" \
            --max-length 64 --epochs 1 --lr 5e-4 --overwrite "$@" > "$out/$name.json"
        ./minibert evaluate --model "$out/$name" --data "$out/section/test.tsv" > "$out/$name-test.json"
        mark_done "$name"
    fi
    printf '  on the test descriptions: accuracy %s%%, macro-F1 %s%%\n' "$(percent "$(number accuracy "$out/$name-test.json")")" \
        "$(percent "$(number macro_f1 "$out/$name-test.json")")"
}
announce "fine-tuning the pretrained model on $n_rows descriptions to tell a package's section (20 classes)"
finetune classifier
announce "the same from random weights: what pretraining is worth is the difference"
finetune from-scratch --from-scratch

announce "embedding the descriptions of $(wc -l < "$out/programs.txt") programs, and searching them by plain words"
nearest "$out/programs.txt" "$out/model" "edit photos" "play chess against the computer" "download videos from the web" \
    "draw a chart of the stars in the sky" "back up files to another computer"

majority=$(number majority "$out/classifier-test.json")
row() { printf '  %-42s %8s %9s\n' "$@"; }
printf '\nSection of a package from its description, %d test packages whose sources the model has not seen:\n' \
    "$(number examples "$out/classifier-test.json")"
row "" accuracy macro-F1
row "always the largest section" "$(percent "$majority")" "$(percent "$(awk -v p="$majority" 'BEGIN { print 2 * p / (1 + p) / 20 }')")"
for name in from-scratch classifier; do
    row "$([ $name = classifier ] && echo "pretrained for $budget, then fine-tuned" || echo "fine-tuned from random weights")" \
        "$(percent "$(number accuracy "$out/$name-test.json")")" "$(percent "$(number macro_f1 "$out/$name-test.json")")"
done
cat <<END

All of it lies in $out/:
  model/            the pretrained model, a Hugging Face directory; model/metrics.jsonl is its history
  classifier/       the fine-tuned one (from-scratch/: the one to compare)
  corpus.txt, section/, programs.txt, vectors.npy
More to try:
  ./minibert neighbors --model $out/model --corpus $out/programs.txt --vectors $out/vectors.npy "your own words"
  ./minibert fill-mask --model $out/model "A library for [MASK] images."
  printf 'text\nA puzzle game with falling blocks.\n' | ./minibert predict --model $out/classifier
END
printf '\nDone in %d minutes %d seconds.\n' $((SECONDS / 60)) $((SECONDS % 60))
