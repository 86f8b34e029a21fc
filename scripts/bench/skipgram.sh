#!/usr/bin/env bash
# Words a second and quality of word vectors: minibert, gensim and fastText by turns on one text.  scripts/bench/skipgram.sh [--help]
# word2vec.c and pWord2Vec are no packages: who has built them gives them by --program word2vec.c=PATH pWord2Vec=PATH.
set -euo pipefail
source "$(dirname "$0")/peers.sh"
"$python" -c 'import gensim, fasttext' 2> /dev/null || "$python" -m pip install --quiet -r "$bench/requirements-skipgram.txt"
exec "$python" "$bench/skipgram.py" --minibert "$checkout/minibert" "$@"
