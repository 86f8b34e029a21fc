#!/usr/bin/env bash
# What a pretrained model is worth: fine-tuned on labelled sets, three seeds each, and asked which sentence of a minimal pair is the
# grammatical one (BLiMP, Warstadt et al. 2020; by pseudo-log-likelihood, Salazar et al. 2020, ties counted wrong).
#
#   scripts/bench/downstream.sh MODEL DATA [SET...]
#
# DATA has classify/SET/{train,dev,test}.tsv (label<TAB>text, a header line) and pairs/blimp/*.tsv (good<TAB>bad<TAB>term). A SET is
# sst2, mr, trec, subj, cola or blimp, or of a Chinese model zh-waimai10k; all the English ones without one. MINIBERT names the program
# (build/release/minibert), SEEDS the seeds (10 20 30; a set with --runs takes those that follow,
# too). A dev set chooses the epoch; the figure is the test set's, or of sst2 and cola, as is usual, the dev set's.
set -euo pipefail
minibert=${MINIBERT:-$(dirname "$0")/../../build/release/minibert}
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }
model=$1 data=$2
shift 2
[ $# -gt 0 ] || set -- sst2 mr trec subj cola blimp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

member() { sed -n "s/^ *\"$1\": *\([-0-9.e]*\),*$/\1/p" "$2" | head -n 1; }

classify() { # set metric part rate epochs batch [options of finetune]
    local set=$1 metric=$2 part=$3 rate=$4 epochs=$5 batch=$6 dir=$data/classify/$1 dev=() seed values=()
    shift 6
    [ ! -e "$dir/dev.tsv" ] || dev=(--dev "$dir/dev.tsv")
    for seed in ${SEEDS:-10 20 30}; do
        "$minibert" finetune --quiet --model "$model" --train "$dir/train.tsv" "${dev[@]}" --out "$work/$set" --overwrite --lr "$rate" \
            --epochs "$epochs" --batch-size "$batch" "$@" --seed "$seed" > "$work/finetune.json"
        "$minibert" evaluate --quiet --model "$work/$set" --data "$dir/$part.tsv" > "$work/evaluate.json"
        values+=("$(member "$metric" "$work/evaluate.json")")
    done
    printf '%s\n' "${values[@]}" | awk -v set="$set" -v what="$part $metric" -v how="lr $rate, $epochs epochs, batch $batch $*" '
        { sum += $1; list = list sprintf(" %.1f", 100 * $1) }
        END { printf "%-5s %-14s %.2f  (%s; %s)\n", set, what, 100 * sum / NR, substr(list, 2), how }'
}

blimp() {
    local file
    for file in "$data"/pairs/blimp/*.tsv; do
        tail -n +2 "$file" | cut -f 1 > "$work/good"
        tail -n +2 "$file" | cut -f 2 > "$work/bad"
        "$minibert" evaluate --quiet --pll --model "$model" --data "$work/good" > "$work/good.pll"
        "$minibert" evaluate --quiet --pll --model "$model" --data "$work/bad" > "$work/bad.pll"
        paste "$work/good.pll" "$work/bad.pll" | awk -v set="$(basename "$file" .tsv)" '$1 > $2 { n++ } END { printf "%.1f %s\n", 100 * n / NR, set }'
    done | sort -n > "$work/blimp"
    [ -z "${VERBOSE:-}" ] || cat "$work/blimp"
    awk '{ sum += $1 } NR == 1 { least = $0 } { most = $0 } END { printf "blimp accuracy       %.2f  (%d sets, from %s to %s)\n", sum / NR, NR, least, most }' "$work/blimp"
}

for set in "$@"; do
    case $set in
    sst2) classify sst2 accuracy dev 3e-4 2 64 --adapt-epochs 4 ;;
    mr) classify mr accuracy test 3e-4 3 32 --adapt-epochs 10 --word-rate 3 --runs 3 --merge-runs ;;
    trec) classify trec accuracy test 5e-4 8 16 --adapt-epochs 20 --layer-decay 0.8 ;;
    subj) classify subj accuracy test 1e-4 3 16 --adapt-epochs 20 --word-rate 3 --word-dropout 0.3 --runs 3 --merge-runs ;;
    zh-waimai10k) classify zh-waimai10k accuracy test 3e-4 3 32 ;;
    cola) classify cola matthews dev 3e-4 4 32 ;;
    blimp) blimp ;;
    *) echo "downstream.sh: no set is called '$set'" >&2; exit 2 ;;
    esac
done
