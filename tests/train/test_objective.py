"""The objective as plain data: its programs, and its gradient on each engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import engines, train
from pysciml.capture.functions import capture_map, capture_value_and_grad
from pysciml.capture.interpret import prepare
from pysciml.codegen.numba import as_numpy_function, compile_program
from pysciml.errors import CaptureError
from pysciml.train.data import as_tables
from pysciml.train.inputs import make_task
from pysciml.train.objective import FailedTrial, ObjectiveFunction
from pysciml.train.strategies import Collocation, GrowingHorizon, MultipleShooting

TIGHT = {"abstol": 1e-12, "reltol": 1e-12}


def central_differences(function, theta, step=1e-5):
    """Fourth order, so that the step can be large against the noise of a solve."""
    columns = []
    for k in range(theta.size):
        e = np.zeros(theta.size)
        e[k] = step
        near = function(theta + e) - function(theta - e)
        far = function(theta + 2 * e) - function(theta - 2 * e)
        columns.append((8.0 * near - far) / (12.0 * step))
    return np.array(columns)


def everything(lotka_volterra):
    """Two trajectories, NaN, repeated times, an observation function, noise, penalties, u0."""
    problem, t, u = lotka_volterra
    y = np.stack([u[:, 0] + u[:, 1], u[:, 1] * 1.1], axis=1)[::3]
    y[2, 0] = y[5, 1] = np.nan
    data = [(t[::3], y), (np.append(t[3:12:3], t[3]), y[[1, 2, 3, 1]] + 0.1)]
    return make_task(
        problem.remake(p={"a": 1.2, "b": 1.0, "c": 0.7, "d": 1.9}),
        as_tables(data),
        u0=[[0.5, 4.0], [0.4, 4.5]],
        fit_u0=True,
        u0_transform=train.positive,
        observe=lambda u, p, t: [u[0] + u[1], u[1] * (1.0 + 0.1 * p["a"])],
        loss="gaussian",
        fixed=["b"],
        transforms={"a": train.positive, "c": train.bounded(0.1, 2.0)},
        regularise=[train.L2(0.1), train.Physics(lambda u, p, t: u[0] * t - p["d"], 0.3)],
        **TIGHT,
    )


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_gradient_of_everything_at_once(lotka_volterra, engine):
    task = everything(lotka_volterra)
    theta = task.unknowns.first + 0.01
    assert task.unknowns.names[:3] == ["a", "c", "d"]
    assert theta.size == 3 + 4 + 2
    function = ObjectiveFunction(engines.get(engine), task.objective())
    value, gradient = function(theta)
    native = ObjectiveFunction(engines.get("native"), task.objective())
    expected = central_differences(native.value, theta, 1e-3)
    np.testing.assert_allclose(gradient, expected, rtol=2e-7, atol=1e-7)
    assert value == pytest.approx(native.value(theta), rel=1e-9)


@pytest.mark.parametrize(
    "strategy", [MultipleShooting(3, continuity=5.0), GrowingHorizon([0.4]), Collocation(nodes=30)]
)
def test_gradient_of_each_strategy(lotka_volterra, strategy):
    problem, t, u = lotka_volterra
    task = make_task(
        problem.remake(p={"a": 1.2, "b": 1.0, "c": 0.7, "d": 1.9}), as_tables((t, u)), **TIGHT
    )
    (phase,) = strategy.phases(task, (train.Adam(),))
    objective, extra = phase.make(task.unknowns.first)
    theta = np.concatenate([task.unknowns.first, extra])
    theta += 0.05 * np.random.default_rng(0).standard_normal(theta.size)
    function = ObjectiveFunction(engines.get("native"), objective)
    value, gradient = function(theta)
    expected = central_differences(function.value, theta, 1e-3)
    np.testing.assert_allclose(gradient, expected, rtol=2e-7, atol=1e-8)
    assert value == function.value(theta)


def test_programs_compile_to_what_they_are(lotka_volterra):
    """An engine that runs the whole loop compiles them; this one interprets them."""
    task = everything(lotka_volterra)
    objective = task.objective()
    random = np.random.default_rng(1)
    theta = task.unknowns.first
    saved = random.uniform(0.5, 2.0, objective.n_saved)
    w = random.standard_normal(objective.starts.shape[0])
    nothing = np.zeros(0)
    for program, u, p in (
        (objective.starts, theta, nothing),
        (objective.starts_vjp, theta, w),
        (objective.loss, saved, theta),
    ):
        expected = program(u, p, 0.0)
        compiled = as_numpy_function(compile_program(program), program)
        np.testing.assert_allclose(compiled(u, p, 0.0), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(prepare(program)(u, p, 0.0), expected.reshape(-1))


def test_layout_of_starts_and_saved_states(lotka_volterra):
    task = everything(lotka_volterra)
    objective = task.objective()
    assert [solve.options.saveat.size for solve in objective.solves] == [11, 3]
    assert objective.n_saved == 2 * (11 + 3)
    starts = objective.starts(task.unknowns.first, np.zeros(0), 0.0)
    np.testing.assert_allclose(starts, [0.5, 4.0, 0.4, 4.5, 1.2, 1.0, 0.7, 1.9], rtol=1e-14)
    assert objective.solves[1].problem.tspan == (0.0, pytest.approx(0.9))


def test_a_failed_solve_and_a_loss_that_is_not_finite_are_failed_trials():
    grows = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 0.5})
    task = make_task(grows, as_tables(([0.5, 1.0], [[1.3], [2.0]])), loss=train.LogNormal(0.1))
    function = ObjectiveFunction(engines.get("native"), task.objective())
    assert np.isfinite(function(np.array([0.5]))[0])
    with pytest.raises(FailedTrial, match=r"DtLessThanMin|Unstable") as failure:
        function(np.array([1.5]))  # u = 1/(1 - 1.5 t) ends before t = 1
    assert failure.value.solve == 0
    sinks = sml.ODEProblem(lambda u, p, t: -p["k"] + 0.0 * u, [1.0], (0.0, 1.0), {"k": 2.0})
    task = make_task(sinks, as_tables(([0.5, 1.0], [[0.1], [0.1]])), loss=train.LogNormal(0.1))
    with np.errstate(invalid="ignore"), pytest.raises(FailedTrial, match="is not finite"):
        ObjectiveFunction(engines.get("native"), task.objective())(np.array([2.0]))


def test_value_and_grad_against_autograd():
    def function(u, p):
        return (torch.sin(u).sum() * p.prod()).exp() + (u[:2] / p[0]).norm()

    program = capture_value_and_grad(function, 3, 2)
    u = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.7, 1.2], dtype=torch.float64, requires_grad=True)
    value = function(u, p)
    du, dp = torch.autograd.grad(value, (u, p))
    expected = np.concatenate([[value.item()], du.numpy(), dp.numpy()])
    found = program(u.detach().numpy(), p.detach().numpy(), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_map_and_its_transpose_against_autograd():
    def function(u):
        return torch.cat([u.exp(), u[:1] * u[1:], torch.ones(1, dtype=torch.float64)])

    value, transpose = capture_map(function, 2)
    u, w = np.array([0.3, -0.4]), np.array([1.0, 2.0, 3.0, 4.0])
    jacobian = torch.autograd.functional.jacobian(function, torch.as_tensor(u)).numpy()
    np.testing.assert_allclose(value(u, [], 0.0), function(torch.as_tensor(u)).numpy(), rtol=1e-14)
    np.testing.assert_allclose(transpose(u, w, 0.0), w @ jacobian, rtol=1e-14)


def test_what_cannot_be_captured_is_told_with_its_line():
    def branches(u, p):
        return u.sum() if u[0] > 0 else p.sum()

    with pytest.raises(CaptureError, match=r"the loss cannot be captured.*\n.*test_objective"):
        capture_value_and_grad(branches, 2, 2)
    with pytest.raises(CaptureError, match=r"it hands a tensor to NumPy"):
        capture_value_and_grad(lambda u, p: u.numpy().sum(), 2, 2)
    with pytest.raises(CaptureError, match=r"the loss must return one number.*\(2,\)"):
        capture_value_and_grad(lambda u, p: u, 2, 2)
    with pytest.raises(CaptureError, match=r"the loss raised KeyError"):
        capture_value_and_grad(lambda u, p: {}["x"], 2, 2)
