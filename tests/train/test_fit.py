"""What `fit` finds: from every form of data, with every option, on the engines at hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import pysciml as sml
from pysciml import train
from pysciml.train import BFGS, LBFGS, Adam, EarlyStopping

FAST = {"engine": "native", "progress": False}
TIGHT = {**FAST, "abstol": 1e-10, "reltol": 1e-10}
RATES = {"a": 1.3, "b": 0.9, "c": 0.8, "d": 1.8}  # those of the fixture
GUESS = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.5}


def assert_rates(result, rtol, names="abcd"):
    for name in names:
        assert result.p[name] == pytest.approx(RATES[name], rel=rtol), name


@pytest.mark.parametrize(
    "optimisers",
    [
        LBFGS(200),
        BFGS(200),
        [Adam(0.05, 100, "cosine"), LBFGS(200)],
        [Adam(0.05, 100, lambda k: 0.99**k, clip=10.0), BFGS(200)],
    ],
    ids=["LBFGS", "BFGS", "Adam, LBFGS", "Adam with schedule and clip, BFGS"],
)
def test_rates_from_exact_data(lotka_volterra, optimisers):
    problem, t, u = lotka_volterra
    result = sml.fit(problem.remake(p=GUESS), (t, u), optimisers=optimisers, **TIGHT)
    assert_rates(result, 1e-5)
    assert result.loss < 1e-11
    assert result.message == "finished"
    solution = sml.solve(result.problem, engine="native", saveat=0.1, abstol=1e-10, reltol=1e-10)
    np.testing.assert_allclose(solution.u, u, atol=1e-4)


def test_adam_alone_walks_downhill(lotka_volterra):
    problem, t, u = lotka_volterra
    result = sml.fit(problem.remake(p=GUESS), (t, u), optimisers=Adam(0.02, 400), **FAST)
    assert_rates(result, 0.05, "abd")
    assert result.loss == result.history.loss.min()


def test_adam_is_torchs(decays, decay_data):
    """The same iterates as torch.optim.Adam on the closed form."""
    result = sml.fit(decays, decay_data, optimisers=Adam(0.05, 30), **TIGHT)
    t, y = (torch.as_tensor(x) for x in decay_data)
    k = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([k], lr=0.05)
    losses = []
    for _ in range(30):
        adam.zero_grad()
        u = torch.exp(-k * t)[:, None] * torch.tensor([2.0, 1.0], dtype=torch.float64)
        loss = ((u - y) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        adam.step()
    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-6)


def test_engines_find_the_same(decays, decay_data):
    native = sml.fit(decays, decay_data, optimisers=LBFGS(20), **TIGHT)
    torch_ = sml.fit(decays, decay_data, optimisers=LBFGS(20), **{**TIGHT, "engine": "torch"})
    assert torch_.p["k"] == pytest.approx(native.p["k"], rel=1e-7)
    assert (native.engine, torch_.engine, torch_.alg) == ("native", "torch", "dopri5")
    assert "torchdiffeq" in torch_.versions


# -- data ----
@pytest.fixture(scope="module")
def plain(decays, decay_data):
    return sml.fit(decays, decay_data, optimisers=LBFGS(20), **TIGHT)


def frame(t, y):
    return pd.DataFrame({"second": y[:, 1], "Time": t, "first": y[:, 0]})


@pytest.mark.parametrize(
    "form",
    [
        lambda t, y: (t.tolist(), y.tolist()),
        lambda t, y: (torch.as_tensor(t), torch.as_tensor(y)),
        lambda t, y: [(t, y)],
        lambda t, y: SimpleNamespace(t=t, u=y),
        frame,
        lambda t, y: frame(t, y).set_index("Time"),
        lambda t, y: (t[::-1], y[::-1]),
    ],
    ids=["lists", "tensors", "list of one", "t and u", "frame", "frame by time", "backwards"],
)
def test_forms_of_data(decays, decay_data, plain, form):
    result = sml.fit(decays, form(*decay_data), optimisers=LBFGS(20), **TIGHT)
    assert result.p["k"] == pytest.approx(plain.p["k"], rel=1e-9)


def test_columns_choose_what_is_observed(decays, decay_data):
    """A frame with one of two names is a partial observation."""
    t, y = decay_data
    result = sml.fit(decays, frame(t, y)[["Time", "second"]], optimisers=LBFGS(20), **TIGHT)
    assert result.names == ("second",)
    same = sml.fit(decays, (t, y[:, 1]), observe=["second"], optimisers=LBFGS(20), **TIGHT)
    by_index = sml.fit(decays, (t, y[:, 1:]), observe=[1], optimisers=LBFGS(20), **TIGHT)
    assert result.p["k"] == same.p["k"] == by_index.p["k"]


def test_missing_values_are_as_if_they_were_not_there(decays, decay_data):
    """Also rows that are missing altogether, and weights of zero."""
    t, y = decay_data
    holes = y.copy()
    holes[1] = np.nan
    holes[3, 0] = np.nan
    with_holes = sml.fit(decays, (t, holes), optimisers=LBFGS(20), **TIGHT)
    weights = np.isfinite(holes).astype(float)
    weighted = sml.fit(decays, (t, y), weights=weights, optimisers=LBFGS(20), **TIGHT)
    assert with_holes.p["k"] == weighted.p["k"]
    kept = np.delete(t, 1), np.delete(holes, 1, axis=0)
    fewer = sml.fit(decays, kept, optimisers=LBFGS(20), **TIGHT)
    assert fewer.p["k"] == pytest.approx(with_holes.p["k"], rel=1e-6)  # sums in another order
    assert np.isnan(with_holes.residuals[0][1]).all()
    assert np.isfinite(with_holes.fitted[0]).all()


def test_partial_observation_finds_what_is_hidden(lotka_volterra):
    """Only the predator is seen, and the sum of both at a few times."""
    problem, t, u = lotka_volterra
    y = np.stack([u[:, 1], u.sum(axis=1)], axis=1)
    y[::2, 1] = np.nan
    result = sml.fit(
        problem.remake(p=GUESS),
        (t, y),
        observe=lambda u, p, t: [u[1], u[0] + u[1]],
        optimisers=[Adam(0.05, 200), LBFGS(300)],
        **TIGHT,
    )
    assert_rates(result, 1e-4)


def test_several_trajectories_at_times_of_their_own(lotka_volterra):
    problem, _, _ = lotka_volterra
    starts = [[1.0, 1.0], [0.5, 2.0], [2.0, 0.5]]
    times = [np.array([0.5, 1.7]), np.array([0.1, 0.9, 2.3, 4.0]), np.array([1.0])]
    data = []
    for start, t in zip(starts, times, strict=True):
        exact = problem.remake(u0=start, tspan=(0.0, t[-1]))
        data.append((t, sml.solve(exact, "Vern7", "native", t, 1e-12, 1e-12).u))
    result = sml.fit(
        problem.remake(p=GUESS), data, u0=starts, optimisers=[Adam(0.05, 100), LBFGS(300)], **TIGHT
    )
    assert_rates(result, 1e-5)
    assert [each.tspan for each in result.problems] == [(0.0, 1.7), (0.0, 4.0), (0.0, 1.0)]
    np.testing.assert_array_equal(result.u0, starts)


def test_forms_of_initial_states(decays, decay_data):
    t, y = decay_data
    data = [(t, y), (t, 2.0 * y)]
    starts = np.array([[2.0, 1.0], [4.0, 2.0]])
    forms = (starts, starts.tolist(), list(starts), [torch.as_tensor(u) for u in starts])
    rates = {sml.fit(decays, data, u0=u0, optimisers=LBFGS(9), **TIGHT).p["k"] for u0 in forms}
    assert len(rates) == 1
    one = sml.fit(decays, (t, 2.0 * y), u0=[4.0, 2.0], optimisers=LBFGS(9), **TIGHT)
    assert one.p["k"] == pytest.approx(rates.pop(), rel=1e-6)
    scalar = sml.ODEProblem(lambda u, p, t: -p * u, 1.0, (0.0, 1.0), 1.0)
    data = [(t, u * np.exp(-1.5 * t)) for u in (2.0, 3.0)]
    result = sml.fit(scalar, data, u0=[2.0, 3.0], optimisers=LBFGS(20), **TIGHT)
    assert result.p == pytest.approx(1.5, rel=1e-5)


def test_stops_at_the_jumps_of_a_forcing(decay_data):
    """Only those inside an arc reach its solve."""
    t = np.linspace(0.1, 2.0, 20)
    problem = sml.ODEProblem(
        lambda u, p, t: torch.where(t < 1.0, p[0], p[1]) + 0.0 * u, [0.0], (0.0, 2.0), [0.5, 0.5]
    )
    whole = t, np.where(t < 1.0, t, 1.0 - 2.0 * (t - 1.0))
    data = [whole, (t[:8], t[:8])]  # the second ends before the stops
    for strategy in (None, train.MultipleShooting(4), train.GrowingHorizon([0.3])):
        result = sml.fit(
            problem,
            data,
            tstops=np.array([1.0, 1.5]),
            strategy=strategy,
            optimisers=LBFGS(50),
            **TIGHT,
        )
        np.testing.assert_allclose(result.p, [1.0, -2.0], rtol=1e-5)


def test_hidden_entries_start_as_the_problem(lotka_volterra):
    problem, t, u = lotka_volterra
    late = u[10:, :1]
    result = sml.fit(
        problem, (t[10:], late), u0="data", observe=["prey"], fixed=list("bcd"), **FAST
    )
    np.testing.assert_array_equal(result.u0[0], [late[0, 0], problem.u0[1]])
    assert result.problem.tspan == (t[10], t[-1])


def test_initial_states_are_fitted(lotka_volterra):
    problem, t, u = lotka_volterra
    result = sml.fit(
        problem.remake(u0=[0.6, 4.0]),
        (t[1:], u[1:]),
        fit_u0=True,
        u0_transform=train.positive,
        fixed=["a", "b", "c", "d"],
        optimisers=LBFGS(200),
        **TIGHT,
    )
    np.testing.assert_allclose(result.u0[0], problem.u0, rtol=1e-5)
    assert list(result.quantities) == ["u0[0]", "u0[1]"]
    assert result.p == RATES


@pytest.mark.parametrize("strategy", [None, train.GrowingHorizon([0.5])], ids=str)
def test_initial_states_can_be_functions_of_the_parameters(strategy):
    """Two decays from a and from 2 a: the data say what a is, and the covariance how well."""
    problem = sml.ODEProblem(lambda u, p, t: -p["k"] * u, [0.0], (0.0, 2.0), {"a": 1.0, "k": 1.0})
    t = np.linspace(0.0, 2.0, 9)
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, 9))
    data = [(t, a * np.exp(-0.7 * t) + e) for a, e in zip((3.0, 6.0), noise, strict=True)]
    result = sml.fit(
        problem,
        data,
        u0=lambda p, k: (p["a"] * (k + 1.0)).reshape(1),
        strategy=strategy,
        optimisers=LBFGS(50),
        **TIGHT,
    )
    errors = result.standard_errors()
    for name, value in {"a": 3.0, "k": 0.7}.items():
        assert abs(result.p[name] - value) < 3.0 * errors[name] < 0.02
    np.testing.assert_allclose(result.u0.ravel(), result.p["a"] * np.array([1.0, 2.0]), rtol=1e-12)


class Halved:
    """A model whose data are twice the states of its problem."""

    def fit_setup(self, data, u0):
        t, y = data
        problem = sml.ODEProblem(lambda u, p, t: -p * u, u0, (0.0, 1.0), 0.3)
        return train.Setup(problem, (t, np.asarray(y) / 2.0), loss=train.MSE(scale=0.1))


def test_a_model_may_bring_its_problem_and_its_loss():
    t = np.array([0.2, 0.5, 1.0])
    data = t, 2.0 * np.exp(-1.5 * t)
    options = {"u0": [1.0], **TIGHT}
    looks = {"validation": data, "early_stopping": EarlyStopping(every=1)}
    result = sml.fit(Halved(), data, optimisers=LBFGS(50), **looks, **options)
    assert result.p == pytest.approx(1.5, rel=1e-6)
    np.testing.assert_allclose(result.history.validation, result.history.loss, rtol=1e-12)
    first = [
        sml.fit(Halved(), data, loss=loss, optimisers=LBFGS(1), **options).history.loss[0]
        for loss in (None, train.MSE(scale=1.0))
    ]
    assert first[0] == pytest.approx(100.0 * first[1], rel=1e-9)


def test_a_right_hand_side_starts_at_its_data():
    t = np.array([1.0, 1.5, 2.0, 2.6])
    data = [(t, 2.0 * np.exp(-0.7 * (t - 1.0))), (t[1:], 3.0 * np.exp(-0.7 * (t[1:] - 1.5)))]
    result = sml.fit(lambda u, p, t: -p * u, data, p=0.2, optimisers=LBFGS(50), **TIGHT)
    assert result.p == pytest.approx(0.7, rel=1e-6)
    assert [each.tspan[0] for each in result.problems] == [1.0, 1.5]
    np.testing.assert_array_equal(result.u0.ravel(), [2.0, 3.0])


def test_a_module_is_a_model():
    """A linear layer learns the matrix of a rotation."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.zeros(2, 2))

        def forward(self, u):
            return self.a @ u

    t = np.linspace(0.0, 3.0, 13)
    u = np.stack([np.cos(t), np.sin(t)], axis=1)
    result = sml.fit(Linear(), (t, u), optimisers=LBFGS(100), **TIGHT)
    np.testing.assert_allclose(result.p["a"], [[0.0, -1.0], [1.0, 0.0]], atol=1e-5)


def test_states_of_any_shape():
    t = np.linspace(0.0, 1.0, 5)
    start = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    u = start * np.exp(-0.5 * t)[:, None, None]
    problem = sml.ODEProblem(lambda u, p, t: -p * u, start, (0.0, 1.0), 0.1)
    solution = sml.solve(problem.remake(p=0.5), engine="native", saveat=t, reltol=1e-10)
    for data in ((t, u), (t, u.reshape(5, 6)), solution):
        result = sml.fit(problem, data, optimisers=LBFGS(50), **TIGHT)
        assert result.p == pytest.approx(0.5, rel=1e-4)
    assert result.problem.u0.shape == (2, 3)
    assert result.names[4] == "u[1, 1]"


# -- unknowns ----
def test_fixed_parameters_stay(lotka_volterra):
    problem, t, u = lotka_volterra
    guess = {**RATES, "a": 1.0, "b": 1.2}
    result = sml.fit(problem.remake(p=guess), (t, u), fixed=["c", "d"], optimisers=LBFGS(), **TIGHT)
    assert_rates(result, 1e-5)
    assert (result.p["c"], result.p["d"]) == (RATES["c"], RATES["d"])
    assert list(result.quantities) == ["a", "b"]


def test_transforms_keep_parameters_inside(decays, decay_data):
    """The best rate, near 1.5, lies outside these bounds: the fit ends at the bound."""
    stages = LBFGS(200)
    start = decays.remake(p={"k": 0.5})
    for transform in (train.bounded(0.1, 0.9), train.bounded(high=0.9)):
        found = sml.fit(start, decay_data, transforms={"k": transform}, optimisers=stages, **TIGHT)
        assert 0.89 < found.p["k"] <= 0.9
    free = sml.fit(start, decay_data, optimisers=stages, **TIGHT)
    for transform in (train.positive, train.bounded(low=0.0), train.bounded(0.0, 10.0)):
        found = sml.fit(start, decay_data, transforms=transform, optimisers=stages, **TIGHT)
        assert found.p["k"] == pytest.approx(free.p["k"], rel=1e-5)


def test_names_of_networks_and_entries_can_be_chosen():
    apply, weights = sml.nn.functional(sml.nn.mlp([1, 2, 1]))

    def f(u, p, t):
        return apply(u, p["net"]) - p["k"][0] * u + p["k"][1]

    problem = sml.ODEProblem(f, [1.0], (0.0, 1.0), {"net": weights, "k": [1.0, 0.5]})
    t = np.linspace(0.1, 1.0, 10)
    result = sml.fit(problem, (t, np.exp(-t)), fixed=["net", "k[1]"], optimisers=LBFGS(3), **FAST)
    assert list(result.quantities) == ["k[0]"]
    np.testing.assert_array_equal(result.p["net"]["0.weight"], weights["0.weight"])
    result = sml.fit(problem, (t, np.exp(-t)), fixed="net.0.weight", optimisers=LBFGS(3), **FAST)
    assert len(result.quantities) == 2 + 2 + 1 + 2


# -- course ----
def test_multi_start_finds_what_one_start_misses():
    """sin(k t): between the true frequency and the first guess lies another minimum."""
    t = np.linspace(0.2, 6.0, 40)
    problem = sml.ODEProblem(lambda u, p, t: p * torch.cos(p * t) + 0.0 * u, [0.0], (0.0, 6.0), 1.0)
    data = (t, np.sin(3.0 * t))
    one = sml.fit(problem, data, optimisers=LBFGS(100), **FAST)
    assert one.loss > 0.1
    many = sml.fit(problem, data, optimisers=LBFGS(100), multi_start=12, spread=2.0, **FAST)
    assert abs(many.p) == pytest.approx(3.0, rel=1e-4)
    assert set(many.history.start) == set(range(12))
    again = sml.fit(problem, data, optimisers=LBFGS(100), multi_start=12, spread=2.0, **FAST)
    np.testing.assert_array_equal(again.history.loss, many.history.loss)
    other = sml.fit(
        problem, data, optimisers=LBFGS(100), multi_start=12, spread=2.0, seed=1, **FAST
    )
    assert len(other.history) != len(many.history) or not np.array_equal(
        other.history.loss, many.history.loss
    )


def test_early_stopping_ends_a_stage(decays, decay_data):
    stages = [Adam(0.3, 5000), LBFGS(50)]
    result = sml.fit(
        decays, decay_data, optimisers=stages, early_stopping=EarlyStopping(20), **TIGHT
    )
    adam = result.history.loss[result.history.stage == 0]
    assert len(adam) < 2000
    assert adam.argmin() == len(adam) - 21
    assert set(result.history.stage) == {0, 1}


def test_validation_chooses_the_iterate(decays):
    """The data pull k to 1, the validation data say 1.2: the best on these is returned."""
    t = np.linspace(0.1, 1.0, 10)
    u = [np.exp(-k * t)[:, None] * [2.0, 1.0] for k in (1.0, 1.2)]
    result = sml.fit(
        decays,
        (t, u[0]),
        validation=(t, u[1]),
        optimisers=Adam(0.01, 400),
        early_stopping=EarlyStopping(50, every=1),
        **TIGHT,
    )
    assert result.p["k"] == pytest.approx(1.2, abs=0.01)
    assert len(result.history) < 400
    assert np.isfinite(result.history.validation).all()
    assert result.history.validation.argmin() == len(result.history) - 51


def test_validation_looks_at_the_first_iterate_of_the_plain_fit(decays, decay_data):
    result = sml.fit(
        decays,
        decay_data,
        validation=decay_data,
        strategy=train.GrowingHorizon([0.5], optimisers=Adam(0.01, 7)),
        optimisers=Adam(0.01, 2),
        **FAST,
    )
    looked = np.isfinite(result.history.validation)
    assert looked.nonzero()[0].tolist() == [7]
    assert result.loss == result.history.loss[7]
    assert result.history.validation[7] == pytest.approx(result.loss, rel=1e-12)


@pytest.mark.parametrize("optimisers", [LBFGS(100), BFGS(100), Adam(0.2, 300, "cosine", clip=1.0)])
def test_a_diverging_trial_costs_only_itself(optimisers):
    """u' = k u^2 from 1 blows up before t = 1 for k > 1, close to the best k."""
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": -3.0})
    t = np.linspace(0.1, 1.0, 10)
    result = sml.fit(problem, (t, 1.0 / (1.0 - 0.95 * t)), optimisers=optimisers, **FAST)
    assert result.p["k"] == pytest.approx(0.95, abs=0.02)
    worst = np.mean((1.0 / (1.0 + 3.0 * t) - 1.0 / (1.0 - 0.95 * t)) ** 2)
    assert np.isfinite(result.history.loss).all()
    assert result.loss < 1e-3 * worst


def test_trials_beyond_the_blow_up_are_made():
    """Guards the test above: without a penalty it would end here."""
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 0.9})
    result = sml.fit(problem, ([1.0], [[50.0]]), optimisers=Adam(0.05, 60), **FAST)
    # 50 = 1/(1 - k): on the way, steps of 0.05 pass k = 1
    assert result.p["k"] == pytest.approx(0.98, abs=0.02)
    assert (np.diff(result.history.loss) > 0.0).any()


def test_a_start_that_cannot_be_solved_is_an_error_with_its_solution():
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 2.0})
    with pytest.raises(sml.SolveError, match="the fit cannot start where the phase 'fit' begins"):
        sml.fit(problem, ([0.2, 1.0], [[1.0], [2.0]]), **FAST)


def test_other_starts_go_on_where_one_cannot_begin():
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 2.0})
    t = np.array([0.5, 1.0])
    data = (t, 1.0 / (1.0 - 0.5 * t))
    result = sml.fit(problem, data, multi_start=6, spread=2.0, optimisers=LBFGS(50), **FAST)
    assert result.p["k"] == pytest.approx(0.5, rel=1e-3)
    assert result.message == "finished"


def test_history_tells_where_it_was(decays, decay_data):
    stages = [Adam(0.01, 7), LBFGS(5)]
    result = sml.fit(
        decays, decay_data, optimisers=stages, strategy=train.GrowingHorizon([0.5]), **FAST
    )
    history = result.history
    assert history.phases == ("first 50%", "fit")
    assert (history.stage[:7] == 0).all()
    assert (history.phase == 0).sum() > 7
    assert (np.diff(history.seconds) >= 0.0).all()
    assert len(history) == len(history.loss) == len(history.stage)


def test_progress_shows_phase_and_loss(decays, decay_data, capsys):
    sml.fit(decays, decay_data, optimisers=Adam(0.01, 5), engine="native")
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "best loss" in shown
    sml.fit(decays, decay_data, optimisers=Adam(0.01, 5), **FAST)
    assert capsys.readouterr().err == ""
