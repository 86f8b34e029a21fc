#!/usr/bin/env bash
# Checks the order of the layers: what each may include, who may call the BLAS, and who may print or exit.
#
#   tests/layers.sh [CHECKOUT]     exits 1 and names file and line on a violation
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "$0")/..}"

# layer: the layers whose headers it may include. Public headers (minibert/...) belong to everyone, but minibert/tokenizer.h,
# which belongs to the tokenizer.
allowed() {
    case $1 in
    base) echo "base" ;;
    tokenizer) echo "tokenizer base" ;;
    tensor) echo "tensor base" ;;
    autograd) echo "autograd tensor base" ;;
    model) echo "model autograd tensor base" ;;
    data) echo "data tokenizer base" ;;
    train) echo "train model data autograd tensor base" ;;
    skipgram) echo "skipgram tensor base" ;;
    tasks) echo "tasks train model data tokenizer skipgram autograd tensor base" ;;
    cli) echo "cli tasks skipgram train model data tokenizer autograd tensor base" ;;
    *) echo "" ;;
    esac
}

failed=0
violation() {
    printf 'layers: %s\n' "$*" >&2
    failed=1
}
# path:line:text of each line of C, comments and texts between quotes taken out, that matches a pattern
code_lines() { # pattern files...
    local pattern=$1
    shift
    awk -v pattern="$pattern" '
        FNR == 1 { in_comment = 0 }
        {
            text = $0
            gsub(/"([^"\\]|\\.)*"/, "\"\"", text)
            if (in_comment) {
                if (!sub(/^.*\*\//, "", text)) next
                in_comment = 0
            }
            gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", text)
            sub(/\/\/.*/, "", text)
            if (sub(/\/\*.*/, "", text)) in_comment = 1
            if (text ~ pattern) printf "%s:%d:%s\n", FILENAME, FNR, $0
        }' "$@"
}

n_files=0
for dir in tokenizer src/*/; do
    dir=${dir%/}
    layer=$(basename "$dir")
    layers=$(allowed "$layer")
    if [ -z "$layers" ]; then
        violation "$dir is a layer that this check does not know"
        continue
    fi
    mapfile -t files < <(find "$dir" -name '*.[ch]' | sort)
    [ "${#files[@]}" -gt 0 ] || continue
    n_files=$((n_files + ${#files[@]}))

    # Includes with quotes: "layer/name.h", or "name.h" beside the file. `grep` finds nothing in a file without includes.
    while IFS=: read -r file line text; do
        header=${text#*\"}
        header=${header%%\"*}
        case $header in
        minibert/tokenizer.h) of=tokenizer ;;
        minibert/*) continue ;;
        ../*) violation "$file:$line: \"$header\": name the header from the layer down" && continue ;;
        */*) of=${header%%/*} ;;
        *) of=$layer ;;
        esac
        case " $layers " in
        *" $of "*) ;;
        *) violation "$file:$line: $layer may not include \"$header\" (it may use: $layers)" ;;
        esac
    done < <(grep -HnE '^[ \t]*#[ \t]*include[ \t]*"' "${files[@]}" || true)

    while IFS=: read -r file line _; do
        [ "$file" = src/tensor/gemm.c ] || violation "$file:$line: only src/tensor/gemm.c may include cblas.h"
    done < <(grep -HnE '^[ \t]*#[ \t]*include[ \t]*[<"](cblas|openblas).*\.h' "${files[@]}" || true)

    # mb_json_parse and mb_json_text, which fail as they should where memory ends.
    while IFS=: read -r file line _; do
        [ "$file" = src/base/json_memory.c ] || violation "$file:$line: only src/base/json_memory.c reads or writes text by jansson"
    done < <(code_lines '(^|[^a-zA-Z0-9_])json_(load|dump)[a-z_]*[ \t]*\(' "${files[@]}")

    if [ "$layer" != cli ]; then
        while IFS=: read -r file line text; do
            # A shape mismatch is a bug of minibert's, not an error of the user's: it reports and aborts, as assert does.
            [ "$file" != src/tensor/tensor.c ] || continue
            violation "$file:$line: only src/cli prints or exits:$text"
        done < <(code_lines '(^|[^a-zA-Z0-9_])((v?printf|puts|putchar|perror|_?[eE]xit|quick_exit)[ \t]*\(|(stdout|stderr)([^a-zA-Z0-9_]|$))' "${files[@]}")
    fi
done

if [ "$n_files" -eq 0 ]; then
    violation "no source files under $(pwd): is this the checkout?"
fi
[ "$failed" -eq 0 ] && printf 'layers: %d files in order\n' "$n_files"
exit "$failed"
