#!/usr/bin/env python3
"""Makes tests/golden/train/: ten steps of torch.optim.AdamW on a tiny BERT, for tests/unit/train/test_golden.c.

    python3 scripts/golden/train.py [tests/golden/train]        (needs torch, transformers and safetensors)

config.json, model.safetensors   the weights before the first step, as BertForMaskedLM.save_pretrained writes them
after.safetensors                the weights after the last step
steps.json                       hyper-parameters, and for each step its batch (packed ids, sequence lengths, masked rows and
                                 targets), its loss and the gradient norm before clipping
"""
import json
import pathlib
import random
import sys

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM

# The learning rate bounds what rounding can do: the true gradient of a key bias is zero (softmax ignores a shift), so that AdamW
# follows nothing but rounding errors there, in PyTorch as in minibert.
N_STEPS, LR, BETAS, EPS, DECAY, CLIP = 10, 1e-3, (0.9, 0.98), 1e-6, 0.01, 1.0
VOCAB, MASK = 60, 4


def make_batch(rng):
    lengths = [rng.randint(3, 16) for _ in range(6)]
    ids, rows, targets = [], [], []
    for length in lengths:
        for position in range(length):
            token = 2 if position == 0 else 3 if position == length - 1 else rng.randrange(5, VOCAB)
            if 0 < position < length - 1 and (rng.random() < 0.3 or position == 1):
                rows.append(len(ids))
                targets.append(token)
                token = MASK
            ids.append(token)
    return dict(lengths=lengths, ids=ids, rows=rows, targets=targets)


def padded(batch):
    """The batch as PyTorch wants it: one row a sequence, labels -100 where nothing is to be predicted."""
    width = max(batch["lengths"])
    targets = dict(zip(batch["rows"], batch["targets"]))
    ids = torch.zeros(len(batch["lengths"]), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    attention = torch.zeros_like(ids)
    at = 0
    for b, length in enumerate(batch["lengths"]):
        ids[b, :length] = torch.tensor(batch["ids"][at : at + length])
        attention[b, :length] = 1
        for t in range(length):
            labels[b, t] = targets.get(at + t, -100)
        at += length
    return dict(input_ids=ids, attention_mask=attention, labels=labels)


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/train")
    torch.manual_seed(1)
    rng = random.Random(1)
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )
    model = BertForMaskedLM(config).train()
    model.save_pretrained(out)

    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=DECAY), dict(params=plain, weight_decay=0.0)], lr=LR, betas=BETAS, eps=EPS
    )
    steps = []
    for _ in range(N_STEPS):
        batch = make_batch(rng)
        loss = model(**padded(batch)).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        steps.append(dict(batch, loss=float(loss.detach()), grad_norm=float(norm)))

    weights = {name: p.detach().clone().contiguous() for name, p in model.named_parameters()}
    save_file(weights, out / "after.safetensors")
    hyper = dict(lr=LR, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=DECAY, max_grad_norm=CLIP)
    (out / "steps.json").write_text(json.dumps(dict(hyper, steps=steps)) + "\n")
    for name in ("generation_config.json",):  # save_pretrained's, of no use here
        (out / name).unlink(missing_ok=True)
    print("losses", [round(s["loss"], 4) for s in steps], "norms", [round(s["grad_norm"], 2) for s in steps])


if __name__ == "__main__":
    main()
