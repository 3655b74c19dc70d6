"""`Model`: a captured function with its derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pysciml.capture import aten
from pysciml.capture.batch import batched
from pysciml.capture.parameters import Parameters
from pysciml.capture.program import Program
from pysciml.capture.record import Tape, record

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
TorchFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Model:
    """A captured function of (u, p, t): Programs for it and for its derivatives, made on first use.

    Attributes
    ----------
    state_shape, n: shape and number of the state's entries.
    result_shape, n_out: shape and number of the result's entries; those of the state for a
        right-hand side.
    parameters, n_p, p_flat: layout, number and captured values of the parameters.
    torch_function: the user's own function on torch tensors, ``(u, p_flat, t) -> du``, with `u`
        and `du` of `state_shape`.
    f, jac, tgrad, jvp, vjp, vjp_p, vjp_up, jvp_vjp, tgrad_vjp: see `docs/architecture.md` for
        inputs and outputs. The derivatives come from `torch.func` applied to the recorded function.
    """

    def __init__(
        self,
        tape: Tape,
        torch_function: TorchFunction,
        state_shape: tuple[int, ...],
        parameters: Parameters,
        p_flat: Array,
    ) -> None:
        self._tape = tape
        self.torch_function = torch_function
        self.state_shape = state_shape
        self.n = math.prod(state_shape)
        self.result_shape = tape.result_shape
        self.n_out = math.prod(tape.result_shape)
        self.parameters = parameters
        self.p_flat = p_flat
        self.n_p = parameters.size
        self.compiled: dict[Any, Any] = {}  # engines keep what they made of the Programs here

    def _record(self, name: str, function: Callable[..., torch.Tensor], extra: str = "") -> Program:
        """Program of a derivative. `extra` names a fourth input: v is like the state, w like the
        result, vw is v, then w.
        """
        shapes = self._inputs()
        if extra:
            size = sum({"v": self.n, "w": self.n_out}[letter] for letter in extra)
            shapes.append((extra, (size,)))
        tape = self._tape_of(function, shapes)
        return aten.translate(tape, name, shapes, tape.result_shape)

    def _inputs(self) -> list[tuple[str, tuple[int, ...]]]:
        return [("u", self.state_shape), ("p", (self.n_p,)), ("t", ())]

    @staticmethod
    def _tape_of(
        function: Callable[..., torch.Tensor], inputs: list[tuple[str, tuple[int, ...]]]
    ) -> Tape:
        examples = [torch.zeros(shape, dtype=torch.float64) for _, shape in inputs]
        return record(function, examples, aten.supported)

    def flat_function(self, u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self._tape.replay(u, p, t).reshape(-1)

    @cached_property
    def f(self) -> Program:
        return aten.translate(self._tape, "f", self._inputs(), (self.n_out,))

    @cached_property
    def jac(self) -> Program:
        return batched(self.vjp, "jac", "w", np.eye(self.n_out))

    @cached_property
    def tgrad(self) -> Program:
        def tgrad(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return pushforward(
                lambda t: self.flat_function(u, p, t), t, torch.ones_like(t), self.n_out
            )

        return self._record("tgrad", tgrad)

    @cached_property
    def jvp(self) -> Program:
        def jvp(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return pushforward(
                lambda u: self.flat_function(u, p, t), u, v.reshape(u.shape), self.n_out
            )

        return self._record("jvp", jvp, "v")

    @cached_property
    def vjp(self) -> Program:
        def vjp(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            pullback = torch.func.vjp(lambda u: self.flat_function(u, p, t), u)[1]
            return pullback(w)[0].reshape(-1)

        return self._record("vjp", vjp, "w")

    @cached_property
    def vjp_p(self) -> Program:
        def vjp_p(
            u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, w: torch.Tensor
        ) -> torch.Tensor:
            pullback = torch.func.vjp(lambda p: self.flat_function(u, p, t), p)[1]
            return pullback(w)[0]

        return self._record("vjp_p", vjp_p, "w")

    @cached_property
    def vjp_up(self) -> Program:
        def vjp_up(
            u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, w: torch.Tensor
        ) -> torch.Tensor:
            pullback = torch.func.vjp(lambda u, p: self.flat_function(u, p, t), u, p)[1]
            return _joined(pullback(w))

        return self._record("vjp_up", vjp_up, "w")

    @cached_property
    def jvp_vjp(self) -> Program:
        def jvp_vjp(
            u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, vw: torch.Tensor
        ) -> torch.Tensor:
            v, w = vw[: self.n], vw[self.n :]

            def contracted(u: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
                pullback = torch.func.vjp(lambda u: self.flat_function(u, p, t), u)[1]
                return (pullback(w)[0].reshape(-1) * v).sum()

            return _joined(torch.func.grad(contracted, (0, 1))(u, p))

        return self._record("jvp_vjp", jvp_vjp, "vw")

    @cached_property
    def tgrad_vjp(self) -> Program:
        def tgrad_vjp(
            u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, w: torch.Tensor
        ) -> torch.Tensor:
            def contracted(u: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
                return torch.func.grad(lambda t: (self.flat_function(u, p, t) * w).sum())(t)

            return _joined(torch.func.grad(contracted, (0, 1))(u, p))

        return self._record("tgrad_vjp", tgrad_vjp, "w")

    @cached_property
    def along_itself(self) -> Model:
        """The model of (df/du) f, for a result like the state; Milstein's method takes it of g."""

        def function(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            f = self.flat_function(u, p, t).reshape(u.shape)
            moved = pushforward(lambda u: self.flat_function(u, p, t), u, f, self.n_out)
            return moved.reshape(u.shape)

        return self.derived(function, self.state_shape)

    def derived(self, function: TorchFunction, state_shape: tuple[int, ...]) -> Model:
        """The model of another torch function (u, p_flat, t), of the same parameters."""
        tape = self._tape_of(function, [("u", state_shape), *self._inputs()[1:]])
        return Model(tape, function, state_shape, self.parameters, self.p_flat)

    def jac_in(self, columns: slice) -> Program:
        """Some of the columns of `jac`, without what only the others need."""

        def vjp(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            pullback = torch.func.vjp(lambda u: self.flat_function(u, p, t), u)[1]
            return pullback(w)[0].reshape(-1)[columns]

        return batched(self._record("vjp", vjp, "w"), "jac", "w", np.eye(self.n_out))

    def part(self, name: str, rows: slice) -> Program:
        """Some of the entries of f, without what only the others need."""

        def part(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.flat_function(u, p, t)[rows]

        return self._record(name, part)

    def sparsity(self) -> csr_array:
        """Pattern of `jac`: (n_out, n) booleans, True where df_i/du_j can be other than zero."""
        from pysciml.capture.sparsity import pattern

        return pattern(self.f, "u")


def _joined(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def pushforward(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, v: torch.Tensor, n: int
) -> torch.Tensor:
    """Forward derivative as the transpose of the reverse one.

    The reverse formulas give the recorder fewer and plainer operations than dual numbers do;
    the primal part of the first pass is dead code and is dropped.
    """

    def transpose(w: torch.Tensor) -> torch.Tensor:
        return torch.func.vjp(function, x)[1](w)[0]

    pullback = torch.func.vjp(transpose, torch.zeros(n, dtype=torch.float64))[1]
    return pullback(v)[0]
