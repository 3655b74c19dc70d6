"""What the engines cannot do goes to torchdiffeq itself: the same numbers, and one warning."""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
import torchdiffeq
from autograd_cases import DOUBLE, Net, tensor, values_and_gradients

import pysciml as sml

TIMES = torch.linspace(0.0, 1.0, 3, **DOUBLE)


class Branching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(tensor(0.5, 0.7))

    def forward(self, t, y):
        if y[0] > 0:
            return -self.rate * y
        return self.rate * y


class AsNumber(Branching):
    def forward(self, t, y):
        return -float(y[0]) * self.rate


class Dropping(Branching):
    def forward(self, t, y):
        torch.manual_seed(0)
        return -self.rate * torch.nn.functional.dropout(y, 0.5, self.training)


class InPlace(Branching):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", tensor(0.0))

    def forward(self, t, y):
        self.calls += 1
        return -self.rate * y


class WithoutGrad(Branching):
    def forward(self, t, y):
        with torch.no_grad():
            size = y.norm()
        return -self.rate * y * size


class InnerGradient(Branching):
    def forward(self, t, y):
        with torch.enable_grad():
            x = y.detach().requires_grad_()
            energy = (self.rate * x**2).sum()
            return -torch.autograd.grad(energy, x, create_graph=True)[0]


class Callback(Branching):
    def forward(self, t, y):
        return -self.rate * y

    def callback_step(self, t0, y0, dt):
        pass


class Unknown(Branching):
    def forward(self, t, y):
        return -self.rate * torch.special.bessel_j0(y)


class Hidden(Branching):
    def forward(self, t, y):
        return -self.rate * y * _hidden()["scale"]


@functools.lru_cache
def _cache():
    return {"scale": tensor(0.5)}


def _hidden():
    return next(iter([_cache]))()


REASONS = {
    Branching: "depends on the values of u, p or t",
    AsNumber: "a number made by float()",
    Dropping: "it draws random numbers",
    InPlace: "self.calls += 1",
    WithoutGrad: "it uses torch.no_grad()",
    InnerGradient: "f raised RuntimeError while it was traced",
    Callback: "the engines do not call func.callback_step",
    Unknown: "bessel_j0",
    Hidden: "a tensor of shape (1,) that is neither in its closure",
}


@pytest.mark.parametrize(
    ("kind", "reason"), REASONS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_a_function_that_cannot_be_captured(kind, reason):
    y0 = tensor(1.0, 0.5, grad=True)
    for mine, theirs in (
        (sml.odeint, torchdiffeq.odeint),
        (sml.odeint_adjoint, torchdiffeq.odeint_adjoint),
    ):
        func = kind()
        inputs = [y0, func.rate]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = values_and_gradients(mine, func, y0, TIMES, inputs)
            values_and_gradients(mine, func, y0, TIMES, inputs)
        expected = values_and_gradients(theirs, func, y0, TIMES, inputs)
        assert all(map(torch.equal, found, expected))
        messages = [str(w.message) for w in caught if "torchdiffeq itself" in str(w.message)]
        assert len(messages) == 1
        start = f"pysciml: {kind.__name__} is solved by torchdiffeq itself, not by an engine: "
        assert messages[0].startswith(start)
        assert reason in messages[0]
        assert caught[0].filename == values_and_gradients.__code__.co_filename


def test_finding_out_changes_nothing():
    """BatchNorm's statistics and counters are as after torchdiffeq alone."""
    torch.manual_seed(0)
    mine, theirs = torch.nn.BatchNorm1d(2, **DOUBLE), torch.nn.BatchNorm1d(2, **DOUBLE)
    y0 = torch.randn(4, 2, **DOUBLE)
    with pytest.warns(UserWarning, match="changes a tensor of shape"):
        found = sml.odeint(lambda t, y: mine(y), y0, TIMES)
    expected = torchdiffeq.odeint(lambda t, y: theirs(y), y0, TIMES)
    assert torch.equal(found, expected)
    assert mine.num_batches_tracked == theirs.num_batches_tracked > 0
    assert torch.equal(mine.running_mean, theirs.running_mean)


def test_a_lambda_in_a_loop_warns_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            sml.odeint(lambda t, y: -y if y > 0 else y, tensor(1.0), TIMES)
    assert len(caught) == 1


UNSUPPORTED = {
    "norm": ("dopri5", {"norm": torch.linalg.vector_norm}, "not in options['norm']"),
    "min_step": ("dopri5", {"min_step": 1e-3}, "no min_step"),
    "adams": ("explicit_adams", {"step_size": 0.1}, "no Adams method"),
    "cubic": ("rk4", {"step_size": 0.3, "interp": "cubic"}, "only linear interpolation"),
    "perturb": ("rk4", {"perturb": True}, "do not perturb"),
}


@pytest.mark.parametrize(("method", "options", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_options_that_only_torchdiffeq_has(method, options, reason):
    net = Net(**DOUBLE)
    y0 = tensor(1.0, 0.5)
    with pytest.warns(UserWarning) as caught:
        found = sml.odeint(net, y0, TIMES, method=method, options=options)
    assert len(caught) == 1
    assert reason in str(caught[0].message)
    assert torch.equal(found, torchdiffeq.odeint(net, y0, TIMES, method=method, options=options))


def test_a_complex_state():
    y0 = torch.tensor([1.0 + 1.0j], dtype=torch.complex128)
    with pytest.warns(UserWarning, match="y0 is complex"):
        found = sml.odeint(lambda t, y: 1j * y, y0, TIMES)
    torch.testing.assert_close(found[-1], y0 * torch.exp(torch.tensor(1j)), rtol=1e-6, atol=0)


def test_an_engine_by_name_raises_instead():
    with pytest.raises(sml.CaptureError, match=r"if y\[0\] > 0"):
        sml.odeint(Branching(), tensor(1.0, 0.5), TIMES, engine="native")
    with pytest.raises(sml.UnsupportedError, match="no Adams method"):
        sml.odeint(Net(**DOUBLE), tensor(1.0, 0.5), TIMES, method="explicit_adams", engine="native")


@pytest.mark.parametrize(
    ("method", "theirs"),
    [("Tsit5", "dopri5"), ("Vern7", "dopri8"), ("AutoTsit5(Rodas5P)", "dopri5")],
)
def test_an_engines_method_becomes_its_nearest_there(method, theirs):
    func = Branching()
    with pytest.warns(UserWarning):
        found = sml.odeint(func, tensor(1.0, 0.5), TIMES, method=method)
    expected = torchdiffeq.odeint(func, tensor(1.0, 0.5), TIMES, method=theirs)
    assert torch.equal(found, expected)


def test_a_stiff_method_has_no_equivalent_there():
    with (
        pytest.warns(UserWarning),
        pytest.raises(sml.UnsupportedError, match="torchdiffeq has no method like Rodas5P"),
    ):
        sml.odeint(Branching(), tensor(1.0, 0.5), TIMES, method="Rodas5P")


def test_evaluation_mode_is_tried_anew():
    func = Dropping()
    with pytest.warns(UserWarning, match="random numbers"):
        sml.odeint(func, tensor(1.0, 0.5), TIMES)
    found = sml.odeint(func.eval(), tensor(1.0, 0.5), TIMES, engine="native")
    exact = tensor(1.0, 0.5) * torch.exp(-TIMES[:, None] * func.rate)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)


def test_errors_of_the_function_itself_are_its_own():
    def func(t, y):
        return y @ torch.ones(3, **DOUBLE)

    with pytest.raises(RuntimeError, match="size"):
        sml.odeint(func, tensor(1.0, 0.5), TIMES)
