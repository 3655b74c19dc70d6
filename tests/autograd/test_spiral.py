"""torchdiffeq's own example, a neural ODE fitted to a spiral, with only the import changed."""

from __future__ import annotations

import numpy as np
import torch
import torchdiffeq
from torch import nn

import pysciml

DATA_SIZE, BATCH_TIME, BATCH_SIZE, ITERATIONS = 200, 10, 20, 12


class Lambda(nn.Module):
    def __init__(self):
        super().__init__()
        self.true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])

    def forward(self, t, y):
        return torch.mm(y**3, self.true_A)


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y**3)


def train(odeint_adjoint):
    """Losses of the batches, and the loss on the whole series before and after."""
    torch.manual_seed(42)
    rng = np.random.default_rng(42)
    odeint = odeint_adjoint
    true_y0 = torch.tensor([[2.0, 0.0]])
    t = torch.linspace(0.0, 25.0, DATA_SIZE)
    with torch.no_grad():
        true_y = odeint(Lambda(), true_y0, t, method="dopri5")

    def get_batch():
        s = torch.from_numpy(rng.choice(DATA_SIZE - BATCH_TIME, BATCH_SIZE, replace=False))
        batch_y = torch.stack([true_y[s + i] for i in range(BATCH_TIME)], dim=0)
        return true_y[s], t[:BATCH_TIME], batch_y

    def whole():
        with torch.no_grad():
            return torch.mean(torch.abs(odeint(func, true_y0, t) - true_y)).item()

    func = ODEFunc()
    optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-3)
    losses, before = [], whole()
    for _ in range(ITERATIONS):
        optimizer.zero_grad()
        batch_y0, batch_t, batch_y = get_batch()
        pred_y = odeint(func, batch_y0, batch_t)
        loss = torch.mean(torch.abs(pred_y - batch_y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, before, whole()


def test_the_spiral_trains_like_with_torchdiffeq(recwarn):
    mine, before, after = train(pysciml.odeint_adjoint)
    theirs, their_before, their_after = train(torchdiffeq.odeint_adjoint)
    np.testing.assert_allclose(mine, theirs, rtol=2e-4)
    np.testing.assert_allclose([before, after], [their_before, their_after], rtol=1e-3)
    assert after < before
    assert not [w for w in recwarn if "torchdiffeq itself" in str(w.message)]
