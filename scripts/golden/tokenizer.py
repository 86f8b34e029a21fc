#!/usr/bin/env python3
"""Makes what the tokenizer takes from Hugging Face's `tokenizers` (pip install tokenizers), both committed:

    scripts/golden/tokenizer.py golden > tests/golden/tokenizer.txt    expected ids, offsets and words of nasty lines
    scripts/golden/tokenizer.py ranges > tokenizer/unicode_ranges.h    its sets of code points, found by asking it about each

Neither the build nor the tests need Python or this script.
"""
import json
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


# --- ranges -------------------------------------------------------------------------------------------------------------------
def normalizer(**on):
    options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**options, **on}).normalize_str


def to_ranges(codes):
    ranges = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def print_ranges(name, comment, codes):
    items = [f"{{0x{first:X}, 0x{last:X}}}" for first, last in to_ranges(codes)]
    print(f"\n/* {comment} */\nstatic const mb_range {name}[] = {{")
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 128:
            print(line)
            line = "   "
        line += f" {item},"
    print(line + "\n};")


def make_ranges():
    clean, cjk, strip = normalizer(clean_text=True), normalizer(handle_chinese_chars=True), normalizer(strip_accents=True)
    nfd = normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = {code: [word for word, _ in split(f"a{chr(code)}b")] for code in CODES}
    removed = [code for code in CODES if clean(f"a{chr(code)}b") == "ab"]
    spaces = [code for code in CODES if words[code] == ["a", "b"]]
    ideographs = [code for code in CODES if cjk(f"a{chr(code)}b") == f"a {chr(code)} b"]
    punctuation = [code for code in CODES if words[code] == ["a", chr(code), "b"]]
    accents = {code for code in CODES if strip(f"a{chr(code)}b") == "ab"}

    # A mark with a combining class is one that moves when a mark of a lower class follows it, or of a higher one precedes it
    # (U+0334 has class 1, U+0345 has 240).
    def moves(code):
        return nfd(f"a{chr(code)}\u0334") == f"a\u0334{chr(code)}" or nfd(f"a\u0345{chr(code)}") == f"a{chr(code)}\u0345"

    print("/* Sets of code points as Hugging Face's tokenizers has them; made by scripts/golden/tokenizer.py, do not edit. */")
    print("/* clang-format off */")
    print_ranges("removed_ranges", "deleted by clean_text", removed)
    print_ranges("space_ranges", "where words are split, and dropped", spaces)
    print_ranges("cjk_ranges", "ideographs; U+2B820 to U+2B91F are missing there, as in its source", ideographs)
    print_ranges("punctuation_ranges", "words of their own", punctuation)
    print_ranges("accent_ranges", "nonspacing marks, deleted by strip_accents", accents)
    print_ranges("mark_ranges", "other marks that have a combining class", [c for c in CODES if c not in accents and moves(c)])
    print_ranges("decomposed_ranges", "beyond U+FFFF: those that decompose",
                 [code for code in CODES if code > 0xFFFF and nfd(chr(code)) != chr(code)])


if __name__ == "__main__":
    jobs = {"ranges": make_ranges}
    if len(sys.argv) != 2 or sys.argv[1] not in jobs:
        sys.exit(__doc__)
    jobs[sys.argv[1]]()
