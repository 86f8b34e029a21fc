#!/usr/bin/env python3
"""Makes tests/golden/words/: word vectors of both formats of word2vec, rated pairs, analogies, and what gensim says of them.
Needs gensim (scripts/bench/requirements-skipgram.txt).  scripts/golden/words.py"""
import json
import os

import numpy as np
from gensim.models import KeyedVectors

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/words")
os.makedirs(out, exist_ok=True)
random = np.random.default_rng(7)
N, WIDTH, RESTRICT = 9, 6, 60

# A word for each (country, role), nearly a sum of two vectors: some analogies hold and some do not.
countries, roles = random.normal(size=(N, WIDTH)), random.normal(size=(N, WIDTH))
names = [f"c{i}r{j}" for i in range(N) for j in range(N)]
vectors = np.array([countries[i] + roles[j] + 0.5 * random.normal(size=WIDTH) for i in range(N) for j in range(N)])
order = random.permutation(len(names))
model = KeyedVectors(WIDTH)
model.add_vectors([names[i] for i in order], vectors[order].astype(np.float32))
model.save_word2vec_format(f"{out}/vectors.txt", binary=False)
model.save_word2vec_format(f"{out}/vectors.bin", binary=True)

with open(f"{out}/pairs.tsv", "w") as file:
    for k in range(50):
        a, b = random.choice(names, 2, replace=False)
        rating = round(2 * (5 + 4 * float(model.similarity(a, b)) + random.normal())) / 2
        file.write(f"{a}\t{'absent' if k % 17 == 5 else b}\t{rating}\n")
with open(f"{out}/questions.txt", "w") as file:
    for section in ("capitals", "gram1-plural"):
        file.write(f": {section}\n")
        for _ in range(100):
            (i, k), (j, m) = random.choice(N, 2, replace=False), random.choice(N, 2, replace=False)
            file.write(f"c{i}r{j} c{i}r{m} c{k}r{j} c{k}r{m}\n")

# What gensim reads is what minibert reads: the numbers as they are in the file.
model = KeyedVectors.load_word2vec_format(f"{out}/vectors.txt", binary=False)
pearson, spearman, oov = model.evaluate_word_pairs(f"{out}/pairs.tsv")
golden = {"pearson": float(pearson[0]), "spearman": float(spearman[0]), "out_of_vocabulary": round(oov / 100 * 50),
          "restrict": RESTRICT, "analogies": {}, "word": "c4r4", "neighbors": model.most_similar("c4r4", topn=8)}


def answers(function, restrict):
    """gensim's evaluate_word_analogies knows 3CosAdd alone, whatever function it is given."""
    sections, known = [], set(model.index_to_key[:restrict or None])
    for line in open(f"{out}/questions.txt").read().splitlines():
        if line.startswith(": "):
            sections.append({"name": line[2:], "correct": 0, "asked": 0})
            continue
        a, b, c, d = line.split()
        if {a, b, c, d} <= known:
            answer = function(positive=[b, c], negative=[a], topn=1, restrict_vocab=restrict or None)[0][0]
            sections[-1]["correct"] += answer == d
            sections[-1]["asked"] += 1
    return sections


for name, function in (("add", model.most_similar), ("multiply", model.most_similar_cosmul)):
    golden["analogies"][name] = [answers(function, restrict) for restrict in (0, RESTRICT)]
for restrict, ours in zip((0, RESTRICT), golden["analogies"]["add"]):
    _, sections = model.evaluate_word_analogies(f"{out}/questions.txt", restrict_vocab=restrict or len(names))
    assert [len(s["correct"]) for s in sections[:-1]] == [s["correct"] for s in ours]
with open(f"{out}/gensim.json", "w") as file:
    json.dump(golden, file, indent=1)
    file.write("\n")
print(json.dumps(golden)[:900])
