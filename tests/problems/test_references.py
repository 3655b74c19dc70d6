"""The reference problems themselves: derivatives, published values, agreement of two methods.

Nothing here needs pysciml; it is what the other tests stand on.
"""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from . import PROBLEMS
from .base import DATA

EVERY = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())


def states(problem, count=4):
    """Random points near the solution."""
    rng = np.random.default_rng(20240607)
    chosen = problem.reference[:: max(1, len(problem.saveat) // count)]
    noise = 1 + 0.1 * rng.standard_normal(chosen.shape)
    return chosen * noise + 0.01 * problem.scale * rng.standard_normal(chosen.shape)


def evaluate(function, u, p, t, inplace):
    u = torch.from_numpy(np.array(u))
    p = None if p is None else torch.from_numpy(p)
    if inplace:
        out = torch.zeros_like(u)
        function(out, u, p, t)
        return out.numpy().ravel()
    out = function(u, p, t)
    if not isinstance(out, torch.Tensor):
        out = torch.stack([torch.as_tensor(x) for x in out])
    return out.numpy().ravel()


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@EVERY
def test_model_is_the_independent_right_hand_side(problem):
    """The model, run eagerly on tensors; the NumPy-only variants run once captured."""
    forms = {"f": problem.f} | {k: v for k, v in problem.variants.items() if k != "numpy"}
    for name, form in forms.items():
        for u in states(problem):
            expected = problem.f_scipy(0.3, u.ravel())
            got = evaluate(form, u, problem.p, 0.3, name in ("inplace", "loops"))
            np.testing.assert_allclose(
                got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max()
            )


@EVERY
def test_numpy_variant_is_the_independent_right_hand_side(problem):
    if "numpy" not in problem.variants:
        pytest.skip("no NumPy variant")
    for u in states(problem):
        expected = problem.f_scipy(0.3, u.ravel())
        got = problem.variants["numpy"](u, problem.p, 0.3).ravel()
        assert_close(got, expected)


@EVERY
def test_analytic_jacobian_is_the_complex_step_derivative(problem):
    """Im f(y + i h v) / h is J v without cancellation."""
    rng = np.random.default_rng(1)
    for u in states(problem):
        y = u.ravel()
        jac = problem.jac(0.3, y)
        for v in rng.standard_normal((3, y.size)):
            expected = problem.f_scipy(0.3, y + 1e-30j * v).imag / 1e-30
            size = np.abs(jac).max() if sp.issparse(jac) else np.abs(jac) @ np.abs(v)
            assert np.all(np.abs(jac @ v - expected) <= 1e-12 * size + 1e-300)


@pytest.mark.parametrize("problem", [q for q in PROBLEMS.values() if q.published is not None])
def test_reference_ends_at_the_published_values(problem):
    np.testing.assert_allclose(
        problem.reference[-1].ravel(), problem.published, rtol=problem.published_rtol
    )


@pytest.mark.parametrize("path", sorted(DATA.glob("*.npz")), ids=lambda path: path.stem)
def test_stored_references_agree_with_a_second_method(path):
    """Extended-precision Radau IIA of two orders, to rounding, and SciPy near its own limit."""
    with np.load(path) as stored:
        agreement = {k: float(v) for k, v in stored.items() if k.startswith("agreement_")}
    assert agreement.pop("agreement_two_runs") < 1e-13
    scipy_best = min(v for k, v in agreement.items() if k != "agreement_published")
    assert scipy_best < 1e-10


@pytest.mark.parametrize("name", ["heat_periodic", "heat_dirichlet"])
def test_closed_form_solves_the_discrete_heat_equation(name):
    """du/dt by a complex step in t is impossible through the FFT's real part; use differences."""
    problem = PROBLEMS[name]
    t, h = 0.004, 1e-6
    before, now, after = problem.exact(np.array([t - h, t, t + h]))
    slope = ((after - before) / (2 * h)).ravel()
    expected = problem.f_scipy(t, now.ravel())
    np.testing.assert_allclose(slope, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(problem.exact(np.array([0.0]))[0], problem.u0, atol=1e-14)
