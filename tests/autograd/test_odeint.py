"""Values and gradients of the drop-in: against torchdiffeq, finite differences and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
from autograd_cases import (
    DOUBLE,
    TIGHT,
    Net,
    Oscillator,
    assert_like_torchdiffeq,
    assert_same,
    tensor,
    values_and_gradients,
)

import pysciml as sml

SOLVERS = (sml.odeint, sml.odeint_adjoint)
TIMES = torch.linspace(0.0, 2.0, 6, **DOUBLE)


@pytest.fixture(autouse=True)
def nothing_falls_back(recwarn):
    yield
    assert not [w for w in recwarn if "torchdiffeq" in str(w.message)]


@pytest.fixture
def net():
    return Net(**DOUBLE)


# -- against torchdiffeq ---------------------------------------------------------------------------
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("method", [None, "dopri5", "Vern7", "Rodas5P", "AutoTsit5(Rodas5P)"])
def test_module(solver, net, method):
    y0, t = tensor(1.0, -0.5, grad=True), TIMES.clone().requires_grad_()
    inputs = [y0, t, *net.parameters()]
    assert_like_torchdiffeq(solver, net, y0, t, inputs, method=method)


def test_decreasing_times(net):
    y0, t = tensor(1.0, -0.5, grad=True), TIMES.flip(0).clone().requires_grad_()
    assert_like_torchdiffeq(sml.odeint, net, y0, t, [y0, t, *net.parameters()])


def test_times_far_apart_and_off_the_origin(net):
    y0, t = tensor(1.0, -0.5, grad=True), tensor(-1.5, -1.4, 0.3, 4.0, grad=True)
    assert_like_torchdiffeq(sml.odeint, net, y0, t, [y0, t, *net.parameters()])


def test_batch(net):
    y0 = torch.linspace(-1, 1, 10, **DOUBLE).reshape(5, 2).requires_grad_()
    t = TIMES.clone().requires_grad_()
    assert_like_torchdiffeq(sml.odeint_adjoint, net, y0, t, [y0, t, *net.parameters()])


def test_tuple_of_tensors():
    func = Oscillator()
    y0 = (tensor(1.0, 0.5, grad=True), tensor(0.0, -1.0, grad=True))
    t = TIMES.clone().requires_grad_()
    for solver in SOLVERS:
        assert_like_torchdiffeq(solver, func, y0, t, [*y0, t, *func.parameters()])


def test_tuple_of_different_shapes():
    decay = tensor(0.5, grad=True)

    def func(t, y):
        matrix, scalar = y
        return -decay * matrix * scalar, torch.cos(t) * matrix.sum()

    y0 = (torch.ones(2, 3, **DOUBLE).requires_grad_(), torch.tensor(0.5, **DOUBLE).requires_grad_())
    states = sml.odeint(func, y0, TIMES)
    assert [x.shape for x in states] == [(6, 2, 3), (6,)]
    assert_like_torchdiffeq(sml.odeint, func, y0, TIMES, [*y0, decay])


def test_a_scalar_state():
    y0 = torch.tensor(2.0, **DOUBLE).requires_grad_()
    states = sml.odeint(lambda t, y: -y, y0, TIMES, **TIGHT)
    torch.testing.assert_close(states, 2 * torch.exp(-TIMES), rtol=1e-8, atol=0)
    states[-1].backward()
    torch.testing.assert_close(y0.grad.item(), math.exp(-2.0), rtol=1e-8, atol=0)


def test_a_single_time_returns_the_state(net):
    y0 = tensor(1.0, -0.5, grad=True)
    states = sml.odeint(net, y0, tensor(0.3))
    assert torch.equal(states, y0[None])
    states.sum().backward()
    assert torch.equal(y0.grad, torch.ones_like(y0))


def test_closure_over_tensors_leaves_and_others():
    """Neither is a parameter of a module; the second is itself computed."""
    leaf = tensor(0.3, -0.2, grad=True)
    root = tensor(1.5, grad=True)
    y0 = tensor(1.0, 0.5, grad=True)

    def gradients(solver):
        computed = torch.exp(root) * 0.3
        inputs = [y0, leaf, root]
        return values_and_gradients(
            solver, lambda t, y: leaf * y - computed * y.flip(0), y0, TIMES, inputs, **TIGHT
        )

    assert_same(gradients(sml.odeint), gradients(torchdiffeq.odeint))


def test_a_module_inside_a_function(net):
    y0 = tensor(1.0, -0.5, grad=True)
    inputs = [y0, *net.parameters()]
    assert_like_torchdiffeq(sml.odeint, lambda t, y: net(t, y) - y, y0, TIMES, inputs)


def test_a_bound_method(net):
    class Model:
        def __init__(self):
            self.net = net
            self.scale = 0.5

        def rhs(self, t, y):
            return self.scale * self.net(t, y)

    y0 = tensor(1.0, -0.5, grad=True)
    assert_like_torchdiffeq(sml.odeint, Model().rhs, y0, TIMES, [y0, *net.parameters()])


def test_other_callables():
    class Model:
        rate = 0.7

        def __init__(self):
            self.k = tensor(0.5, grad=True)

        def __call__(self, t, y):
            return -self.k * self.rate * y

        @staticmethod
        def static(t, y):
            return -0.3 * y

        @classmethod
        def of_class(cls, t, y):
            return -cls.rate * y

    model, y0 = Model(), tensor(1.0, -0.5, grad=True)
    assert_like_torchdiffeq(sml.odeint, model, y0, TIMES, [y0, model.k])
    assert_like_torchdiffeq(sml.odeint, Model.static, y0, TIMES, [y0])
    assert_like_torchdiffeq(sml.odeint, model.of_class, y0, TIMES, [y0])


def test_gradients_and_jacobians_inside_the_function(net):
    """By torch.func: a Hamiltonian system, and the trace of a Jacobian along a flow."""
    energy = torch.nn.Sequential(
        torch.nn.Linear(2, 4, **DOUBLE),
        torch.nn.Tanh(),
        torch.nn.Linear(4, 1, bias=False, **DOUBLE),
    )

    def hamiltonian(t, y):
        dh = torch.func.grad(lambda y: energy(y).squeeze())(y)
        return torch.stack([dh[1], -dh[0]])

    def flow(t, state):
        z, _ = state
        jacobian = torch.func.vmap(torch.func.jacrev(lambda z: net(t, z)))(z)
        return net(t, z), -jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)

    y0 = tensor(1.0, -0.5, grad=True)
    assert_like_torchdiffeq(sml.odeint, hamiltonian, y0, TIMES, [y0, *energy.parameters()])
    z0 = torch.linspace(-1, 1, 6, **DOUBLE).reshape(3, 2).requires_grad_()
    start = (z0, torch.zeros(3, **DOUBLE))
    assert_like_torchdiffeq(sml.odeint, flow, start, TIMES, [z0, net.first.weight])


def test_what_torch_compile_was_given_is_compiled_here_instead(net):
    y0 = tensor(1.0, -0.5, grad=True)
    plain = sml.odeint(net, y0, TIMES)
    assert torch.equal(sml.odeint(torch.compile(net), y0, TIMES), plain)
    compiled = torch.compile(lambda t, y: net(t, y))  # noqa: PLW0108
    assert torch.equal(sml.odeint(compiled, y0, TIMES), plain)


def test_a_part_of_the_inputs_wants_gradients(net):
    y0 = tensor(1.0, -0.5)
    frozen = [p for p in net.parameters() if p is not net.second.weight]
    for p in frozen:
        p.requires_grad_(False)
    assert_like_torchdiffeq(sml.odeint, net, y0, TIMES, [net.second.weight])
    assert all(p.grad is None for p in frozen)


def test_detach_is_respected():
    a, b = tensor(0.5, grad=True), tensor(0.7, grad=True)
    y0 = tensor(1.0)
    sml.odeint(lambda t, y: -a * y - b.detach() * y, y0, TIMES)[-1].sum().backward()
    torch.testing.assert_close(a.grad.item(), -2.0 * math.exp(-2.4), rtol=1e-6, atol=0)
    assert torch.equal(b.grad, tensor(0.0))


def test_the_result_of_no_grad_needs_none(net):
    with torch.no_grad():
        found = sml.odeint(net, tensor(1.0, -0.5), TIMES, **TIGHT)
        expected = torchdiffeq.odeint(net, tensor(1.0, -0.5), TIMES, **TIGHT)
    assert not found.requires_grad
    assert_same([found], [expected], 1e-8)


# -- odeint_adjoint's own arguments ----------------------------------------------------------------
def test_adjoint_params_choose_what_receives_gradients(net):
    other = tensor(3.0, grad=True)
    chosen = [net.first.weight, other]
    inputs = [net.first.weight, net.second.weight, other]

    def run(solver):
        for x in inputs:
            x.grad = None
        solver(net, tensor(1.0, -0.5), TIMES, adjoint_params=chosen, **TIGHT).sum().backward()
        return [x.grad for x in inputs]

    mine, theirs = run(sml.odeint_adjoint), run(torchdiffeq.odeint_adjoint)
    assert mine[1] is None and theirs[1] is None
    assert_same([mine[0]], [theirs[0]])
    assert torch.equal(mine[2], torch.zeros(1, **DOUBLE)) and torch.equal(mine[2], theirs[2])


def test_a_parameter_that_func_ignores_gets_zeros_as_in_torchdiffeq():
    net = Net(**DOUBLE)
    net.idle = torch.nn.Parameter(tensor(1.0))
    for solver in (sml.odeint_adjoint, torchdiffeq.odeint_adjoint):
        net.idle.grad = None
        solver(net, tensor(1.0, -0.5), TIMES).sum().backward()
        assert torch.equal(net.idle.grad, tensor(0.0))


def test_adjoint_arguments_are_taken(net):
    arguments = {
        "method": "dopri5",
        "adjoint_rtol": 1e-5,
        "adjoint_atol": torch.tensor(1e-5),
        "adjoint_method": "bosh3",
        "adjoint_options": {"norm": "seminorm"},
    }
    y0 = tensor(1.0, -0.5, grad=True)
    assert_like_torchdiffeq(sml.odeint_adjoint, net, y0, TIMES, [y0], **arguments)


# -- gradcheck -------------------------------------------------------------------------------------
def gradcheck(function, *inputs):
    return torch.autograd.gradcheck(function, inputs, eps=1e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["forwards", "backwards"])
def test_gradcheck_of_a_function(times):
    def solve(a, b, y0, t):
        return sml.odeint(lambda t, y: a * y.flip(0) - b * y**3 + torch.cos(t), y0, t, **TIGHT)

    inputs = (tensor(0.4, -0.3, grad=True), tensor(0.2, grad=True), tensor(1.0, 0.5, grad=True))
    assert gradcheck(solve, *inputs, times.clone().requires_grad_())


def test_gradcheck_of_a_module_on_a_batch(net):
    names = [name for name, _ in net.named_parameters()]

    def solve(y0, t, *values):
        module = Net(**DOUBLE)
        for name, value in zip(names, values, strict=True):
            layer, attribute = name.split(".")
            delattr(getattr(module, layer), attribute)
            setattr(getattr(module, layer), attribute, value)
        return sml.odeint(module, y0, t, **TIGHT)

    y0 = torch.linspace(-1, 1, 6, **DOUBLE).reshape(3, 2).requires_grad_()
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert gradcheck(solve, y0, TIMES[:3].clone().requires_grad_(), *values)


def test_gradcheck_of_a_tuple():
    def solve(stiffness, position, velocity, t):
        func = lambda t, y: (y[1], -stiffness * y[0])  # noqa: E731
        return sml.odeint(func, (position, velocity), t, **TIGHT)

    inputs = (tensor(2.0, 3.0, grad=True), tensor(1.0, 0.5, grad=True), tensor(0.0, 1.0, grad=True))
    assert gradcheck(solve, *inputs, TIMES.clone().requires_grad_())


def test_second_derivatives():
    """By torchdiffeq: the closed form of y = y0 exp(-a t) has d2y/da2 = t^2 y."""
    a, y0 = tensor(0.5, grad=True), tensor(2.0, grad=True)

    def solve(a, y0):
        return sml.odeint(lambda t, y: -a * y, y0, TIMES, **TIGHT)

    (first,) = torch.autograd.grad(solve(a, y0)[-1].sum(), a, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), a)
    torch.testing.assert_close(second.item(), 4.0 * 2.0 * math.exp(-1.0), rtol=1e-7, atol=0)
    assert torch.autograd.gradgradcheck(solve, (a, y0), eps=1e-5, atol=1e-6, rtol=1e-5)


# -- precision -------------------------------------------------------------------------------------
def test_float32_in_float32_out_computed_in_float64():
    single, double = Net(), Net(**DOUBLE)
    t = torch.linspace(0.0, 2.0, 6)
    y0 = torch.tensor([1.0, -0.5], requires_grad=True)
    states = sml.odeint(single, y0, t)
    states.square().sum().backward()
    assert states.dtype == y0.grad.dtype == single.first.weight.grad.dtype == torch.float32

    with torch.no_grad():
        for mine, theirs in zip(double.parameters(), single.parameters(), strict=True):
            mine.copy_(theirs)
        double.mean.copy_(single.mean)
    exact = torchdiffeq.odeint(double, y0.detach().double(), t.double(), **TIGHT)
    exact.square().sum().backward()
    assert_same([states], [exact.float()], 2e-7)
    assert_same([single.first.weight.grad], [double.first.weight.grad.float()], 1e-6)


def test_tolerances_of_each_component(net):
    """A component of no interest may be wrong; the one with the tight tolerance is right."""

    def func(t, y):
        return torch.stack([y[1], -25 * y[0], -0.1 * y[2]])

    y0 = tensor(1.0, 0.0, 1.0)
    t = tensor(0.0, 3.0)
    loose = {"rtol": 1e-12, "method": "dopri5"}
    found = sml.odeint(func, y0, t, atol=tensor(1e2, 1e2, 1e-10), **loose)[-1]
    assert abs(found[2] - math.exp(-0.3)) < 1e-8
    assert abs(found[0] - math.cos(15.0)) > 1e-4
    found = sml.odeint(func, y0, t, atol=1e-10, **loose)[-1]
    assert abs(found[0] - math.cos(15.0)) < 1e-6


def test_tolerances_of_a_tuple():
    func = Oscillator()
    y0 = (tensor(1.0, 0.5), tensor(0.0, -1.0))
    t = tensor(0.0, 20.0)
    exact = torchdiffeq.odeint(func, y0, t, **TIGHT)
    errors = []
    for rtol in ((1e-3, tensor(1e-3, 1e-3)), (1e-9, tensor(1e-9, 1e-9))):
        found = sml.odeint(func, y0, t, rtol=rtol, atol=(1e-9, 1e-9), method="dopri5")
        errors.append((found[0][-1] - exact[0][-1]).abs().max().item())
    assert errors[0] > 1e-5
    assert errors[1] < 1e-7


def test_a_stiff_problem_with_the_default_method():
    """Robertson's kinetics, with rate constants as parameters, against finite differences."""
    rates = tensor(0.04, 3e7, 1e4, grad=True)
    t = tensor(0.0, 40.0, 4e3)

    def func(t, y):
        k = rates
        r1, r2, r3 = k[0] * y[0], k[1] * y[1] ** 2, k[2] * y[1] * y[2]
        return torch.stack([-r1 + r3, r1 - r2 - r3, r2])

    def final():
        return sml.odeint(func, tensor(1.0, 0.0, 0.0), t, rtol=1e-10, atol=1e-13)[-1, 0]

    final().backward()
    with torch.no_grad():
        for i in range(3):
            step = 1e-4 * rates[i].item()
            ends = []
            for sign in (1, -1):
                rates[i] += sign * step
                ends.append(final().item())
                rates[i] -= sign * step
            difference = (ends[0] - ends[1]) / (2 * step)
            assert rates.grad[i].item() == pytest.approx(difference, rel=1e-5)


def test_a_failed_solve_tells_where_and_keeps_what_it_has():
    """y' = y^2 from 1 is 1/(1 - t)."""
    with pytest.raises(sml.SolveError, match=r"^odeint stopped early \(\w+\): .* stopped at t = 1"):
        sml.odeint(lambda t, y: y * y, tensor(1.0), tensor(0.0, 0.5, 2.0))
    with pytest.raises(sml.SolveError, match="MaxIters") as caught:
        options = {"max_num_steps": 3}
        sml.odeint(lambda t, y: -y, tensor(1.0), tensor(0.0, 0.1, 50.0), options=options)
    solution = caught.value.solution
    assert solution.t.tolist() == [0.0, 0.1]
    assert solution.u[1, 0] == pytest.approx(math.exp(-0.1), rel=1e-6)


def test_the_graph_can_be_kept(net):
    y0 = tensor(1.0, -0.5, grad=True)
    states = sml.odeint(net, y0, TIMES)
    first = torch.autograd.grad(states.sum(), y0, retain_graph=True)[0]
    sml.odeint(net, 3 * y0, TIMES).sum().backward()  # another solve in between
    second = torch.autograd.grad(states.sum(), y0)[0]
    assert torch.equal(first, second)


def test_the_states_may_not_be_changed_before_the_gradient_in_time(net):
    t = TIMES.clone().requires_grad_()
    states = sml.odeint(net, tensor(1.0, -0.5), t)
    loss = states.sum()
    with torch.no_grad():
        states.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
