"""Gradients through events, against closed forms and finite differences of 1e-13 solves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import BALL, BOUNCE, TIGHT, ball, ball_state, decay, dosed, falling, oscillator

import pysciml as sml


def exact_gradient(loss, values, end=2.5):
    """Of a loss of the final state, in (x, v, g, e)."""
    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    value = loss(ball_state(*inputs, end)[0])
    found = torch.autograd.grad(value, inputs, materialize_grads=True)
    return value.item(), [each.item() for each in found]


def last_state(u):
    return 0.7 * u[-1, 0] - 1.3 * u[-1, 1] ** 2


@pytest.mark.parametrize("checkpointing", (False, True))
@pytest.mark.parametrize("alg", ("Tsit5", "Vern7", "Rodas5P", "AutoTsit5(Rodas5P)"))
def test_a_bouncing_ball(engine: str, alg: str, checkpointing: bool) -> None:
    value, expected = exact_gradient(
        lambda u: last_state(u[None]), (1.0, 0.3, BALL["g"], BALL["e"])
    )
    steps = {"dtmax": 0.002} if checkpointing else {}  # more than one checkpoint
    found = sml.gradient(
        ball(), last_state, alg, engine, [1.0, 2.5], checkpointing=checkpointing, **TIGHT, **steps
    )
    assert len(found.solution.events[0].t) == 4
    assert found.value == pytest.approx(value, rel=1e-9)
    assert [*found.u0, found.p["g"], found.p["e"]] == pytest.approx(expected, rel=1e-7)
    assert found.sensealg == "adjoint"


def test_states_between_the_bounces(engine: str) -> None:
    times = [0.2, 0.6, 1.3, 2.0]
    weights = np.array([1.0, -2.0, 3.0, 0.5])
    expected = np.zeros(4)
    for time, weight in zip(times, weights, strict=True):
        expected += weight * np.array(
            exact_gradient(lambda u: u[0] * u[1], (1.0, 0.3, 9.81, 0.8), time)[1]
        )
    found = sml.gradient(
        ball(), lambda u: (torch.from_numpy(weights) * u[:, 0] * u[:, 1]).sum(), "Tsit5",
        engine, times, **TIGHT,
    )  # fmt: skip
    assert [*found.u0, found.p["g"], found.p["e"]] == pytest.approx(expected.tolist(), rel=1e-7)


@pytest.mark.parametrize(
    "saved", ({"saveat": 0.1}, {"save_everystep": False}, {}), ids=("saveat", "ends", "steps")
)
def test_the_time_of_a_terminal_event(engine: str, saved: dict[str, float]) -> None:
    """The third component is the time, whose derivatives at the ground are known."""
    ground = sml.ContinuousEvent(lambda u, p, t: u[0], terminal=True)
    problem = sml.ODEProblem(
        lambda u, p, t: [u[1], -p, 1.0], [1.0, 0.3, 0.0], (0.0, 2.5), 9.81, events=[ground]
    )
    found = sml.gradient(problem, lambda u: u[-1, 2], "Tsit5", engine, **saved, **TIGHT)
    x, v, g = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (1.0, 0.3, 9.81))
    time = (v + torch.sqrt(v * v + 2.0 * g * x)) / g
    expected = [a.item() for a in torch.autograd.grad(time, (x, v, g))]
    assert found.solution.retcode == "Terminated"
    assert found.solution.t[-1] == pytest.approx(time.item(), abs=1e-12)
    assert found.value == pytest.approx(time.item(), abs=1e-12)
    assert [*found.u0[:2], found.p] == pytest.approx(expected, rel=1e-9)


def test_an_affect_before_the_end(engine: str) -> None:
    """A terminal event with an affect: the speed after the bounce, e sqrt(v^2 + 2 g x)."""
    ground = sml.ContinuousEvent(BOUNCE.condition, BOUNCE.affect, terminal=True)
    problem = sml.ODEProblem(falling, [1.0, 0.3], (0.0, 2.5), BALL, events=[ground])
    found = sml.gradient(problem, lambda u: u[-1, 1], "Tsit5", engine, [0.1], **TIGHT)
    x, v, g, e = 1.0, 0.3, BALL["g"], BALL["e"]
    speed = np.sqrt(v * v + 2 * g * x)
    assert found.value == pytest.approx(e * speed, rel=1e-10)
    assert found.u0 == pytest.approx([e * g / speed, e * v / speed], rel=1e-8)
    assert [found.p["g"], found.p["e"]] == pytest.approx([e * x / speed, speed], rel=1e-8)


def test_doses(engine: str) -> None:
    """The amount after doses at 0, 1 and 3 is a sum of exponentials."""
    doses = np.array([0.0, 1.0, 3.0])
    problem = decay((0.0, 3.0), u0=0.5, events=[sml.PresetTimes(doses, dosed)])
    for options in ({}, {"checkpointing": True, "dtmax": 0.01}):
        found = sml.gradient(
            problem, lambda u: u[0] + u[1], "Tsit5", engine, [2.0, 3.0], **TIGHT, **options
        )
        k, dose, by_k, by_dose, by_u0 = 0.7, 2.0, 0.0, 0.0, 0.0
        for t in (2.0, 3.0):
            since = t - doses[doses <= t]
            by_dose += np.exp(-k * since).sum()
            by_k += -dose * (since * np.exp(-k * since)).sum() - 0.5 * t * np.exp(-k * t)
            by_u0 += np.exp(-k * t)
        assert found.p["k"] == pytest.approx(by_k, rel=1e-9)
        assert found.p["dose"] == pytest.approx(by_dose, rel=1e-9)
        assert found.u0 == pytest.approx(by_u0, rel=1e-9)


def paddle(u, p, t):
    """A ball that is hit by a paddle which moves up and down, in a wind."""
    return [u[1], -p["g"] - p["drag"] * u[1] * torch.sqrt(1.0 + u[1] ** 2)]


def distance(u, p, t):
    return u[0] - p["a"] * torch.sin(p["w"] * t)


def hit(u, p, t):
    speed = p["a"] * p["w"] * torch.cos(p["w"] * t)
    return [u[0] + 0.01 * t, speed - p["e"] * (u[1] - speed)]


PADDLE = {"g": 9.81, "drag": 0.1, "a": 0.05, "w": 7.0, "e": 0.7}


def paddle_problem(u0=(1.0, 0.0), p=None) -> sml.ODEProblem:
    return _PADDLE.remake(u0=list(u0), p=p or PADDLE)


_PADDLE = sml.ODEProblem(
    paddle, [1.0, 0.0], (0.0, 2.2), PADDLE,
    events=[
        sml.ContinuousEvent(distance, hit, direction=-1),
        sml.PeriodicEvent(0.5, lambda u, p, t: [u[0], u[1] + p["a"] * t * u[0] ** 2]),
    ],
)  # fmt: skip


@pytest.mark.parametrize("alg", ("Vern7", "Rodas5P"))
def test_everything_that_depends_on_time_and_parameters(engine: str, alg: str) -> None:
    def value(u0, p) -> float:
        sol = sml.solve(
            paddle_problem(u0, p), "Vern7", engine, [1.1, 2.2], abstol=1e-13, reltol=1e-13
        )
        assert [len(each.t) for each in sol.events] == [6, 4]
        return float((sol.u**2).sum())

    found = sml.gradient(
        paddle_problem(), lambda u: (u**2).sum(), alg, engine, [1.1, 2.2], abstol=1e-11,
        reltol=1e-11,
    )  # fmt: skip
    step = 1e-5
    for name, at in PADDLE.items():
        moved = [value((1.0, 0.0), {**PADDLE, name: at + s}) for s in (step, -step)]
        assert found.p[name] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)
    for i, by_u0 in enumerate(found.u0):
        u0 = np.array([1.0, 0.0])
        moved = [value(u0 + s * np.eye(2)[i], PADDLE) for s in (step, -step)]
        assert by_u0 == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)


def test_checkpoints_change_nothing() -> None:
    found = [
        sml.gradient(
            paddle_problem(), lambda u: (u**2).sum(), "Tsit5", "native", 0.05, dtmax=0.001,
            checkpointing=checkpointing,
        ).p_flat
        for checkpointing in (False, True)
    ]  # fmt: skip
    assert (found[0] == found[1]).all()


def test_a_regular_mass_matrix_and_steps_backwards(engine: str) -> None:
    """2 x' = 2 v, 4 v' = -4 g, from the ground back to the start."""
    problem = sml.ODEProblem(
        lambda u, p, t: [2.0 * u[1], -4.0 * p["g"]], [1.0, -0.3], (0.0, -2.5), BALL,
        mass_matrix=[[2.0, 0.0], [0.0, 4.0]], events=[BOUNCE],
    )  # fmt: skip
    found = sml.gradient(problem, last_state, "Rodas5P", engine, [-2.5], **TIGHT)
    # in the reversed time the ball falls from the same height with the opposite speed
    _, expected = exact_gradient(lambda u: last_state(u[None]), (1.0, 0.3, 9.81, 0.8))
    assert found.u0 == pytest.approx([expected[0], -expected[1]], rel=1e-7)
    assert [found.p["g"], found.p["e"]] == pytest.approx(expected[2:], rel=1e-7)


def test_discrete_events_are_at_fixed_times() -> None:
    """u' = -k u, halved at the ends of two steps: u = u0 exp(-k t)/4."""
    halve = sml.DiscreteEvent(lambda u, p, t: (t > 0.9) & (t < 1.6), lambda u, p, t: 0.5 * u)
    found = sml.gradient(
        decay((0.0, 2.0), u0=3.0), lambda u: u[-1], "RK4", "native", [2.0], dt=0.5,
        adaptive=False, events=[halve],
    )  # fmt: skip
    z = -0.7 * 0.5
    factor = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    slope = -0.5 * (1 + z + z**2 / 2 + z**3 / 6)
    assert found.u0 == pytest.approx(factor**4 / 4, rel=1e-12)
    assert found.p["k"] == pytest.approx(3.0 * factor**3 * slope, rel=1e-12)


def test_parameters_are_fitted_through_events(engine: str) -> None:
    """The restitution, from where the ball is seen."""
    times = np.linspace(0.1, 2.4, 24)
    seen = sml.solve(ball(e=0.75), engine=engine, saveat=times, **TIGHT).u
    first = sml.ODEProblem(
        falling, [1.0, 0.3], (0.0, 2.5), {**BALL, "e": 0.8}, names=["x", "v"], events=[BOUNCE]
    )
    found = sml.fit(
        first,
        (times, seen),
        engine=engine,
        fixed=["g"],
        optimisers=sml.train.LBFGS(40),
        progress=False,
    )
    assert found.p["e"] == pytest.approx(0.75, abs=1e-5)


ONLY_FIRST = (
    'only first derivatives go through events, and backwards: gradient(..., sensealg="adjoint")'
)
REFUSED = [
    (
        lambda: sml.gradient(
            oscillator(), lambda u: u[-1, 0], "Tsit5", "native", events=[sml.Positive()]
        ),
        "there are no gradients through Positive: leave it out of the events of what is "
        "differentiated",
    ),
    (
        lambda: sml.gradient(
            oscillator(), lambda u: u[-1, 0], "Tsit5", "native",
            events=[sml.ManifoldProjection(lambda u, p, t: (u * u).sum() - 1.0)],
        ),
        "there are no gradients through ManifoldProjection: leave it out of the events of what is "
        "differentiated",
    ),
    (
        lambda: sml.gradient(ball(), last_state, "Tsit5", "native", [1.0], "forward"),
        ONLY_FIRST,
    ),
    (
        lambda: sml.sensitivities(ball(), "Tsit5", "native", 0.5),
        ONLY_FIRST,
    ),
    (
        lambda: sml.hessian_vector(ball(), last_state, u0=[1.0, 0.0], engine="native"),
        ONLY_FIRST,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_has_no_gradient_says_so(call, message: str) -> None:
    with pytest.raises(sml.UnsupportedError) as raised:
        call()
    assert str(raised.value) == message
