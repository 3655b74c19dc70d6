"""One solve as a differentiable function of the initial state, the times and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pysciml.autograd import methods
from pysciml.autograd.binding import Layout
from pysciml.autograd.methods import Method
from pysciml.engines.base import AdjointOptions, Array, Engine, RawSolution, SolveOptions
from pysciml.errors import SolveError
from pysciml.problems import ODEProblem
from pysciml.solution import Solution


@dataclass(slots=True)
class Call:
    """What is to be solved, checked.

    Attributes
    ----------
    func: the user's own, for what only torch can do.
    problem: its captured model; `parameters`: the tensors that are its `p`, end to end.
    receivers: `parameters`, detached where no gradient is wanted, and tensors that get zeros.
    """

    func: Callable[..., Any]
    engine: Engine
    layout: Layout
    problem: ODEProblem
    parameters: list[torch.Tensor]
    receivers: list[torch.Tensor]
    method: Method
    rtol: float | Array
    atol: float | Array
    adjoint: AdjointOptions

    def solve(self, y0: torch.Tensor, t: torch.Tensor, times: Array) -> torch.Tensor:
        """(m, *y0.shape) states at `times`, which are the values of `t`; y0 is joined.

        Raises SolveError.
        """
        if len(times) == 1:
            return y0[None]
        if torch.is_grad_enabled() and (
            y0.requires_grad or t.requires_grad or any(x.requires_grad for x in self.receivers)
        ):
            states: torch.Tensor = _Solve.apply(self, times, y0, t, *self.receivers)
            return states
        run = self.prepare(y0, t, times)
        return run.states(self.engine.solve(run.problem, self.method.alg, run.options))

    def prepare(self, y0: torch.Tensor, t: torch.Tensor, times: Array) -> _Run:
        """Problem and options for the engine."""
        start, end = times[0].item(), times[-1].item()
        problem = self.problem.at(flatten((y0,)), flatten(self.parameters), (start, end))
        options = self.method.within(start, end)
        saveat, between = times, None
        if self.method.grid is not None:
            grid = self.method.grid(self.func, self.layout.split(y0), t)
            options = {**options, "dt": abs(end - start), "tstops": grid[1:]}
            if not np.isin(times, grid).all():
                saveat, between = grid, Interpolation(grid, times)
        solve_options = SolveOptions(saveat, self.atol, self.rtol, dense=False, **options)
        return _Run(self, problem, solve_options, y0, between)

    def error(self, problem: ODEProblem, options: SolveOptions, raw: RawSolution) -> SolveError:
        """For a solve that stopped early."""
        reached = f"the last saved time is {raw.t[-1]:.6g}" if len(raw.t) else "at the start"
        solution = Solution(problem, self.engine.name, options, raw)
        return SolveError(
            f"odeint stopped early ({raw.retcode}): {raw.message or reached}", solution
        )


@dataclass(slots=True)
class _Run:
    """What the engine is given, and the way from its arrays to tensors and back."""

    call: Call
    problem: ODEProblem
    options: SolveOptions
    y0: torch.Tensor  # of the dtype, device and shape that are wanted
    between: Interpolation | None  # from the saved states to the wanted ones

    def states(self, raw: RawSolution) -> torch.Tensor:
        if raw.retcode != "Success":
            raise self.call.error(self.problem, self.options, raw)
        flat = raw.u if self.between is None else self.between(raw.u)
        states = torch.from_numpy(flat).to(self.y0.device, self.y0.dtype)
        return states.reshape(-1, *self.y0.shape)

    def cotangent(self, grad: torch.Tensor) -> Array:
        """The gradient with respect to the saved states, from the one in the wanted states."""
        flat = _rows(grad).numpy()
        return flat if self.between is None else self.between.transpose(flat)

    def by_times(
        self, states: torch.Tensor, grad: torch.Tensor, by_u0: Array, times: Array
    ) -> torch.Tensor:
        """The gradient with respect to `times`.

        A state moves along f with its time, and the whole solve moves against f with its start.
        """
        f, p = self.problem.model.f, self.problem.p_flat
        flat = _rows(states.detach()).numpy()
        slopes = np.stack([f(u, p, time) for u, time in zip(flat, times, strict=True)])
        bars = _rows(grad).clone()
        bars[0] -= torch.from_numpy(by_u0)
        return (bars * torch.from_numpy(slopes)).sum(1)


def _rows(states: torch.Tensor) -> torch.Tensor:
    return states.to("cpu", torch.float64).reshape(len(states), -1)


def flatten(tensors: Sequence[torch.Tensor]) -> Array:
    """The entries of all tensors in one float64 vector of its own."""
    if not tensors:
        return np.zeros(0)
    parts = [x.reshape(-1) if x.is_cpu else x.reshape(-1).cpu() for x in tensors]
    flat: Array = torch.cat(parts).detach().to(torch.float64).numpy()
    return flat


class Interpolation:
    """Linear interpolation from the times of a grid to others, torchdiffeq's between fixed steps.

    Parameters
    ----------
    grid, times : (k,), (m,) arrays, both increasing or both decreasing, of the same span
    """

    def __init__(self, grid: Array, times: Array) -> None:
        sign = np.sign(grid[-1] - grid[0])
        self._right = np.clip(np.searchsorted(sign * grid, sign * times), 1, len(grid) - 1)
        left = grid[self._right - 1]
        self._weight = ((times - left) / (grid[self._right] - left))[:, None]
        self._size = len(grid)

    def __call__(self, states: Array) -> Array:
        """(k, n) -> (m, n)"""
        left, right = states[self._right - 1], states[self._right]
        found: Array = left + self._weight * (right - left)
        return found

    def transpose(self, cotangent: Array) -> Array:
        """(m, n) -> (k, n)"""
        found = np.zeros((self._size, cotangent.shape[1]))
        np.add.at(found, self._right - 1, (1.0 - self._weight) * cotangent)
        np.add.at(found, self._right, self._weight * cotangent)
        return found


class _Solve(torch.autograd.Function):
    """(call, times, y0, t, *receivers) -> states."""

    @staticmethod
    def forward(
        ctx: Any,
        call: Call,
        times: Array,
        y0: torch.Tensor,
        t: torch.Tensor,
        *receivers: torch.Tensor,
    ) -> torch.Tensor:
        run = call.prepare(y0, t, times)
        raw, ctx.pullback = call.engine.solve_with_pullback(
            run.problem, call.method.alg, run.options, call.adjoint
        )
        states = run.states(raw)
        ctx.run, ctx.times = run, times
        ctx.save_for_backward(states, y0, t, *receivers)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad, run = grads[0], ctx.run
        states, y0, t, *receivers = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # create_graph=True
            return (None, None, *_differentiably(run.call, (y0, t, *receivers), wanted, grad))
        found = ctx.pullback(run.cotangent(grad))
        by_y0 = like(y0, torch.from_numpy(found.u0)) if wanted[0] else None
        by_t = run.by_times(states, grad, found.u0, ctx.times).to(t) if wanted[1] else None
        return (None, None, by_y0, by_t, *_pieces(found.p, receivers, wanted[2:]))


def _pieces(
    flat: Array, receivers: Sequence[torch.Tensor], wanted: Sequence[bool]
) -> list[torch.Tensor | None]:
    """The gradient of each receiver: its piece of `flat`, zeros beyond the end of that."""
    ignored = sum(x.numel() for x in receivers) - len(flat)
    whole = torch.from_numpy(flat if ignored == 0 else np.append(flat, np.zeros(ignored)))
    pieces = whole.split([x.numel() for x in receivers])
    return [
        like(receiver, piece) if needed else None
        for receiver, piece, needed in zip(receivers, pieces, wanted, strict=True)
    ]


def like(example: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """A float64 vector in the shape, dtype and device of another tensor."""
    shaped = flat.view(example.shape)
    plain = example.dtype is torch.float64 and example.is_cpu
    return shaped if plain else shaped.to(example)


def _differentiably(
    call: Call, inputs: tuple[torch.Tensor, ...], wanted: Sequence[bool], grad: torch.Tensor
) -> list[torch.Tensor | None]:
    """The gradient as torchdiffeq computes it, which can be differentiated once more."""
    from torchdiffeq import odeint

    y0, t = inputs[:2]
    states = odeint(
        call.layout.of_joined(call.func),
        y0,
        t,
        rtol=_tensor(call.rtol, y0),
        atol=_tensor(call.atol, y0),
        method=methods.on_torchdiffeq(call.method.name),
        options=call.method.given,
    )
    chosen = [x for x, needed in zip(inputs, wanted, strict=True) if needed]
    found = iter(
        torch.autograd.grad(
            states, chosen, grad, create_graph=True, allow_unused=True, materialize_grads=True
        )
    )
    return [next(found) if needed else None for needed in wanted]


def _tensor(tolerance: float | Array, y0: torch.Tensor) -> Any:
    if isinstance(tolerance, float):
        return tolerance
    return torch.from_numpy(tolerance).to(y0.device).reshape(y0.shape)
