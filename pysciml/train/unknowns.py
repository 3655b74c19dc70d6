"""The vector theta that an optimiser moves, and what it stands for.

theta = [parameters that are not fixed, initial states that are fitted, logarithms of the noise],
each part through its transform. A strategy may append unknowns of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.capture.parameters import Parameters
from pysciml.engines.base import Array
from pysciml.train.observation import as_tensor
from pysciml.train.transforms import Transform, identity, positive, require_transform

if TYPE_CHECKING:
    from torch import Tensor


def select(name: str, parameters: Parameters, argument: str) -> Any:
    """Flat indices of the parameters that a name stands for: an entry, an array, or a group."""
    found = [
        i
        for i, label in enumerate(parameters.names)
        if label == name or label.startswith((f"{name}.", f"{name}["))
    ]
    if not found:
        known = sorted({leaf.label for leaf in parameters.leaves} | _groups(parameters))
        hint = check.did_you_mean(name, known) or f"; there are {', '.join(known[:8])}"
        raise ValueError(f"{argument} must name parameters; got {name!r}{hint}")
    return np.array(found)


def _groups(parameters: Parameters) -> set[str]:
    """The dotted prefixes of the labels: "net" of "net.0.weight"."""
    labels = [leaf.label.split(".") for leaf in parameters.leaves]
    return {".".join(parts[:i]) for parts in labels for i in range(1, len(parts))}


def select_all(names: Any, parameters: Parameters, argument: str) -> Any:
    """Flat indices of several names; None is everything."""
    if names is None:
        return np.arange(parameters.size)
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise TypeError(
            f"{argument} must be a name or a list of names of parameters; "
            f"got {check.describe(names)}"
        )
    parts = [select(name, parameters, argument) for name in names]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class _Run:
    """Entries [start, stop) of some flat values: fixed, or theta from `at` on through `transform`.

    A run of values that stay as they are has no transform.
    """

    start: int
    stop: int
    at: int
    transform: Transform | None


class Unknowns:
    """Layout of theta.

    Parameters
    ----------
    parameters : their layout.
    p0 : (n_p,) first values.
    fixed, transforms : names that stay at `p0`; a transform for all, or a dict by name.
    u0s : the initial state of each trajectory, flat.
    fit_u0 : whether these are unknowns; `u0_transform` is theirs.
    noise0 : first standard deviations of the noise.
    start : (p in the user's structure, k) -> the state of trajectory k, where it is no value of its
        own; `u0s` then are its first values.

    Attributes
    ----------
    size : length of theta.
    first : theta at the first values.
    names : a label for each entry of theta.
    """

    def __init__(
        self,
        parameters: Parameters,
        p0: Array,
        fixed: Any,
        transforms: Any,
        u0s: Sequence[Array],
        fit_u0: bool,
        u0_transform: Any,
        noise0: Array,
        start: Callable[[Any, int], Any] | None = None,
    ) -> None:
        self.parameters = parameters
        self.start = start
        self.p0 = p0
        self.u0s = [np.array(u0) for u0 in u0s]
        per_entry = _per_entry(parameters, fixed, transforms)
        first: list[Array] = []
        self._p_runs = self._add(p0, per_entry, parameters.names, first)
        of_u0 = (
            identity if u0_transform is None else require_transform(u0_transform, "u0_transform")
        )
        self._u0_runs = [
            self._add(u0, [of_u0 if fit_u0 else None] * u0.size, _u0_names(k, u0, len(u0s)), first)
            for k, u0 in enumerate(self.u0s)
        ]
        labels = [f"sigma[{i}]" for i in range(noise0.size)]
        self._noise_runs = self._add(noise0, [positive] * noise0.size, labels, first)
        self.noise0 = noise0
        self.first = np.concatenate([*first, np.zeros(0)])
        self.size = self.first.size
        self.n_noise = noise0.size
        self.names = self._theta_names(parameters.names, len(u0s), labels)

    def _add(
        self,
        values: Array,
        transforms: Sequence[Transform | None],
        labels: Sequence[str],
        first: list[Array],
    ) -> list[_Run]:
        """Runs of neighbours with the same transform; their unknowns go onto `first`."""
        runs: list[_Run] = []
        start = 0
        while start < values.size:
            stop = start + 1
            while stop < values.size and transforms[stop] is transforms[start]:
                stop += 1
            transform = transforms[start]
            runs.append(_Run(start, stop, sum(map(len, first)), transform))
            if transform is not None:
                first.append(_inverse(transform, values[start:stop], labels[start:stop]))
            start = stop
        return runs

    def _theta_names(
        self, p_names: Sequence[str], count: int, noise_names: Sequence[str]
    ) -> list[str]:
        names = _moving(self._p_runs, p_names)
        for k, runs in enumerate(self._u0_runs):
            names += _moving(runs, _u0_names(k, self.u0s[k], count))
        return names + list(noise_names)

    def p(self, theta: Tensor) -> Tensor:
        """Flat parameters, (n_p,)."""
        return _values(self._p_runs, self.p0, theta)

    def u0(self, theta: Tensor, k: int) -> Tensor:
        """Flat initial state of trajectory k, (n,)."""
        if self.start is not None:
            p = self.parameters.unflatten(self.p(theta))
            return as_tensor(self.start(p, k)).reshape(-1)
        return _values(self._u0_runs[k], self.u0s[k], theta)

    def noise(self, theta: Tensor) -> Tensor:
        """Standard deviations that are fitted."""
        return _values(self._noise_runs, self.noise0, theta)

    def quantities(self, theta: Tensor) -> Tensor:
        """All that is fitted, in its own units, in the order of theta."""
        import torch

        groups = [(self._p_runs, self.p0), *zip(self._u0_runs, self.u0s, strict=True)]
        groups.append((self._noise_runs, self.noise0))
        parts = [
            _values([run], values, theta)
            for runs, values in groups
            for run in runs
            if run.transform is not None
        ]
        return torch.cat(parts) if parts else theta[:0]


def starts(unknowns: Unknowns, count: int, spread: float, seed: int) -> list[Array]:
    """theta where each attempt of a fit begins: all but the first at random."""
    check.as_positive(spread, "spread")
    random = np.random.default_rng(seed)
    moved = unknowns.size - unknowns.noise0.size
    begins = [unknowns.first]
    for _ in range(count - 1):
        step = np.zeros(unknowns.size)
        step[:moved] = spread * random.standard_normal(moved)
        begins.append(unknowns.first + step)
    return begins


def _values(runs: Sequence[_Run], first: Array, theta: Tensor) -> Tensor:
    import torch

    parts = [
        torch.as_tensor(first[run.start : run.stop])
        if run.transform is None
        else run.transform.forward(theta[run.at : run.at + run.stop - run.start])
        for run in runs
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _moving(runs: Sequence[_Run], labels: Sequence[str]) -> list[str]:
    return [label for r in runs if r.transform is not None for label in labels[r.start : r.stop]]


def _per_entry(parameters: Parameters, fixed: Any, transforms: Any) -> list[Transform | None]:
    """The transform of each flat parameter; None where it is fixed."""
    chosen: list[Transform | None] = [identity] * parameters.size
    if isinstance(transforms, Mapping):
        for name, transform in transforms.items():
            checked = require_transform(transform, f"transforms[{name!r}]")
            for i in select(name, parameters, "transforms"):
                chosen[i] = checked
    elif transforms is not None:
        chosen = [require_transform(transforms, "transforms")] * parameters.size
    for i in select_all(fixed, parameters, "fixed") if fixed else ():
        chosen[i] = None
    return chosen


def _u0_names(k: int, u0: Array, count: int) -> list[str]:
    group = "u0" if count == 1 else f"u0[{k}]"
    return [f"{group}[{i}]" for i in range(u0.size)]


def _inverse(transform: Transform, values: Array, labels: Sequence[str]) -> Array:
    with np.errstate(all="ignore"):
        found = transform.inverse(values)
    if not np.isfinite(found).all():
        i = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ValueError(
            f"{labels[i]} must start inside what its transform allows, {transform!r}; "
            f"got {values[i]}"
        )
    return found
