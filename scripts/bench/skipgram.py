"""Skip-Gram on one text, each contestant a process of its own: words a second of the whole process and of training, and quality.

The text is brought to lower-case letters and spaces, as text8 is, and cut to --megabytes. Settings: 100 dimensions, window 5,
5 negatives, sub-sampling at 1e-3, words seen 5 times. Quality: Spearman on files of rated pairs (--pairs) and accuracy on analogies
(--questions), by minibert's own commands, which agree with gensim's.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

PEERS = {
    "gensim": """
import sys, time
from gensim.models.word2vec import Word2Vec, Text8Corpus
text, out, threads, epochs, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
sentences = Text8Corpus(text)
model = Word2Vec(vector_size=100, window=5, min_count=5, workers=threads, sg=1, negative=5, sample=1e-3, seed=seed)
model.build_vocab(sentences)
start = time.perf_counter()
model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
print(time.perf_counter() - start)
model.wv.save_word2vec_format(out, binary=True)
""",
    "fastText": """
import sys, time
import fasttext
text, out, threads, epochs, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
start = time.perf_counter()
model = fasttext.train_unsupervised(text, "skipgram", dim=100, ws=5, epoch=epochs, neg=5, minCount=5, maxn=0, thread=threads, t=1e-3,
                                    lr=0.025, verbose=0)
print(time.perf_counter() - start)
with open(out, "w") as file:
    file.write(f"{len(model.words)} 100\\n")
    for word in model.words:
        file.write(word + " " + " ".join(f"{x:.6f}" for x in model.get_word_vector(word)) + "\\n")
""",
}


def prepare(corpus, n_bytes, path):
    """Lower-case letters and single spaces; returns the number of words."""
    with open(corpus, encoding="utf-8", errors="replace") as file:
        text = re.sub("[^a-z]+", " ", file.read(2 * n_bytes).lower())[:n_bytes]
    with open(path, "w") as file:
        file.write(text)
    return len(text.split())


def train_minibert(minibert, extra):
    def run(text, out, threads, epochs, seed):
        result = subprocess.run(
            [minibert, "skipgram", "-train", text, "-output", out, "-binary", "1", "-cbow", "0", "-iter", str(epochs), "-threads",
             str(threads), "--seed", str(seed), "--quiet", *extra], check=True, stdout=subprocess.PIPE)
        return json.loads(result.stdout)["train_seconds"]
    return run


def train_peer(code):
    def run(text, out, threads, epochs, seed):
        result = subprocess.run([sys.executable, "-c", code, text, out, str(threads), str(epochs), str(seed)], check=True,
                                stdout=subprocess.PIPE)
        return float(result.stdout)
    return run


def quality(minibert, vectors, pairs, questions):
    scores = []
    if pairs:
        result = subprocess.run([minibert, "similarity", "--vectors", vectors, *pairs], check=True, stdout=subprocess.PIPE)
        scores += [item["spearman"] for item in json.loads(result.stdout)]
    if questions:
        result = subprocess.run([minibert, "analogy", "--vectors", vectors, questions], check=True, stdout=subprocess.PIPE)
        scores.append(json.loads(result.stdout)["total"]["accuracy"])
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True)
    parser.add_argument("--corpus", required=True, help="UTF-8 text")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--pairs", nargs="*", default=[], help="files of word pairs and ratings")
    parser.add_argument("--questions", help="a file of analogies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="by turns; each with a seed of its own")
    parser.add_argument("--only", nargs="*", help="contestants")
    parser.add_argument("--keep", help="leave the prepared text here")
    arguments = parser.parse_args()
    contestants = {
        "minibert": train_minibert(arguments.minibert, []),
        "minibert --engine plain": train_minibert(arguments.minibert, ["--engine", "plain"]),
        "minibert --deterministic": train_minibert(arguments.minibert, ["--deterministic"]),
        **{name: train_peer(code) for name, code in PEERS.items()},
    }
    if arguments.only:
        contestants = {name: run for name, run in contestants.items() if name in arguments.only}
    with tempfile.TemporaryDirectory() as directory:
        text, out = arguments.keep or os.path.join(directory, "text"), os.path.join(directory, "vectors")
        n_words = arguments.epochs * prepare(arguments.corpus, arguments.megabytes * 1000000, text)
        records = {name: [] for name in contestants}
        for turn in range(arguments.rounds):
            for name, run in contestants.items():
                start = time.perf_counter()
                train_seconds = run(text, out, arguments.threads, arguments.epochs, turn + 1)
                seconds = time.perf_counter() - start
                scores = quality(arguments.minibert, out, arguments.pairs, arguments.questions)
                records[name].append([n_words / seconds, n_words / train_seconds, *scores])
                print(json.dumps({"round": turn, "name": name, "seconds": round(seconds, 2), "train_seconds": round(train_seconds, 2),
                                  "scores": [round(score, 4) for score in scores]}), flush=True)
        columns = ["words/s, process", "words/s, training", *[os.path.basename(path)[-18:] for path in arguments.pairs],
                   *(["analogies"] if arguments.questions else [])]
        print(f"\n{'median speed, mean quality':28}" + "".join(f"{column:>20}" for column in columns))
        for name, rows in records.items():
            cells = [f"{statistics.median(row[i] for row in rows):20.0f}" for i in range(2)]
            cells += [f"{statistics.mean(row[i] for row in rows):20.4f}" for i in range(2, len(columns))]
            print(f"{name:28}" + "".join(cells))


main()
