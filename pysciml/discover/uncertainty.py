"""How sure is a model: deep ensembles, Laplace's approximation, Langevin dynamics and NUTS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from pysciml import validation as check
from pysciml.discover.posterior import (
    MAP,
    Density,
    Normal,
    Posterior,
    make_density,
    posterior_of,
    stacked,
)
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem
from pysciml.train.covariance import fisher_information
from pysciml.train.data import as_tables
from pysciml.train.fitting import fit
from pysciml.train.inputs import make_task
from pysciml.train.objective import FailedTrial

_STANDARD = Normal()
_JITTER = 0.1  # of the Laplace approximation's spread: where chains begin
_TASK_OPTIONS = (
    "u0",
    "fit_u0",
    "observe",
    "weights",
    "loss",
    "regularise",
    "fixed",
    "transforms",
    "u0_transform",
    "alg",
    "sensealg",
    "abstol",
    "reltol",
)


def deep_ensemble(
    problem: Callable[[int], ODEProblem] | Sequence[ODEProblem],
    data: Any,
    members: int = 5,
    *,
    resample: bool = False,
    seed: int = 0,
    **options: Any,
) -> Posterior:
    """Fit the same model from different first weights, and take the fits as samples.

    Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation
    using deep ensembles, NeurIPS 2017. Where members differ, the data do not say.

    Parameters
    ----------
    problem : function seed -> ODEProblem, or list of ODEProblems
        The same model with other first parameters (`problem.remake(p=...)` of one compiles once).
        A function is called with seed, seed + 1, ....
    data, **options : as for `fit`.
    members : how many, for a function.
    resample : bool
        Whether each member is fitted to rows of the data drawn with replacement (the bootstrap).
    seed : of first parameters and of what is drawn.

    Returns
    -------
    Posterior
        One chain. `diagnostics["losses"]` are those of the members.
    """
    first = check.as_seed(seed, "seed")
    if callable(problem):
        problems = [problem(first + i) for i in range(check.as_count(members, "members"))]
    else:
        problems = list(problem)
    if not problems or not all(isinstance(each, ODEProblem) for each in problems):
        raise TypeError(
            "problem must be a function seed -> ODEProblem or a list of ODEProblems; "
            f"got {check.describe(problem)}"
        )
    again = check.as_flag(resample, "resample")
    tables = as_tables(data)
    settings = {"progress": False, **options}
    results = []
    for i, each in enumerate(problems):
        drawn = _resampled(tables, np.random.default_rng((first, i))) if again else data
        results.append(fit(each, drawn, seed=first + i, **settings))
    of_task = {name: options[name] for name in _TASK_OPTIONS if name in options}
    task = make_task(problems[0], tables, **{"abstol": 1e-6, "reltol": 1e-6, **of_task})
    return stacked(results, task, results[0].engine)


def _resampled(tables: Sequence[Any], random: np.random.Generator) -> list[Any]:
    drawn = []
    for table in tables:
        rows = np.sort(random.integers(len(table.t), size=len(table.t)))
        drawn.append((table.t[rows], table.u[rows]))
    return drawn


def laplace(
    problem: Any,
    data: Any,
    *,
    likelihood: Any = "gaussian",
    prior: Any = _STANDARD,
    samples: int = 1000,
    seed: int = 0,
    optimisers: Any = MAP,
    engine: str = "auto",
    **options: Any,
) -> Posterior:
    """Laplace's approximation: a normal distribution around the most probable unknowns.

    Its precision is the Fisher information there (which for a network is the generalised
    Gauss-Newton matrix) plus that of the prior (MacKay, A practical Bayesian framework for
    backpropagation networks, Neural Computation 4 (1992) 448-472).

    Parameters
    ----------
    problem, data, engine, **options
        As for `fit`: p, u0, fit_u0, observe, weights, fixed, transforms, u0_transform, alg,
        abstol, reltol, ....
    likelihood : "gaussian", "lognormal", "poisson" or an object of `pysciml.train`
    prior : Normal, or dict of Normal by name
        Of the unknowns as the optimiser sees them (of positive ones, the logarithm), by the names
        of parameters or groups, "u0", "sigma". What is not named: `Normal()`, of standard deviation
        1 around the problem's values.
    samples, seed : drawn from the normal distribution.
    optimisers : that look for its centre.

    Returns
    -------
    Posterior
        One chain. `diagnostics["log_evidence"]` is Laplace's approximation of the logarithm of the
        marginal likelihood, which compares models of the same data.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or the model cannot be solved where it begins.
    """
    density = make_density(problem, data, likelihood, prior, engine, options)
    mode = density.mode(optimisers)
    root = _root_covariance(density, mode)
    count, random = check.as_count(samples, "samples"), _generator(seed)
    draws = mode + random.standard_normal((1, count, density.size)) @ root.T
    _, log_determinant = np.linalg.slogdet(root)
    evidence = -density(mode)[0] + log_determinant - float(np.log(density.sd).sum())
    return posterior_of(density, "laplace", draws, mode, {"log_evidence": float(evidence)})


def sgld(
    problem: Any,
    data: Any,
    *,
    likelihood: Any = "gaussian",
    prior: Any = _STANDARD,
    step: float = 0.1,
    decay: float = 0.0,
    draws: int = 2000,
    burn_in: int = 1000,
    thin: int = 10,
    chains: int = 4,
    batch: int | None = None,
    seed: int = 0,
    optimisers: Any = MAP,
    engine: str = "auto",
    **options: Any,
) -> Posterior:
    """Stochastic gradient Langevin dynamics.

    theta moves by (step/2) C gradient of the log posterior, and by normal noise of covariance
    step C (Welling and Teh, Bayesian learning via stochastic gradient Langevin dynamics, ICML
    2011). C is the covariance of Laplace's approximation, so that a step is in units of the
    posterior's width (Girolami and Calderhead, J. R. Stat. Soc. B 73 (2011) 123-214, with the
    metric of the mode). No move is rejected: the samples are off by an error proportional to the
    step. Where it is steep, the drift is truncated (Roberts and Tweedie, Bernoulli 2 (1996)
    341-363).

    Parameters
    ----------
    problem, data, likelihood, prior, optimisers, engine, **options
        As for `laplace`.
    step : first size; after k moves it is step (1 + k)^-decay.
    decay : between 0 and 1.
    draws, burn_in, thin : of each chain: draws that are kept, moves before, and moves for each.
    chains : each begins near the mode, with random numbers of its own.
    batch : trajectories whose gradient is taken in each move, drawn at random; default: all.
    seed : of all that is random.

    Returns
    -------
    Posterior
        `diagnostics` have the largest split R-hat and how many moves failed (the model had no
        solution there; the chain then stays where it is).

    Raises
    ------
    As `laplace`.
    """
    size = check.as_positive(step, "step")
    fall = check.as_nonnegative(decay, "decay")
    counts = [check.as_count(n, name) for n, name in ((draws, "draws"), (thin, "thin"))]
    before, many = check.as_seed(burn_in, "burn_in"), check.as_count(chains, "chains")
    density = make_density(problem, data, likelihood, prior, engine, options)
    drift = _drift(density, batch)
    mode = density.mode(optimisers)
    root = _root_covariance(density, mode)
    moves = np.arange(before + counts[0] * counts[1], dtype=float)
    sizes: Array = size * np.power(1.0 + moves, -fall)
    runs = [
        _langevin(drift, mode, root, sizes, before, counts[1], np.random.default_rng((seed, chain)))
        for chain in range(many)
    ]
    samples = np.stack([run for run, _ in runs])
    diagnostics = {"failed_moves": sum(failed for _, failed in runs)}
    return _with_rhat(posterior_of(density, "sgld", samples, mode, diagnostics))


def _drift(density: Density, batch: int | None) -> Callable[[Array, np.random.Generator], Array]:
    """Gradient of minus the log posterior, of all or of some trajectories scaled up."""
    total = len(density.task.trajectories)
    if batch is None:
        return lambda theta, random: density(theta)[1]
    some = check.as_count(batch, "batch")
    if some > total:
        raise ValueError(f"batch must be at most the number of trajectories, {total}; got {some}")
    parts = density.parts()

    def estimate(theta: Array, random: np.random.Generator) -> Array:
        chosen = random.choice(total, size=some, replace=False)
        likelihood = sum(parts[k](theta)[1] for k in chosen) * (total / some)
        found: Array = likelihood + (theta - density.mean) / density.sd**2
        return found

    return estimate


def _langevin(
    drift: Callable[[Array, np.random.Generator], Array],
    mode: Array,
    root: Array,
    sizes: Array,
    burn_in: int,
    thin: int,
    random: np.random.Generator,
) -> tuple[Array, int]:
    """Draws (draws, size), and how many moves failed."""
    theta, kept, failed = mode + _JITTER * root @ random.standard_normal(mode.size), [], 0
    slope = drift(theta, random)
    for k, size in enumerate(sizes):
        noise = math.sqrt(size) * root @ random.standard_normal(mode.size)
        moved = theta - 0.5 * size * root @ _truncated(root.T @ slope, size) + noise
        try:
            with np.errstate(all="ignore"):
                slope = drift(moved, random)
            theta = moved
        except FailedTrial:
            failed += 1
        if k >= burn_in and (k - burn_in) % thin == thin - 1:
            kept.append(theta)
    return np.stack(kept), failed


def nuts(
    problem: Any,
    data: Any,
    *,
    likelihood: Any = "gaussian",
    prior: Any = _STANDARD,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    target_accept: float = 0.8,
    max_depth: int = 10,
    seed: int = 0,
    optimisers: Any = MAP,
    engine: str = "auto",
    progress: bool = False,
    **options: Any,
) -> Posterior:
    """The no-U-turn sampler (Hoffman and Gelman, J. Mach. Learn. Res. 15 (2014) 1593-1623).

    The sampler is nutpie's (``pip install 'pysciml[discover]'``); the gradients are the engine's.
    The chains begin at the mode, and nutpie adapts a mass matrix of low rank.

    Parameters
    ----------
    problem, data, likelihood, prior, optimisers, engine, **options
        As for `laplace`.
    draws, tune : of each chain, draws that are kept and those before them, that set the steps.
    chains, seed : each chain has random numbers of its own.
    target_accept : mean acceptance that the step size is set for.
    max_depth : a trajectory has at most 2^max_depth steps, of a gradient each.
    progress : show nutpie's progress bar.

    Returns
    -------
    Posterior
        `diagnostics` have the largest split R-hat, the number of divergent trajectories, and the
        number of gradients taken.

    Raises
    ------
    ImportError
        nutpie is not installed.
    As `laplace`.
    """
    nutpie, from_pyfunc = _nutpie()
    counts = {name: check.as_count(n, name) for name, n in (("draws", draws), ("tune", tune))}
    many, number = check.as_count(chains, "chains"), check.as_seed(seed, "seed")
    density = make_density(problem, data, likelihood, prior, engine, options)
    mode, scale = density.mode(optimisers), density.sd
    taken = 0

    def log_density(z: Array) -> tuple[float, Array]:
        nonlocal taken
        taken += 1
        try:
            with np.errstate(all="ignore"):
                value, gradient = density(mode + scale * z)
        except FailedTrial as failure:
            raise _NoSolution(str(failure)) from failure
        return -value, -scale * gradient

    model = from_pyfunc(
        density.size,
        lambda: log_density,
        lambda *seeds: lambda z: {"theta": mode + scale * z},
        [np.dtype("float64")],
        [(density.size,)],
        ["theta"],
        make_initial_point_fn=partial(_near_zero, density.size),
    )
    trace = nutpie.sample(
        model,
        chains=many,
        cores=1,
        seed=number,
        target_accept=target_accept,
        maxdepth=check.as_count(max_depth, "max_depth"),
        low_rank_modified_mass_matrix=True,
        progress_bar=check.as_flag(progress, "progress"),
        **counts,
    )
    samples = np.asarray(trace.posterior["theta"].values, dtype=float)
    diagnostics = {
        "divergences": int(np.asarray(trace.sample_stats["diverging"]).sum()),
        "gradients": taken,
    }
    return _with_rhat(posterior_of(density, "nuts", samples, mode, diagnostics))


class _NoSolution(Exception):
    """What nutpie takes for a divergence, not for the end."""

    is_recoverable = True


def _nutpie() -> tuple[Any, Any]:
    try:
        import nutpie
        from nutpie.compiled_pyfunc import from_pyfunc
    except ImportError:
        raise ImportError("nuts() needs nutpie: pip install 'pysciml[discover]'") from None
    return nutpie, from_pyfunc


def _near_zero(size: int, seed: Any) -> Array:
    return _JITTER * np.random.default_rng(seed).standard_normal(size)


def _truncated(slope: Array, size: float) -> Array:
    """The drift, at most 1/size long: where it is steep, a move must not throw the chain off."""
    shortened: Array = slope * min(1.0, 1.0 / (size * float(np.linalg.norm(slope)) + 1e-300))
    return shortened


def _generator(seed: Any) -> np.random.Generator:
    return np.random.default_rng(check.as_seed(seed, "seed"))


def _root_covariance(density: Density, mode: Array) -> Array:
    """A matrix whose product with its transpose is the covariance of Laplace's approximation."""
    precision = np.diag(1.0 / density.sd**2)
    information = fisher_information(density.task, density.engine, mode)
    count = len(information)
    precision[:count, :count] += information
    # of log(sigma), for normal noise of the data or their logarithms
    for i in range(count, density.size):
        of_component = density.task.observed.component == i - count
        precision[i, i] += 2.0 * density.task.observed.weights[of_component].sum()
    return np.linalg.inv(np.linalg.cholesky(precision)).T


def _with_rhat(posterior: Posterior) -> Posterior:
    posterior.diagnostics["largest_rhat"] = max(posterior.rhat.values())
    return posterior
