"""Tokens a second of one masked-LM training step: minibert, and BertForMaskedLM of transformers in PyTorch.

The same work for both: one precision, sequences of exactly 128 tokens, 15% of them masked, dropout 0.1, gradient clipping, AdamW. PyTorch is
measured as its users run it (fp32, logits at every position) and tuned (scaled_dot_product_attention, the output layer on masked
positions only, fused AdamW, autocast for bf16). PyTorch repeats one batch that lies ready; minibert runs its command, masking and logging included.
"""
import argparse
import json
import os
import random
import subprocess
import tempfile
import time

import turns

SIZES = {"tiny": (2, 128, 2, 512), "mini": (4, 256, 4, 1024), "small": (4, 512, 8, 2048), "medium": (8, 512, 8, 2048)}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def made_up_words(n):
    """n distinct words of letters, none the beginning of a longer one."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(letters[i // 26**k % 26] for k in range(4)) for i in range(n)]


def write_corpus(directory, vocab_size, length, n_lines):
    """A tokenizer of `vocab_size` whole words, and lines that make sequences of exactly `length` tokens."""
    words = made_up_words(vocab_size - len(SPECIAL))
    os.mkdir(f"{directory}/tokenizer")
    with open(f"{directory}/tokenizer/vocab.txt", "w") as file:
        file.writelines(piece + "\n" for piece in SPECIAL + words)
    rng = random.Random(1)
    with open(f"{directory}/corpus.txt", "w") as file:
        for _ in range(n_lines):
            file.write(" ".join(rng.choices(words, k=length - 2)) + "\n\n")


def minibert(arguments, directory, repeats):
    out = f"{directory}/model"
    steps = 1 + repeats  # the first step allocates and warms up; it is not counted
    subprocess.run(
        [arguments.minibert, "pretrain", "--corpus", f"{directory}/corpus.txt", "--tokenizer", f"{directory}/tokenizer",
         "--out", out, "--cache-dir", f"{directory}/cache", "--arch", "bert", "--size", arguments.size, "--seq-length", str(arguments.length),
         "--batch-size", str(arguments.batch), "--dropout", "0.1", "--precision", arguments.precision, "--steps", str(steps), "--lr", "1e-4",
         "--init-embeddings", "none", "--log-every", "1", "--eval-every", str(10 * steps), "--save-every", str(10 * steps),
         "--threads", str(arguments.threads), "--quiet"],
        check=True, stdout=subprocess.DEVNULL)
    with open(f"{out}/metrics.jsonl") as file:
        records = [record for record in map(json.loads, file) if record.get("event") == "train"]
    subprocess.run(["rm", "-rf", out], check=True)
    tokens = records[-1]["tokens"] - records[0]["tokens"]
    if tokens != repeats * arguments.batch * arguments.length:
        raise SystemExit(f"minibert trained {tokens} tokens, not {repeats} full batches")
    return tokens / (records[-1]["seconds"] - records[0]["seconds"])


class PyTorch:
    def __init__(self, arguments, tuned):
        import torch
        from transformers import BertConfig, BertForMaskedLM

        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        layers, hidden, heads, intermediate = SIZES[arguments.size]
        config = BertConfig(vocab_size=arguments.vocab, num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads,
                            intermediate_size=intermediate)
        if tuned:
            config._attn_implementation = "sdpa"
        self.torch, self.tuned, self.arguments = torch, tuned, arguments
        self.model = BertForMaskedLM(config).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True if tuned else None)
        shape = (arguments.batch, arguments.length)
        self.ids = torch.randint(len(SPECIAL), arguments.vocab, shape)
        self.masked = torch.rand(shape) < 0.15
        self.labels = torch.where(self.masked, self.ids, torch.tensor(-100))
        self.step()

    def step(self):
        bf16 = self.tuned and self.arguments.precision == "bf16"
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=bf16):
            if self.tuned:
                hidden = self.model.bert(input_ids=self.ids).last_hidden_state[self.masked]
                loss = self.torch.nn.functional.cross_entropy(self.model.cls(hidden).float(), self.ids[self.masked])
            else:
                loss = self.model(input_ids=self.ids, labels=self.labels).loss
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def rate(self, repeats):
        self.step()
        start = time.perf_counter()
        for _ in range(repeats):
            self.step()
        return repeats * self.ids.numel() / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--vocab", type=int, default=30522)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of a round")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        write_corpus(directory, arguments.vocab, arguments.length, 40 * arguments.batch)
        tuned, shipped = PyTorch(arguments, True), PyTorch(arguments, False)
        turns.measure(
            {
                f"minibert {arguments.size} {arguments.precision}": lambda: minibert(arguments, directory, arguments.steps),
                f"PyTorch {arguments.precision}, tuned": lambda: tuned.rate(arguments.steps),
                "PyTorch fp32, transformers as shipped": lambda: shipped.rate(max(1, arguments.steps // 4)),
            },
            arguments.rounds, "tokens_per_second")


if __name__ == "__main__":
    main()
