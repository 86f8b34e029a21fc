#!/usr/bin/env python3
"""Compares `minibert tokenizer encode` with its references, line by line: ids, tokens and byte offsets.

    scripts/exact/tokenizer.py --vocab vocab.txt [--cased] FILE...                       Hugging Face's tokenizers
    scripts/exact/tokenizer.py --vocab vocab.txt [--cased] --google tokenization.py FILE...   google-research/bert (ids and tokens)

FILE may be `codes`, every code point alone and between letters, or `random:N`, N lines of all scripts with combining marks, broken
UTF-8 and special tokens among them. Prints a line a file; exits 1 when any line differs, and shows the first.
"""
import argparse
import importlib.util
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import types
import unicodedata

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


# --- input --------------------------------------------------------------------------------------------------------------------
def code_lines():
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000 and code != 10:
            char = chr(code).encode()
            yield char
            yield b"a" + char + b"B"


def random_lines(n):
    """Lines of one script or of several: letters, marks in any order, punctuation, spaces, words of ASCII, and rarely the rest."""
    draw = random.Random(20181011)
    blocks = {}
    for code in range(0x20, 0x110000):
        if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co"):
            blocks.setdefault(code >> 7, []).append(chr(code))
    blocks = list(blocks.values())
    marks = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)).startswith("M") or unicodedata.combining(chr(c))]
    odd = ["\u03a3", "\u0130", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u3000", "\x1c", "\x85", "\0", "\ufffd", "\ue000", "\U0002b820", "'", "\u0345",
           "\u1e9e", "\u212b", "\uac01", "\u4e2d", "[MASK]", "[SEP]", "[UNK", "##a", "\u0378", "\U0010ffff"]
    for _ in range(n):
        script, other = draw.choice(blocks), draw.choice(blocks)
        parts = []
        for _ in range(draw.randint(1, 24)):
            kind = draw.random()
            parts.append(draw.choice(script) if kind < 0.45 else draw.choice(marks) if kind < 0.65 else draw.choice(other) if kind < 0.72
                         else " " if kind < 0.82 else draw.choice(odd) if kind < 0.9 else draw.choice("abcdefghXYZ019,.#-"))
        line = "".join(parts).replace("\n", " ").encode("utf-8", "ignore")
        if draw.random() < 0.05:  # broken UTF-8
            at = draw.randrange(len(line)) if line else 0
            line = line[:at] + bytes([draw.randrange(256)]) + line[at + draw.randint(0, 2):]
        yield line.replace(b"\n", b" ").replace(b"\r", b" ")


def write_input(name, path):
    lines = code_lines() if name == "codes" else random_lines(int(name.split(":")[1]))
    with open(path, "wb") as file:
        file.writelines(line + b"\n" for line in lines)


# --- references ---------------------------------------------------------------------------------------------------------------
def hugging_face(arguments):
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
    vocab = {piece.rstrip("\r\n"): i for i, piece in enumerate(open(arguments.vocab, encoding="utf-8", newline="\n"))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not arguments.cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])

    def run(texts):
        return [(e.ids, e.tokens, e.offsets) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return run


def google(arguments):
    """tokenization.py of a checkout of google-research/bert, with the one function of TensorFlow's that it calls."""
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.gfile = types.SimpleNamespace(GFile=lambda path, mode: open(path, mode, encoding="utf-8", newline="\n"))
    sys.modules["tensorflow"] = tensorflow
    if "six" not in sys.modules and importlib.util.find_spec("six") is None:
        sys.modules["six"] = types.SimpleNamespace(PY3=True, PY2=False)
    spec = importlib.util.spec_from_file_location("tokenization", arguments.google)
    tokenization = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tokenization)
    tokenizer = tokenization.FullTokenizer(arguments.vocab, do_lower_case=not arguments.cased)

    def run(texts):
        tokens = [tokenizer.tokenize(text) for text in texts]
        return [(tokenizer.convert_tokens_to_ids(line), line, None) for line in tokens]
    return run


# --- comparison ---------------------------------------------------------------------------------------------------------------
def byte_offsets(raw, text, offsets):
    """Character offsets into the text as read, as byte offsets into the raw line."""
    if len(raw) == len(text):
        return [list(pair) for pair in offsets]
    begins, at = [], 0
    if raw == text.encode():
        for char in text:
            begins.append(at)
            at += 1 if char < "\x80" else 2 if char < "\u0800" else 3 if char < "\U00010000" else 4
    else:
        while at < len(raw):
            try:
                good, n_bad = raw[at:].decode(), 0
            except UnicodeDecodeError as error:
                good, n_bad = raw[at:at + error.start].decode(), error.end - error.start
            for char in good:
                begins.append(at)
                at += len(char.encode())
            if n_bad:
                begins.append(at)
                at += n_bad
    begins.append(len(raw))
    return [[begins[start], begins[end]] for start, end in offsets]


def compare(job):
    arguments, raws, outputs = job
    global reference
    if "reference" not in globals():
        reference = (google if arguments.google else hugging_face)(arguments)
    texts = [raw.decode("utf-8", "replace") for raw in raws]
    n_different, first = 0, None
    for raw, text, output, (ids, tokens, offsets) in zip(raws, texts, outputs, reference(texts), strict=True):
        ours = json.loads(output)
        same = ours["ids"] == ids and ours["tokens"] == tokens
        if same and offsets is not None:
            same = ours["offsets"] == byte_offsets(raw, text, offsets)
        if not same:
            n_different += 1
            first = first or {"line": raw.hex(), "text": text[:200], "ours": ours, "theirs": [ids, tokens, offsets and byte_offsets(raw, text, offsets)]}
    return len(raws), sum(map(len, raws)), n_different, first


def jobs(arguments, path, n_lines=2000):
    command = [arguments.minibert, "tokenizer", "encode", "--model", arguments.model, "--no-special", "--format", "jsonl", "--quiet", "--threads", "1",
               "--compat", "google" if arguments.google else "hf"]
    with open(path, "rb") as source, open(path, "rb") as lines, subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE) as process:
        while True:
            raws = [line[:-1] if line.endswith(b"\n") else line for line in [lines.readline() for _ in range(n_lines)] if line]
            if not raws:
                break
            yield arguments, raws, [process.stdout.readline() for _ in raws]
        if process.stdout.read(1) or process.wait() != 0:
            sys.exit("minibert wrote more lines than there are, or failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--minibert", default=os.path.join(os.path.dirname(__file__), "../../minibert"))
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--cased", action="store_true")
    parser.add_argument("--google", metavar="tokenization.py")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    n_failed = 0
    with tempfile.TemporaryDirectory() as directory, multiprocessing.Pool(arguments.processes) as pool:
        arguments.model = directory
        with open(f"{directory}/vocab.txt", "wb") as file:
            file.write(open(arguments.vocab, "rb").read())
        with open(f"{directory}/tokenizer_config.json", "w") as file:
            json.dump({"do_lower_case": not arguments.cased}, file)
        for name in arguments.files:
            path = name
            if name == "codes" or name.startswith("random:"):
                path = f"{directory}/lines"
                write_input(name, path)
            n_lines = n_bytes = n_different = 0
            first = None
            for lines, size, different, example in pool.imap(compare, jobs(arguments, path)):
                n_lines, n_bytes, n_different, first = n_lines + lines, n_bytes + size, n_different + different, first or example
            print(f"{'google' if arguments.google else 'hf'} {os.path.basename(arguments.vocab)} {os.path.basename(name)}: {n_lines} lines, "
                  f"{n_bytes / 1e6:.1f} MB, {n_different} differ", flush=True)
            if first:
                print(json.dumps(first, ensure_ascii=False))
            n_failed += n_different > 0
    sys.exit(n_failed > 0)


if __name__ == "__main__":
    main()
