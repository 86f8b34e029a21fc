"""One text, the same CPU-seconds: what do Skip-Gram, CBOW and each layer of a small BERT know of words and of texts?

The model is pretrained for --steps (or given, with the CPU-seconds that it took). Skip-Gram and CBOW then get as many epochs as fit
into the same CPU-seconds, and in rows of their own --few-epochs. All see the same words: the tokenizer's. A layer's word vectors are
the means over a word's occurrences (embed --static).

Columns: Spearman on files of rated pairs (--pairs; found: pairs with both words in all vectors, the only ones counted), and accuracy
and macro-F1 of a softmax regression that tells a package's section from the mean of its description's word vectors, or from the
mean hidden state (--section DIR with train.tsv, dev.tsv and test.tsv of the quickstart; dev chooses the penalty).
"""
import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile

import numpy as np

PENALTIES = [1e-5, 1e-4, 1e-3, 1e-2]


def run(*command, stdin=None, stdout=subprocess.PIPE):
    """Standard output and CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, check=True, stdin=stdin, stdout=stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- the text as words ---

def spell_words(minibert, model, source, target):
    """Each line as the tokenizer's words: pieces that continue one are joined to it."""
    with open(source) as text, open(target, "w") as out:
        process = subprocess.Popen([minibert, "tokenizer", "encode", "--model", model, "--format", "tokens", "--no-special"],
                                   stdin=text, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            out.write(line.replace(" ##", ""))
        if process.wait() != 0:
            sys.exit("tokenizer encode failed")


def read_section(path, n_rows):
    csv.field_size_limit(1 << 20)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = rows[:n_rows] if n_rows else rows
    return [row["label"] for row in rows], [row["text"] for row in rows]


# --- vectors ---

def load_words(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        n, width = map(int, file.readline().split())
        words, vectors = {}, np.zeros((n, width), np.float32)
        for i, line in enumerate(file):
            word, *numbers = line.rstrip("\n").split(" ")
            words[word] = i
            vectors[i] = np.array(numbers[:width], np.float32)
    return words, vectors


def save_words(path, words, vectors, keep):
    with open(path, "w") as file:
        kept = [word for word in words if word in keep]
        file.write(f"{len(kept)} {vectors.shape[1]}\n")
        for word in kept:
            file.write(word + " " + " ".join(f"{x:.6g}" for x in vectors[words[word]]) + "\n")


def similarity(minibert, path, pairs):
    output, _ = run(minibert, "similarity", "--vectors", path, *pairs)
    return [(float("nan") if item["spearman"] is None else item["spearman"], item["found"]) for item in json.loads(output)]


# --- sections ---

def regress(train, labels, penalty, n_classes, steps=300):
    """Softmax regression by Nesterov's accelerated gradient; features are standardised."""
    n, width = train.shape
    weights, velocity = np.zeros((width, n_classes)), np.zeros((width, n_classes))
    target = np.eye(n_classes)[labels]
    rate = n / (0.5 * np.linalg.norm(train, 2) ** 2 + penalty * n)
    for step in range(steps):
        ahead = weights + step / (step + 3) * velocity
        scores = train @ ahead
        scores -= scores.max(1, keepdims=True)
        odds = np.exp(scores)
        gradient = train.T @ (odds / odds.sum(1, keepdims=True) - target) / n + penalty * ahead
        weights, velocity = ahead - rate * gradient, ahead - rate * gradient - weights
    return weights


def macro_f1(truth, guess, n_classes):
    total = 0
    for c in range(n_classes):
        hits = np.sum((truth == c) & (guess == c))
        total += 2 * hits / max(np.sum(truth == c) + np.sum(guess == c), 1)
    return total / n_classes


def classify(features, labels):
    """features, labels: dicts of train, dev, test. Accuracy and macro-F1 on test, with the penalty that dev likes best."""
    names = sorted(set(labels["train"]))
    number = {name: i for i, name in enumerate(names)}
    ids = {part: np.array([number.get(label, -1) for label in labels[part]]) for part in labels}
    mean, deviation = features["train"].mean(0), features["train"].std(0) + 1e-8
    data = {part: np.hstack([(x - mean) / deviation, np.ones((len(x), 1))]).astype(float) for part, x in features.items()}
    best = max((regress(data["train"], ids["train"], penalty, len(names)) for penalty in PENALTIES),
               key=lambda weights: np.mean((data["dev"] @ weights).argmax(1) == ids["dev"]))
    guess = (data["test"] @ best).argmax(1)
    return np.mean(guess == ids["test"]), macro_f1(ids["test"], guess, len(names))


def mean_of_words(texts, words, vectors):
    features = np.zeros((len(texts), vectors.shape[1]), np.float32)
    for i, text in enumerate(texts):
        rows = [words[word] for word in text.split() if word in words]
        if rows:
            features[i] = vectors[rows].mean(0)
    return features


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True)
    parser.add_argument("--corpus", required=True, help="the quickstart's corpus.txt, or any text")
    parser.add_argument("--section", required=True, help="the quickstart's section directory")
    parser.add_argument("--pairs", nargs="*", default=[])
    parser.add_argument("--model", help="pretrained before on the corpus")
    parser.add_argument("--cpu-seconds", type=float, help="what pretraining --model took")
    parser.add_argument("--steps", type=int, default=2000, help="of pretraining, without --model")
    parser.add_argument("--size", default="mini", help="of that model")
    parser.add_argument("--few-epochs", type=int, default=5)
    parser.add_argument("--few-only", action="store_true", help="leave out the rows of equal CPU-seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-occurrences", type=int, default=50, help="of a word, for a layer's word vectors")
    parser.add_argument("--static-corpus", help="where a layer's word vectors come from, if not from all of --corpus")
    parser.add_argument("--rows", type=int, default=0, help="of train.tsv; a quarter of them of dev.tsv and test.tsv; 0: all")
    parser.add_argument("--layers", nargs="*", type=int, help="default: all")
    arguments = parser.parse_args()
    if arguments.model and not arguments.cpu_seconds:
        parser.error("--model needs --cpu-seconds")
    minibert, threads = arguments.minibert, ["--threads", str(arguments.threads), "--quiet"]
    with tempfile.TemporaryDirectory() as directory:
        compare(arguments, minibert, threads, directory)


def compare(arguments, minibert, threads, directory):
    def at(name):
        return os.path.join(directory, name)
    model, seconds = arguments.model, arguments.cpu_seconds
    if not model:
        model = at("model")
        _, seconds = run(minibert, "pretrain", "--corpus", arguments.corpus, "--out", model, "--vocab-size", "8192", "--size",
                         arguments.size, "--batch-size", "8", "--steps", str(arguments.steps), *threads)
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    print(f"model: {config['num_hidden_layers']} layers, {config['hidden_size']} wide, {seconds:.0f} CPU-seconds", flush=True)
    spell_words(minibert, model, arguments.corpus, at("words"))
    labels, texts, spelled = {}, {}, {}
    for part in ("train", "dev", "test"):
        n_rows = arguments.rows // (1 if part == "train" else 4)
        labels[part], texts[part] = read_section(os.path.join(arguments.section, part + ".tsv"), n_rows)
        with open(at(part), "w") as file:
            file.writelines(" ".join(text.split()) + "\n" for text in texts[part])
        spell_words(minibert, model, at(part), at(part + ".words"))
        with open(at(part + ".words")) as file:
            spelled[part] = file.read().splitlines()

    tables = {}  # name: (path of word vectors, CPU-seconds, layer)
    for name, options in (("Skip-Gram", []), ("CBOW", ["--cbow"])):
        def train(epochs, path):
            output, used = run(minibert, "skipgram", "--corpus", at("words"), "--out", path, "--size", str(config["hidden_size"]),
                               "--epochs", str(epochs), *options, *threads)
            return json.loads(output)["train_seconds"], used
        few = arguments.few_epochs
        path = at(f"{name}.few")
        _, used = train(few, path)
        tables[f"{name}, {few} epochs"] = path, used, None
        if arguments.few_only:
            continue
        epochs = max(1, int(seconds / used * few))
        path = at(f"{name}.many")
        _, used = train(epochs, path)
        tables[f"{name}, {epochs} epochs"] = path, used, None
    layers = arguments.layers if arguments.layers is not None else range(config["num_hidden_layers"] + 1)
    for layer in layers:
        path = at(f"layer.{layer}")
        run(minibert, "embed", "--model", model, "--static", arguments.static_corpus or arguments.corpus, "--layers", str(layer),
            "--max-occurrences", str(arguments.max_occurrences), "--max-length", "128", "--out", path, *threads)
        tables[f"layer {layer}" + (" (embeddings)" if layer == 0 else "")] = path, seconds, layer

    loaded = {name: load_words(path) for name, (path, _, _) in tables.items()}
    common = set.intersection(*(set(words) for words, _ in loaded.values()))
    header = ["", "CPU-s"] + [os.path.basename(path)[:14] for path in arguments.pairs] + ["section acc.", "macro-F1"]
    print(f"{header[0]:28}" + "".join(f"{cell:>16}" for cell in header[1:]))
    for name, (_, used, layer) in tables.items():
        words, vectors = loaded[name]
        centred = vectors - vectors.mean(0) if layer is not None else vectors  # what all hidden states share says nothing
        save_words(at("common"), words, centred, common)
        scores = similarity(minibert, at("common"), arguments.pairs) if arguments.pairs else []
        if layer is None:
            features = {part: mean_of_words(spelled[part], words, vectors) for part in labels}
        else:
            features = {}
            for part in labels:
                run(minibert, "embed", "--model", model, "--input", at(part), "--layers", str(layer), "--max-length", "128", "--out",
                    at("features.npy"), *threads)
                features[part] = np.load(at("features.npy"))
        accuracy, f1 = classify(features, labels)
        print(f"{name:28}{used:16.0f}" + "".join(f"{spearman:10.3f} ({found})" .rjust(16) for spearman, found in scores)
              + f"{100 * accuracy:15.1f}%{100 * f1:15.1f}%", flush=True)


main()
