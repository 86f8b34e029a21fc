#!/usr/bin/env bash
# scripts/ablate.sh: a model for each recipe, equally long; a table, curves, a plot; what is there is not trained again.
#   tests/e2e/ablate.sh MINIBERT
source "$(dirname "$0")/../prelude.sh"
export MINIBERT=$minibert
ablate=$tests/../scripts/ablate.sh

awk 'BEGIN { for (i = 0; i < 400; i++) printf "the %s %s %d\n%s", i % 2 ? "red" : "green", i % 3 ? "house" : "sea", i % 71, i % 8 == 7 ? "\n" : "" }' > text.txt
common=(--corpus text.txt --layers 1 --hidden 32 --intermediate 48 --seq-length 32 --vocab-size 80 --epochs 2 --threads 1 --quiet)
printf '# two\nsmall: --batch-size 4   # more steps\n\nlarge: --batch-size 8 --optimizer adamw\n' > recipes.txt
"$ablate" recipes.txt out "${common[@]}" > table.txt 2> log || fail "it failed"
cmp -s table.txt out/table.txt || fail "the table printed is not the one kept"
[ "$(awk 'NR > 1 { print $1 }' table.txt | tr '\n' ' ')" = "small large " ] || { cat table.txt >&2; fail "other rows than small, large"; }
awk '$1 == "small" { s = $4; t = $5 } $1 == "large" { l = $4; u = $5 } END { exit !(s >= 2 * l - 1 && l >= 2 && t == u) }' table.txt ||
    { cat table.txt >&2; fail "half the batch should give twice the steps and the same tokens"; }
[ "$(grep -c '<polyline' out/curves.svg)" -eq 2 ] && grep -q '</svg>' out/curves.svg || fail "no plot of two curves"
[ "$(cut -f 1 out/curves.tsv | sort -u | wc -l)" -eq 2 ] || fail "no two curves"

# Another recipe later: the first two are left alone. One that fails has a row that says so; wrong usage ends it.
before=$(cksum out/small/model.safetensors)
echo 'wild: --lr 1e30 --lr-schedule constant --warmup 0 --max-grad-norm 0' >> recipes.txt
"$ablate" recipes.txt out "${common[@]}" > table.txt 2> log || fail "a recipe that fails ends it"
[ "$before" = "$(cksum out/small/model.safetensors)" ] && ! grep -q '== small' log || fail "a recipe was trained again"
grep -qE '^wild +failed' table.txt || { cat table.txt >&2; fail "no row for the recipe that failed"; }
code=0
printf 'bad: --no-such-flag\n' > bad.txt && "$ablate" bad.txt out "${common[@]}" > /dev/null 2>&1 || code=$?
[ "$code" -eq 2 ] || fail "wrong usage: exit code $code, expected 2"
code=0
printf 'no name here\n' > bad.txt && "$ablate" bad.txt out "${common[@]}" > /dev/null 2>&1 || code=$?
[ "$code" -eq 2 ] || fail "a line without a name: exit code $code, expected 2"
echo "ablate: all as it should be"
