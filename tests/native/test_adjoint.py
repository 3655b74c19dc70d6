"""The native pullback against autograd of the same steps, closed forms and SciPy's tight solves."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from adjoint_reference import gradient
from scipy.integrate import solve_ivp

from pysciml.engines.base import AdjointOptions, Cotangents, SolveOptions
from pysciml.engines.native import adjoint
from pysciml.engines.native.checkpoints import log_width
from pysciml.engines.native.engine import NativeEngine
from pysciml.engines.native.explicit.tableau import ExplicitTableau
from pysciml.engines.native.methods import NAMES, find
from pysciml.errors import UnsupportedError
from pysciml.problems import ODEProblem

ENGINE = NativeEngine()
EXPLICIT = [
    name
    for name in NAMES
    if isinstance(find(name, {}).tableaus[0], ExplicitTableau) and not name.startswith("Auto")
]
ROSENBROCK = ["Rodas5P", "Rodas4", "Rosenbrock23"]
AUTOMATIC = ["AutoTsit5(Rodas5P)", "AutoVern7(Rodas5P)"]
TIGHT = {"abstol": 1e-11, "reltol": 1e-11, "dense": False}


def pull_back(
    problem: Any, alg: str | None, options: SolveOptions, **how: Any
) -> tuple[Any, np.ndarray, Cotangents]:
    """The solution, some cotangent of it, and the pullback of that."""
    raw, pullback = ENGINE.solve_with_pullback(problem, alg, options, AdjointOptions(**how))
    weights = np.random.default_rng(1).normal(size=raw.u.shape)
    return raw, weights, pullback(weights)


def close(value: Any, expected: Any, tolerance: float) -> None:
    expected = np.asarray(expected)
    assert np.abs(value - expected).max() <= tolerance * np.abs(expected).max()


# -- models ---------------------------------------------------------------------------------------
def forced(u: Any, p: Any, t: Any) -> Any:
    """Lotka-Volterra with seasons: nonlinear, coupled, depends on t."""
    x, y = u[0], u[1]
    return [
        p[0] * x - p[1] * x * y * torch.cos(t),
        -p[2] * y + p[3] * x * y + 0.1 * torch.sin(3 * t) * x * x,
    ]


def lotka_volterra(u: Any, p: Any, t: Any) -> Any:
    x, y = u[0], u[1]
    return [p[0] * x - p[1] * x * y, -p[2] * y + p[3] * x * y]


def lorenz(u: Any, p: Any, t: Any) -> Any:
    x, y, z = u[0], u[1], u[2]
    return [p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z]


def matrix(u: Any, p: Any, t: Any) -> Any:
    """A state of shape (2, 3)."""
    return torch.tanh(p[:4].reshape(2, 2) @ u) * torch.cos(t) - p[4] * u * u.sum(1, keepdim=True)


def robertson(u: Any, p: Any, t: Any) -> Any:
    a, b, c = u[0], u[1], u[2]
    return [
        -p[0] * a + p[1] * b * c,
        p[0] * a - p[1] * b * c - p[2] * b * b,
        p[2] * b * b,
    ]


def robertson_dae(u: Any, p: Any, t: Any) -> Any:
    first, second, _ = robertson(u, p, t)
    return [first, second, u[0] + u[1] + u[2] - 1.0]


def van_der_pol(u: Any, p: Any, t: Any) -> Any:
    return [u[1], p[0] * (1.0 - u[0] * u[0]) * u[1] - p[1] * u[0]]


P_FORCED = np.array([1.5, 1.0, 3.0, 1.0])
P_MATRIX = np.array([0.3, -0.8, 0.5, 0.4, 0.2])
P_ROBERTSON = np.array([0.04, 1e4, 3e7])
U_MATRIX = np.array([[0.3, -0.5, 0.8], [1.0, 0.2, -0.4]])


# -- the same steps, by autograd ------------------------------------------------------------------
SAVINGS = {
    "every step": {},
    "start and end": {"save_everystep": False},
    "between": {"saveat": np.array([0.0, 0.011, 0.3, 0.3, 0.47, 0.48, 0.49, 0.9])},
    "with stops": {"saveat": np.linspace(0.1, 0.9, 9), "tstops": np.array([0.3, 0.47])},
}


@pytest.mark.parametrize("saving", SAVINGS)
@pytest.mark.parametrize("alg", EXPLICIT + ROSENBROCK)
def test_exact_derivative_of_the_steps_taken(alg: str, saving: str) -> None:
    for f, u0, p in ((forced, [1.0, 1.2], P_FORCED), (matrix, U_MATRIX, P_MATRIX)):
        fixed = {"dt": 0.04, "adaptive": False, "dense": False}
        problem = ODEProblem(f, u0, (0.0, 0.9), p)
        stops = {key: value for key, value in SAVINGS[saving].items() if key == "tstops"}
        steps = ENGINE.solve(problem, alg, SolveOptions(**fixed, **stops)).t
        options = SolveOptions(**fixed, **SAVINGS[saving])
        raw, weights, found = pull_back(problem, alg, options)
        plain = ENGINE.solve(problem, alg, options)
        assert np.array_equal(raw.t, plain.t)
        assert np.array_equal(raw.u, plain.u)
        tableau = find(alg, {}).tableaus[0]
        u, by_u, by_p = gradient(f, tableau, steps, raw.t, u0, p, weights)
        close(raw.u, u, 1e-12)
        close(found.u0, by_u, 2e-11)
        close(found.p, by_p, 2e-11)


@pytest.mark.parametrize("alg", ["Tsit5", "Vern6", "Rodas5P"])
def test_backwards_in_time(alg: str) -> None:
    problem = ODEProblem(forced, [1.0, 1.2], (0.9, -0.3), P_FORCED)
    fixed = {"dt": 0.05, "adaptive": False, "dense": False}
    steps = ENGINE.solve(problem, alg, SolveOptions(**fixed)).t
    saveat = np.linspace(0.9, -0.3, 14)
    raw, weights, found = pull_back(problem, alg, SolveOptions(saveat=saveat, **fixed))
    u, by_u, by_p = gradient(
        forced, find(alg, {}).tableaus[0], steps, raw.t, [1.0, 1.2], P_FORCED, weights
    )
    close(raw.u, u, 1e-12)
    close(found.u0, by_u, 1e-11)
    close(found.p, by_p, 1e-11)


MASSES = {
    "full": (forced, [1.0, 1.2], P_FORCED, np.array([[2.0, 1.0], [-0.5, 1.5]])),
    # past the initial layer, which fixed steps do not resolve
    "singular": (
        robertson_dae,
        [0.9851721, 3.386395e-5, 0.0147940],
        P_ROBERTSON,
        np.diag([1.0, 1.0, 0.0]),
    ),
}


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("alg", ROSENBROCK)
def test_mass_matrices(alg: str, mass: str) -> None:
    f, u0, p, matrix = MASSES[mass]
    problem = ODEProblem(f, u0, (0.0, 0.4), p, mass_matrix=matrix)
    fixed = {"dt": 0.02, "adaptive": False, "dense": False}
    steps = ENGINE.solve(problem, alg, SolveOptions(**fixed)).t
    saveat = np.linspace(0.0, 0.4, 14)
    raw, weights, found = pull_back(problem, alg, SolveOptions(saveat=saveat, **fixed))
    u, by_u, by_p = gradient(
        f, find(alg, {}).tableaus[0], steps, raw.t, u0, p, weights, mass=matrix
    )
    close(raw.u, u, 1e-11)
    close(found.u0, by_u, 1e-9)
    for value, expected in zip(found.p, by_p, strict=True):  # of very different sizes
        assert abs(value - expected) <= 1e-9 * abs(expected)


@pytest.mark.parametrize("with_mass", [False, True])
@pytest.mark.parametrize("linsolve", ["dense", "banded", "sparse"])
def test_all_kinds_of_linear_algebra(linsolve: str, with_mass: bool) -> None:
    n = 30

    def diffusion(u: Any, p: Any, t: Any) -> Any:
        inner = u[2:] - 2 * u[1:-1] + u[:-2]
        ends = torch.stack([u[1] - u[0], u[-2] - u[-1]])
        laplacian = torch.cat([ends[:1], inner, ends[1:]])
        return p[0] * 40.0 * laplacian + p[1] * u * (1 - u) + p[2] * torch.sin(5 * t) * u

    mass = None
    if with_mass:  # not symmetric
        mass = np.diag(np.linspace(1, 2, n)) + np.diag(np.full(n - 1, 0.2), 1)
        mass += np.diag(np.full(n - 1, 0.1), -1)
    u0, p = 0.5 + 0.4 * np.cos(np.arange(n)), np.array([1.0, 2.0, 0.5])
    problem = ODEProblem(diffusion, u0, (0.0, 0.5), p, mass_matrix=mass)
    options = SolveOptions(
        dt=0.05,
        adaptive=False,
        dense=False,
        saveat=np.array([0.12, 0.3, 0.5]),
        algorithm={"linsolve": linsolve},
    )
    raw, weights, found = pull_back(problem, "Rodas5P", options)
    steps = np.append(np.arange(10) * 0.05, 0.5)
    tableau = find("Rodas5P", {}).tableaus[0]
    u, by_u, by_p = gradient(diffusion, tableau, steps, raw.t, u0, p, weights, mass=mass)
    close(raw.u, u, 1e-11)
    close(found.u0, by_u, 1e-10)
    close(found.p, by_p, 1e-10)


# -- true derivatives -----------------------------------------------------------------------------
def sensitivities(
    f: Any, u0: Any, p: Any, times: np.ndarray, tolerance: float, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """States (m, n) and their derivatives (m, n, n + n_p) in u0 and p, by SciPy: the forward
    sensitivity equations of a plain formula f, their coefficients by complex steps.
    """
    n, size = len(u0), len(u0) + len(p)
    steps = 1e-30j * np.eye(size)

    def right(t: float, y: np.ndarray) -> np.ndarray:
        s = y[n:].reshape(n, size)
        columns = [f(y[:n] + e[:n], p + e[n:], t) for e in steps]
        by = np.array(columns).imag.T / 1e-30
        ds = by[:, :n] @ s
        ds[:, n:] += by[:, n:]
        return np.concatenate([np.real(columns[0]), ds.ravel()])

    start = np.concatenate([u0, np.eye(n, size).ravel()])
    scale = np.concatenate([np.ones(n), np.tile(np.r_[np.ones(n), 1 / np.abs(p)], n)])
    done = solve_ivp(
        right,
        (0.0, times[-1]),
        start,
        method,
        t_eval=times,
        rtol=tolerance,
        atol=tolerance * 1e-3 * scale,
    )
    assert done.success
    return done.y[:n].T, done.y[n:].T.reshape(len(times), n, size)


NONSTIFF = {
    "Lotka-Volterra": (lotka_volterra, [1.0, 1.0], P_FORCED, np.linspace(0.0, 10.0, 31)),
    "Lorenz": (lorenz, [1.0, 0.0, 0.0], np.array([10.0, 28.0, 8 / 3]), np.linspace(0.0, 2.0, 21)),
}


@pytest.mark.parametrize("name", NONSTIFF)
@pytest.mark.parametrize("alg", ["Tsit5", "Vern7", "Rodas5P", None])
def test_true_gradients(name: str, alg: str | None) -> None:
    f, u0, p, times = NONSTIFF[name]
    u, by = sensitivities(f, u0, p, times, 1e-13, "DOP853")
    options = SolveOptions(saveat=times, **TIGHT)
    raw, weights, found = pull_back(ODEProblem(f, u0, (0.0, times[-1]), p), alg, options)
    expected = np.einsum("ti,tij->j", weights, by)
    close(raw.u, u, 1e-7)
    close(found.u0, expected[: len(u0)], 1e-7)
    close(found.p, expected[len(u0) :], 1e-7)


def test_stiff_gradient() -> None:
    """Robertson to 1e5: the rate constants differ by nine orders of magnitude."""
    times = np.array([0.4, 4.0, 40.0, 400.0, 4e3, 4e4, 1e5])
    u0 = [1.0, 0.0, 0.0]
    u, by = sensitivities(robertson, u0, P_ROBERTSON, times, 1e-11, "Radau")
    options = SolveOptions(saveat=times, abstol=1e-13, reltol=1e-10, dense=False)
    raw, _, _ = pull_back(ODEProblem(robertson, u0, (0.0, 1e5), P_ROBERTSON), "Rodas5P", options)
    scale = np.array([1.0, 1e4, 1.0])
    close(raw.u * scale, u * scale, 1e-8)
    problem = ODEProblem(robertson, u0, (0.0, 1e5), P_ROBERTSON)
    _, pullback = ENGINE.solve_with_pullback(problem, "Rodas5P", options, AdjointOptions())
    for component in range(3):  # each at its own scale
        weights = np.zeros_like(raw.u)
        weights[:, component] = np.linspace(1.0, 2.0, len(times))
        found = pullback(weights)
        expected = np.einsum("ti,tij->j", weights, by)
        for value, true in zip(np.r_[found.u0, found.p], expected, strict=True):
            assert abs(value - true) <= 1e-6 * abs(true)


def network(sizes: list[int], seed: int) -> tuple[Any, np.ndarray]:
    """A multilayer perceptron of a flat parameter vector, and parameters for it."""
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    rng = np.random.default_rng(seed)
    parts = [np.r_[rng.normal(size=m * n) / np.sqrt(n), 0.1 * np.ones(m)] for m, n in shapes]

    def apply(p: Any, x: Any) -> Any:
        at = 0
        for layer, (m, n) in enumerate(shapes):
            x = p[at : at + m * n].reshape(m, n) @ x
            x = x + p[at + m * n : at + m * n + m].reshape(-1, *[1] * (x.ndim - 1))
            at += m * n + m
            x = torch.tanh(x) if layer < len(shapes) - 1 else x
        return x

    return apply, np.concatenate(parts)


def directional(f: Any, u0: Any, p: Any, times: Any, weights: Any, du: Any, dp: Any) -> float:
    """Derivative of sum(weights * states) along (du, dp): central differences of tight solves."""

    def loss(e: float) -> float:
        q = torch.tensor(p + e * dp)

        def right(t: float, u: np.ndarray) -> np.ndarray:
            return f(torch.tensor(u), q, torch.tensor(t, dtype=torch.float64)).numpy()

        done = solve_ivp(
            right, (0.0, times[-1]), u0 + e * du, "DOP853", times, rtol=1e-13, atol=1e-13
        )
        return float((done.y.T * weights).sum())

    e = 2e-3
    near, far = loss(e) - loss(-e), loss(2 * e) - loss(-2 * e)
    return (8 * near - far) / (12 * e)  # fourth order


def _ude() -> tuple[Any, Any, Any, Any]:
    apply, p = network([2, 32, 32, 2], 0)

    def f(u: Any, p: Any, t: Any) -> Any:
        return torch.stack([1.3 * u[0], -1.8 * u[1]]) + 0.5 * apply(p, u)

    return f, np.array([0.5, 1.0]), p, np.linspace(0.0, 1.5, 16)


def _reaction_diffusion() -> tuple[Any, Any, Any, Any]:
    apply, p = network([1, 8, 1], 1)
    x = np.linspace(0.0, 1.0, 64)

    def f(u: Any, p: Any, t: Any) -> Any:
        left, right = torch.roll(u, 1), torch.roll(u, -1)
        return 8.0 * (left - 2 * u + right) + apply(p, u.reshape(1, -1)).reshape(-1)

    return f, np.exp(-20 * (x - 0.5) ** 2), p, np.linspace(0.0, 1.0, 6)


@pytest.mark.parametrize("alg", ["Tsit5", "Rodas5P", None])
@pytest.mark.parametrize("model", [_ude, _reaction_diffusion])
def test_gradients_of_universal_differential_equations(model: Any, alg: str | None) -> None:
    f, u0, p, times = model()
    options = SolveOptions(saveat=times, abstol=1e-10, reltol=1e-10, dense=False)
    _, weights, found = pull_back(ODEProblem(f, u0, (0.0, times[-1]), p), alg, options)
    rng = np.random.default_rng(2)
    for du, dp in ((1.0, 0.0), (0.0, 1.0)):
        du, dp = du * rng.normal(size=u0.size) / 3, dp * rng.normal(size=p.size) / 3  # noqa: PLW2901
        expected = directional(f, u0, p, times, weights, du, dp)
        assert abs(found.u0 @ du + found.p @ dp - expected) <= 1e-6 * abs(expected)


def test_a_jump_of_the_right_hand_side() -> None:
    """u' = a u before t = 1/2 and b u after it: u(1) = exp((a + b)/2)."""

    def f(u: Any, p: Any, t: Any) -> Any:
        return torch.where(t < 0.5, p[0], p[1]) * u

    problem = ODEProblem(f, [1.0], (0.0, 1.0), [0.7, -1.9])
    stop = {"tstops": np.array([0.5]), "saveat": np.array([0.5, 1.0])}
    for alg in ("Tsit5", "Vern7", "Rodas5P"):
        options = SolveOptions(**stop, **TIGHT)
        _, pullback = ENGINE.solve_with_pullback(problem, alg, options, AdjointOptions())
        found = pullback(np.array([[0.0], [1.0]]))
        end = np.exp(0.5 * (0.7 - 1.9))
        close(found.p, [0.5 * end, 0.5 * end], 1e-9)
        close(found.u0, [end], 1e-9)
        middle = pullback(np.array([[1.0], [0.0]]))
        close(middle.p, [0.5 * np.exp(0.35), 0.0], 1e-9)


@pytest.mark.parametrize("alg", AUTOMATIC)
def test_switching_between_methods(alg: str) -> None:
    p, u0, times = np.array([100.0, 1.0]), [2.0, 0.0], np.array([2.0, 33.0, 66.0, 110.0])
    u, by = sensitivities(van_der_pol, u0, p, times, 1e-11, "Radau")
    options = SolveOptions(saveat=times, abstol=1e-9, reltol=1e-9, dense=False)
    problem = ODEProblem(van_der_pol, u0, (0.0, 110.0), p)
    raw, weights, found = pull_back(problem, alg, options)
    assert raw.stats.naccept > raw.stats.njacs > 0  # some steps were implicit, some were not
    expected = np.einsum("ti,tij->j", weights, by)
    close(raw.u, u, 1e-8)
    close(found.u0, expected[:2], 2e-6)
    close(found.p, expected[2:], 2e-6)


# -- checkpoints ----------------------------------------------------------------------------------
LONG = {
    "Tsit5": (lorenz, [1.0, 0.0, 0.0], [10.0, 28.0, 8 / 3], 10.0),
    "Vern6": (lorenz, [1.0, 0.0, 0.0], [10.0, 28.0, 8 / 3], 10.0),
    "Vern7": (lorenz, [1.0, 0.0, 0.0], [10.0, 28.0, 8 / 3], 10.0),
    "Rodas5P": (lorenz, [1.0, 0.0, 0.0], [10.0, 28.0, 8 / 3], 8.0),
    "AutoTsit5(Rodas5P)": (van_der_pol, [2.0, 0.0], [50.0, 1.0], 200.0),
    "AutoVern7(Rodas5P)": (van_der_pol, [2.0, 0.0], [50.0, 1.0], 200.0),
}


@pytest.mark.parametrize("alg", LONG)
def test_checkpoints_change_nothing(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, u0, p, end = LONG[alg]
    problem = ODEProblem(f, u0, (0.0, end), p)
    some = {"abstol": 1e-8, "reltol": 1e-8, "dense": False}
    for saving in ({}, {"saveat": np.linspace(0.0, end, 77)}, {"maxiters": 300}):
        options = SolveOptions(**some, **saving)
        raw, _, kept = pull_back(problem, alg, options, checkpointing=False)
        assert raw.stats.naccept > 256  # several checkpoints
        again, _, recomputed = pull_back(problem, alg, options, checkpointing=True)
        assert np.array_equal(again.u, raw.u)
        assert np.array_equal(recomputed.u0, kept.u0)
        assert np.array_equal(recomputed.p, kept.p)
        with monkeypatch.context() as patch:  # a log that grows, and then is too large
            patch.setattr(adjoint, "_LOG_BUDGET", 8 * 200 * log_width(find(alg, {}), len(u0)))
            _, _, automatic = pull_back(problem, alg, options)
        assert np.array_equal(automatic.p, kept.p)


def test_memory_grows_with_the_square_root() -> None:
    def decay(u: Any, p: Any, t: Any) -> Any:
        return -p[0] * u

    problem = ODEProblem(decay, np.ones(4), (0.0, 1.0), [1.0])

    def peak(steps: int) -> int:
        options = SolveOptions(
            dt=1.0 / steps, adaptive=False, dense=False, save_everystep=False, maxiters=10**7
        )
        tracemalloc.start()
        raw, _, _ = pull_back(problem, "Euler", options, checkpointing=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert raw.stats.naccept == steps
        return most

    peak(4_000)  # compiled now
    assert peak(256_000) < 1.5 * 8 * peak(4_000)  # the square root of 64, and its rounding up


# -- what the pullback keeps to itself ------------------------------------------------------------
def test_pullbacks_are_independent() -> None:
    """Repeated, interleaved with other solves of the same model, and of long runs."""
    problem = ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 10.0), P_FORCED)
    other = problem.remake(u0=[2.0, 0.5], p=P_FORCED * 0.9)
    options = SolveOptions(saveat=np.linspace(0.0, 10.0, 31), **TIGHT)
    for alg in ("Tsit5", "Rodas5P", "AutoTsit5(Rodas5P)"):
        for checkpointing in (False, True):
            how = AdjointOptions(checkpointing=checkpointing)
            raw, pullback = ENGINE.solve_with_pullback(problem, alg, options, how)
            weights = np.random.default_rng(3).normal(size=raw.u.shape)
            u, first = raw.u.copy(), pullback(weights)
            raw_other, pullback_other = ENGINE.solve_with_pullback(other, alg, options, how)
            ENGINE.solve(other, alg, SolveOptions())
            second = pullback_other(weights)
            again = pullback(weights)
            assert np.array_equal(first.u0, again.u0)
            assert np.array_equal(first.p, again.p)
            assert not np.array_equal(first.p, second.p)
            assert np.array_equal(raw.u, u)
            raw.u[:] = np.nan  # the states are the caller's
            raw_other.t[:] = np.nan
            assert np.array_equal(pullback(weights).p, first.p)
            assert np.array_equal(pullback_other(weights).p, second.p)
            # linear in the cotangent
            close(pullback(2.0 * weights).p, 2.0 * first.p, 1e-13)
            assert not pullback(0.0 * weights).p.any()


def test_after_a_failed_solve() -> None:
    """The pullback is for the states that were saved."""
    problem = ODEProblem(forced, [1.0, 1.2], (0.0, 5.0), P_FORCED)
    for alg in ("Tsit5", "Rodas5P"):
        for saving in ({}, {"saveat": np.linspace(0.0, 5.0, 61)}):
            options = SolveOptions(dt=0.04, adaptive=False, dense=False, maxiters=17, **saving)
            raw, weights, found = pull_back(problem, alg, options)
            assert raw.retcode == "MaxIters"
            steps = ENGINE.solve(
                problem, alg, SolveOptions(dt=0.04, adaptive=False, dense=False, maxiters=17)
            ).t
            assert len(raw.t) == (18 if not saving else 9)
            _, by_u, by_p = gradient(
                forced, find(alg, {}).tableaus[0], steps, raw.t, [1.0, 1.2], P_FORCED, weights
            )
            close(found.u0, by_u, 1e-11)
            close(found.p, by_p, 1e-11)


def test_failures_at_the_start_and_at_a_singularity() -> None:
    root = ODEProblem(lambda u, p, t: -torch.sqrt(u), [-1.0], (0.0, 1.0), [1.0])
    for alg in ("Tsit5", "Rodas5P"):
        raw, _, found = pull_back(root, alg, SolveOptions(dense=False))
        assert raw.retcode == "Unstable"
        assert len(raw.t) <= 1
        assert found.u0.shape == (1,)
    square = ODEProblem(lambda u, p, t: p[0] * u * u, [1.0], (0.0, 2.0), [1.0])
    options = SolveOptions(saveat=np.linspace(0.0, 2.0, 21), **TIGHT)
    for alg in ("Tsit5", "Rodas5P", None):
        raw, _, _ = pull_back(square, alg, options)
        assert raw.retcode in ("DtLessThanMin", "Unstable", "MaxIters")
        _, pullback = ENGINE.solve_with_pullback(square, alg, options, AdjointOptions())
        weights = np.zeros_like(raw.u)
        weights[5] = 1.0  # u(1/2) = u0/(1 - p u0/2) = 2
        close(pullback(weights).u0, [4.0], 1e-8)
        close(pullback(weights).p, [2.0], 1e-8)


def test_no_parameters() -> None:
    problem = ODEProblem(lambda u, p, t: -u, [1.0, 2.0], (0.0, 1.0))
    for alg in ("Tsit5", "Rodas5P"):
        _, pullback = ENGINE.solve_with_pullback(
            problem, alg, SolveOptions(saveat=np.array([1.0]), **TIGHT), AdjointOptions()
        )
        found = pullback(np.array([[1.0, -2.0]]))
        close(found.u0, np.exp(-1.0) * np.array([1.0, -2.0]), 1e-9)
        assert found.p.shape == (0,)


def test_wrong_calls() -> None:
    problem = ODEProblem(lotka_volterra, [1.0, 1.0], (0.0, 1.0), P_FORCED)
    assert ENGINE.sensealgs() == ("DiscreteAdjoint",)
    options = SolveOptions(saveat=np.array([0.5, 1.0]), dense=False)
    named = AdjointOptions(sensealg="DiscreteAdjoint")
    _, pullback = ENGINE.solve_with_pullback(problem, "Tsit5", options, named)
    with pytest.raises(ValueError, match=r"\(2, 2\); got \(3, 2\)"):
        pullback(np.zeros((3, 2)))
    with pytest.raises(UnsupportedError, match=r"GaussAdjoint.*DiscreteAdjoint.*julia"):
        ENGINE.solve_with_pullback(
            problem, "Tsit5", options, AdjointOptions(sensealg="GaussAdjoint")
        )
    for wrong in ({"dense": True}, {"dense": False, "save_idxs": np.array([0])}):
        with pytest.raises(ValueError, match="whole states"):
            ENGINE.solve_with_pullback(problem, "Tsit5", SolveOptions(**wrong), AdjointOptions())
    with pytest.raises(ValueError, match="Tsit6"):
        ENGINE.solve_with_pullback(problem, "Tsit6", options, AdjointOptions())
    with pytest.raises(ValueError, match="dt"):
        ENGINE.solve_with_pullback(problem, "RK4", options, AdjointOptions())
