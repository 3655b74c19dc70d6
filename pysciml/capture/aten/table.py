"""The table of translations, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pysciml.capture.builder import Builder

TABLE: dict[str, Callable[..., Any]] = {}


class TracedIndexError(Exception):
    """An index is computed from u, p or t."""


class Ref(int):
    """Position of a value in the Builder, told apart from a plain integer argument."""


def value_of(b: Builder, x: Any) -> int:
    """A Builder value from a recorded value, a constant tensor or a Python number."""
    if isinstance(x, Ref):
        return int(x)
    if isinstance(x, torch.Tensor):
        x = x.detach().resolve_conj().resolve_neg()
        return b.const(x.numpy() if x.dtype == torch.bool else x.to(torch.float64).numpy())
    return b.const(x)


def shape_of(b: Builder, x: Any) -> tuple[int, ...]:
    return b.shape(x) if isinstance(x, Ref) else tuple(np.shape(x))


def indices_of(b: Builder, x: Any) -> Any:
    return b.indices(value_of(b, x))


def aten(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a translation `function(b, *args, **kwargs)` under these names."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            TABLE[name] = function
        return function

    return register


def ew(b: Builder, op: str, *args: Any) -> int:
    """An operation of `Builder.elementwise`."""
    return b.elementwise(op, *(value_of(b, a) for a in args))
