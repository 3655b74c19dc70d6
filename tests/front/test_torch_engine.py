"""The torch engine against closed forms, SciPy, and torchdiffeq called directly."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torchdiffeq import odeint

import pysciml as sml

RATES = (1.5, 1.0, 3.0, 1.0)
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
# method: order of convergence
FIXED = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}


def oscillator(u, p, t):
    """Solution from (1, 0): (cos wt, -sin wt)."""
    return torch.stack([p * u[1], -p * u[0]])


def lotka_volterra(u, p, t):
    x, y = u[0], u[1]
    return torch.stack([p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y])


def exact(t, w=2.0):
    return np.stack([np.cos(w * t), -np.sin(w * t)], axis=-1)


@pytest.fixture(scope="module")
def circle():
    return sml.ODEProblem(oscillator, [1.0, 0.0], (0.0, 3.0), 2.0)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("method", [*ADAPTIVE, "scipy_solver"])
def test_adaptive_methods_follow_their_tolerance(circle, method):
    errors = []
    for tolerance in (1e-4, 1e-6):
        solution = sml.solve(circle, method, "torch", 0.1, tolerance, tolerance)
        assert solution.alg == method
        assert solution.stats.nf > 0
        errors.append(np.abs(solution.u - exact(solution.t)).max())
    assert errors[0] < 0.2  # fehlberg2 and adaptive_heun are of low order
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize(("method", "order"), FIXED.items())
def test_fixed_methods_converge_with_their_order(circle, method, order):
    errors = []
    for dt in (0.02, 0.01):
        solution = sml.solve(circle, method, "torch", dt=dt, adaptive=False, dense=False)
        assert solution.stats.naccept == round(3.0 / dt)
        assert len(solution.t) == round(3.0 / dt) + 1
        errors.append(np.abs(solution.u[-1] - exact(3.0)).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", ["explicit_adams", "implicit_adams"])
def test_adams_methods(circle, method):
    # of its full order the explicit method is unstable here
    options = {"max_order": 4}
    solution = sml.solve(circle, method, "torch", 0.5, dt=0.01, alg_options=options)
    assert np.abs(solution.u - exact(solution.t)).max() < 1e-4


def test_a_fixed_method_can_step_from_one_saved_time_to_the_next(circle):
    solution = sml.solve(circle, "rk4", "torch", 0.01)
    assert solution.stats.naccept == 300
    assert np.abs(solution.u - exact(solution.t)).max() < 1e-7


@pytest.mark.parametrize(
    ("alias", "method"),
    [("DP5", "dopri5"), ("BS3", "bosh3"), ("DP8", "dopri8"), (None, "dopri5")],
)
def test_scimls_names(circle, alias, method):
    assert sml.solve(circle, alias, "torch", 1.0).alg == method


def test_the_numbers_are_torchdiffeqs_own():
    problem = sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0, 10), RATES)
    solution = sml.solve(problem, "dopri5", "torch", 0.5, 1e-6, 1e-6)
    calls = 0

    def f(t, u):
        nonlocal calls
        calls += 1
        return lotka_volterra(u, RATES, t)

    with torch.no_grad():
        u = odeint(
            f,
            torch.ones(2, dtype=torch.float64),
            torch.linspace(0, 10, 21, dtype=torch.float64),
            rtol=1e-6,
            atol=1e-6,
            method="dopri5",
        )
    np.testing.assert_allclose(solution.u, u.numpy(), rtol=1e-12)
    assert solution.stats.nf == calls


def test_lotka_volterra_agrees_with_scipy_at_every_time():
    problem = sml.ODEProblem(lotka_volterra, [1.0, 1.0], (0, 10), RATES)
    solution = sml.solve(problem, engine="torch", abstol=1e-8, reltol=1e-8)
    a, b, c, d = RATES
    reference = solve_ivp(
        lambda t, u: [a * u[0] - b * u[0] * u[1], d * u[0] * u[1] - c * u[1]],
        (0, 10),
        [1, 1],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        dense_output=True,
    ).sol
    assert len(solution.t) == solution.stats.naccept + 1
    assert np.abs(solution.u - reference(solution.t).T).max() < 5e-6
    times = np.linspace(0, 10, 777)
    assert np.abs(solution(times) - reference(times).T).max() < 5e-6


@pytest.mark.parametrize(
    ("method", "options"),
    [("dopri5", {}), ("dopri8", {}), ("rk4", {"dt": 0.01}), ("scipy_solver", {})],
)
@pytest.mark.parametrize("tspan", [(0.0, 3.0), (3.0, 0.0)])
def test_dense_output_is_the_interpolant_of_torchdiffeq(method, options, tspan):
    u0 = exact(tspan[0])
    problem = sml.ODEProblem(oscillator, u0, tspan, 2.0)
    times = np.linspace(*tspan, 38)
    keywords = {"abstol": 1e-8, "reltol": 1e-8, **options}
    saved = sml.solve(problem, method, "torch", times, **keywords)
    dense = sml.solve(problem, method, "torch", **keywords)
    np.testing.assert_allclose(dense(times), saved.u, atol=1e-11)
    np.testing.assert_allclose(dense(times[::-1]), saved.u[::-1], atol=1e-11)
    np.testing.assert_allclose(dense(dense.t), dense.u, atol=1e-11)
    assert dense(1.5).shape == (2,)


def test_backwards_in_time():
    problem = sml.ODEProblem(oscillator, exact(3.0), (3.0, 0.0), 2.0)
    solution = sml.solve(problem, engine="torch", abstol=1e-9, reltol=1e-9)
    assert solution.t[0] == 3.0 and solution.t[-1] == 0.0
    assert (np.diff(solution.t) < 0).all()
    assert np.abs(solution.u - exact(solution.t)).max() < 1e-6


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_states_of_any_shape(shape):
    u0 = 1.0 + np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
    problem = sml.ODEProblem(lambda u, p, t: -2.0 * u, u0, (0, 1))
    solution = sml.solve(problem, engine="torch", abstol=1e-9, reltol=1e-9)
    assert solution.u.shape == (len(solution.t), *shape)
    np.testing.assert_allclose(solution.u[-1], u0 * np.exp(-2.0), rtol=1e-7)
    np.testing.assert_allclose(solution(0.5), u0 * np.exp(-1.0), rtol=1e-6)


def test_time_dependence_and_saving_times_without_t0():
    problem = sml.ODEProblem(lambda u, p, t: torch.cos(t) * torch.ones_like(u), [0.0], (0, 2))
    solution = sml.solve(problem, engine="torch", saveat=[0.5, 1.5], abstol=1e-9, reltol=1e-9)
    np.testing.assert_allclose(solution.u[:, 0], np.sin([0.5, 1.5]), atol=1e-7)


def test_a_single_saving_time(circle):
    assert sml.solve(circle, engine="torch", saveat=[0.0]).u.tolist() == [[1.0, 0.0]]
    assert sml.solve(circle, engine="torch", saveat=[3.0]).u.shape == (1, 2)


def test_only_the_ends(circle):
    solution = sml.solve(circle, engine="torch", save_everystep=False)
    assert solution.t.tolist() == [0.0, 3.0]


def test_save_idxs(circle):
    solution = sml.solve(circle, engine="torch", save_idxs=[1], abstol=1e-9, reltol=1e-9)
    assert solution.u.shape == (len(solution.t), 1)
    np.testing.assert_allclose(solution(1.0), exact(1.0)[1:], atol=1e-6)


def test_tolerances_for_each_component():
    problem = sml.ODEProblem(lambda u, p, t: -u, [[1.0, 1e-6]], (0, 1))
    solution = sml.solve(
        problem, engine="torch", abstol=[[1e-6, 1e-12]], reltol=[[1e-6, 1e-6]], saveat=1.0
    )
    np.testing.assert_allclose(solution.u[-1], problem.u0 * np.exp(-1.0), rtol=1e-4)


def test_step_options_reach_torchdiffeq(circle):
    loose = {"abstol": 1.0, "reltol": 1.0, "dense": False}
    capped = sml.solve(circle, engine="torch", dtmax=0.01, **loose)
    assert np.diff(capped.t).max() < 0.01 * (1 + 1e-12)
    first = sml.solve(circle, engine="torch", dt=0.001, **loose)
    assert first.t[1] == pytest.approx(0.001)
    own = sml.solve(circle, "rk4", "torch", 0.05, dt=0.1, alg_options={"interp": "cubic"})
    assert np.abs(own.u - exact(own.t)).max() < 1e-3


def test_a_module_in_single_precision_is_solved_in_double():
    net = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.constant_(net.weight, -0.5)
    solution = sml.solve(
        sml.ODEProblem(net, [1.0, 0.0], (0, 1)), engine="torch", abstol=1e-12, reltol=1e-12
    )
    # eigenvalues of the matrix are 0 and -1
    expected = [(1 + np.exp(-1)) / 2, (np.exp(-1) - 1) / 2]
    np.testing.assert_allclose(solution.u[-1], expected, atol=1e-11)


class TestFailure:
    def test_a_singularity(self):
        problem = sml.ODEProblem(lambda u, p, t: u * u, 1.0, (0, 2))  # u = 1 / (1 - t)
        with pytest.raises(sml.SolveError, match=r"torchdiffeq: underflow in dt at t = 0.9999"):
            sml.solve(problem, engine="torch")
        solution = sml.solve(problem, engine="torch", raise_on_failure=False)
        assert solution.retcode == "DtLessThanMin"
        early = solution.t < 0.9
        assert early.sum() > 3
        np.testing.assert_allclose(solution.u[early], 1 / (1 - solution.t[early]), rtol=1e-2)

    def test_too_many_steps(self, circle):
        solution = sml.solve(circle, engine="torch", maxiters=5, raise_on_failure=False)
        assert solution.retcode == "MaxIters"
        assert solution.stats.naccept + solution.stats.nreject == 5
        assert solution.message.startswith("5 steps were not enough at t = ")
        assert 0.0 < solution.t[-1] < 3.0
        np.testing.assert_allclose(solution.u, exact(solution.t), atol=1e-2)
        assert solution(solution.t[-1] / 2).shape == (2,)

    def test_the_saved_times_before_the_failure_are_kept(self, circle):
        whole = sml.solve(circle, engine="torch", saveat=0.01)
        part = sml.solve(circle, engine="torch", saveat=0.01, maxiters=5, raise_on_failure=False)
        assert 2 < len(part.t) < len(whole.t)
        np.testing.assert_array_equal(part.u, whole.u[: len(part.t)])

    def test_numbers_that_are_not_finite(self):
        problem = sml.ODEProblem(lambda u, p, t: torch.sqrt(u - 2.0), 1.0, (0, 1))
        solution = sml.solve(problem, engine="torch", raise_on_failure=False)
        assert solution.retcode in ("Unstable", "DtLessThanMin")
        fixed = sml.solve(problem, "euler", "torch", dt=0.1, raise_on_failure=False)
        assert fixed.retcode == "Unstable"


@pytest.mark.parametrize(
    ("alg", "options", "message"),
    [
        (
            "Tsit5",
            {},
            "engine=\"torch\" has no algorithm 'Tsit5'. torchdiffeq has dopri5, dopri8, bosh3, "
            "fehlberg2, adaptive_heun, euler, midpoint, heun2, heun3, rk4, explicit_adams, "
            'implicit_adams, scipy_solver. SciML\'s methods need engine="julia"; Tsit5, Vern7 '
            'and Rodas5P are also in engine="native"',
        ),
        (
            None,
            {"tstops": [0.5]},
            'engine="torch" has no tstops; engine="native" and engine="julia" have. '
            'torchdiffeq\'s own alg_options={"step_t": tensor} is passed on',
        ),
        (
            None,
            {"dtmin": 1e-3},
            'engine="torch" has no dtmin: torchdiffeq\'s min_step accepts a step of that size '
            'whatever its error. engine="native" and engine="julia" have it',
        ),
        (
            "rk4",
            {},
            '"rk4" has a fixed step in engine="torch": give dt, or saveat to step from one of its '
            "times to the next",
        ),
        (
            "rk4",
            {"dt": 0.1, "dtmax": 0.2},
            '"rk4" has a fixed step in engine="torch": it has no dtmax',
        ),
        (
            "dopri5",
            {"dt": 0.1, "adaptive": False},
            '"dopri5" has no fixed step in engine="torch"; euler, midpoint, heun2, heun3, rk4, '
            "explicit_adams, implicit_adams have",
        ),
        ("scipy_solver", {"dt": 0.1}, '"scipy_solver" has no dt in engine="torch"'),
    ],
)
def test_what_torchdiffeq_lacks(circle, alg, options, message):
    with pytest.raises(sml.UnsupportedError) as raised:
        sml.solve(circle, alg, "torch", **options)
    assert str(raised.value) == message


def test_a_misspelt_method(circle):
    with pytest.raises(sml.UnsupportedError, match=r"no algorithm 'dopri'; did you mean 'dopri"):
        sml.solve(circle, "dopri", "torch")


def test_mass_matrix():
    problem = sml.ODEProblem(oscillator, [1.0, 0.0], (0, 1), 2.0, mass_matrix=np.eye(2))
    with pytest.raises(sml.UnsupportedError, match='cannot use a mass_matrix; engine="native"'):
        sml.solve(problem, engine="torch")


def test_an_assertion_of_the_users_own_is_not_swallowed():
    """Such an error in f is the user's business, whatever it is."""
    problem = sml.ODEProblem(oscillator, [1.0, 0.0], (0, 1), 2.0)
    model = problem.model

    def broken(u, p, t):
        raise AssertionError("mine")

    model.torch_function = broken
    with pytest.raises(AssertionError, match="mine"):
        sml.solve(problem, engine="torch")
