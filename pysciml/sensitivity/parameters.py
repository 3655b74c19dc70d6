"""Parameters by name, and gradients in their structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems import Problem


def chosen_indices(problem: Problem, wrt: Sequence[str] | None) -> Any:
    """Flat indices of the named parameters."""
    if wrt is None:
        return np.arange(problem.p_flat.size)
    if isinstance(wrt, str):
        raise TypeError(f"wrt must be a list of parameter names; got the string {wrt!r}")
    found = [_flat_indices(problem, name) for name in wrt]
    return np.concatenate([*found, np.zeros(0)]).astype(np.intp)


def _flat_indices(problem: Problem, name: Any) -> Any:
    layout = problem.model.parameters
    for leaf in layout.leaves:
        if leaf.label == name:
            return np.arange(leaf.start, leaf.start + leaf.size)
    if name in layout.names:
        return np.array([layout.names.index(name)])
    known = [*dict.fromkeys([leaf.label for leaf in layout.leaves] + list(layout.names))]
    hint = check.did_you_mean(str(name), known)
    raise ValueError(f"wrt names no parameter {name!r}{hint}; known: {', '.join(known[:12])}")


def in_structure(problem: Problem, p: Array) -> Any:
    return problem.model.parameters.unflatten(p)


def by_name(problem: Problem, p: Array, wrt: Sequence[str]) -> dict[str, Any]:
    shapes = {leaf.label: leaf.shape for leaf in problem.model.parameters.leaves}
    return {name: p[_flat_indices(problem, name)].reshape(shapes.get(name, ()))[()] for name in wrt}
