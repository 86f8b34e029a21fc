#!/usr/bin/env bash
# Lines and branches that the tests reach, a directory and then every file below 90% of lines; fails when tokenizer, src/autograd,
# src/data or src/train is below 90% of lines.   scripts/coverage.sh [BUILD]
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
build=${1:-build/coverage}
scripts/setup.sh
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DMINIBERT_COVERAGE=ON --log-level=WARNING
cmake --build "$build"
find "$build" -name '*.gcda' -delete
ctest --test-dir "$build" --output-on-failure -j "$(nproc)" -E 'layers|tokenizer_example'
# gcov, an object at a time (together, it loses the branches of a file that was built twice). Of a file's builds, float and double,
# the best counts.
find "$build" -name '*.gcda' ! -path '*/tests/*' -exec gcov -b -n {} \; 2> /dev/null |
    awk -v root="$PWD/" '
        function percent(text) { sub(/.*:/, "", text); return text + 0 }
        /^File / { file = $0; gsub(/^File .|.$/, "", file); sub(root, "", file); mine = file ~ /^(src|tokenizer)\/.*\.[ch]$/ }
        /^Lines executed/ && mine { sub(/% of.*/, "", $0); l = percent($0); p[file] = l > p[file] + 0 ? l : p[file] + 0 }
        /^Taken at least once/ && mine { sub(/% of.*/, "", $0); b = percent($0); br[file] = b > br[file] + 0 ? b : br[file] + 0 }
        END { for (f in p) printf "%s\t%s\t%s\n", f, p[f], br[f] + 0 }' | sort > "$build/coverage.tsv"
while IFS=$'\t' read -r file lines branches; do
    printf '%s\t%s\t%s\t%s\n' "$(dirname "${file/autograd\/ops/autograd}")" "$lines" "$branches" "$(grep -c . "$file")"
done < "$build/coverage.tsv" | awk -F '\t' '
    { n[$1] += $4; l[$1] += $2 * $4; b[$1] += $3 * $4 }
    END {
        for (d in n) {
            printf "%-16s %5.1f%% of lines %5.1f%% of branches\n", d, l[d] / n[d], b[d] / n[d]
            if (d ~ /^(tokenizer|src\/(autograd|data|train))$/ && l[d] / n[d] < 90) failed = 1
        }
        exit failed
    }' | sort
awk -F '\t' '$2 < 90 { printf "  %s: %.1f%%\n", $1, $2 }' "$build/coverage.tsv"
