"""`capture`: a user's Python function, once traced, with its derivatives."""

from __future__ import annotations

import inspect
import math
import re
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pysciml.capture import aten, numpy_style
from pysciml.capture.batch import batched
from pysciml.capture.parameters import Parameters
from pysciml.capture.program import Program
from pysciml.capture.record import (
    NeedsNumpyTracing,
    Tape,
    data_dependent,
    float64_default,
    line_of,
    record,
)
from pysciml.errors import CaptureError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
TorchFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
#: of a result; None stands for any number
Shape = tuple[int | None, ...]

_tracing = threading.RLock()  # one at a time: Dynamo's state is the process's


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


def capture(f: Any, u0: Array, p: Any = None, t0: float = 0.0, shape: Shape | None = None) -> Model:
    """Trace `f` once and return it as a `Model`.

    Parameters
    ----------
    f: ``f(u, p, t)`` returning an array, tensor, list or tuple of u0's shape; in place
        ``f(du, u, p, t)``; or a `torch.nn.Module` with ``forward(u)``, ``forward(t, u)``,
        ``forward(u, t)`` or ``forward(u, p, t)``, whose parameters become `p`.
    u0: float64 array of the state's shape, () for a scalar.
    p: None, a number, an array, or a dict/named tuple of these.
    t0: time of the trace (it has no influence on the result).
    shape: of f's result, None as an entry for any number. Default: u0's.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    u0 = np.asarray(u0, dtype=np.float64)
    function, p = _own_parameters(f, p)
    return _capture(f, function, _same, p, u0, u0.shape if shape is None else shape, t0)


def capture_pair(f: Any, g: Any, u0: Array, p: Any, shape: Shape) -> tuple[Model, Model]:
    """Trace two functions of the same state and parameters: an SDE's drift and noise.

    Parameters
    ----------
    f, u0, p: as for `capture`.
    g: like `f`, with a result of another shape.
    shape: of g's result; None as its last entry stands for any number.

    Both models have the same parameters: those of `p`, or, when a module is among them,
    ``{"f": f's own, "g": g's own, "p": p}``.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    functions = {"f": f, "g": g}
    picks: dict[str, Callable[[Any], Any]] = dict.fromkeys(functions, _same)
    modules = [key for key, value in functions.items() if isinstance(value, torch.nn.Module)]
    if modules:
        picks = dict.fromkeys(functions, _user_part)
        p = {"p": p}
    for key in modules:
        functions[key], values, takes_p = _module_function(functions[key])
        p[key] = values
        picks[key] = _module_part(key, takes_p)
    u0 = np.asarray(u0, dtype=np.float64)
    drift = _capture(f, functions["f"], picks["f"], p, u0, u0.shape)
    try:
        noise = _capture(g, functions["g"], picks["g"], p, u0, shape)
    except CaptureError as error:
        raise CaptureError(str(error).replace("f ", "g ", 1)) from error
    return drift, noise


def capture_beside(
    function: Any,
    model: Model,
    what: str,
    state_shape: tuple[int, ...] | None = None,
    extra: Array | None = None,
) -> Model:
    """Trace another function (u, p, t) of a model's state and parameters, with any result.

    `what` is what the function is, for messages. `state_shape` is its u's, if not the model's.
    With `extra`, an example of more numbers, the function is one of (u, p, t, extra), and these
    numbers are the last ones of its flat parameters.

    Raises
    ------
    CaptureError: with the user's line, the reason, and what to write instead.
    """
    p = model.parameters.unflatten(model.p_flat)
    if extra is not None:
        p = {"p": p, "extra": extra}

    def with_copy(u: Any, p: Any, t: Any) -> Any:  # the function may write into its u
        u = u.clone() if isinstance(u, torch.Tensor) else u.copy()
        return function(u, p, t) if extra is None else function(u, p["p"], t, p["extra"])

    try:
        u = np.zeros(model.state_shape if state_shape is None else state_shape)
        return _capture(with_copy, with_copy, _same, p, u, None)
    except CaptureError as error:
        raise CaptureError(re.sub(r"\bf ", f"{what} ", str(error), count=1)) from error


def _capture(
    f: Any,
    function: Callable[..., Any],
    pick: Callable[[Any], Any],
    p: Any,
    u0: Array,
    shape: Shape | None,
    t0: float = 0.0,
) -> Model:
    """`function` calls `f` with the part of the parameters that `pick` takes."""
    parameters = Parameters(p)
    p_flat = parameters.flatten(p)
    examples = [
        torch.from_numpy(u0.copy()),
        torch.from_numpy(p_flat.copy()),
        torch.tensor(float(t0), dtype=torch.float64),
    ]
    with _tracing:
        try:
            call = _calling_convention(f, function, lambda p: pick(parameters.unflatten(p)), shape)
            tape, torch_function = _trace(f, call, examples, shape)
        finally:
            numpy_style.forget_modules()
    model = Model(tape, torch_function, u0.shape, parameters, p_flat)
    _ = model.f  # what can't be translated is told here, not at the first solve
    return model


# -- whose parameters are whose --------------------------------------------------------------------
def _same(p: Any) -> Any:
    return p


def _user_part(p: Any) -> Any:
    return p["p"]


def _module_part(key: str, takes_p: bool) -> Callable[[Any], Any]:
    if takes_p:
        return lambda p: {"module": p[key], "p": p["p"]}
    return lambda p: p[key]


def _own_parameters(f: Any, p: Any) -> tuple[Callable[..., Any], Any]:
    """`f` as a function of (u, p, t), and its parameters: for a module its own belong to them."""
    if not isinstance(f, torch.nn.Module):
        return f, p
    function, values, takes_p = _module_function(f)
    if takes_p:
        return function, {"module": values, "p": p}
    if p is not None:
        layout = Parameters(values)
        values = layout.unflatten(layout.flatten(p))
    return function, values


# -- calling conventions ---------------------------------------------------------------------------
def _required_arguments(f: Any) -> list[str] | None:
    """Names of the positional arguments without default, or None when they can't be known."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(q.kind is q.VAR_POSITIONAL for q in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [q.name for q in parameters if q.kind in positional and q.default is q.empty]


def _module_function(module: torch.nn.Module) -> tuple[Callable[..., Any], Any, bool]:
    """A module as a function of ``(u, parameters, t)``, the values of its own parameters, and
    whether `parameters` are ``{"module": its own, "p": the user's}`` or its own only.
    """
    names = _required_arguments(module.forward) or ["u"]
    values = {name: x.detach().double().numpy() for name, x in module.named_parameters()}
    buffers = {
        name: x.detach().double() if x.is_floating_point() else x.detach()
        for name, x in module.named_buffers()
    }
    takes_p = len(names) == 3
    time_first = len(names) == 2 and names[0] in ("t", "time", "_t", "_")

    def function(u: Any, parameters: Any, t: Any) -> Any:
        own = parameters["module"] if takes_p else parameters
        if len(names) == 1:
            arguments: tuple[Any, ...] = (u,)
        elif len(names) == 2:
            arguments = (t, u) if time_first else (u, t)
        else:
            arguments = (u, parameters["p"], t)
        return torch.func.functional_call(module, {**own, **buffers}, arguments)

    if len(names) > 3:
        raise CaptureError(
            f"{type(module).__name__}.forward takes {len(names)} arguments ({', '.join(names)}); "
            "expected forward(u), forward(t, u), forward(u, t) or forward(u, p, t)"
        )
    return function, values, takes_p


def _calling_convention(
    f: Any, function: Callable[..., Any], unflatten: Callable[[Any], Any], shape: Shape | None
) -> Callable[[bool], TorchFunction]:
    """Returns ``make(numpy)``, the function of (u, p_flat, t) that calls the user's.

    With `numpy` the user's code is given NumPy arrays, otherwise tensors. `unflatten` makes of
    p_flat what the function takes, `shape` is its result's, None when it may have any.
    """
    arguments = None if isinstance(f, torch.nn.Module) else _required_arguments(function)
    count = 3 if arguments is None else len(arguments)
    if count not in (3, 4):
        hint = " For SciPy's f(t, u), wrap it: pysciml.from_scipy(f)." if count in (1, 2) else ""
        raise CaptureError(
            f"f must take (u, p, t), or (du, u, p, t) to write in place, but takes {count} "
            f"arguments ({', '.join(arguments or [])}).{hint}"
        )
    in_place = count == 4
    if in_place and (shape is None or None in shape):
        raise CaptureError(
            "f must take (u, p, t) here and return its result: what shape that has is not known, "
            "so there is no du to write in"
        )
    size: Any = shape
    function = numpy_style.with_traceable_math(function)

    def make(numpy: bool) -> TorchFunction:
        if numpy:

            def call(u: Any, p: Any, t: Any) -> Any:
                p = unflatten(p.numpy())
                if in_place:
                    du = np.zeros(size)
                    function(du, u.numpy(), p, t.numpy())
                    return torch.from_numpy(du)
                return torch.from_numpy(_as_numpy(function(u.numpy(), p, t.numpy())))

        else:

            def call(u: Any, p: Any, t: Any) -> Any:
                p = unflatten(p)
                if in_place:
                    du = u.new_zeros(size)
                    function(du, u, p, t)
                    return du
                return _as_tensor(function(u, p, t))

        return call

    return make


def _check_returned(x: Any) -> None:
    if x is None or isinstance(x, (str, bytes, dict, set)):
        raise CaptureError(
            f"f must return its result as a tensor, array, list or tuple, but returned "
            f"{'nothing' if x is None else type(x).__name__}. "
            "A right-hand side that writes in place takes (du, u, p, t)."
        )


def _as_tensor(x: Any) -> torch.Tensor:
    _check_returned(x)
    if isinstance(x, (list, tuple)):
        return torch.stack(list(torch.broadcast_tensors(*map(_as_tensor, x))))
    return torch.as_tensor(x, dtype=torch.float64)


def _as_numpy(x: Any) -> Any:
    _check_returned(x)
    if isinstance(x, (list, tuple)):
        return np.stack([_as_numpy(v) for v in x])
    return np.asarray(x)


# -- tracing ---------------------------------------------------------------------------------------
def _trace(
    f: Any, make: Callable[[bool], TorchFunction], examples: list[torch.Tensor], shape: Shape | None
) -> tuple[Tape, TorchFunction]:
    in_torch = make(False)
    try:
        tape = record(in_torch, examples, aten.supported)
    except CaptureError:
        raise
    except Exception as error:
        if not isinstance(error, NeedsNumpyTracing) and not numpy_style.uses_numpy(f):
            raise _user_error(error) from error
        return _trace_numpy(make(True), examples, shape, error)
    _check_result(tape, shape)
    return tape, _in_float64(in_torch)


def _trace_numpy(
    function: TorchFunction,
    examples: list[torch.Tensor],
    shape: Shape | None,
    first: Exception,
) -> tuple[Tape, TorchFunction]:
    try:
        with float64_default():
            in_torch = numpy_style.trace_with_dynamo(function, examples)
    except Exception as error:
        raise _dynamo_error(error, first) from error
    try:
        tape = record(in_torch, examples, aten.supported)
    except NeedsNumpyTracing:
        raise data_dependent(line_of(first), "a number made by float(), int() or .item()") from None
    _check_result(tape, shape)
    return tape, _in_float64(in_torch)


def _in_float64(function: TorchFunction) -> TorchFunction:
    def torch_function(u: torch.Tensor, p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with float64_default():
            return function(u, p, t)

    return torch_function


def _check_result(tape: Tape, shape: Shape | None) -> None:
    result = tape.result_shape
    if shape is None or (
        len(result) == len(shape)
        and all(want in (None, got) for got, want in zip(result, shape, strict=True))
        and 0 not in result
    ):
        return
    what = f"an array of u's shape {shape}"
    if None in shape:
        what = f"the shape {_words(shape)}, a column for each Wiener process"
    raise CaptureError(f"f must return {what}, but returned shape {result}")


def _words(shape: Shape) -> str:
    return f"({', '.join('m' if size is None else str(size) for size in shape)})"


def _user_error(error: Exception) -> CaptureError:
    if isinstance(error, NeedsNumpyTracing):
        return CaptureError(
            "f cannot be captured: it hands a tensor to NumPy, to `math` or to float(), where it "
            f"cannot be followed.\n{line_of(error) or ''}\n"
            "Write the line with torch's functions and arithmetic."
        )
    return CaptureError(
        f"f raised {type(error).__name__} while it was traced: {error}\n{line_of(error) or ''}"
    )


def _dynamo_error(error: Exception, first: Exception) -> CaptureError:
    text = str(error)
    line = _dynamo_line(error)
    if "ata-dependent" in text:
        return data_dependent(line, "this line")
    if "Observed exception" in text or "raised exception" in text or line is None:
        return _user_error(first)
    reason = text.split("\n", maxsplit=1)[0]
    return CaptureError(
        f"f cannot be captured: {reason}\n{line}\n"
        "Use NumPy or torch operations on whole arrays, or plain arithmetic on their entries."
    )


def _dynamo_line(error: Exception) -> Any:
    from pysciml.capture.record import line_of_stack

    return line_of_stack(getattr(error, "real_stack", None) or ())
