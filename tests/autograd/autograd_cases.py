"""Right-hand sides in torchdiffeq's style, and how two solvers are compared on them."""

from __future__ import annotations

import torch
import torchdiffeq

DOUBLE = {"dtype": torch.float64}
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


class Net(torch.nn.Module):
    """A small network of the state and, weakly, of time. It counts its calls, as many do."""

    def __init__(self, seed=0, **factory):
        super().__init__()
        self.first = torch.nn.Linear(2, 8, **factory)
        self.second = torch.nn.Linear(8, 2, **factory)
        self.register_buffer("mean", torch.tensor([0.1, -0.2], **factory))
        self.rate = 0.7
        self.nfe = 0
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(0.5 * torch.randn(p.shape, generator=generator, **DOUBLE))

    def forward(self, t, y):
        self.nfe += 1
        hidden = torch.tanh(self.first(y - self.mean))
        return self.rate * self.second(hidden) + 0.1 * torch.sin(t)


class Oscillator(torch.nn.Module):
    """y = (position, velocity) as a tuple; stiffness and damping are parameters."""

    def __init__(self):
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor([2.0, 3.0], **DOUBLE))
        self.damping = torch.nn.Parameter(torch.tensor(0.3, **DOUBLE))

    def forward(self, t, y):
        position, velocity = y
        return velocity, -self.stiffness * position - self.damping * velocity


def tensor(*values, grad=False):
    return torch.tensor(values, requires_grad=grad, **DOUBLE)


def values_and_gradients(solver, func, y0, t, inputs, **options):
    """States, and the gradients of a fixed scalar function of them in `inputs`."""
    for x in inputs:
        x.grad = None
    states = solver(func, y0, t, **options)
    parts = states if isinstance(states, tuple) else (states,)
    weights = [torch.linspace(0.5, 1.5, part.numel(), **DOUBLE) for part in parts]
    loss = sum((w * part.reshape(-1) ** 2).sum() for w, part in zip(weights, parts, strict=True))
    loss.backward()
    return [*(part.detach() for part in parts), *(x.grad for x in inputs)]


def assert_same(found, expected, rtol=1e-6):
    """Within rtol of the largest entry of each tensor."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= rtol * theirs.abs().max()


def assert_like_torchdiffeq(solver, func, y0, t, inputs, rtol=1e-6, **options):
    """`solver`, with `options`, against torchdiffeq's odeint at tight tolerances."""
    found = values_and_gradients(solver, func, y0, t, inputs, **TIGHT, **options)
    expected = values_and_gradients(torchdiffeq.odeint, func, y0, t, inputs, **TIGHT)
    assert_same(found, expected, rtol)
