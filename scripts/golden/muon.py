#!/usr/bin/env python3
"""Makes tests/golden/train/muon.safetensors: three Muon steps on a few matrices, for tests/unit/train/test_muon.c.

    python3 scripts/golden/muon.py [tests/golden/train/muon.safetensors]        (needs torch 2.9 or later, scipy, and safetensors)

Momentum, decay and the factor of the learning rate are torch.optim.Muon's. Its Newton-Schulz steps, five by one quintic in
bfloat16, are replaced by minibert's (src/train/muon.h), in float64: three, each by the quintic that takes its interval of
singular values nearest to 1 (Amsel et al. 2025, "The Polar Express", theorem 3.1). They are computed here, and the script
checks that muon.h has them. What they give then goes through NorMuon's rows (Li et al. 2025, algorithm 1). It also checks that torch's own steps are what `newton_schulz` says with its coefficients.

NAME.before, NAME.after          weights (NAME.after: float64 rounded to float32)
NAME.gradient0 .. 2              the gradient of each step
NAME.orthogonal                  Newton-Schulz of gradient0 alone
"""
import itertools
import re
import sys

import numpy as np
import torch
from scipy.optimize import linprog
from safetensors.torch import save_file
from torch.optim import Muon, _muon

LR, DECAY, MOMENTUM, N_STEPS = 0.02, 0.1, 0.95, 3
SHAPES = dict(square=(24, 24), wide=(10, 37), tall=(70, 9), row=(1, 6), stacked=(3 * 8, 8), low_rank=(20, 30))


def best_quintic(low, high):
    """Of all a s + b s^3 + c s^5 that which is nearest to 1 on [low, high], and how near: a linear program on a fine grid."""
    s = np.concatenate([np.linspace(low, high, 3000), np.geomspace(low, high, 3000)])
    powers, ones = np.stack([s, s**3, s**5], axis=1), np.ones((len(s), 1))
    found = linprog([0, 0, 0, 1], A_ub=np.block([[powers, -ones], [-powers, -ones]]), b_ub=np.append(ones, -ones),
                    bounds=[(None, None)] * 3 + [(0, None)])
    return found.x[:3], found.x[3]


def quintics(steps=3, low=0.01, margin=1.02):
    """Greedy: the image of one step's interval, widened by what bf16 may add, is the next one's."""
    out, high = [], margin
    for _ in range(steps):
        coefficients, error = best_quintic(low, high)
        out.append([round(float(c), 4) for c in coefficients])
        low, high = 1 - error, (1 + error) * margin
    return out


def check_header(expected, path="src/train/muon.h"):
    rows = re.findall(r"\{\(mb_real\)(-?[\d.]+), \(mb_real\)(-?[\d.]+), \(mb_real\)(-?[\d.]+)\}", open(path).read())
    assert np.allclose(np.array(rows, dtype=float), expected, atol=2e-3), (rows, expected)
    return [[float(c) for c in row] for row in rows]


def newton_schulz(x, coefficients, eps=1e-7):
    """X <- a X + b (X X^T) X + c (X X^T)^2 X, as Jordan writes it."""
    x = x.double() / max(x.double().norm().item(), eps)
    for a, b, c in coefficients:
        x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
    return x


class Rows:
    """Each row of an update over the root of its running mean square; the whole keeps its length."""

    def __init__(self, decay=0.95):
        self.decay, self.v = decay, 0

    def __call__(self, o):
        self.v = self.decay * self.v + (1 - self.decay) * o.square().mean(dim=1, keepdim=True)
        r = o / self.v.sqrt()
        return r * o.norm() / r.norm()


def gradient(name, shape, generator):
    g = torch.randn(shape, generator=generator, dtype=torch.float64)
    if name == "low_rank":  # what gradients look like: a few large directions and much that is small
        u, s, v = torch.linalg.svd(g, full_matrices=False)
        g = u @ torch.diag(0.75 ** torch.arange(len(s), dtype=torch.float64)) @ v
    return g.float()


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/train/muon.safetensors"
    generator = torch.Generator().manual_seed(1)
    own = _muon._zeropower_via_newtonschulz
    jordan = (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)
    ours = check_header(quintics())
    saved, parameters = {}, []
    for name, shape in SHAPES.items():
        saved[f"{name}.before"] = torch.randn(shape, generator=generator) * 0.1
        for step in range(N_STEPS):
            saved[f"{name}.gradient{step}"] = gradient(name, shape, generator)
        parts = 3 if name == "stacked" else 1  # query, key and value: each a matrix of its own
        chunks = saved[f"{name}.gradient0"].chunk(parts)
        saved[f"{name}.orthogonal"] = torch.cat([newton_schulz(g, ours) for g in chunks]).float()
        for g in chunks:
            exact = newton_schulz(g, [jordan] * 5)
            difference = (own(g, jordan, 5, 1e-7).double() - exact).norm() / exact.norm()
            assert difference < 0.1, (name, difference)
        parameters.append((name, [torch.nn.Parameter(w.double()) for w in saved[f"{name}.before"].chunk(parts)]))

    rows = itertools.cycle([Rows() for _, parts in parameters for _ in parts])  # a step asks for them in this order
    _muon._zeropower_via_newtonschulz = lambda g, coefficients, steps, eps: next(rows)(newton_schulz(g, ours, eps))
    optimizer = Muon([p for _, parts in parameters for p in parts], lr=LR, weight_decay=DECAY, momentum=MOMENTUM,
                     nesterov=True, adjust_lr_fn="match_rms_adamw")
    for step in range(N_STEPS):
        for name, parts in parameters:
            for p, g in zip(parts, saved[f"{name}.gradient{step}"].chunk(len(parts))):
                p.grad = g.double()
        optimizer.step()
    for name, parts in parameters:
        saved[f"{name}.after"] = torch.cat([p.detach() for p in parts]).float()
    save_file({name: t.contiguous() for name, t in saved.items()}, out)


if __name__ == "__main__":
    main()
