#!/usr/bin/env python3
"""Many pretraining recipes at once on one GPU, in PyTorch: what the long runs of RESULTS.md were made with.

    replicas.py GROUPS.json TRAIN.u16 VALID.u16 > RESULTS.jsonl

TRAIN.u16 and VALID.u16 are wordpiece ids without special ones, as 16-bit numbers (minibert tokenizer encode --no-special),
of the vocabulary whose first ids are [PAD] [UNK] [CLS] [SEP] [MASK]. GROUPS.json is a list of
    {"optimizer": "muon" or "adamw", "batch": 32, "tokens": 40e6, "recipes": [{"lr": 2e-3, "muon_lr": 2e-3}, ...]}
The recipes of a group are trained side by side: equal seeds, equal batches, weights stacked along a first dimension R, one CUDA
graph a step. The model is the mini ModernBERT of minibert (all of a sequence of 128 tokens seen in every layer), the update that of
src/train/optimizer.c and muon.c, the held-out loss that of 1,024 sequences at 15% masks."""
import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
T, V, H, LAYERS, HEADS, INNER = 128, 16384, 256, 4, 4, 704
CLS, SEP, MASK, FIRST_TEXT = 2, 3, 4, 5
DEFAULTS = dict(lr=2e-3, muon_lr=4e-3, masks=0.3, masks_end=None, weight_decay=0.01, beta2=0.98, schedule="trapezoid", decay=0.5,
                warmup=0.05, style="bert")
HIDDEN = ("qkv", "out", "in", "down")  # Muon's


def sequences(path):
    ids = np.fromfile(path, np.uint16).astype(np.int32)
    n = len(ids) // (T - 2)
    rows = ids[: n * (T - 2)].reshape(n, T - 2)
    edge = lambda token: np.full((n, 1), token, np.int32)
    return torch.from_numpy(np.concatenate([edge(CLS), rows, edge(SEP)], 1)).to(DEVICE)


def norm(x, weight):
    return F.layer_norm(x.float(), (H,), eps=1e-5) * weight


class Replicas:
    """R models; every parameter has R as its first dimension."""

    def __init__(self, n):
        generator, self.n = torch.Generator().manual_seed(0), n

        def normal(*dims, std=0.02):
            one = torch.nn.init.trunc_normal_(torch.empty(*dims), std=std, a=-2 * std, b=2 * std, generator=generator)
            return one[None].repeat(n, *([1] * len(dims))).to(DEVICE)

        ones = lambda *dims: torch.ones(n, *dims, device=DEVICE)
        last = 0.02 / math.sqrt(2 * LAYERS)
        self.p = dict(
            embeddings=normal(V, H), embedding_norm=ones(1, H), qkv=normal(LAYERS, 3, H, H), out=normal(LAYERS, H, H, std=last),
            **{"in": normal(LAYERS, 2, H, INNER)}, down=normal(LAYERS, INNER, H, std=last), attention_norm=ones(LAYERS, 1, H),
            mlp_norm=ones(LAYERS, 1, H), final_norm=ones(1, H), head=normal(H, H), head_norm=ones(1, H),
            bias=torch.zeros(n, 1, V, device=DEVICE))
        for p in self.p.values():
            p.requires_grad_(True)
        angles = torch.arange(T)[:, None] * (10000.0 ** (-torch.arange(0, H // HEADS, 2) / (H // HEADS)))[None]
        self.cos, self.sin = angles.cos().to(DEVICE, torch.bfloat16), angles.sin().to(DEVICE, torch.bfloat16)
        self.first_row = (torch.arange(n, device=DEVICE) * V)[:, None]

    def rotate(self, x):
        u, v = x.chunk(2, -1)
        return torch.cat([u * self.cos - v * self.sin, u * self.sin + v * self.cos], -1)

    def hidden(self, ids):  # (R, N) -> (R, N, H)
        p, n, n_tokens = {k: v if v.shape[-2] == 1 else v.bfloat16() for k, v in self.p.items()}, self.n, ids.shape[1]
        x = norm(F.embedding(ids + self.first_row, self.p["embeddings"].view(n * V, H)), p["embedding_norm"])
        for layer in range(LAYERS):
            y = (x if layer == 0 else norm(x, p["attention_norm"][:, layer])).bfloat16()
            q, k, v = [torch.bmm(y, p["qkv"][:, layer, j]).view(-1, T, HEADS, H // HEADS).transpose(1, 2) for j in range(3)]
            y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v).transpose(1, 2).reshape(n, n_tokens, H)
            x = x + torch.bmm(y, p["out"][:, layer]).float()
            y = norm(x, p["mlp_norm"][:, layer]).bfloat16()
            y = F.gelu(torch.bmm(y, p["in"][:, layer, 0])) * torch.bmm(y, p["in"][:, layer, 1])
            x = x + torch.bmm(y, p["down"][:, layer]).float()
        return norm(x, p["final_norm"])

    def losses(self, ids, rows, targets):
        """(R, M) losses at the masked rows, and the logits."""
        h = self.hidden(ids)[:, rows].bfloat16()
        h = norm(F.gelu(torch.bmm(h, self.p["head"].bfloat16())), self.p["head_norm"]).bfloat16()
        logits = torch.baddbmm(self.p["bias"].bfloat16(), h, self.p["embeddings"].bfloat16().transpose(1, 2))
        flat = F.cross_entropy(logits.float().view(-1, V), targets.repeat(self.n), reduction="none")
        return flat.view(self.n, -1), logits


def orthogonalize(x):
    x = x.bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    for _ in range(5):
        g = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * g + 2.0315 * g @ g) @ x
    return (x.transpose(1, 2) if tall else x).float()


def of_one_length(update, v):
    """NorMuon: the columns, which are the neurons here, over the root of their running mean square v (R, 1, columns); each matrix
    stays as long as it was."""
    v.lerp_(update.square().mean(1, keepdim=True), 0.05)
    turned = update / (v.sqrt() + 1e-10)
    return turned * update.norm(dim=(1, 2), keepdim=True) / (turned.norm(dim=(1, 2), keepdim=True) + 1e-10)


def rate_factor(recipe, progress):
    if progress < recipe["warmup"]:
        return progress / recipe["warmup"]
    if recipe["schedule"] == "trapezoid":
        return min(1, (1 - progress) / recipe["decay"])
    fallen = (progress - recipe["warmup"]) / (1 - recipe["warmup"])
    return 1 - fallen if recipe["schedule"] == "linear" else 0.5 * (1 + math.cos(math.pi * fallen))


class Run:
    def __init__(self, group, train, valid):
        self.recipes = [{**DEFAULTS, **recipe} for recipe in group["recipes"]]
        self.muon, self.batch, self.train, self.valid = group["optimizer"] == "muon", group["batch"], train, valid
        n, self.n_tokens = len(self.recipes), group["batch"] * T
        self.n_steps = int(group["tokens"] / self.n_tokens)
        self.model = Replicas(n)
        self.n_masks = int(max(max(r["masks"], r["masks_end"] or 0) for r in self.recipes) * self.n_tokens)
        zeros = lambda *dims, **more: torch.zeros(*dims, device=DEVICE, **more)
        self.ids, self.rows, self.targets = zeros(n, self.n_tokens, dtype=torch.long), zeros(self.n_masks, dtype=torch.long), zeros(self.n_masks, dtype=torch.long)
        self.weights, self.rates, self.step_number = zeros(n, self.n_masks), zeros(3, n), zeros(())
        self.of = lambda key: torch.tensor([r[key] for r in self.recipes], device=DEVICE)
        self.beta2, self.weight_decay = self.of("beta2"), self.of("weight_decay")
        self.moment1 = {k: torch.zeros_like(p) for k, p in self.model.p.items()}
        self.moment2 = {k: torch.zeros_like(p) for k, p in self.model.p.items()}
        self.generator = torch.Generator(device=DEVICE).manual_seed(1)
        self.order, self.position = torch.randperm(len(train), generator=torch.Generator().manual_seed(1)).to(DEVICE), 0
        self.keeps_some = torch.tensor([r["style"] == "bert" for r in self.recipes], device=DEVICE)[:, None]
        table = torch.zeros(self.n_steps, 3, n)  # learning rates and the number of masks
        for step in range(self.n_steps):
            for i, r in enumerate(self.recipes):
                progress = (step + 0.5) / self.n_steps
                end = r["masks"] if r["masks_end"] is None else r["masks_end"]
                masks = r["masks"] + (end - r["masks"]) * progress
                factor = rate_factor(r, progress)
                table[step, :, i] = torch.tensor([factor * r["lr"], factor * r["muon_lr"], round(masks * self.batch * (T - 2))])
        self.table = table.to(DEVICE)

    def feed(self, step):
        """Writes the next batch where the step reads it. Replicas with fewer masks have the first of the others' masks."""
        if self.position + self.batch > len(self.order):
            self.position = 0
        x = self.train[self.order[self.position : self.position + self.batch]].view(-1).long()
        self.position += self.batch
        chance = torch.rand(self.n_tokens, device=DEVICE, generator=self.generator).view(self.batch, T)
        chance[:, 0] = chance[:, -1] = 2
        rows = chance.view(-1).argsort()[: self.n_masks]
        action = torch.rand(self.n_masks, device=DEVICE, generator=self.generator)
        other = torch.randint(FIRST_TEXT, V, (self.n_masks,), device=DEVICE, generator=self.generator)
        n_masks = self.table[step, 2][:, None]
        chosen = torch.arange(self.n_masks, device=DEVICE)[None] < n_masks
        replaced = torch.where(action < 0.8, MASK, torch.where(action < 0.9, other, x[rows]))
        ids = x[None].repeat(self.model.n, 1)
        ids[:, rows] = torch.where(chosen, torch.where(self.keeps_some, replaced[None], MASK), x[rows][None])
        for to, value in ((self.ids, ids), (self.rows, rows), (self.targets, x[rows]), (self.weights, chosen / n_masks), (self.rates, self.table[step])):
            to.copy_(value)

    def step(self):
        loss = (self.model.losses(self.ids, self.rows, self.targets)[0] * self.weights).sum()
        p = self.model.p
        gradients = torch.autograd.grad(loss, list(p.values()))
        with torch.no_grad():
            self.step_number.add_(1)
            each = lambda v, like: v.view(-1, *([1] * (like.dim() - 1)))
            clip = (1 / (sum(g.square().flatten(1).sum(1) for g in gradients).sqrt() + 1e-6)).clamp(max=1)
            rate, muon_rate = self.rates[0], self.rates[1]
            for (name, w), g in zip(p.items(), gradients):
                g, m, v = g * each(clip, g), self.moment1[name], self.moment2[name]
                if self.muon and name in HIDDEN:
                    m.lerp_(g, 0.05)
                    rows, columns = w.shape[-2:]
                    update = orthogonalize((g + 0.95 * (m - g)).view(-1, rows, columns))
                    update = of_one_length(update, v.view(-1, rows, columns)[:, :1]).view_as(w)
                    w.mul_(each(1 - muon_rate * self.weight_decay, w))
                    w.sub_(update * each(muon_rate * 0.2 * math.sqrt(max(rows, columns)), w))
                    continue
                m.lerp_(g, 0.1)
                square = (g * g).mean(-1, keepdim=True) if self.muon and name == "embeddings" else g * g
                v.mul_(each(self.beta2, v)).add_(square * (1 - each(self.beta2, v)))
                if w.shape[-2] > 1:  # norms and biases do not decay
                    w.mul_(each(1 - rate * self.weight_decay, w))
                root = v.sqrt() / each((1 - self.beta2**self.step_number).sqrt(), v) + 1e-6
                w.sub_(m / root * each(rate, w) / (1 - 0.9**self.step_number))

    def graph(self):
        """The step as a CUDA graph; weights and moments are as before."""
        state = [*self.model.p.values(), *self.moment1.values(), *self.moment2.values(), self.step_number]
        before = [tensor.detach().clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        with torch.no_grad():
            for tensor, value in zip(state, before):
                tensor.copy_(value)
        return graph.replay

    def evaluate(self, n_sequences):
        loss, correct, n = 0, 0, 0
        for i in range(0, n_sequences, 64):
            random, x = np.random.default_rng(i), self.valid[i : i + 64].cpu().numpy().astype(np.int64)
            chosen, action, masked = random.random(x.shape) < 0.15, random.random(x.shape), x.copy()
            chosen[:, 0] = chosen[:, -1] = False
            masked[chosen & (action < 0.8)] = MASK
            other = chosen & (action >= 0.9)
            masked[other] = random.integers(FIRST_TEXT, V, other.sum())
            rows, ids = np.flatnonzero(chosen), torch.from_numpy(masked.reshape(1, -1)).to(DEVICE).repeat(self.model.n, 1)
            targets = torch.from_numpy(x.reshape(-1)[rows]).to(DEVICE)
            with torch.no_grad():
                losses, logits = self.model.losses(ids, torch.from_numpy(rows).to(DEVICE), targets)
            loss, correct, n = loss + losses.sum(1), correct + (logits.argmax(-1) == targets).sum(1), n + len(rows)
        return (loss / n).tolist(), (correct / n).tolist()

    def go(self):
        self.feed(0)
        step = self.graph() if DEVICE == "cuda" else self.step
        self.position, curve = 0, []
        for number in range(self.n_steps):
            self.feed(number)
            step()
            if number + 1 in {int(self.n_steps * share) for share in (0.1, 0.25, 0.5, 0.75)}:
                curve.append(self.evaluate(256)[0])
        loss, accuracy = self.evaluate(1024)
        return [dict(loss=loss[i], accuracy=accuracy[i], curve=[point[i] for point in curve]) for i in range(self.model.n)]


def main():
    groups, train, valid = json.load(open(sys.argv[1])), sequences(sys.argv[2]), sequences(sys.argv[3])
    for group in groups:
        began = time.time()
        for recipe, result in zip(group["recipes"], Run(group, train, valid).go()):
            row = {key: group[key] for key in ("optimizer", "batch", "tokens")}
            print(json.dumps({**row, "recipe": recipe, **result, "group_seconds": time.time() - began}), flush=True)


if __name__ == "__main__":
    main()
