"""Signatures of paths, and how far the laws of two random paths are apart by them.

K.-T. Chen, Integration of paths - a faithful representation of paths by noncommutative formal power
series, Transactions of the AMS 89 (1958). I. Chevyrev, H. Oberhauser, Signature moments to
characterize laws of stochastic processes, JMLR 23 (2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pysciml import validation as check
from pysciml.engines.base import Array

_CONSTANT = 1e-9  # entries that scatter less, such as those of time alone, do not differ


def signature(path: Tensor, depth: int) -> Tensor:
    """Iterated integrals of a piecewise linear path, of one to `depth` factors.

    Entry (i1, ..., ik) of level k is the integral of dx_i1(s1) ... dx_ik(sk) over s1 < ... < sk.

    Parameters
    ----------
    path : (len, ..., d) tensor
        The corners of the path, or of many.
    depth : int

    Returns
    -------
    (..., d + d^2 + ... + d^depth) tensor: level after level, each row-major.
    """
    steps = path.diff(dim=0)
    before: list[Tensor] = []  # level k of the path up to each step
    levels = []
    for k in range(1, check.as_count(depth, "depth") + 1):
        gain = steps / k  # Chen's identity with the exponential of a step, by Horner's rule
        for i in range(k - 1, 0, -1):
            gain = ((before[k - 1 - i] + gain).unsqueeze(-1) * (steps / i).unsqueeze(-2)).flatten(
                -2
            )
        until = gain.cumsum(0)
        before.append(until - gain)
        levels.append(until[-1])
    return torch.cat(levels, dim=-1)


@dataclass(frozen=True)
class SignatureMMD:
    """The distance between the expected signatures of two laws of paths: a maximum mean
    discrepancy, which sees how a path's values hang together in time.

    The paths have the time, from 0 to 1, as one more component, are scaled by the data's mean and
    standard deviation, and begin with a step from zero to their first state. Each entry of the
    signature is measured in its standard deviation in the data; the distance is the mean over
    entries of the squares of the differences of means, less what chance adds to them.

    Parameters
    ----------
    depth : int
        Of the signatures, which have d + d^2 + ... + d^depth entries, d = n + 1.
    """

    depth: int = 4

    def __post_init__(self) -> None:
        check.as_count(self.depth, "depth")

    def against(self, t: Array, u: Array) -> SignatureMisfit:
        """The distance from an ensemble, u of shape (len(t), paths, n)."""
        if torch.isnan(torch.as_tensor(u)).any():
            raise ValueError('u of data must be without NaN for loss="signature"')
        return SignatureMisfit(self.depth, torch.as_tensor(t), torch.as_tensor(u))


class SignatureMisfit:
    """How far the law of some paths is from that of the data's."""

    def __init__(self, depth: int, t: Tensor, u: Tensor) -> None:
        self._depth = depth
        self._time = (t - t[0]) / (t[-1] - t[0])
        self._centre, self._scale = u.mean((0, 1)), u.std((0, 1))
        found = self._signatures(u)
        self._varies = found.std(0) > _CONSTANT
        self._mean, self._deviation = (x[self._varies] for x in (found.mean(0), found.std(0)))
        self._chance = 1.0 / len(found)

    def __call__(self, states: Tensor) -> Tensor:
        """Of paths, (len(t), paths, n)."""
        found = (self._signatures(states)[:, self._varies] - self._mean) / self._deviation
        return (found.mean(0) ** 2 - found.var(0) / len(found)).mean() - self._chance

    def _signatures(self, u: Tensor) -> Tensor:
        scaled = (u - self._centre) / self._scale
        time = self._time[:, None, None].expand(*u.shape[:2], 1)
        path = torch.cat([time, scaled], dim=-1)
        return signature(torch.cat([torch.zeros_like(path[:1]), path]), self._depth)
