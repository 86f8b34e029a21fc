"""Skip-Gram on one text, each contestant a process of its own: words a second of the whole process and of training, and quality.

The text is brought to lower-case letters and spaces, as text8 is, and cut to --megabytes. Settings: 100 dimensions, window 5,
5 negatives, sub-sampling at 1e-3, words seen 5 times; each contestant's own learning rate unless --alpha. Quality: Spearman on files
of rated pairs (--pairs) and accuracy on analogies (--questions), by minibert's own commands, which agree with gensim's. Memory is the
largest that a process held, pages of a mapped text included.

A program with word2vec.c's options takes part by --program NAME=PATH. What it prints last as "Words/sec: 123.4k" (or
"Words/thread/sec") is taken for its rate of training; the environment variable SEED numbers its rounds.
The table of five epochs: --epochs 5 --rounds 1.
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

PEERS = {
    "gensim": """
import sys, time
from gensim.models.word2vec import Word2Vec, Text8Corpus
text, out, threads, epochs, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
sentences = Text8Corpus(text)
model = Word2Vec(vector_size=100, window=5, min_count=5, workers=threads, sg=1, negative=5, sample=1e-3, seed=seed,
                 alpha=float(sys.argv[6] or 0.025))
model.build_vocab(sentences)
start = time.perf_counter()
model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
print(time.perf_counter() - start)
model.wv.save_word2vec_format(out, binary=True)
""",
    "fastText": """
import sys, time
import fasttext
text, out, threads, epochs, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
start = time.perf_counter()
model = fasttext.train_unsupervised(text, "skipgram", dim=100, ws=5, epoch=epochs, neg=5, minCount=5, maxn=0, thread=threads, t=1e-3,
                                    lr=float(sys.argv[6] or 0.025), verbose=0)
print(time.perf_counter() - start)
with open(out, "w") as file:
    file.write(f"{len(model.words)} 100\\n")
    for word in model.words:
        file.write(word + " " + " ".join(f"{x:.6f}" for x in model.get_word_vector(word)) + "\\n")
""",
}


def prepare(corpus, n_bytes, path):
    """Lower-case letters and single spaces; returns the number of words. Piece by piece: the largest memory of a contestant is
    not less than this process held when it was started."""
    n_written, n_words, last = 0, 0, ""
    with open(corpus, encoding="utf-8", errors="replace") as file, open(path, "w") as out:
        while n_written < n_bytes and (piece := file.read(1 << 20)):
            letters = re.sub("[^a-z]+", " ", piece.lower())
            letters = letters[last == " " and letters.startswith(" "):][:n_bytes - n_written]
            n_words += len(letters.split()) - (last.isalpha() and letters[:1].isalpha())
            n_written, last = n_written + len(letters), letters[-1:] or last
            out.write(letters)
    return n_words


def train_minibert(minibert, extra):
    def run(text, out, threads, epochs, seed, alpha):
        result = subprocess.run(
            [minibert, "skipgram", "-train", text, "-output", out, "-binary", "1", "-cbow", "0", "-iter", str(epochs), "-threads",
             str(threads), "--seed", str(seed), "--quiet", *(["-alpha", alpha] if alpha else []), *extra], check=True,
            stdout=subprocess.PIPE)
        return json.loads(result.stdout)["words_per_second"]
    return run


def train_peer(code, n_words):
    def run(text, out, threads, epochs, seed, alpha):
        result = subprocess.run([sys.executable, "-c", code, text, out, str(threads), str(epochs), str(seed), alpha], check=True,
                                stdout=subprocess.PIPE)
        return n_words / float(result.stdout)
    return run


def train_program(path):
    def run(text, out, threads, epochs, seed, alpha):
        result = subprocess.run(
            [path, "-train", text, "-output", out, "-binary", "1", "-cbow", "0", "-size", "100", "-window", "5", "-negative", "5",
             "-hs", "0", "-sample", "1e-3", "-min-count", "5", "-iter", str(epochs), "-threads", str(threads),
             *(["-alpha", alpha] if alpha else [])], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "SEED": str(seed), "OPENBLAS_NUM_THREADS": "1"})  # its own threads call the BLAS
        rates = re.findall(rb"Words(/thread)?/sec: ([0-9.]+)k", result.stdout)
        return float(rates[-1][1]) * 1000 * (threads if rates[-1][0] else 1) if rates else float("nan")
    return run


def measure(run, *arguments):
    """Seconds by the clock and of CPU, words a second of training, and the largest memory, of one process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # a process of its own: what its children used is this contestant's alone
        try:
            start = time.perf_counter()
            rate = run(*arguments)
            seconds = time.perf_counter() - start
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            os.write(writer, json.dumps([seconds, usage.ru_utime + usage.ru_stime, rate, usage.ru_maxrss / 1024]).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("a contestant failed")
    return json.loads(answer)


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
    parser.add_argument("--once", nargs="*", default=[], help="contestants that take part in the last round alone")
    parser.add_argument("--alpha", default="", help="the same first learning rate for all")
    parser.add_argument("--program", nargs="*", default=[], metavar="NAME=PATH", help="programs with word2vec.c's options")
    parser.add_argument("--only", nargs="*", help="contestants")
    parser.add_argument("--keep", help="leave the prepared text here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        text, out = arguments.keep or os.path.join(directory, "text"), os.path.join(directory, "vectors")
        n_words = arguments.epochs * prepare(arguments.corpus, arguments.megabytes * 1000000, text)
        contestants = {
            "minibert": train_minibert(arguments.minibert, []),
            "minibert --engine plain": train_minibert(arguments.minibert, ["--engine", "plain"]),
            "minibert --deterministic": train_minibert(arguments.minibert, ["--deterministic"]),
            **{name: train_peer(code, n_words) for name, code in PEERS.items()},
            **{name: train_program(path) for name, path in (program.split("=", 1) for program in arguments.program)},
        }
        if arguments.only:
            contestants = {name: run for name, run in contestants.items() if name in arguments.only}
        records = {name: [] for name in contestants}
        for turn in range(arguments.rounds):
            for name, run in contestants.items():
                if turn < arguments.rounds - 1 and name in arguments.once:
                    continue
                seconds, cpu_seconds, rate, megabytes = measure(run, text, out, arguments.threads, arguments.epochs, turn + 1,
                                                                arguments.alpha)
                scores = quality(arguments.minibert, out, arguments.pairs, arguments.questions)
                records[name].append([n_words / seconds, rate, cpu_seconds, megabytes, *scores])
                print(json.dumps({"round": turn, "name": name, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2),
                                  "words_per_second": round(n_words / seconds), "training_words_per_second": rate,
                                  "megabytes": round(megabytes), "scores": [round(score, 4) for score in scores]}), flush=True)
        columns = ["words/s, process", "words/s, training", "CPU seconds", "MB", *[os.path.basename(path)[-16:] for path in arguments.pairs],
                   *(["analogies"] if arguments.questions else [])]
        print(f"\n{'medians; quality: means':28}" + "".join(f"{column:>19}" for column in columns))
        for name, rows in records.items():
            cells = [f"{statistics.median(row[i] for row in rows):19.0f}" for i in range(4)]
            cells += [f"{statistics.mean(row[i] for row in rows):19.4f}" for i in range(4, len(columns))]
            print(f"{name:28}" + "".join(cells))


main()
