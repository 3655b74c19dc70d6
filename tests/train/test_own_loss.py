"""Models that bring a loss of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pysciml as sml
from pysciml.train import L2, LBFGS, Adam, EarlyStopping, FitResult, Physics, SSBroyden, positive
from pysciml.train.own_loss import OwnLoss

QUIET = {"progress": False}


class Mean(nn.Module):
    """The mean of normal numbers, from 200 of them at a time or from data; `draws` tells which."""

    def __init__(self, first=(0.0, 0.0)):
        super().__init__()
        self.center = nn.Parameter(torch.tensor(first, dtype=torch.float64))
        self.draws = []

    def fit_loss(self, data, width=1.0):
        draws = self.draws

        def of_sample(random):
            x = 3.0 + width * torch.randn(200, 2, generator=random, dtype=torch.float64)
            draws.append(x[0, 0].item())
            return ((x - self.center) ** 2).mean()

        def of_data(random):
            return ((torch.as_tensor(data) - self.center) ** 2).mean()

        return OwnLoss(of_sample, is_random=True) if data is None else OwnLoss(of_data)

    def __deepcopy__(self, memo):
        new = type(self)(self.center.detach().tolist())
        new.draws = self.draws  # told to the test
        return new


class Quartic(Mean):
    def fit_loss(self, data):
        plain = super().fit_loss(data).value
        return OwnLoss(lambda random: plain(random) ** 2, is_random=True)


class Fragile(Mean):
    def fit_loss(self, data):
        return OwnLoss(lambda random: ((self.center - 1.0).sqrt() ** 2 - self.center.log()).sum())


def test_without_randomness_it_is_a_minimum():
    data = np.array([[1.0, -2.0], [3.0, 5.0]])
    result = sml.fit(Mean(), data, optimisers=LBFGS(20), **QUIET)
    np.testing.assert_allclose(result.p["center"], data.mean(0), atol=1e-10)
    assert result.loss == pytest.approx(data.var(0).mean(), rel=1e-12)
    assert result.message == "finished"
    assert result.engine == "torch"


def test_a_random_loss_leads_to_its_mean():
    model = Mean()
    result = sml.fit(model, optimisers=Adam(0.05, 300, "cosine"), **QUIET)
    np.testing.assert_allclose(result.p["center"], 3.0, atol=0.02)
    assert model.center.tolist() == [0.0, 0.0]  # the user's own stays as it was


def test_adam_draws_anew_and_a_quasi_newton_stage_keeps_one_sample():
    model = Mean()
    sml.fit(model, optimisers=Adam(0.05, 5), early_stopping=EarlyStopping(99, every=99), **QUIET)
    assert len(set(model.draws)) == 6  # of five iterations, and one that judges
    model.draws.clear()
    result = sml.fit(model, optimisers=LBFGS(5), **QUIET)
    assert len(set(model.draws)) == 2
    assert (np.diff(result.history.loss) <= 0.0).all()


def test_a_sample_is_kept_as_long_as_the_stage_says():
    model = Quartic()
    result = sml.fit(model, optimisers=SSBroyden(6, resample=2), **QUIET)
    assert len(result.history) == 6
    assert len(set(model.draws)) == 4  # for two iterations each, and the one that judges
    rises = np.flatnonzero(np.diff(result.history.loss) > 0.0)
    assert set(rises) <= {1, 3}  # the sample, not the iteration


def test_the_last_iteration_counts_where_the_loss_is_random():
    result = sml.fit(Mean(), optimisers=Adam(0.05, 40), **QUIET)
    assert result.loss == result.history.loss[-1]
    longer = sml.fit(Mean(), optimisers=[Adam(0.05, 40), Adam(1e-9, 1)], **QUIET)
    np.testing.assert_array_equal(longer.p_flat, result.p_flat)  # where the next stage begins


def test_validation_data_judge_where_there_are_some():
    data = np.array([[1.0, 1.0]])
    other = np.array([[0.5, 0.5]])
    result = sml.fit(
        Mean(), data, validation=other, optimisers=Adam(0.01, 200),
        early_stopping=EarlyStopping(500, every=1), **QUIET,
    )  # fmt: skip
    np.testing.assert_allclose(result.p["center"], 0.5, atol=0.006)


def test_another_seed_is_another_course_and_the_same_repeats():
    first, again = (sml.fit(Mean(), optimisers=Adam(0.05, 20), seed=1, **QUIET) for _ in range(2))
    other = sml.fit(Mean(), optimisers=Adam(0.05, 20), seed=2, **QUIET)
    np.testing.assert_array_equal(first.history.loss, again.history.loss)
    assert (first.history.loss != other.history.loss).all()


@pytest.mark.parametrize("call", [13, 26])
def test_it_goes_on_where_it_was_interrupted(tmp_path, monkeypatch, call):
    stages = [Adam(0.05, 20), LBFGS(8)]
    whole = sml.fit(Mean(), optimisers=stages, seed=3, **QUIET)
    path = tmp_path / "run.npz"
    calls = []
    plain = Mean.fit_loss

    def interrupted(self, data):
        own = plain(self, data)

        def value(random):
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
            return own.value(random)

        return OwnLoss(value, is_random=True)

    monkeypatch.setattr(Mean, "fit_loss", interrupted)
    part = sml.fit(Mean(), optimisers=stages, seed=3, checkpoint=path, **QUIET)
    assert part.message.startswith("interrupted in 'fit', after ")
    assert 0 < len(part.history) < len(whole.history)
    monkeypatch.undo()
    rest = sml.fit(Mean(), optimisers=stages, seed=3, resume=path, **QUIET)
    np.testing.assert_array_equal(rest.history.loss, whole.history.loss)
    np.testing.assert_array_equal(rest.p_flat, whole.p_flat)
    with pytest.raises(ValueError, match="is the checkpoint of another fit"):
        sml.fit(Mean(), optimisers=stages, seed=4, resume=path, **QUIET)


def test_fixed_transforms_and_penalties_are_those_of_fit():
    data = np.array([[1.0, -2.0]])
    model = Mean((0.5, 0.5))
    fixed = sml.fit(model, data, fixed=["center[0]"], optimisers=LBFGS(20), **QUIET)
    np.testing.assert_allclose(fixed.p["center"], [0.5, -2.0], atol=1e-8)
    bounded = sml.fit(model, data, transforms=positive, optimisers=LBFGS(60), **QUIET)
    np.testing.assert_allclose(bounded.p["center"], [1.0, 0.0], atol=1e-4)
    # (c - x)^2 / 2 + c^2 is least at x / 3
    small = sml.fit(model, data, regularise=L2(1.0), optimisers=LBFGS(20), **QUIET)
    np.testing.assert_allclose(small.p["center"], data[0] / 3.0, atol=1e-8)


def test_starts_are_compared_by_the_judge():
    result = sml.fit(Mean(), optimisers=LBFGS(10), multi_start=3, spread=0.1, **QUIET)
    assert set(result.history.start) == {0, 1, 2}
    np.testing.assert_allclose(result.p["center"], 3.0, atol=0.2)


def test_a_failing_trial_costs_only_itself():
    result = sml.fit(Fragile((1.5, 1.5)), optimisers=Adam(0.3, 60), **QUIET)
    assert np.isfinite(result.history.loss).all()
    with pytest.raises(ValueError, match="cannot start: the loss is not finite at the first"):
        sml.fit(Fragile(), **QUIET)


def test_settings_of_the_model_are_arguments_of_fit():
    result = sml.fit(Mean(), width=1e-9, optimisers=LBFGS(10), **QUIET)
    np.testing.assert_allclose(result.p["center"], 3.0, atol=1e-8)


def test_the_result_is_saved_and_drawn(tmp_path):
    result = sml.fit(Mean(), optimisers=Adam(0.05, 20), **QUIET)
    again = FitResult.load(result.save(tmp_path / "result"))
    assert again.p == {"center[0]": result.p_flat[0], "center[1]": result.p_flat[1]}
    np.testing.assert_array_equal(again.history.loss, result.history.loss)
    assert len(result.plot().axes) == 1
    with pytest.raises(ValueError, match="a Mean has a loss of its own and is no problem"):
        _ = result.problem


def test_bad_calls_name_what_is_wrong():
    with pytest.raises(TypeError, match=r"fit\(\) of a Mean has no option 'u0'; it has data, reg"):
        sml.fit(Mean(), u0=[1.0], **QUIET)
    with pytest.raises(TypeError, match=r"no option 'reltol'; .* progress, width$"):
        sml.fit(Mean(), reltol=1e-3, **QUIET)
    with pytest.raises(TypeError, match="has no solutions for Physics"):
        sml.fit(Mean(), regularise=Physics(lambda u, p, t: u), **QUIET)
    with pytest.raises(ValueError, match="there is nothing to fit"):
        sml.fit(Mean(), fixed=["center"], **QUIET)
