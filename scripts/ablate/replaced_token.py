#!/usr/bin/env python3
"""Masked LM or replaced-token detection: which pretrains a small encoder better in the same wall-clock time?

    replaced_token.py pretrain {mlm|rtd} --corpus TEXT --vocab VOCAB --minutes 30 --out MODEL.pt [--bf16] [--threads 1]
    replaced_token.py finetune --model MODEL.pt --data DIR [--sets mr trec subj sst2:20000] [--seeds 1 2 3] [--bf16]

Pretrain one model of each objective for equal minutes (--minutes 0 saves an untrained one, the floor), fine-tune both, and
compare the accuracies: the losses of the two cannot be compared. The last line of either command is a JSON object.
With --tokens in place of --minutes both see as many tokens, on any --device: on a CPU a token costs the same in both (one
thread of Zen 4, bf16: 3,560 tokens a second and 3,540).

Both objectives train the encoder of ModernBERT in small (pre-LN, GeGLU, rotary positions, no biases) with AdamW; the
learning rate follows the clock, or the tokens, and is zero at the end. What differs:
  mlm  30% of the tokens are chosen, of which 80% become [MASK], 10% any token, 10% stay; the loss is on the chosen alone.
  rtd  20% become [MASK]; a generator a quarter as wide, with the encoder's token embeddings, is trained to restore them, and
       its samples replace them; the encoder tells of every position whether it was replaced (a sample that equals the
       original was not). The loss is the generator's + 50 x the encoder's; the generator is discarded afterwards.

The corpus (its first --megabytes) is tokenized once and kept beside --out, where later pretrainings find it. DIR has
classify/NAME/{train,dev,test}.tsv with the header label<TAB>text; NAME:N takes the first N training rows. sst2 is scored on
dev.tsv. For it, and where there is no dev.tsv, a tenth of the training rows is held out. In each set the learning rate is the
one of --rates with the best held-out accuracy at the first seed; the test accuracy is that of every seed with this rate.

Sources: Devlin et al. 2019, BERT; Clark et al. 2020, ELECTRA (arXiv:2003.10555: weight 50, tied embeddings, generator 1/4);
Wettig et al. 2023, Should You Mask 15%? (arXiv:2202.08005); Geiping and Goldstein 2023, Cramming (arXiv:2212.14034: a
schedule by the clock); Warner et al. 2024, ModernBERT (arXiv:2412.13663); Su et al. 2021, RoFormer (arXiv:2104.09864);
Shazeer 2020, GLU Variants (arXiv:2002.05202)."""
import argparse
import functools
import json
import os
import random
import statistics
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import BertWordPieceTokenizer
from torch import Tensor, nn

PAD, CLS, SEP, MASK, FIRST_TEXT_TOKEN = 0, 2, 3, 4, 5
HEAD_WIDTH, WARMUP, REPORT_SECONDS = 64, 0.05, 15
SCORED_ON_DEV = {"sst2"}
EPOCHS = {"trec": 6}  # 3 of the others
scale_norm = functools.partial(nn.LayerNorm, eps=1e-5, bias=False)


def rotate(x: Tensor) -> Tensor:
    """Rotary positions: x is (..., length, width)."""
    length, width = x.shape[-2:]
    angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    u, v = x.chunk(2, -1)
    return torch.cat([u * cos - v * sin, u * sin + v * cos], -1)


class Layer(nn.Module):
    def __init__(self, width: int, first: bool):
        super().__init__()
        inner = -(-8 * width // 3 // 32) * 32
        self.n_heads = max(1, width // HEAD_WIDTH)
        self.attention_norm = nn.Identity() if first else scale_norm(width)  # the embeddings are normalized already
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = scale_norm(width)
        self.mlp_in = nn.Linear(width, 2 * inner, bias=False)
        self.mlp_out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, attended: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        heads = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(rotate(heads[0]), rotate(heads[1]), heads[2], attn_mask=attended)
        x = x + self.attention_out(context.transpose(1, 2).reshape(batch, length, width))
        up, gate = self.mlp_in(self.mlp_norm(x)).chunk(2, -1)
        return x + self.mlp_out(up * F.gelu(gate))


class Encoder(nn.Module):
    """Token ids to hidden states; `embeddings` of another width are projected."""

    def __init__(self, embeddings: nn.Embedding, n_layers: int, width: int):
        super().__init__()
        self.embeddings, own_width = embeddings, embeddings.embedding_dim
        self.projection = nn.Identity() if width == own_width else nn.Linear(own_width, width, bias=False)
        self.embedding_norm, self.final_norm = scale_norm(width), scale_norm(width)
        self.layers = nn.ModuleList(Layer(width, first=i == 0) for i in range(n_layers))

    def forward(self, ids: Tensor, attended: Tensor | None = None) -> Tensor:
        x = self.embedding_norm(self.projection(self.embeddings(ids)))
        for layer in self.layers:
            x = layer(x, attended)
        return self.final_norm(x)


def dense_head(width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out_width, bias=False), nn.GELU(), scale_norm(out_width))


class LanguageHead(nn.Module):
    """Hidden states to the logits of every token, by the transposed embeddings."""

    def __init__(self, width: int, embeddings: nn.Embedding):
        super().__init__()
        self.dense, self.embeddings = dense_head(width, embeddings.embedding_dim), embeddings
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))

    def forward(self, hidden: Tensor) -> Tensor:
        return F.linear(self.dense(hidden), self.embeddings.weight, self.bias)


def initialize_weights(model: nn.Module, n_layers: int) -> None:
    """What a layer adds (the matrices ..._out) starts smaller, the more layers there are."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            std = 0.02 / (2 * n_layers) ** 0.5 if name.endswith("_out") else 0.02
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def new_encoder(shape: dict[str, int]) -> Encoder:
    return Encoder(nn.Embedding(shape["vocabulary"], shape["hidden"]), shape["layers"], shape["hidden"])


def choose_positions(ids: Tensor, share: float) -> Tensor:
    return (torch.rand(ids.shape) < share) & (ids != CLS) & (ids != SEP)


class MaskedLM(nn.Module):
    def __init__(self, encoder: Encoder, args: Namespace):
        super().__init__()
        self.encoder, self.share = encoder, args.masks or 0.3
        self.head = LanguageHead(args.hidden, encoder.embeddings)

    def forward(self, ids: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The loss, and figures to report."""
        chosen, u = choose_positions(ids, self.share), torch.rand(ids.shape)
        anything = torch.randint(FIRST_TEXT_TOKEN, self.encoder.embeddings.num_embeddings, ids.shape)
        noisy = torch.where(chosen & (u < 0.8), MASK, torch.where(chosen & (u >= 0.9), anything, ids))
        loss = F.cross_entropy(self.head(self.encoder(noisy)[chosen]).float(), ids[chosen])
        return loss, {"loss": loss.item()}


class ReplacedTokenDetection(nn.Module):
    def __init__(self, encoder: Encoder, args: Namespace):
        super().__init__()
        self.encoder, self.share, self.weight = encoder, args.masks or 0.2, args.detection_weight
        width = args.hidden // args.generator_divisor
        self.generator = Encoder(encoder.embeddings, args.generator_layers or args.layers, width)
        self.language_head = LanguageHead(width, encoder.embeddings)
        self.detection_head = nn.Sequential(dense_head(args.hidden, args.hidden), nn.Linear(args.hidden, 1))

    def forward(self, ids: Tensor) -> tuple[Tensor, dict[str, float]]:
        chosen = choose_positions(ids, self.share)
        masked = torch.where(chosen, MASK, ids)
        log_probabilities = self.language_head(self.generator(masked)[chosen]).float().log_softmax(-1)
        generator_loss = F.nll_loss(log_probabilities, ids[chosen])
        noisy = ids.clone()
        noisy[chosen] = sample_tokens(log_probabilities.detach())
        replaced = noisy != ids
        scores = self.detection_head(self.encoder(noisy)).squeeze(-1).float()
        detection_loss = F.binary_cross_entropy_with_logits(scores, replaced.float())
        n_replaced, said_replaced = max(1, int(replaced.sum())), scores > 0
        figures = {"generator_loss": generator_loss.item(), "detection_loss": detection_loss.item()}
        figures["replaced"] = n_replaced / ids.numel()
        figures["found"] = int((said_replaced & replaced).sum()) / n_replaced
        figures["false_alarms"] = int((said_replaced & ~replaced).sum()) / (ids.numel() - n_replaced)
        return generator_loss + self.weight * detection_loss, figures


def sample_tokens(log_probabilities: Tensor) -> Tensor:
    """One token a row by the inverse of the cumulated probabilities. Gumbel-max draws from the same distribution, but its
    random number for every token of the vocabulary took a sixth of the step."""
    cumulated = log_probabilities.exp().cumsum(-1)
    drawn = torch.rand(len(cumulated), 1) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, drawn, right=True).squeeze(-1).clamp(max=cumulated.shape[-1] - 1)


OBJECTIVES = {"mlm": MaskedLM, "rtd": ReplacedTokenDetection}


def load_tokenizer(vocabulary: list[str]) -> BertWordPieceTokenizer:
    return BertWordPieceTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, lowercase=True)


def load_sequences(args: Namespace, vocabulary: list[str]) -> Tensor:
    """(sequences, length) token ids, each sequence [CLS] text [SEP]."""
    cache = args.out.parent / f"{args.corpus.stem}.{args.vocab.stem}.{args.megabytes:g}MB.npy"
    if not cache.exists():
        with open(args.corpus, "rb") as file:
            lines = file.read(int(args.megabytes * 1e6)).decode(errors="ignore").splitlines()[:-1]
        tokenizer, parts = load_tokenizer(vocabulary), []
        for i in range(0, len(lines), 5000):
            encoded = tokenizer.encode_batch(lines[i : i + 5000], add_special_tokens=False)
            parts.append(np.fromiter((token for line in encoded for token in line.ids), np.uint16))
        partial = cache.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, np.concatenate(parts))
        partial.replace(cache)
    ids = np.load(cache)
    rows = np.pad(ids[: len(ids) // (args.length - 2) * (args.length - 2)].reshape(-1, args.length - 2), ((0, 0), (1, 1)))
    rows[:, 0], rows[:, -1] = CLS, SEP
    return torch.from_numpy(rows.astype(np.int32))


def endless_batches(sequences: Tensor, batch: int, seed: int, device: str) -> Iterator[Tensor]:
    shuffler = torch.Generator("cpu").manual_seed(seed)
    while True:
        order = torch.randperm(len(sequences), generator=shuffler, device="cpu")
        for rows in order[: len(order) // batch * batch].split(batch):
            yield sequences[rows].long().to(device)


def new_optimizer(model: nn.Module, rate: float, beta2: float) -> torch.optim.AdamW:
    """Weights decay; embeddings, norms and biases do not."""
    decaying, other = [], []
    for name, parameter in model.named_parameters():
        (decaying if parameter.ndim == 2 and "embeddings" not in name else other).append(parameter)
    groups = [{"params": decaying, "weight_decay": 0.01}, {"params": other, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, beta2), eps=1e-8, fused=True)


def update_weights(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def trapezoid(progress: float, warmup: float, decay: float) -> float:
    """The factor of the learning rate: up to 1, 1, and in the last `decay` of the run down to 0."""
    return max(0.0, min(1.0, progress / warmup, (1 - progress) / decay))


def mean_figures(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.fmean(row[name] for row in rows), 4) for name in (rows[0] if rows else ())}


def train(model: nn.Module, sequences: Tensor, args: Namespace) -> dict[str, float]:
    optimizer = new_optimizer(model, args.lr, beta2=0.98)
    batches = endless_batches(sequences, args.batch, args.seed, args.device)
    tokens, figures, shown = 0, [], 0
    start = said = time.monotonic()

    def progress() -> float:
        elapsed = time.monotonic() - start
        return tokens / args.tokens if args.tokens else elapsed / 60 / args.minutes if args.minutes else 1

    while (done := progress()) < 1:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            loss, row = model(next(batches))
        update_weights(model, optimizer, loss, args.lr * trapezoid(done, WARMUP, args.decay))
        figures.append(row)
        tokens += args.batch * args.length
        if time.monotonic() - said >= REPORT_SECONDS:
            told = "  ".join(f"{name} {value:.4f}" for name, value in mean_figures(figures[shown:]).items())
            shown, said = len(figures), time.monotonic()
            print(f"{said - start:6.0f} s {tokens:12,} tokens  {told}", flush=True)
    speed, epochs = round(tokens / (time.monotonic() - start)), round(tokens / sequences.numel(), 2)
    return {"tokens": tokens, "tokens_per_second": speed, "epochs": epochs, **mean_figures(figures[-100:])}


def pretrain(args: Namespace) -> dict:
    vocabulary = args.vocab.read_text(encoding="utf-8").splitlines()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sequences = load_sequences(args, vocabulary)
    torch.manual_seed(args.seed)
    shape = {"vocabulary": len(vocabulary), "layers": args.layers, "hidden": args.hidden, "length": args.length}
    model = OBJECTIVES[args.objective](new_encoder(shape), args)
    initialize_weights(model, args.layers)
    told = {name: getattr(args, name) for name in ("objective", "minutes", "seed", "threads", "device", "bf16", "lr")}
    report = {**told, "masks": model.share, **train(model, sequences, args)}
    torch.save({"encoder": model.encoder.state_dict(), "shape": shape, "vocabulary": vocabulary, "report": report}, args.out)
    return report


class LabelledSet(NamedTuple):  # examples are token ids and a label
    train: list[tuple[list[int], int]]
    dev: list[tuple[list[int], int]]
    test: list[tuple[list[int], int]]
    n_labels: int


def read_examples(path: Path, tokenizer: BertWordPieceTokenizer) -> list[tuple[list[int], str]]:
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    encoded = tokenizer.encode_batch([text for _, text in rows])
    return [(line.ids, label) for line, (label, _) in zip(encoded, rows)]


def load_set(folder: Path, max_rows: int, tokenizer: BertWordPieceTokenizer) -> LabelledSet:
    dev_as_test = folder.name in SCORED_ON_DEV
    train = read_examples(folder / "train.tsv", tokenizer)[:max_rows]
    test = read_examples(folder / ("dev.tsv" if dev_as_test else "test.tsv"), tokenizer)
    if dev_as_test or not (folder / "dev.tsv").exists():
        random.Random(0).shuffle(train)
        dev, train = train[: len(train) // 10], train[len(train) // 10 :]
    else:
        dev = read_examples(folder / "dev.tsv", tokenizer)
    labels = sorted({label for _, label in train})
    parts = [[(ids, labels.index(label)) for ids, label in part] for part in (train, dev, test)]
    return LabelledSet(*parts, len(labels))


class Classifier(nn.Module):
    def __init__(self, encoder: Encoder, n_labels: int):
        super().__init__()
        width = encoder.embeddings.embedding_dim
        self.head = nn.Sequential(dense_head(width, width), nn.Linear(width, n_labels))
        initialize_weights(self.head, n_layers=1)
        self.encoder = encoder

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != PAD
        hidden = self.encoder(ids, None if bool(real.all()) else real[:, None, None, :]).float()
        return self.head((hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True))


def batches_of_like_length(examples: list, batch: int, shuffler: random.Random) -> list[tuple[Tensor, Tensor]]:
    """Random batches, those of every 50 sorted by length among themselves to leave little padding."""
    shuffled, batches = shuffler.sample(examples, len(examples)), []
    for i in range(0, len(shuffled), 50 * batch):
        pool = sorted(shuffled[i : i + 50 * batch], key=lambda example: len(example[0]))
        for j in range(0, len(pool), batch):
            ids, labels = zip(*pool[j : j + batch])
            padded = nn.utils.rnn.pad_sequence([torch.tensor(row, device="cpu") for row in ids], batch_first=True)
            batches.append((padded, torch.tensor(labels, device="cpu")))
    shuffler.shuffle(batches)
    return batches


def train_classifier(checkpoint: dict, data: LabelledSet, rate: float, seed: int, epochs: int, args: Namespace) -> Classifier:
    torch.manual_seed(seed)
    shuffler, encoder = random.Random(seed), new_encoder(checkpoint["shape"])
    encoder.load_state_dict(checkpoint["encoder"])
    model = Classifier(encoder, data.n_labels)
    optimizer = new_optimizer(model, rate, beta2=0.999)
    batches = [pair for _ in range(epochs) for pair in batches_of_like_length(data.train, args.batch, shuffler)]
    for step, (ids, labels) in enumerate(batches):
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            logits = model(ids.to(args.device))
        factor = trapezoid((step + 1) / (len(batches) + 1), 0.1, 0.9)
        update_weights(model, optimizer, F.cross_entropy(logits.float(), labels.to(args.device)), rate * factor)
    return model


@torch.no_grad()
def accuracy(model: Classifier, examples: list, args: Namespace) -> float:
    batches = batches_of_like_length(examples, 64, random.Random(0))
    with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
        right = sum(int((model(ids.to(args.device)).argmax(-1).cpu() == labels).sum()) for ids, labels in batches)
    return right / len(examples)


def score_set(checkpoint: dict, name: str, data: LabelledSet, args: Namespace) -> dict:
    """Test accuracies of all seeds with the rate that is best on dev with the first."""
    epochs, first = EPOCHS.get(name, 3), args.seeds[0]

    def run(rate: float, seed: int) -> tuple[float, float]:
        model = train_classifier(checkpoint, data, rate, seed, epochs, args)
        dev, test = accuracy(model, data.dev, args), accuracy(model, data.test, args)
        print(f"{name}: rate {rate:g}, seed {seed}: dev {dev:.4f}, test {test:.4f}", flush=True)
        return dev, test

    trials = {rate: run(rate, first) for rate in args.rates}
    rate = max(trials, key=lambda r: trials[r][0])
    tests = [trials[rate][1]] + [run(rate, seed)[1] for seed in args.seeds[1:]]
    figures = {"rate": rate, "dev": round(trials[rate][0], 4), "test": [round(test, 4) for test in tests]}
    return {**figures, "mean": round(statistics.fmean(tests), 4)}


def finetune(args: Namespace) -> dict:
    checkpoint = torch.load(args.model, map_location=args.device)
    tokenizer = load_tokenizer(checkpoint["vocabulary"])
    tokenizer.enable_truncation(checkpoint["shape"]["length"])
    results = {}
    for chosen in args.sets:
        name, _, max_rows = chosen.partition(":")
        data = load_set(args.data / "classify" / name, int(max_rows or 10**9), tokenizer)
        results[name] = score_set(checkpoint, name, data, args)
    told = {name: checkpoint["report"][name] for name in ("objective", "minutes", "tokens", "seed")}
    mean = statistics.fmean(result["mean"] for result in results.values())
    return {**told, "seeds": args.seeds, "mean": round(mean, 4), "sets": results}


def parse_arguments() -> Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=int, default=1)
    shared.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    shared.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    commands = parser.add_subparsers(dest="command", required=True)

    p = commands.add_parser("pretrain", parents=[shared])
    p.add_argument("objective", choices=OBJECTIVES)
    for name in ("--corpus", "--vocab", "--out"):
        p.add_argument(name, type=Path, required=True)
    how_long = p.add_mutually_exclusive_group(required=True)
    how_long.add_argument("--minutes", type=float, default=0.0)
    how_long.add_argument("--tokens", type=float, default=0.0)
    for name, default, meaning in (
        ("megabytes", 60.0, "of the corpus, from its beginning"),
        ("seed", 1, "of weights, masks and order"),
        ("layers", 4, "of the encoder"),
        ("hidden", 256, "width of the encoder"),
        ("length", 128, "tokens in a sequence"),
        ("batch", 16, "sequences in a step"),
        ("lr", 2e-3, "highest learning rate"),
        ("decay", 0.5, "share of the time in which the rate falls; 0.95: linear"),
        ("masks", 0.0, "share of chosen tokens; 0: mlm 0.3, rtd 0.2"),
        ("generator-divisor", 4, "the generator's width is the encoder's by this"),
        ("generator-layers", 0, "0: as many as the encoder's"),
        ("detection-weight", 50.0, "of the encoder's loss in rtd"),
    ):
        p.add_argument(f"--{name}", type=type(default), default=default, help=f"{meaning} ({default:g})")

    p = commands.add_parser("finetune", parents=[shared])
    for name in ("--model", "--data"):
        p.add_argument(name, type=Path, required=True)
    p.add_argument("--sets", nargs="+", default=["mr", "trec", "subj", "sst2:20000"])
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3])
    p.add_argument("--batch", type=int, default=32)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # the tokenizer's
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    torch.set_flush_denormal(True)
    print(json.dumps(pretrain(args) if args.command == "pretrain" else finetune(args)), flush=True)


if __name__ == "__main__":
    main()
