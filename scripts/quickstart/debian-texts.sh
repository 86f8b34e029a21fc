#!/usr/bin/env bash
# The descriptions of all packages of this machine's Debian or Ubuntu release, as training texts.
#
#   scripts/quickstart/debian-texts.sh DIR
#
# Brings the package lists by apt-get into DIR/apt, apart from the system's own (which stay as they are), and writes DIR/corpus.txt,
# DIR/programs.txt and DIR/section/{train,dev,test}.tsv; descriptions.awk says what is in them. Needs apt, awk and sort; no root.
set -euo pipefail
export LC_ALL=C

out=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
apt=$out/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$out/section"

# The machine's sources, keys and proxy are used; its lists, cache and hooks (which write elsewhere) are not. Of what a
# repository offers, only the package lists and the translations are fetched.
{
    printf '#clear %s;\n' Acquire::Languages APT::Update APT::Architectures
    printf 'Acquire::Languages "en";\n'
    printf 'APT::Architectures { "%s"; };\n' "$(apt-config dump APT::Architecture | cut -d'"' -f2)"
    printf 'Dir::State "%s";\nDir::State::lists "%s/lists";\nDir::Cache "%s/cache";\n' "$apt" "$apt" "$apt"
    apt-config dump Acquire::IndexTargets | sed -n 's/^\(.*::\([^:]*\)\)::MetaKey .*/\2 \1/p' |
        while read -r name target; do
            case $name in
            Packages | Translations) ;;
            *) printf '%s::DefaultEnabled "false";\n' "$target" ;;
            esac
        done
} > "$apt/apt.conf"

# A source that cannot be reached is apt's warning; what counts is that lists came.
apt-get -c "$apt/apt.conf" -qq update >&2 || echo "debian-texts: not every list could be brought; going on with the rest" >&2

lists() {
    apt-get -c "$apt/apt.conf" indextargets --format '$(FILENAME)' "Created-By: $1" | while read -r list; do
        for file in "$list" "$list".*; do
            if [ -e "$file" ]; then
                printf '%s\n' "$file"
                break
            fi
        done
    done
}
mapfile -t packages < <(lists Packages)
mapfile -t translations < <(lists Translations)
if [ "${#packages[@]}" -eq 0 ]; then
    echo "debian-texts: apt-get brought no package lists; is there a network, and a source in /etc/apt?" >&2
    exit 1
fi

# Everything is made under other names first: a run that is stopped leaves no half corpus behind.
work=$out/making
rm -rf "$work"
mkdir "$work"
/usr/lib/apt/apt-helper cat-file "${packages[@]}" ${translations[@]+"${translations[@]}"} |
    awk -v out="$work" -f "$here/descriptions.awk"
for split in train dev test; do
    [ -s "$work/section.$split.tsv" ] || { echo "debian-texts: too few descriptions in the package lists" >&2; exit 1; }
    {
        printf 'label\ttext\n'
        sort -n "$work/section.$split.tsv" | cut -f 2-
    } > "$out/section/$split.tsv"
done
mv "$work/corpus.txt" "$work/programs.txt" "$out/"
rm -rf "$work"
