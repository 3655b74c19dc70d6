"""Derivatives of delayed solutions, and what is fitted with them."""

from __future__ import annotations

import delay_cases as cases
import numpy as np
import pytest
import torch

import pysciml as sml
from pysciml import nn
from pysciml.train import LBFGS, Collocation, MultipleShooting

TIGHT = {"engine": "native", "alg": "Vern7", "abstol": 1e-11, "reltol": 1e-11}
TIMES = np.linspace(0.25, 4.0, 16)


def test_gradient_of_a_known_solution():
    """By rate, lag and u0 (at constant history), against differences of the closed form."""
    problem = cases.linear(0.7, 4.0)
    found = sml.gradient(problem, lambda u: (u**2).sum(), saveat=TIMES, **TIGHT)

    def value(rate, lag):
        return (cases.linear_exact(TIMES, rate, lag) ** 2).sum()

    step = 1e-5
    by_rate = (value(1.0 + step, 0.7) - value(1.0 - step, 0.7)) / (2.0 * step)
    by_lag = (value(1.0, 0.7 + step) - value(1.0, 0.7 - step)) / (2.0 * step)
    assert found.value == pytest.approx(value(1.0, 0.7), rel=1e-9)
    np.testing.assert_allclose(found.p, [by_rate, by_lag], rtol=1e-7)
    # without a past, a change of u0 follows the same equation from a past of zero
    pulse = sml.solve(problem.remake(u0=2.0), saveat=TIMES, **TIGHT).u
    change = pulse - cases.linear_exact(TIMES, 1.0, 0.7)
    assert found.u0 == pytest.approx((2.0 * cases.linear_exact(TIMES, 1.0, 0.7) * change).sum())


def test_gradient_with_a_history_that_moves():
    """Two states, a neutral equation, a history of the parameters, tolerances for each state."""

    def f(u, h, p, t):
        past = h(p, t - 0.8)
        return [p[0] * past[1] - u[0], 0.3 * h(p, t - 0.8, deriv=1)[0] - p[1] * u[1] * past[0]]

    def h(p, t):
        return [1.0 + p[0] * t, torch.cos(p[1] * t)]

    problem = sml.DDEProblem(f, [1.0, 1.0], h, (0.0, 3.0), [0.6, 1.1])
    options = {**TIGHT, "abstol": [1e-11, 1e-11], "saveat": [1.0, 3.0]}
    found = sml.gradient(problem, lambda u: (u**2).sum(), **options)

    def value(p):
        return (sml.solve(problem.remake(p=p), **options).u ** 2).sum()

    steps = 1e-5 * np.eye(2)
    p = np.array([0.6, 1.1])
    differences = [(value(p + step) - value(p - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(found.p, differences, rtol=1e-7)


def test_rates_and_the_lag_are_fitted():
    """Of Hutchinson's equation, u' = r u (1 - u(t - lag) / K), from 30 clean points."""

    def f(u, h, p, t):
        return p["r"] * u * (1.0 - h(p, t - p["lag"]) / p["K"])

    true = {"r": 1.2, "lag": 1.0, "K": 2.0}
    problem = sml.DDEProblem(f, 0.5, 0.5, (0.0, 12.0), true)
    data = sml.solve(problem, saveat=0.4, **TIGHT)
    first = problem.remake(p={"r": 1.0, "lag": 0.8, "K": 1.7})
    result = sml.fit(first, (data.t, data.u), optimisers=LBFGS(60), engine="native", progress=False)
    for name, value in true.items():
        assert result.p[name] == pytest.approx(value, rel=1e-4), name


def test_a_delayed_term_is_learned():
    """The known decay is kept; what is done with the past, u(t - 1) -> 2 u / (1 + u^4), is learned
    as a polynomial where the data were, to 2 %.
    """
    production, weights = nn.functional(nn.Chebyshev(1, 1, 8, low=0.4, high=1.6))

    def law(u, h, p, t):
        return production(h(p, t - 1.0), p["network"]) - p["decay"] * u

    def truth(u, h, p, t):
        past = h(p, t - 1.0)
        return 2.0 * past / (1.0 + past**4) - u

    exact = sml.DDEProblem(truth, [0.5], [0.5], (0.0, 15.0))
    data = sml.solve(exact, saveat=0.25, **TIGHT)
    model = sml.DDEProblem(law, [0.5], [0.5], (0.0, 15.0), {"decay": 1.0, "network": weights})
    result = sml.fit(
        model,
        (data.t, data.u),
        fixed=["decay"],
        optimisers=LBFGS(150),
        engine="native",
        progress=False,
    )
    assert result.p["decay"] == 1.0
    past = torch.linspace(float(data.u.min()), float(data.u.max()), 50).double()[:, None]
    learned = production(
        past, {name: torch.as_tensor(w) for name, w in result.p["network"].items()}
    )
    true = 2.0 * past / (1.0 + past**4)
    assert ((learned - true).abs().max() / true.max()).item() < 0.02


WRONG = [
    (
        lambda: sml.gradient(
            sml.DDEProblem(lambda u, h, p, t: -h(p, t - 1.0 - u[0] ** 2), [1.0], [1.0], (0.0, 1.0)),
            lambda u: u.sum(),
            engine="native",
        ),
        "whose lags are numbers or parameters; here some depend on u or t",
    ),
    (
        lambda: sml.gradient(
            sml.DDEProblem(lambda u, h, p, t: -h(p, t - p, deriv=1), [1.0], [1.0], (0.0, 1.0), 0.5),
            lambda u: u.sum(),
            engine="native",
        ),
        "no derivatives in the lags of a neutral DDEProblem",
    ),
    (
        lambda: sml.gradient(
            cases.linear(), lambda u: u.sum(), engine="native", sensealg="DiscreteAdjoint"
        ),
        "differentiated by its sensitivity equations, sensealg=None; got 'DiscreteAdjoint'",
    ),
    (
        lambda: sml.sensitivities(cases.linear(), engine="native"),
        "of a DDEProblem there is the gradient of a loss only",
    ),
    (
        lambda: sml.gradient(cases.linear(), lambda u: u.sum(), engine="native", times=True),
        "times=True is not there for a DDEProblem",
    ),
    *(
        (
            lambda strategy=strategy: sml.fit(
                cases.linear(),
                (TIMES, TIMES),
                strategy=strategy,
                engine="native",
                progress=False,
            ),
            f"{type(strategy).__name__} cannot fit a problem with memory",
        )
        for strategy in (MultipleShooting(2), Collocation())
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_what_is_not_there(call, message):
    with pytest.raises(sml.UnsupportedError) as caught:
        call()
    assert message in str(caught.value)
