"""What can change smoothly, and what can leap."""

from __future__ import annotations

import numpy as np
import torch

from pysciml.capture import capture
from pysciml.capture.sparsity import dependence, leaps, pattern


def of(u, p, t):
    """Of u[0] nothing, smoothly, by leaps, by leaps of something smooth, and both ways."""
    x = u[0]
    return torch.stack(
        [u[1], torch.sin(x), torch.floor(x), 2.0 * torch.where(x * x > 1.0, u[2], p[0]), x % 1.0]
    )


def test_smooth_and_leaping_dependence_are_told_apart():
    program = capture(of, np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0])).f
    smooth, leaping, either = (
        found(program, "u").toarray()[:, 0] for found in (pattern, leaps, dependence)
    )
    assert smooth.tolist() == [False, True, False, False, True]
    assert leaping.tolist() == [False, False, True, True, True]
    assert either.tolist() == [False, True, True, True, True]
    assert pattern(program, "u").toarray()[3].tolist() == [False, False, True, False, False]
