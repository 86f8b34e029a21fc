#!/usr/bin/env bash
# Trains one model for each recipe of a table, each as long as the others, and writes a table and a plot of what they learnt.
#
#   scripts/ablate.sh RECIPES OUT COMMON...
#
#   RECIPES   a text file: a line is "NAME: options of minibert pretrain"; '#' begins a comment
#             (scripts/ablate/recipes.txt is what the defaults were chosen by)
#   OUT       a directory: OUT/NAME/ is each model, OUT/table.txt the table, OUT/curves.svg the plot. What is there is kept, and
#             not trained again: more recipes can be added later
#   COMMON    options of all: the text, the tokenizer, the size, and how long: --budget 3m (equal time), or --epochs 0.1
#             (equal tokens, whatever the batch)
#
#   scripts/ablate.sh scripts/ablate/recipes.txt /tmp/ablation --corpus text.txt --valid valid.txt --tokenizer DIR --budget 3m
#
# Runs go one after the other. Every loss is that of the same held-out text at the same 15% masks.
# MINIBERT=PROGRAM runs another minibert than this checkout's.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 3 ] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }
recipes=$1 out=$2
shift 2
minibert=${MINIBERT:-$here/../minibert}
[ -r "$recipes" ] || { echo "ablate: cannot read the recipes '$recipes'" >&2; exit 2; }
[ -x "$minibert" ] || { echo "ablate: there is no program '$minibert': build it, or name one by MINIBERT=PROGRAM" >&2; exit 2; }
mkdir -p "$out"

sed 's/#.*//' "$recipes" | awk 'NF' > "$out/.recipes" # a copy: the file may be edited while this runs
awk -F: '!/^[A-Za-z0-9][A-Za-z0-9._-]*:/ { printf "ablate: this is no \"NAME: options\": %s\n", $0; exit 2 }
    seen[$1]++ { printf "ablate: two recipes are named %s\n", $1; exit 2 }' "$out/.recipes" >&2

names=()
while IFS= read -r line <&3; do
    name=${line%%:*}
    names+=("$name")
    [ ! -s "$out/$name/result.json" ] || continue
    read -ra options <<< "${line#*:}"
    echo "== $name: ${options[*]}" >&2
    rm -rf "${out:?}/$name"
    if "$minibert" pretrain --out "$out/$name" --cache-dir "$out/cache" --keep 1 "$@" "${options[@]}" > "$out/.result"; then
        mv "$out/.result" "$out/$name/result.json"
    else
        [ $? -eq 1 ] || exit 2 # wrong usage is wrong for all
        echo "== $name failed" >&2
    fi
done 3< "$out/.recipes"

number() { sed -n "/\"$1\": *[-0-9]/{s/.*\"$1\": *\\([-0-9.e+]*\\).*/\\1/p;q;}" "$2"; }
for name in "${names[@]}"; do
    file=$out/$name/result.json
    if [ -s "$file" ]; then
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$(number loss "$file")" "$(number accuracy "$file")" "$(number steps "$file")" \
            "$(number tokens "$file")" "$(number seconds "$file")" "$(sed -n "s/^$name: *//p" "$out/.recipes")"
    else
        printf '%s\tfailed\n' "$name"
    fi
done > "$out/.rows"
{
    printf '%-24s %8s %9s %8s %9s %8s  %s\n' recipe loss accuracy steps "M tokens" seconds options
    awk -F '\t' 'NF == 2 { printf "%-24s %8s\n", $1, $2; next }
        { printf "%-24s %8.3f %8.1f%% %8d %9.2f %8.0f  %s\n", $1, $2, 100 * $3, $4, $5 / 1e6, $6, $7 }' "$out/.rows"
} > "$out/table.txt"

# The held-out losses on the way, as NAME<TAB>tokens<TAB>loss.
for name in "${names[@]}"; do
    [ ! -s "$out/$name/metrics.jsonl" ] ||
        sed -n "s/.*\"event\":\"evaluation\".*\"tokens\":\\([0-9]*\\).*\"loss\":\\([0-9.e+-]*\\).*/$name\\t\\1\\t\\2/p" "$out/$name/metrics.jsonl"
done > "$out/curves.tsv"
awk -f "$here/ablate/plot.awk" "$out/curves.tsv" > "$out/curves.svg"
cat "$out/table.txt"
