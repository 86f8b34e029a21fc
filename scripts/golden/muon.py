#!/usr/bin/env python3
"""Makes tests/golden/train/muon.safetensors: three Muon steps on a few matrices, for tests/unit/train/test_muon.c.

    python3 scripts/golden/muon.py [tests/golden/train/muon.safetensors]        (needs torch 2.9 or later, and safetensors)

Momentum, decay and the factor of the learning rate are torch.optim.Muon's. Its Newton-Schulz steps compute in bfloat16; here
they are replaced by the same steps in float64, and the script checks that torch's own are within bfloat16's reach of them.

NAME.before, NAME.after          weights (NAME.after: float64 rounded to float32)
NAME.gradient0 .. 2              the gradient of each step
NAME.orthogonal                  Newton-Schulz of gradient0 alone
"""
import sys

import torch
from safetensors.torch import save_file
from torch.optim import Muon, _muon

LR, DECAY, MOMENTUM, N_STEPS = 0.02, 0.1, 0.95, 3
SHAPES = dict(square=(24, 24), wide=(10, 37), tall=(70, 9), row=(1, 6), stacked=(3 * 8, 8), low_rank=(20, 30))


def newton_schulz(x, coefficients, steps, eps):
    """X <- a X + b (X X^T) X + c (X X^T)^2 X, as Jordan writes it."""
    a, b, c = coefficients
    x = x.double() / max(x.double().norm().item(), eps)
    for _ in range(steps):
        x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
    return x


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
    coefficients = (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)
    saved, parameters = {}, []
    for name, shape in SHAPES.items():
        saved[f"{name}.before"] = torch.randn(shape, generator=generator) * 0.1
        for step in range(N_STEPS):
            saved[f"{name}.gradient{step}"] = gradient(name, shape, generator)
        parts = 3 if name == "stacked" else 1  # query, key and value: each a matrix of its own
        chunks = saved[f"{name}.gradient0"].chunk(parts)
        exact = [newton_schulz(g, coefficients, 5, 1e-7) for g in chunks]
        saved[f"{name}.orthogonal"] = torch.cat(exact).float()
        for g, e in zip(chunks, exact):
            difference = (own(g, coefficients, 5, 1e-7).double() - e).norm() / e.norm()
            assert difference < 0.1, (name, difference)
        parameters.append((name, [torch.nn.Parameter(w.double()) for w in saved[f"{name}.before"].chunk(parts)]))

    _muon._zeropower_via_newtonschulz = newton_schulz
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
