"""ODEProblem: what it keeps, what it copies, what remake shares."""

from __future__ import annotations

import copy
from collections import namedtuple

import numpy as np
import pytest
import torch

import pysciml as sml

Rates = namedtuple("Rates", "birth death")


def decay(u, p, t):
    return -p * u


@pytest.mark.parametrize(
    ("u0", "shape"),
    [
        (1, ()),
        (np.float32(2.0), ()),
        ([1, 2], (2,)),
        ((1.0, 2.0, 3.0), (3,)),
        (np.ones((2, 3), dtype=np.float32), (2, 3)),
        (torch.ones(2, 2, dtype=torch.float16), (2, 2)),
        (torch.ones(2, dtype=torch.bfloat16, requires_grad=True), (2,)),
        ([torch.tensor(1.0), torch.tensor(2.0)], (2,)),
        ([[1, 2], [3, 4]], (2, 2)),
    ],
)
def test_u0_of_any_kind_becomes_float64_of_its_shape(u0, shape):
    problem = sml.ODEProblem(decay, u0, (0, 1), 1.0)
    assert problem.u0.shape == shape
    assert problem.u0.dtype == problem.u0_flat.dtype == np.float64
    assert problem.u0_flat.shape == (problem.u0.size,)


def test_the_problem_keeps_copies():
    u0, p = np.ones(2), {"k": np.ones(2)}
    problem = sml.ODEProblem(decay, u0, (0, 1), p)
    u0[0] = p["k"][0] = 7.0
    assert problem.u0[0] == problem.p["k"][0] == 1.0


def test_a_transposed_u0_is_flattened_row_by_row():
    problem = sml.ODEProblem(decay, np.arange(6.0).reshape(2, 3).T, (0, 1), 1.0)
    assert problem.u0_flat.tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


@pytest.mark.parametrize("tspan", [(0, 1), [2.5, -1], np.array([0.0, 1.0]), torch.tensor([1, 3])])
def test_tspan_is_two_floats(tspan):
    problem = sml.ODEProblem(decay, 1.0, tspan, 1.0)
    assert problem.tspan == (float(tspan[0]), float(tspan[1]))
    assert [type(t) for t in problem.tspan] == [float, float]


def test_parameters_keep_their_structure():
    p = {"rates": Rates(1, [2, 3]), "weights": [np.ones((2, 2)), np.zeros(3)], "k": 4}
    kept = sml.ODEProblem(decay, 1.0, (0, 1), p).p
    assert isinstance(kept["rates"], Rates)
    assert kept["rates"].birth == 1.0
    assert kept["rates"].death.tolist() == [2.0, 3.0]
    assert [w.shape for w in kept["weights"]] == [(2, 2), (3,)]
    assert type(kept["k"]) is float


def test_p_flat_follows_the_layout_of_the_model():
    problem = sml.ODEProblem(
        lambda u, p, t: -p["k"] * u * p["w"][1], 1.0, (0, 1), {"w": [2.0, 3.0], "k": 5.0}
    )
    assert problem.p_flat.tolist() == [2.0, 3.0, 5.0]
    assert list(problem.model.parameters.names) == ["w[0]", "w[1]", "k"]


def test_remake_shares_the_captured_model_and_leaves_the_original_alone():
    problem = sml.ODEProblem(decay, [1.0, 2.0], (0, 1), 3.0, names=["a", "b"])
    other = problem.remake(u0=[5, 6], p=7, tspan=(1, 0))
    assert other.model is problem.model
    assert (other.u0.tolist(), other.p, other.tspan) == ([5.0, 6.0], 7.0, (1.0, 0.0))
    assert (problem.u0.tolist(), problem.p, problem.tspan) == ([1.0, 2.0], 3.0, (0.0, 1.0))
    assert problem.p_flat.tolist() == [3.0]
    assert other.p_flat.tolist() == [7.0]
    assert other.names == problem.names
    assert problem.remake() is not problem


def test_remake_before_the_capture_shares_it_too():
    problem = sml.ODEProblem(decay, 1.0, (0, 1), 3.0)
    assert problem.remake(p=4.0).model is problem.model


def test_remake_takes_a_flat_vector_for_structured_parameters():
    problem = sml.ODEProblem(
        lambda u, p, t: -p["k"] * u + p["w"][0], 1.0, (0, 1), {"w": [2.0, 3.0], "k": 5.0}
    )
    other = problem.remake(p=np.array([1.0, 2.0, 4.0]))
    assert other.p["k"] == 4.0
    assert other.p_flat.tolist() == [1.0, 2.0, 4.0]
    assert other.remake(p={"w": [0.0, 0.0], "k": 1.0}).p_flat.tolist() == [0.0, 0.0, 1.0]


def test_a_module_brings_its_parameters():
    net = torch.nn.Linear(2, 2)
    problem = sml.ODEProblem(net, [1.0, 2.0], (0, 1))
    assert problem.p is None
    expected = torch.cat([q.detach().double().reshape(-1) for q in net.parameters()]).numpy()
    np.testing.assert_array_equal(problem.p_flat, expected)
    other = problem.remake(p=np.zeros(6))
    assert other.model is problem.model
    assert other.p_flat.tolist() == [0.0] * 6


def test_a_module_with_parameters_of_its_own_and_physical_ones():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, u, p, t):
            return self.gain * p["k"] * u

    problem = sml.ODEProblem(Model(), [1.0], (0, 1), {"k": 3.0})
    assert problem.model.f(np.array([1.0]), problem.p_flat, 0.0).tolist() == [6.0]
    other = problem.remake(p={"k": 5.0})
    assert other.model.f(np.array([1.0]), other.p_flat, 0.0).tolist() == [10.0]


def test_repr_shows_small_values_and_the_shape_of_large_ones():
    problem = sml.ODEProblem(decay, np.zeros((10, 10)), (0, 1), {"k": np.float64(2.0)})
    text = "ODEProblem(decay, u0=<(10, 10) array>, tspan=(0.0, 1.0), p={'k': 2.0})"
    assert repr(problem) == text


def test_a_copy_solves_as_well():
    problem = sml.ODEProblem(decay, [1.0], (0, 1), 3.0)
    assert copy.copy(problem).u0.tolist() == [1.0]


def test_errors_of_parameters_name_the_place():
    with pytest.raises(ValueError, match=r"^p\['w'\]\[1\] must be finite; got inf in p\['w'\]"):
        sml.ODEProblem(decay, 1.0, (0, 1), {"w": [[1.0], [np.inf]]})


class TestFromScipy:
    def model(self, f, p=None):
        return sml.ODEProblem(f, [1.0, 2.0], (0, 1), p)

    def value(self, problem):
        return problem.model.f(problem.u0_flat, problem.p_flat, 0.5).tolist()

    def test_time_comes_first(self):
        assert self.value(self.model(sml.from_scipy(lambda t, y: [t, y[0]]))) == [0.5, 1.0]

    def test_args_are_constants(self):
        f = sml.from_scipy(lambda t, y, a, b: [a * y[1], b * y[0]], args=(3.0, 4.0))
        assert self.value(self.model(f)) == [6.0, 4.0]

    @pytest.mark.parametrize("p", [(3.0, 4.0), Rates(3.0, 4.0), {"b": 4.0, "a": 3.0}])
    def test_without_args_the_parameters_are_passed(self, p):
        f = sml.from_scipy(lambda t, y, a, b: [a * y[1], b * y[0]])
        assert self.value(self.model(f, p)) == [6.0, 4.0]

    def test_a_number_is_one_argument(self):
        f = sml.from_scipy(lambda t, y, a: [a * y[1], y[0]])
        assert self.value(self.model(f, 3.0)) == [6.0, 1.0]
