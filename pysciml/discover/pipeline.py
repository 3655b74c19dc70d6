"""`discover`: from data and half of a law to the other half, as an equation, in one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.discover.equation import Equation
from pysciml.discover.library import as_library, default_inputs, evaluate
from pysciml.discover.regression import Path, SparseFit, frols
from pysciml.discover.samples import Samples
from pysciml.engines.base import Array
from pysciml.errors import SolveError
from pysciml.problems import ODEProblem
from pysciml.solution import Solution
from pysciml.solve import solve
from pysciml.train.data import as_tables
from pysciml.train.fitting import fit
from pysciml.train.losses import L2
from pysciml.train.optimisers import LBFGS, Adam
from pysciml.train.result import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LAW = "a function f(u, p, t, unknown) that calls unknown(inputs)"
_TRAINING = (Adam(0.01, 300), LBFGS(500))
_SMALL_WEIGHTS = L2(1e-5, on="network")
_REFIT = (LBFGS(200),)
_EXACT = 1e-24  # relative sum of squares below which a fit is exact


@dataclass(frozen=True, eq=False)
class Candidate:
    """An equation that was refitted to the data.

    Attributes
    ----------
    equation : with the refitted coefficients.
    bic : Schwarz's criterion on the data, for normal noise of its own size in each component;
        infinite where the model could not be solved.
    fit : None where it could not.
    """

    equation: Equation
    bic: float
    fit: FitResult | None


@dataclass(frozen=True, eq=False)
class Discovery:
    """What `discover` found.

    Attributes
    ----------
    equation : what the unknown part is, with the coefficients that fit the data best.
    problem : the law with this equation, ready to solve; its parameters are "p", those of the law,
        and "unknown", the coefficients.
    trained : the fit of the law with the network.
    samples : the network's inputs and values, where data were.
    regression : the sparse regression of these.
    candidates : all equations that were refitted, in this order.
    fit : the refit that was chosen.
    """

    equation: Equation
    problem: ODEProblem
    trained: FitResult
    samples: Samples
    regression: SparseFit
    candidates: tuple[Candidate, ...]
    fit: FitResult
    _engine: str = field(repr=False, default="auto")

    def standard_errors(self) -> dict[str, dict[str, float]]:
        """Of the coefficients, in the structure of `equation.p`, from the Fisher information."""
        errors = self.fit.standard_errors()
        return {
            output: {term: errors[f"unknown.{output}.{term}"] for term in terms}
            for output, terms in self.equation.p.items()
        }

    def extrapolate(self, until: float, **options: Any) -> tuple[Solution, Solution]:
        """Solutions, from the first trajectory's start to a later time, with the equation and with
        the network. `options` are those of `solve`.
        """
        settings = {"engine": self._engine, "abstol": 1e-8, "reltol": 1e-8, **options}
        span = (self.problem.tspan[0], float(until))
        with_network = self.trained.problem
        return (
            solve(self.problem.remake(tspan=span), **settings),
            solve(with_network.remake(tspan=span), **{**settings, "raise_on_failure": False}),
        )

    def plot(self, until: float | None = None) -> Figure:
        """The network's values beside the equation's, and both models up to a time."""
        import matplotlib.pyplot as plt

        start, end = self.trained.problem.tspan
        both = self.extrapolate(end + 3.0 * (end - start) if until is None else until)
        figure, (inside, beyond) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
        found = self.equation(self.samples.x)
        for k, name in enumerate(self.equation.outputs):
            inside.plot(self.samples.y[:, k], color=f"C{k}", label=f"{name}, network")
            inside.plot(found[:, k], "--", color=f"C{k}", label=f"{name}, equation")
        inside.set(xlabel="sample", ylabel="unknown part")
        inside.set_title("\n".join(str(self.equation).splitlines()), fontsize=9)
        inside.legend()
        self._draw_beyond(beyond, both, end)
        return figure

    def _draw_beyond(self, ax: Any, both: tuple[Solution, Solution], end: float) -> None:
        data = self.trained.data[0]
        for i, values in enumerate(data.values.T):
            ax.plot(data.t, values, "o", color=f"C{i}", markersize=4)
        for solution, style, model in zip(both, ("-", ":"), ("equation", "network"), strict=True):
            flat = solution.u.reshape(len(solution.t), -1)
            for i, name in enumerate(solution.names):
                ax.plot(solution.t, flat[:, i], style, color=f"C{i}", label=f"{name}, {model}")
        ax.axvspan(both[0].t[0], end, color="0.92", zorder=0)
        low, high = both[0].u.min(), both[0].u.max()
        ax.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
        ax.set(xlabel="t", title="from the data on")
        ax.legend()

    def __str__(self) -> str:
        return str(self.equation)

    def __repr__(self) -> str:
        return f"Discovery, of {len(self.candidates)} candidates:\n{self.equation}"


def discover(
    law: Callable[..., Any],
    data: Any,
    network: Any = None,
    *,
    u0: Any = None,
    p: Any = None,
    library: Any = None,
    regress: Callable[..., SparseFit] = frols,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    samples: int = 200,
    fixed: Sequence[str] = ("p",),
    optimisers: Any = _TRAINING,
    regularise: Any = _SMALL_WEIGHTS,
    patience: int = 3,
    evidence: float = 6.0,
    engine: str = "auto",
    progress: bool = True,
    **options: Any,
) -> Discovery:
    """Learn the unknown part of a law with a network, and read it back as an equation.

    1. `fit` trains the network inside the law.
    2. The network is sampled along the fitted solutions, where data were.
    3. Sparse regression of the samples orders the terms.
    4. Equations of more and more terms take the network's place and are refitted to the data
       themselves, and then, from the best of these, with one term more or less of each output. Of
       those that Schwarz's criterion on the data finds about as good as the best, the one with the
       fewest terms is chosen.

    After Rackauckas et al., Universal Differential Equations for Scientific Machine Learning,
    arXiv:2001.04385 (2020), but with the criterion on the data, whose noise is independent, instead
    of on the network's values, whose errors are not.

    Parameters
    ----------
    law : callable
        `law(u, p, t, unknown)` returns du/dt, in torch operations, and calls `unknown(inputs)`
        once, with a vector or a list of numbers; it gives a tensor of the unknown quantities. Or a
        `pysciml.models.UDE` with one network, which brings both.
    data : as for `fit`
    network : nn.Module
        Stands for `unknown` first, such as `pysciml.nn.mlp([2, 32, 2])`.
    u0 : as for `fit`; default: the first row of the data.
    p : parameters of the law, in any structure.
    library : Library
        Candidate terms of the unknown's inputs. Default: `polynomial(2)`.
    regress : callable
        (samples, library) -> SparseFit, whose path gives the candidates: `frols`, `stlsq`, `sr3`,
        or one of these with options by `functools.partial`.
    inputs, outputs : names of the unknown's inputs and values. Default: the state's names where it
        takes the state, else x0, x1, ...; y0, y1, ....
    names : of the state.
    samples : points at which the network is sampled, over all trajectories.
    fixed : names of parameters that are known: "p" for all of the law's, "p.k" for one. Empty: all
        are fitted, with the network and with the equation.
    optimisers, regularise : of the training.
    patience : after so many numbers of terms without a better criterion, more are not tried.
    evidence : by how much the criterion must be lower for more terms. The default is "strong
        evidence" of Kass and Raftery, J. Am. Stat. Assoc. 90 (1995) 773-795.
    engine, progress, **options
        As for `fit`: fit_u0, loss, alg, abstol, transforms, ... hold for training and refits.

    Returns
    -------
    Discovery

    Raises
    ------
    TypeError, ValueError, CaptureError, SolveError
        As `fit`, for an argument that is wrong, and for a law that does not call `unknown` once.
    """
    from pysciml.nn import functional

    law, network = _law_and_network(law, network)
    library = as_library(library)
    count, patience = check.as_count(samples, "samples"), check.as_count(patience, "patience")
    evidence = check.as_nonnegative(evidence, "evidence")
    tables = as_tables(data)
    apply, weights = functional(network)
    settings = {"engine": engine, "progress": progress, **options}

    def with_network(u: Any, p: Any, t: Any) -> Any:
        return law(u, p.get("p"), t, lambda x: apply(x, p["network"]))

    known = {} if p is None else {"p": p}
    names = names or tables[0].columns
    start, u0 = _start(tables, u0)
    span = (float(tables[0].t.min()), float(tables[0].t.max()))
    problem = ODEProblem(with_network, start, span, {**known, "network": weights}, names=names)
    fixed = [] if p is None else list(fixed)
    trained = fit(
        problem,
        data,
        u0=u0,
        fixed=fixed,
        optimisers=optimisers,
        regularise=regularise,
        **settings,
    )
    solver: dict[str, Any] = {
        name: options[name] for name in ("alg", "abstol", "reltol") if name in options
    }
    sampled = _sample(law, trained, apply, count, (inputs, outputs), solver | {"engine": engine})
    regression = regress(sampled, library)
    quiet = {**settings, "u0": u0, "progress": False}
    search = _Search(law, data, trained, regression, fixed, quiet)
    chosen = search.run(sampled, patience, evidence)
    if chosen.fit is None:
        raise ValueError(
            "no candidate equation could be solved over the data: give another library, or more "
            "regularisation"
        )
    return Discovery(
        equation=chosen.equation,
        problem=_problem_of(law, chosen, names),
        trained=trained,
        samples=sampled,
        regression=regression,
        candidates=tuple(search.tried.values()),
        fit=chosen.fit,
        _engine=engine,
    )


def _problem_of(law: Callable[..., Any], chosen: Candidate, names: Any) -> ODEProblem:
    """The law with the chosen terms only."""
    assert chosen.fit is not None
    known = {"p": chosen.fit.p["p"]} if "p" in chosen.fit.p else {}
    p = {**known, "unknown": chosen.equation.p}
    first = chosen.fit.problem
    return ODEProblem(_with_equation(law, chosen.equation), first.u0, first.tspan, p, names=names)


def _law_and_network(law: Any, network: Any) -> tuple[Callable[..., Any], Any]:
    from torch import nn

    from pysciml.models import UDE
    from pysciml.problems.base import binds, name_of

    if isinstance(law, UDE):
        if network is not None:
            raise ValueError("network must not be given with a UDE, which has its own")
        if isinstance(law.networks, nn.ModuleDict):
            raise ValueError("law must be a UDE with one network; this has several")
        return law.law, law.networks
    check.require_callable(law, "law", _LAW)
    signature = inspect.signature(law)
    if not binds(signature, 4):
        raise TypeError(f"law must be {_LAW}; got {name_of(law)}{signature}")
    return law, network


def _start(tables: Sequence[Any], u0: Any) -> tuple[Any, Any]:
    """A first state for the problem, and where fits start."""
    if u0 is not None and not isinstance(u0, str):
        many = np.ndim(u0) > 1 and len(tables) > 1
        return (u0[0] if many else u0), u0
    return tables[0].u[np.argmin(tables[0].t)], "data"


def _with_equation(law: Callable[..., Any], equation: Equation) -> Callable[..., Any]:
    """The law as a right-hand side, with the equation in the unknown's place."""

    def right_hand_side(u: Any, p: Any, t: Any) -> Any:
        return law(u, p.get("p"), t, lambda x: equation(x, p["unknown"]))

    return right_hand_side


class _Sampler:
    """Stands for the unknown, and remembers what it was asked and what the network said."""

    def __init__(self, apply: Callable[..., Any], weights: Any) -> None:
        self._apply = apply
        self._weights = weights
        self.x: list[Array] = []
        self.y: list[Array] = []

    def __call__(self, x: Any) -> Any:
        import torch

        given = torch.stack(list(x)) if isinstance(x, (list, tuple)) else x
        value = self._apply(given, self._weights)
        self.x.append(given.numpy().reshape(-1))
        self.y.append(value.numpy().reshape(-1))
        return value


def _sample(
    law: Callable[..., Any],
    trained: FitResult,
    apply: Callable[..., Any],
    count: int,
    names: tuple[Sequence[str] | None, Sequence[str] | None],
    solver: dict[str, Any],
) -> Samples:
    """The network's inputs and values along the fitted solutions."""
    import torch

    sampler, states = _Sampler(apply, trained.p["network"]), []
    each = -(-count // len(trained.problems))
    for problem in trained.problems:
        solution = solve(problem, saveat=np.linspace(*problem.tspan, each), **solver)
        p = problem.model.parameters.unflatten(torch.as_tensor(problem.p_flat))
        for state, time in zip(solution.u, solution.t, strict=True):
            states.append(state.reshape(-1))
            law(torch.as_tensor(state), p.get("p"), torch.as_tensor(time), sampler)
            if len(sampler.x) != len(states):
                raise ValueError("law must call unknown(inputs) once")
    x, y = np.stack(sampler.x), np.stack(sampler.y)
    inputs, outputs = names
    if inputs is None and np.array_equal(x, states):
        inputs = trained.problem.names
    return Samples(x, y, tuple(inputs or default_inputs(x.shape[1])), tuple(outputs or ()))


class _Search:
    """Refits equations to the data; what was tried is kept by the number of terms.

    All are fits of one problem, with all terms, whose other coefficients are held at zero: it is
    captured and compiled once.
    """

    def __init__(
        self,
        law: Callable[..., Any],
        data: Any,
        trained: FitResult,
        regression: SparseFit,
        fixed: Sequence[str],
        settings: dict[str, Any],
    ) -> None:
        self.tried: dict[tuple[int, ...], Candidate] = {}
        path, equation = regression.path, regression.equation
        everything = np.ones_like(equation.support)
        self._full = replace(equation, support=everything)
        self._levels = [_levels(path.supports[:, :, k], path.rss[:, k]) for k in _outputs(path)]
        self._fixed = list(fixed)
        self._data, self._settings = data, settings
        known = {"p": trained.p["p"]} if "p" in trained.p else {}
        first = trained.problem
        p = {**known, "unknown": self._full.p}
        names = first.names
        rhs = _with_equation(law, self._full)
        self._problem = ODEProblem(rhs, first.u0, first.tspan, p, names=names)

    def run(self, samples: Samples, patience: int, evidence: float) -> Candidate:
        """The one with the fewest terms of those that are about as good as the best."""
        matrix = evaluate(self._full.terms, samples.inputs, samples.x)
        self._start = lambda support: _coefficients(matrix, samples.y, support)
        worse, best = 0, (0,) * len(self._levels)
        for level in range(1, max(map(len, self._levels))):
            here = tuple(min(level, len(each) - 1) for each in self._levels)
            improved = self._bic(here) < self._bic(best)
            best, worse = (here, 0) if improved else (best, worse + 1)
            if worse == patience:
                break
        while True:
            better = min(self._beside(best), key=self._bic, default=best)
            if self._bic(better) >= self._bic(best):
                break
            best = better
        good = [each for each in self.tried.values() if each.bic <= self._bic(best) + evidence]
        return min(good, key=lambda each: (each.equation.size, each.bic))

    def _beside(self, here: tuple[int, ...]) -> list[tuple[int, ...]]:
        """One step up or down for one output."""
        return [
            (*here[:k], here[k] + step, *here[k + 1 :])
            for k in range(len(here))
            for step in (-1, 1)
            if 0 <= here[k] + step < len(self._levels[k])
        ]

    def _bic(self, here: tuple[int, ...]) -> float:
        if here not in self.tried:
            support = np.stack([of[i] for of, i in zip(self._levels, here, strict=True)], axis=1)
            if not support.any():
                return np.inf
            self.tried[here] = self._refitted(support)
        return self.tried[here].bic

    def _refitted(self, support: Any) -> Candidate:
        start = replace(self._full, coefficients=self._start(support))
        out = [
            f"unknown.{name}.{self._full.terms[i]}"
            for k, name in enumerate(self._full.outputs)
            for i in np.flatnonzero(~support[:, k])
        ]
        p = {**self._problem.p, "unknown": start.p}
        try:
            found = fit(
                self._problem.remake(p=p),
                self._data,
                fixed=[*self._fixed, *out],
                optimisers=_REFIT,
                **self._settings,
            )
        except SolveError:  # at the first coefficients: this equation is no model of the data
            return Candidate(start.restricted(support), np.inf, None)
        equation = start.with_coefficients(found.p["unknown"]).restricted(support)
        return Candidate(equation, _bic(found), found)


def _outputs(path: Path) -> range:
    return range(path.supports.shape[2])


def _levels(supports: Any, rss: Array) -> list[Any]:
    """For each number of terms, from none on, the support of least residual."""
    counts = supports.sum(axis=1)
    best = {0: np.zeros(supports.shape[1], dtype=bool)}
    for i in np.argsort(-rss, kind="stable"):
        best[int(counts[i])] = supports[i]
    return [best[count] for count in sorted(best)]


def _coefficients(matrix: Array, target: Array, support: Any) -> Array:
    """Least squares of each target on the columns of its support."""
    found = np.zeros(support.shape)
    for k, kept in enumerate(support.T):
        found[kept, k] = np.linalg.lstsq(matrix[:, kept], target[:, k], rcond=None)[0]
    return found


def _bic(result: FitResult) -> float:
    """With the variance of each component estimated from its residuals."""
    count, misfit = 0, 0.0
    residuals = np.concatenate(result.residuals)
    values = np.concatenate([each.values for each in result.data])
    for residual, value in zip(residuals.T, values.T, strict=True):
        seen = np.isfinite(residual)
        exact = max(_EXACT * float((value[seen] ** 2).sum()), np.finfo(float).tiny)
        squares = max(float((residual[seen] ** 2).sum()), exact)
        misfit += seen.sum() * np.log(squares / seen.sum())
        count += int(seen.sum())
    return float(misfit + len(result.quantities) * np.log(count))
