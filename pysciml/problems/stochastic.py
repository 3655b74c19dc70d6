"""Stochastic differential equations: the problem, checked when it is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.problems.base import Problem, Source, check_function, is_module, name_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from pysciml.capture import Model

NOISES = ("diagonal", "scalar", "general")
INTERPRETATIONS = ("ito", "stratonovich")


class SDEProblem(Problem):
    """A stochastic initial value problem, du = f(u, p, t) dt + g(u, p, t) dW with u(t0) = u0.

    Parameters
    ----------
    f : callable or torch.nn.Module
        The drift, `f(u, p, t)` or in place `f(du, u, p, t)`, as for `ODEProblem`.
    g : callable or torch.nn.Module
        The noise, `g(u, p, t)` or in place `g(du, u, p, t)`. What shape it returns depends on
        `noise`. In place, general noise needs `noise_rate_prototype`.
    u0 : number, list, array or tensor
        State at t0, of any shape. It is kept as float64.
    tspan : (t0, t1)
        Two times, t0 < t1.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to `f` and to `g` in the same structure. A copy is kept. The parameters
        of modules come beside it: `model.parameters` then is a dict of "f" and "g" (the modules'
        own) and "p".
    noise : "diagonal", "scalar" or "general"
        "diagonal": g returns u0's shape; each entry of u has a Wiener process of its own.
        "scalar": g returns u0's shape; all entries share one Wiener process. "general": g returns
        (*u0.shape, m), a column for each of m Wiener processes.
    interpretation : "ito" or "stratonovich"
        Which stochastic integral is meant.
    noise_rate_prototype : (*u0.shape, m) array, optional
        As in SciML: any array of the shape that g returns; `noise` is "general" then.
    names : list of str, optional
        Names of the entries of u0, in row-major order, for plots and tables.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ("interpretation", "noise")

    kind = "SDEProblem"
    is_random = True
    _source: _PairSource

    def __init__(
        self,
        f: Callable[..., Any],
        g: Callable[..., Any],
        u0: Any,
        tspan: Any,
        p: Any = None,
        *,
        noise: str = "diagonal",
        interpretation: str = "ito",
        noise_rate_prototype: Any = None,
        names: Sequence[str] | None = None,
    ) -> None:
        check_function(f)
        check_function(g, "g")
        self.noise = check.as_choice(noise, "noise", NOISES)
        if noise_rate_prototype is not None and self.noise == "diagonal":
            self.noise = "general"
        self.interpretation = check.as_choice(interpretation, "interpretation", INTERPRETATIONS)
        self._set(u0, tspan, p, names)
        shape = self._shape_of_noise(noise_rate_prototype)
        self._source = _PairSource(f, g, shape, self.u0, self._p)

    def _shape_of_noise(self, prototype: Any) -> tuple[int | None, ...]:
        """Shape of what g returns; None for a number of columns that only g knows."""
        if self.noise != "general":
            if prototype is not None:
                raise ValueError(
                    f'noise_rate_prototype is for noise="general"; got noise={self.noise!r}'
                )
            return self.u0.shape
        if prototype is None:
            return (*self.u0.shape, None)
        shape = np.shape(prototype)
        if len(shape) != self.u0.ndim + 1 or shape[:-1] != self.u0.shape:
            raise ValueError(
                "noise_rate_prototype must have u0's shape and a column for each Wiener process, "
                f"({', '.join(map(str, self.u0.shape))}, m); got shape {shape}"
            )
        return shape

    @property
    def g(self) -> Callable[..., Any]:
        """The user's own noise function."""
        return self._source.g

    @property
    def noise_model(self) -> Model:
        """The captured noise function. Its parameters are those of `model`."""
        if self._source.noise is None:
            self._source.capture()
        assert self._source.noise is not None
        return self._source.noise

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the driving Wiener processes: u0's, (), or (m,)."""
        if self.noise == "diagonal":
            return self.u0.shape
        return () if self.noise == "scalar" else self.noise_model.result_shape[-1:]

    @property
    def noise_pattern(self) -> csr_array:
        """Which entries of g (flat) can depend on which of u: (entries of g, n) booleans."""
        store = self.noise_model.compiled
        if "pattern" not in store:
            store["pattern"] = self.noise_model.sparsity()
        found: csr_array = store["pattern"]
        return found

    @property
    def is_additive(self) -> bool:
        """Whether g does not depend on u: then the two interpretations agree."""
        return bool(self.noise_pattern.nnz == 0)

    @property
    def is_uncoupled(self) -> bool:
        """Whether an entry of g depends on the same entry of u at most; for diagonal noise."""
        rows, columns = self.noise_pattern.nonzero()
        return bool((rows == columns).all())

    def _like(self) -> SDEProblem:
        new = super()._like()
        new.noise = self.noise
        new.interpretation = self.interpretation
        return new

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        t0, t1 = check.as_tspan(tspan)
        if t1 < t0:
            raise ValueError(
                "tspan must be two times t0 < t1, as noise is added forwards in time; got "
                f"({t0}, {t1})"
            )
        return t0, t1

    def _functions(self) -> str:
        return f"{name_of(self.f)}, {name_of(self.g)}"

    def _extras(self) -> str:
        kind = f", noise={self.noise!r}, interpretation={self.interpretation!r}"
        return kind + super()._extras()


class _PairSource(Source):
    """Drift and noise, captured together, as they share their parameters."""

    __slots__ = ("g", "noise", "shape")

    def __init__(
        self,
        f: Callable[..., Any],
        g: Callable[..., Any],
        shape: tuple[int | None, ...],
        u0: Array,
        p: Any,
    ) -> None:
        super().__init__(f, u0, p)
        self.g = g
        self.shape = shape  # of what g returns
        self.is_module = is_module(f) or is_module(g)
        self.noise: Model | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.f, self.g, self.shape, self.u0, self.p)

    def capture(self) -> Model:
        from pysciml.capture.capturing import capture_pair

        self.model, self.noise = capture_pair(self.f, self.g, self.u0, self.p, self.shape)
        return self.model
