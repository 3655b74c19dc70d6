"""Robustness: the worst initial states and parameters within a ball, and bounds of their effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.errors import SolveError
from pysciml.problems import ODEProblem
from pysciml.sensitivity import gradient, sensitivities
from pysciml.solution import Solution
from pysciml.solve import solve
from pysciml.train.adversarial import Ball
from pysciml.train.unknowns import select_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TIMES = 101  # at which solutions are compared, by default


@dataclass(frozen=True, eq=False)
class Robustness:
    """What a perturbation within a ball can do to a solution.

    Attributes
    ----------
    ball : see `Ball`.
    on : "u0", or the names of the parameters that are perturbed.
    nominal : the solution without a perturbation.
    worst : the solution of largest loss that was found; it may have failed, and ended early.
    perturbation : (d,) array, what was added for that, in the units of the state or parameter.
    loss : of the worst.
    random : (samples,) array, losses of random perturbations of the same size; infinite where the
        solve failed.
    t : (m,) times of what follows.
    growth : (m,) array, the largest singular value of du(t)/dx, for x in units of the ball's scale:
        how much longer, at most, a small perturbation has become. One unit of the state counts the
        same for all its entries.
    growth_bound : (m,) array, for initial states a bound of the same that needs no derivative of
        the solution, exp(integral of the logarithmic norm of df/du); NaN for parameters.
    lipschitz : the largest norm of df/du along the nominal solution, a local Lipschitz constant.
    direction : (d,) array, the unit perturbation that grows most until the end.
    """

    ball: Ball
    on: str | tuple[str, ...]
    nominal: Solution
    worst: Solution
    perturbation: Array
    loss: float
    random: Array
    t: Array
    growth: Array
    growth_bound: Array
    lipschitz: float
    direction: Array

    @property
    def deviation(self) -> float:
        """Distance between worst and nominal state at the end; infinite if the worst failed."""
        if not self.worst.success:
            return math.inf
        return float(np.linalg.norm(self.worst.u[-1] - self.nominal.u[-1]))

    @property
    def linear_deviation(self) -> float:
        """What `deviation` would at most be if the solution were linear in the perturbation, for
        "l2"."""
        return float(self.growth[-1]) * self.ball.radius

    def plot(self) -> Figure:
        """Nominal and worst solution, and how perturbations grow."""
        import matplotlib.pyplot as plt

        figure, (states, growth) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
        for solution, style, label in ((self.nominal, "-", "nominal"), (self.worst, "--", "worst")):
            flat = solution.u.reshape(len(solution.t), -1)
            for i, name in enumerate(solution.names):
                states.plot(solution.t, flat[:, i], style, color=f"C{i}", label=f"{name}, {label}")
        states.set(xlabel="t", ylabel="state")
        states.set_title(f"{self.ball.norm} ball of radius {self.ball.radius:g}")
        states.legend()
        growth.plot(self.t, self.growth, color="black", label="largest singular value")
        if np.isfinite(self.growth_bound).all():
            growth.plot(self.t, self.growth_bound, ":", color="black", label="bound")
        growth.set(xlabel="t", ylabel="growth of a small perturbation", yscale="log")
        growth.legend()
        return figure

    def __repr__(self) -> str:
        what = self.on if isinstance(self.on, str) else ", ".join(self.on)
        median = float(np.median(self.random))
        return (
            f"Robustness of {what} ({self.ball.norm}, radius {self.ball.radius:g}): worst loss "
            f"{self.loss:.4g}, median of random ones {median:.4g}, growth {self.growth[-1]:.4g}, "
            f"Lipschitz {self.lipschitz:.4g}"
        )


def robustness(
    problem: ODEProblem,
    ball: Ball,
    *,
    on: str | Sequence[str] = "u0",
    loss: str | Callable[..., Any] = "trajectory",
    alg: str | None = None,
    engine: str = "auto",
    saveat: Any = None,
    abstol: Any = 1e-8,
    reltol: Any = 1e-8,
    starts: int = 4,
    samples: int = 100,
    seed: int = 0,
) -> Robustness:
    """Attack a model, and report what a perturbation can do.

    The worst initial state (or parameters) within the ball is sought by projected gradient ascent
    through the solver, from the worst of some random ones; a perturbation with which the solve
    fails is the worst there is. Beside it stand the random ones, the growth of small perturbations
    by the sensitivity equations, and its bound by the logarithmic norm mu of the
    Jacobian, |du(t)/du0| <= exp(integral of mu) (Dahlquist, Stability and error bounds in the
    numerical integration of ordinary differential equations, 1958).

    Parameters
    ----------
    problem : ODEProblem
        Such as `result.problem` of a fit.
    ball : Ball
    on : "u0", or names of parameters, which are perturbed together.
    loss : "trajectory", "final" or function
        What the attack makes large: the mean over saved times of the squared distance to the
        nominal solution, that at the end, or a torch function of the saved states.
    alg, engine, saveat, abstol, reltol : as for `solve`; by default 101 times are saved.
    starts : how many of the worst random perturbations the ascent begins at.
    samples, seed : number of random perturbations, of the ball's radius, and their seed.

    Returns
    -------
    Robustness

    Raises
    ------
    TypeError, ValueError
        An argument is wrong.
    SolveError
        The nominal problem cannot be solved.
    """
    attack = _Attack(problem, ball, on, loss, alg, engine, saveat, abstol, reltol)
    generator = np.random.default_rng(check.as_seed(seed, "seed"))
    tried = ball.random((check.as_count(samples, "samples"), attack.size), generator)
    losses = np.array([attack.value(z) for z in tried])
    begins = tried[np.argsort(-losses, kind="stable")[: check.as_count(starts, "starts")]]
    worst, value = max((attack.ascend(z) for z in begins), key=lambda found: found[1])
    growth, direction = attack.growth()
    norms, bound = attack.along_nominal()
    return Robustness(
        ball=ball,
        on=attack.on,
        nominal=attack.nominal,
        worst=attack.solve(worst),
        perturbation=attack.scale * worst,
        loss=value,
        random=losses,
        t=attack.nominal.t,
        growth=growth,
        growth_bound=bound,
        lipschitz=float(norms.max()),
        direction=direction,
    )


class _Attack:
    """Perturbations z of a problem, in units of the ball's scale, and their losses."""

    def __init__(
        self,
        problem: ODEProblem,
        ball: Ball,
        on: str | Sequence[str],
        loss: str | Callable[..., Any],
        alg: str | None,
        engine: str,
        saveat: Any,
        abstol: Any,
        reltol: Any,
    ) -> None:
        if not isinstance(problem, ODEProblem):
            raise TypeError(f"problem must be an ODEProblem; got {check.describe(problem)}")
        if not isinstance(ball, Ball):
            raise TypeError(f"ball must be a Ball(...); got {check.describe(ball)}")
        times = np.linspace(*problem.tspan, _TIMES) if saveat is None else saveat
        self.ball = ball
        self._problem = problem
        self._solver = {"alg": alg, "engine": engine, "abstol": abstol, "reltol": reltol}
        self.nominal = solve(problem, saveat=times, **self._solver)
        self._solver["saveat"] = self.nominal.t
        self.on: str | tuple[str, ...] = "u0"
        self._chosen: Any = None
        at = problem.u0_flat
        if on != "u0":
            self._chosen = select_all(on, problem.model.parameters, "on")
            names = problem.model.parameters.names
            self.on = tuple(names[i] for i in self._chosen)
            at = problem.p_flat[self._chosen]
        self.size = at.size
        self.scale = ball.scales(at)
        self._loss = self._as_loss(loss)

    def _as_loss(self, loss: Any) -> Callable[[Any], Any]:
        import torch

        if callable(loss):
            return loss
        check.as_choice(loss, "loss", ("trajectory", "final"))
        nominal = torch.as_tensor(self.nominal.u)
        first = -1 if loss == "final" else 0

        def distance(u: Any) -> Any:
            return (
                ((u[first:] - nominal[first:]) ** 2).reshape(len(nominal[first:]), -1).sum(1).mean()
            )

        return distance

    def at(self, z: Array) -> ODEProblem:
        """The problem with a perturbation."""
        moved = self.scale * z
        u0, p = self._problem.u0_flat, self._problem.p_flat
        if self._chosen is None:
            return self._problem.at(u0 + moved, p)
        changed = p.copy()
        changed[self._chosen] += moved
        return self._problem.at(u0, changed)

    def solve(self, z: Array) -> Solution:
        return solve(self.at(z), raise_on_failure=False, **self._solver)

    def value(self, z: Array) -> float:
        """The loss; infinite where there is no solution."""
        import torch

        solution = self.solve(z)
        return float(self._loss(torch.as_tensor(solution.u))) if solution.success else math.inf

    def ascend(self, z: Array) -> tuple[Array, float]:
        """The worst that is met on the way uphill from z, and its loss."""
        best, highest = z, -math.inf
        for _ in range(self.ball.steps):
            try:
                found = gradient(self.at(z), self._loss, sensealg="adjoint", **self._solver)
            except SolveError:
                return z, math.inf
            if found.value > highest:
                best, highest = z, found.value
            by_x = found.u0.reshape(-1) if self._chosen is None else found.p_flat[self._chosen]
            z = self.ball.uphill(z, self.scale * by_x)
        value = self.value(z)
        return (z, value) if value > highest else (best, highest)

    def growth(self) -> tuple[Array, Array]:
        """Largest singular values over time, and the direction that grows most until the end."""
        if self._chosen is None:
            found = sensitivities(self._problem, wrt=[], **self._solver)
            assert found.u0 is not None
            by_x = found.u0
        else:
            found = sensitivities(self._problem, wrt=self.on, u0=False, **self._solver)
            by_x = found.p
        jacobian = by_x.reshape(len(found.t), -1, self.size) * self.scale
        _, values, vectors = np.linalg.svd(jacobian)
        return values[:, 0], vectors[-1, 0]

    def along_nominal(self) -> tuple[Array, Array]:
        """Norms of df/du at the saved times, and the bound of the growth."""
        from pysciml.capture.interpret import prepare

        n, t = self._problem.u0.size, self.nominal.t
        jac = prepare(self._problem.model.jac)
        jacobians = np.stack(
            [
                jac(u.reshape(-1), self._problem.p_flat, time).reshape(n, n)
                for time, u in zip(t, self.nominal.u, strict=True)
            ]
        )
        norms = np.linalg.norm(jacobians, 2, axis=(1, 2))
        if self._chosen is not None or self._problem.mass_matrix is not None:
            return norms, np.full(len(t), np.nan)
        logarithmic = np.linalg.eigvalsh((jacobians + jacobians.transpose(0, 2, 1)) / 2.0)[:, -1]
        steps = np.diff(t) * (logarithmic[1:] + logarithmic[:-1]) / 2.0
        return norms, self.scale.max() * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))


#: Lipschitz constants of the activations that `pysciml.nn.mlp` knows by name
_CONSTANTS = {
    "Tanh": 1.0,
    "RBF": math.sqrt(2.0 / math.e),
    "Sigmoid": 0.25,
    "ReLU": 1.0,
    "GELU": 0.5 + math.erf(1.0) / 2.0 + math.exp(-1.0) / math.sqrt(math.pi),  # at sqrt(2)
    "SiLU": 1.0998394,  # at 2.3994
    "Softplus": 1.0,
    "Sine": 1.0,
    "Identity": 1.0,
}


def lipschitz(network: Any) -> float:
    """An upper bound of a perceptron's Lipschitz constant, for Euclidean norms.

    The product of the spectral norms of its layers and the constants of its activations (Szegedy et
    al., Intriguing properties of neural networks, ICLR 2014). It holds everywhere, and is often far
    above what the network does where it was trained; `robustness` reports that.

    Parameters
    ----------
    network : nn.Sequential of nn.Linear and activations, as `pysciml.nn.mlp` makes it.

    Raises
    ------
    TypeError
        There is something else in it.
    """
    from torch import nn

    if not isinstance(network, nn.Sequential):
        raise TypeError(f"network must be an nn.Sequential; got {check.describe(network)}")
    bound = 1.0
    for layer in network:
        if isinstance(layer, nn.Linear):
            bound *= float(np.linalg.norm(layer.weight.detach().numpy(), 2))
        elif type(layer).__name__ in _CONSTANTS:
            bound *= _CONSTANTS[type(layer).__name__]
        else:
            raise TypeError(
                "network must have linear layers and activations that pysciml.nn.mlp knows; "
                f"got {check.describe(layer)}"
            )
    return bound
