"""The way into Julia itself: captured functions as Julia functions, and juliacall's Main.

For users of diffeqpy: a Python callback as right-hand side is what makes it slow. `function`
gives the captured and compiled function in its place::

    from diffeqpy import de
    import pysciml as sml

    fn = sml.julia.function(lotka_volterra, u0, p)
    prob = de.ODEProblem(fn, u0, (0.0, 10.0), p)
    sol = de.solve(prob, de.Rodas5P())      # uses the captured Jacobian

For a network that is to go on living in Julia::

    model, parameters, state = sml.julia.to_lux(net)
    flux = sml.julia.package("DiffEqFlux")
    node = flux.NeuralODE(model, (0.0, 1.0), sml.julia.package("OrdinaryDiffEq").Tsit5())
    sol, state = node(sml.julia.array(u0), parameters, state)
    net.load_state_dict(sml.julia.from_lux(parameters))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.engines.julia import session

if TYPE_CHECKING:
    import torch

    from pysciml.problems import ODEProblem

__all__ = [
    "KERNELS",
    "addprocs",
    "array",
    "collocate_data",
    "from_lux",
    "function",
    "main",
    "multiple_shoot",
    "package",
    "to_lux",
]

#: Names of DiffEqFlux's smoothing kernels, without "Kernel".
KERNELS = (
    "Epanechnikov",
    "Uniform",
    "Triangular",
    "Quartic",
    "Triweight",
    "Tricube",
    "Gaussian",
    "Cosine",
    "Logistic",
    "Sigmoid",
    "Silverman",
)


def function(f: Callable[..., Any], u0: Any, p: Any = None, *, mass_matrix: Any = None) -> Any:
    """The compiled Julia function of a Python right-hand side.

    Parameters
    ----------
    f : callable or torch.nn.Module
        `f(u, p, t)` or `f(du, u, p, t)`, as in `pysciml.ODEProblem`.
    u0 : array
        A state, which gives the shape. The Julia function takes it flat (row by row).
    p : optional
        Parameters in the structure that `f` takes. The Julia function takes them flat.
    mass_matrix : (n, n) array, optional

    Returns
    -------
    A Julia `ODEFunction` with the captured Jacobian and time gradient. It can be called as
    `fn(du, u, p, t)` and is what `ODEProblem` takes as its function.

    Raises
    ------
    CaptureError
        `f` could not be captured.
    EngineUnavailableError
        Julia is not ready.
    """
    from pysciml import engines
    from pysciml.problems import ODEProblem

    problem = ODEProblem(f, u0, (0.0, 1.0), p, mass_matrix=mass_matrix)
    session.module()  # say early when there is no Julia
    engine: Any = engines.get("julia")
    model = engine.model(problem)
    model.compile_for("implicit")
    return session.module().callable(model.handle)


def main() -> Any:
    """juliacall's `Main`, from a Julia that this package has started and set up."""
    return session.main()


def package(name: str) -> Any:
    """A package of the Julia environment, loaded: `package("DiffEqFlux").NeuralODE`.

    Raises
    ------
    EngineUnavailableError
        Julia is not ready, or its environment has no such package.
    """
    return session.package(name)


def addprocs(processes: int | list[str]) -> int:
    """Start Julia processes for ensembles, as `Distributed.addprocs` does.

    `solve_ensemble(..., engine="julia", ensemblealg="EnsembleDistributed")` uses all that there
    are, with the Julia environment of this process. They end with it.

    Parameters
    ----------
    processes : int or list of str
        How many on this machine; or other machines by name ("user@host"), which have to be reached
        by `ssh` without a password, and to have Julia and its environment in the same folders.

    Returns
    -------
    int
        How many processes there are more.

    Raises
    ------
    TypeError, ValueError
        The argument is wrong.
    JuliaError
        They could not be started.
    """
    from pysciml.engines.julia import ensemble

    if isinstance(processes, (list, tuple)):
        if not processes or not all(isinstance(name, str) for name in processes):
            raise TypeError(
                "processes must be a number of processes or a list of names of machines; got "
                f"{check.describe(processes)}"
            )
        return ensemble.addprocs(list(processes))
    return ensemble.addprocs(check.as_count(processes, "processes"))


def array(values: Any) -> Any:
    """A Julia `Array{Float64}` with a copy of the values of an array or a tensor."""
    return session.array(values)


def to_lux(module: torch.nn.Module, parameters: Any = None) -> tuple[Any, Any, Any]:
    """A torch network as a Lux model.

    Parameters
    ----------
    module : torch.nn.Module
        `Sequential` (nested at will) of `Linear` and activation modules.
    parameters : dict by name, or flat vector, optional
        Values in place of the module's own: named as in its `state_dict`, or in its order.

    Returns
    -------
    model, parameters, state
        A Lux layer, and what `Lux.setup` returns for one, in float64. `model(x, parameters,
        state)` returns `(y, state)`. A batch has the shape (features, batch) in Lux.

    Raises
    ------
    UnsupportedError
        A part of the module has no counterpart.
    EngineUnavailableError
        Julia is not ready.
    """
    from pysciml.engines.julia import lux

    return lux.to_lux(module, lux.values_of(module, parameters))


def from_lux(parameters: Any) -> dict[str, torch.Tensor]:
    """Parameters of a Lux model that `to_lux` made, as a `state_dict` of the torch network.

    Parameters
    ----------
    parameters : NamedTuple or ComponentArray of Julia

    Returns
    -------
    dict of float64 tensors, which `module.load_state_dict` takes.
    """
    from pysciml.engines.julia import lux

    return lux.from_lux(parameters)


def collocate_data(
    data: Any, t: Any, kernel: str = "Triangular", bandwidth: float | None = None
) -> tuple[Array, Array]:
    """Smoothed data and their time derivative, by DiffEqFlux's `collocate_data`.

    Local linear and quadratic regression with a kernel (Liang and Wu, J. Am. Stat. Assoc. 103,
    2008); what a gradient-matching fit starts from.

    Parameters
    ----------
    data : (len(t), m) array
    t : (len(t),) array
        Increasing times.
    kernel : str
        One of `KERNELS`.
    bandwidth : float, optional
        As a part of the time span. Default: DiffEqFlux's rule, from len(t).

    Returns
    -------
    derivative, smoothed
        Both (len(t), m).

    Raises
    ------
    ValueError
        An argument is wrong.
    JuliaError
        The bandwidth is too small for the times.
    """
    values, times = _series(data, t)
    if kernel not in KERNELS:
        raise ValueError(
            f"kernel must be one of {', '.join(KERNELS)}; got {kernel!r}"
            f"{check.did_you_mean(str(kernel), KERNELS)}"
        )
    if bandwidth is not None:
        bandwidth = check.as_positive(bandwidth, "bandwidth")
    flux = package("DiffEqFlux")
    how = getattr(flux, f"{kernel}Kernel")()
    try:
        found = flux.collocate_data(array(values.T), array(times), how, bandwidth)
    except Exception as error:
        raise session.translated(error) from None
    derivative, smoothed = (np.array(part, dtype=np.float64).T.copy() for part in found)
    return derivative, smoothed


def multiple_shoot(
    problem: ODEProblem,
    data: Any,
    t: Any,
    group_size: int,
    alg: str = "Tsit5",
    *,
    continuity: float = 100.0,
    abstol: float = 1e-6,
    reltol: float = 1e-3,
) -> tuple[float, list[Array]]:
    """The multiple-shooting loss of DiffEqFlux's `multiple_shoot`.

    Each group of observations is solved from its own first one; the loss is the sum of squared
    residuals plus `continuity` times the absolute jumps from one group to the next.

    Parameters
    ----------
    problem : ODEProblem
        Gives the model and the parameters.
    data : (len(t), *u0.shape) array
        Observations of every state.
    t : (len(t),) array
        Increasing times.
    group_size : int
        Observations in a group, at least 2; neighbours share one.
    alg : str
        A method, by its SciML name.
    continuity : float
        Weight of the jumps.
    abstol, reltol : float

    Returns
    -------
    loss, predictions
        One (observations, *u0.shape) array for each group. The loss is inf when a solve fails.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong.
    """
    from pysciml import engines
    from pysciml.engines.julia.methods import check_algorithm, known_algorithms

    n = problem.u0_flat.size
    values, times = _series(data, t)
    if values.shape[1] != n:
        raise ValueError(f"data must have {n} numbers for each time; got {values.shape[1]}")
    group_size = check.as_count(group_size, "group_size")
    if not 2 <= group_size <= times.size:
        raise ValueError(f"group_size must be from 2 to {times.size}; got {group_size}")
    flux = package("DiffEqFlux")
    check_algorithm(alg, known_algorithms)
    julia = session.module()
    engine: Any = engines.get("julia")
    model = engine.model(problem)
    model.compile_for("implicit")
    t0, t1 = float(times[0]), float(times[-1])
    prob = julia.SciMLBase.ODEProblem(
        julia.callable(model.handle), array(values[0]), (t0, t1), array(problem.p_flat)
    )
    loss, predictions = flux.multiple_shoot(
        prob.p,
        array(values.T),
        array(times),
        prob,
        main().seval("(data, prediction) -> sum(abs2, data .- prediction)"),
        julia.make_algorithm(alg, {}, reltol),
        group_size,
        continuity_term=check.as_nonnegative(continuity, "continuity"),
        abstol=check.as_positive(abstol, "abstol"),
        reltol=check.as_positive(reltol, "reltol"),
    )
    shape = (-1, *problem.u0.shape)
    return float(loss), [np.array(each, dtype=np.float64).T.reshape(shape) for each in predictions]


def _series(data: Any, t: Any) -> tuple[Array, Array]:
    """Observations as (len(t), m), and their increasing times."""
    values = check.as_observations(data, "data", "an array with a row for each time")
    times = check.as_observations(t, "t", "increasing times")
    if times.ndim != 1 or times.size < 2 or not (np.diff(times) > 0.0).all():
        raise ValueError(f"t must be at least two increasing times; got {check.describe(t)}")
    if values.ndim == 0 or len(values) != times.size:
        raise ValueError(
            f"data must have one row for each of the {times.size} times; got {check.describe(data)}"
        )
    return values.reshape(times.size, -1), times
