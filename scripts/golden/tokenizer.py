#!/usr/bin/env python3
"""Makes what the tokenizer takes from Hugging Face's `tokenizers` (pip install tokenizers), both committed:

    scripts/golden/tokenizer.py golden > tests/golden/tokenizer.json   expected ids, offsets and words of nasty lines
    scripts/golden/tokenizer.py golden-google TOKENIZATION.PY > tests/golden/tokenizer_google.json   ids of google-research/bert
    scripts/golden/tokenizer.py ranges > tokenizer/unicode_ranges.h    its sets of code points, found by asking it about each
    scripts/golden/tokenizer.py ranges-google > tokenizer/unicode_ranges_google.h    those of google-research/bert: Python 3.11's

Neither the build nor the tests need Python or this script.
"""
import argparse
import importlib.util
import json
import os
import random
import sys
import tempfile
import unicodedata

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


def make_google_ranges():
    """What tokenization.py gets from unicodedata and str; the classes of code points that it names itself are in its text."""
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; the tables are those of 14.0.0 (Python 3.11)")
    category = {code: unicodedata.category(chr(code)) for code in CODES}
    whitespace = {9, 10, 13}
    removed = [c for c in CODES if c in (0, 0xFFFD) or (c not in whitespace and category[c] in ("Cc", "Cf"))]
    spaces = [c for c in CODES if chr(c).isspace() or category[c] == "Zs"]
    ideographs = [c for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF),
                                        (0x2A700, 0x2B73F), (0x2B740, 0x2CEAF), (0x2F800, 0x2FA1F)) for c in range(first, last + 1)]
    symbols = [c for c in range(33, 127) if not chr(c).isalnum()]
    punctuation = set(symbols) | {c for c in CODES if category[c].startswith("P")}
    accents = {c for c in CODES if category[c] == "Mn"}
    marks = [c for c in CODES if c not in accents and unicodedata.combining(chr(c))]
    decomposed = [c for c in CODES if c > 0xFFFF and unicodedata.normalize("NFD", chr(c)) != chr(c)]

    def ends_final(text):
        return text.lower().endswith("\u03c2")

    cased = [c for c in CODES if ends_final(chr(c) + "\u03a3")]
    ignorable = sorted({c for c in CODES if ends_final("A" + chr(c) + "\u03a3")} - set(cased))

    print("/* Sets of code points as Python 3.11 (Unicode 14) and tokenization.py have them; made by scripts/golden/tokenizer.py, do not"
          " edit. */")
    print("/* clang-format off */")
    print_ranges("google_removed_ranges", "deleted by clean_text", removed)
    print_ranges("google_space_ranges", "where words are split, and dropped", spaces)
    print_ranges("google_cjk_ranges", "ideographs", ideographs)
    print_ranges("google_punctuation_ranges", "words of their own", punctuation)
    print_ranges("google_accent_ranges", "nonspacing marks, deleted by strip_accents", accents)
    print_ranges("google_mark_ranges", "other marks that have a combining class", marks)
    print_ranges("google_decomposed_ranges", "beyond U+FFFF: those that decompose", decomposed)
    print_ranges("google_cased_ranges", "before a capital sigma they make it final, after it they do not let it be", cased)
    print_ranges("google_case_ignorable_ranges", "looked through when a sigma's neighbours are sought", ignorable)


# --- golden -------------------------------------------------------------------------------------------------------------------
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the hello un ##aff ##able ##ing ##ed word ##piece token ##iz ##er aa ##aa a1 caf ##e ##é naive naïve strasse
##sse istanbul i̇ ##i̇ ꙋ 北京 ##京 ##가 할 ##ᆯ ##んに ... ## #""".split()
LINES = [
    "", " ", "Hello, WORLD!", "unaffable UNAFFABLE un-affable", "don't can't l'été qu’il",
    "$1,234.56 3.14e-10 100% a@b.com http://x.y/z?q=1 ~`^|", "café CAFÉ cafe\u0301 naïve façade Ångström \u212b",
    "İstanbul ığdır ẞ ß Straße ﬁ ǅ ŉ Ω\u2126 K\u212a", "ΟΔΥΣΣΕΥΣ Οδυσσεύς ᾳ ᾼ Σ ς", "Ёлка Йод й ё Ї Ґ", "مُحَمَّدٌ كَتَبَ", "בְּרֵאשִׁית שׁ",
    "हिन्दी क़ ड़ क्षत्रिय", "สวัสดี น้ำ", "ᲥᲐᲠᲗᲣᲚᲘ ქართული", "ꮳꮃꭹ ᏣᎳᎩ", "がぎぐ か\u3099 ぱ ｶﾞ ヴ", "한국어 학교 각 힣 \u1112\u1161\u11ab 가\u0301 한\u302e",
    "我爱北京天安门。繁體，「龍」", "㐀䶵𠀀𪛖𪜀𫝀𫠠𫠡𬺡 豈 丽 〇 々 ⼀", "mixed中english文123字ABC", "①½²ⅧＡＢＣ１２３！？～", "😀👍🏽 👨\u200d👩\u200d👧 🇺🇳 ❤\ufe0f 1\ufe0f\u20e3",
    "a\u200bb\u2060c\ufeffd\u00ade", "\u202aabc\u202c \u2067x\u2069", "a\u00a0b\u1680c\u2000d\u2028e\u2029f\u202fg\u205fh\u3000i", "tab\tvt\x0bff\x0ccr\rnel\x85.",
    "\x01con\x02trol\x7f \x1f", "nul\x00in\x00side", "rep\ufffdlaced \ufffd", "\ufdd0 \ufffe \U0001fffe \u0378 \u0530 \U000e0fff",
    "private \ue000 \U000f0000 x\uf8ffy", "\U0001f3f4\U000e0067\U000e007f", "\u0301leading", "combining pile: e\u0323\u0302\u0301 a\u05ae\u0300\u0315b",
    "q\u0307\u0323 q\u0323\u0307 \u1e69 s\u0323\u0307", "\u226e \u2260 <\u0338 =\u0338x \u1fef \u037e \u0387 \u2329", "\u0344 \u0340 \u0343 \u0f73 \u0f76",
    "—–‘’“”…¡¿§¶·٪،؛؟।。、・﹏＿", "©®™°±×÷¢£€¥₹¬¦¨¯´¸→█", "[CLS] [SEP] [MASK] [PAD] [UNK] [mask]", "[MASK]ed x[MASK] [[MASK]] [MASK[MASK]",
    "[unused1] ##ing ## #a", "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "漢" * 30, "한" * 34, "word " * 20, "x" * 15, "x" * 16, "x" * 17,
    "abcdefghijklmno,", "abcdefghijklmnop.", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "aaaaaaaaaaaaaaé", "hello\u0301", "\u00c0\u00c1\u00c2 \u00e0\u00e1\u00e2 aaaa a1a1",
    "\u1715 \u0898\u302e \u16ff0", "\u1c89 \ua7cb \ua7dc \U00010d50 \U00016ea0 \u10a0 \u1c90 \u24b6 \u2c2f \U0001e900", "\U00011938 \U000105c9 \U0001d15e \U0002f800",
]
BAD_UTF8 = [b"a\xffb", b"\xc0\xafx", b"\xe2\x82", b"\xe2\x82x \xe2\x28\xa1", b"\xed\xa0\x80 \xed\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf0\x80\x80\xaf",
            b"caf\xc3", b"caf\xc3\xa9\xa9", b"\xe9t\xe9 latin", b"[MASK]\xe2\x82[MASK]", b"\x80\xbf\x00\xfe", b"x\xc3[SEP]"]
CONFIGS = [  # do_lower_case, strip_accents, tokenize_chinese_chars, clean_text
    (True, None, True, True), (False, None, True, True), (True, False, True, True), (False, True, True, True),
    (True, None, False, True), (True, None, True, False), (False, False, False, False),
]


def mark_lines(n):
    """Strings of combining marks in random order, among them all that stay visible when accents are stripped."""
    kept = [0x8D4, 0x1B44, 0x1BAA, 0x1BF2, 0x1DFB, 0x302E, 0x302F, 0xA953, 0x11442, 0x1D165, 0x1D16D, 0x1E000, 0x1E944, 0x1715, 0x7FD]
    other = [0x300, 0x315, 0x323, 0x334, 0x344, 0x345, 0x5B0, 0x64B, 0xF73, 0x93C, 0x34F, 0x20, 0x2C, 0x41, 0xE9, 0x1EA5, 0x4E00, 0xAC01, 0x200B, 0x226E, 0x130]
    draw = random.Random(1)
    return ["".join(chr(draw.choice(kept if draw.random() < 0.5 else other)) for _ in range(draw.randint(2, 9))) for _ in range(n)]


def bert(vocab, config):
    lower, strip, chinese, clean = config
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])
    ids = {token: vocab.index(token) for token in SPECIALS}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")])
    return tokenizer


def make_vocab(texts):
    """Special tokens, every character that any configuration can make of the texts but for some, alone and after ##, and words."""
    seen = set()
    for lower, strip, chinese, clean in CONFIGS:
        normalize = normalizer(lowercase=lower, strip_accents=lower if strip is None else strip, handle_chinese_chars=chinese, clean_text=clean)
        seen.update(*(normalize(text) for text in texts))
    chars = [c for c in sorted(seen) if not c.isspace() and c not in "\0z%"]
    vocab = SPECIALS + chars + ["##" + c for c in chars if ord(c) % 13 != 5] + WORDS
    return list(dict.fromkeys(vocab))


def decode(raw):
    """The text as errors="replace" reads it, and the byte at which each of its characters begins (and the end)."""
    begins, text, at = [], "", 0
    while at < len(raw):
        try:
            good, bad = raw[at:].decode("utf-8"), 0
        except UnicodeDecodeError as error:
            good, bad = raw[at:at + error.start].decode("utf-8"), error.end - error.start
        for char in good:
            begins.append(at)
            at += len(char.encode())
        text += good
        if bad:
            begins.append(at)
            at += bad
            text += "\ufffd"
    assert text == raw.decode("utf-8", "replace")
    return text, begins + [len(raw)]


def case(tokenizer, raw):
    text, begins = decode(raw)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return {"ids": encoding.ids, "starts": [begins[start] for start, _ in encoding.offsets],
            "ends": [begins[end] for _, end in encoding.offsets], "words": encoding.word_ids}


def make_golden():
    texts = LINES + mark_lines(60)
    raws = [text.encode() for text in texts] + BAD_UTF8
    vocab = make_vocab([raw.decode("utf-8", "replace") for raw in raws])
    golden = {"vocab": vocab, "texts_hex": [raw.hex() for raw in raws], "configs": [], "pairs": [], "decoded": []}
    for config in CONFIGS:
        tokenizer = bert(vocab, config)
        names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "clean_text")
        golden["configs"].append({**dict(zip(names, config)), "cases": [case(tokenizer, raw) for raw in raws]})
    tokenizer = bert(vocab, CONFIGS[0])
    draw = random.Random(2)
    plain = [text for text in texts if "\0" not in text]
    for _ in range(120):
        first, second, length = draw.choice(plain), draw.choice(plain + [None] * 30), draw.choice([0, 3, 4, 5, 6, 7, 8, 9, 12, 17, 40])
        tokenizer.no_truncation()
        if length:
            tokenizer.enable_truncation(length, strategy="longest_first")
        encoding = tokenizer.encode(first, second)
        golden["pairs"].append({"a": first, "b": second, "max_length": length, "ids": encoding.ids, "types": encoding.type_ids})
    tokenizer.no_truncation()
    for text in plain:
        ids = tokenizer.encode(text).ids
        golden["decoded"].append({"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False), "plain": tokenizer.decode(ids)})
    print("{" + ",\n".join(f"{json.dumps(key)}: {rows(value)}" for key, value in golden.items()) + "}")


GOOGLE_LINES = [
    "ΟΔΥΣΣΕΥΣ, ΣΑΣ' ΣΑ'Σ Σ ΑΣ\u0301Α ΑΣ\u0301 ΑΣ.Α ΑΣ中 中Σ aΣ\u200db aΣ\u00ad aΣ1 1Σ a.Σ aΣ\u3000b aΣ\u2028b", "İI\u0307İ ıI ẞß", "a\x1cb\x1fc\x0bd\x0ce\x85f",
    "\ue000x \U000f0000", "\U0002b820\U0002b91f x\U0002b740", "\u0378 \U0010ffff \U00011938 \U0001e08f a\U0001e08f", "a" * 199, "a" * 200, "a" * 201, "é" * 201,
    "\ua7cb \u1c89 \ua7c0 \u2c2f", "\u061d \u1b7d \u2e5d", "[MASK] [CLS]x", "\u0301Σ A\u0301Σ AΣ\u302e\u0323", "\u1ac1 x\u1ac1y \u0898", "cafe\u0301 É\u0323",
]


def make_google_golden(tokenization):
    """google-research/bert's tokenization.py, a path; nothing of it is kept but the ids that it gives."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../exact/tokenizer.py")
    spec = importlib.util.spec_from_file_location("exact", path)
    exact = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exact)
    texts = [raw.decode("utf-8", "replace") for raw in [text.encode() for text in LINES + GOOGLE_LINES + mark_lines(60)] + BAD_UTF8]
    chars = {c for text in texts for t in (text, text.lower(), unicodedata.normalize("NFD", text.lower())) for c in t if not c.isspace() and c not in "\0z%"}
    chars = sorted(chars)
    vocab = list(dict.fromkeys(SPECIALS + chars + ["##" + c for c in chars if ord(c) % 13 != 5] + WORDS))
    golden = {"vocab": vocab, "texts_hex": [text.encode().hex() for text in texts], "configs": []}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(piece + "\n" for piece in vocab))
        file.flush()
        for cased in (False, True):
            run = exact.google(argparse.Namespace(vocab=file.name, cased=cased, google=tokenization))
            golden["configs"].append({"do_lower_case": not cased, "cases": [{"ids": ids} for ids, _, _ in run(texts)]})
    print("{" + ",\n".join(f"{json.dumps(key)}: {rows(value)}" for key, value in golden.items()) + "}")


def rows(values):
    """One line an entry, so that a change shows as a small difference."""
    if values and isinstance(values[0], dict) and "cases" in values[0]:
        return "[" + ",\n".join("{" + ", ".join(f"{json.dumps(k)}: {rows(v) if k == 'cases' else json.dumps(v)}" for k, v in value.items()) + "}"
                                for value in values) + "]"
    if values and isinstance(values[0], str):
        return json.dumps(values)
    return "[" + ",\n".join(json.dumps(value, separators=(",", ":")) for value in values) + "]"


if __name__ == "__main__":
    jobs = {"golden": make_golden, "golden-google": make_google_golden, "ranges": make_ranges, "ranges-google": make_google_ranges}
    if len(sys.argv) < 2 or sys.argv[1] not in jobs or len(sys.argv) != 2 + (sys.argv[1] == "golden-google"):
        sys.exit(__doc__)
    jobs[sys.argv[1]](*sys.argv[2:])
