"""torchdiffeq's methods, options and tolerances in the engines' own terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pysciml import validation as check
from pysciml.autograd.binding import Layout
from pysciml.engines.base import Array, Engine
from pysciml.errors import UnsupportedError

_ADAPTIVE = {
    "dopri5": "DP5",
    "dopri8": "Vern7",
    "tsit5": "Tsit5",
    "bosh3": "BS3",
    "adaptive_heun": "Heun",
    "fehlberg2": "Heun",
}
_FIXED = {
    "euler": "Euler",
    "midpoint": "Midpoint",
    "heun2": "Heun",
    "heun3": "Heun3",
    "rk4": "Kutta38",
}
_FIXED_ON_JULIA = {"heun3": "BS3", "rk4": "RK4"}  # of the same order; Julia lacks the very ones
_ALWAYS_FIXED = ("Euler", "RK4", "Kutta38", "Heun3")
_ADAMS = ("explicit_adams", "implicit_adams", "fixed_adams")
# of a fixed step, and of low order or expensive, in torchdiffeq: here one that its error controls
_IMPLICIT = (
    "implicit_euler",
    "implicit_midpoint",
    "trapezoid",
    "radauIIA3",
    "radauIIA5",
    "gl4",
    "gl6",
    "sdirk2",
    "trbdf2",
)
_SCIPY = {
    "LSODA": None,
    "BDF": "Rodas5P",
    "Radau": "Rodas5P",
    "RK45": "DP5",
    "RK23": "BS3",
    "DOP853": "Vern7",
}
TORCHDIFFEQ = (*_ADAPTIVE, *_FIXED, *_ADAMS, *_IMPLICIT, "scipy_solver")

# what stands for an engine's method when torchdiffeq has to do the work
_ON_TORCHDIFFEQ = {"Tsit5": "dopri5", "DP5": "dopri5", "BS3": "bosh3", "Vern6": "dopri8"}
_ON_TORCHDIFFEQ |= {"Vern7": "dopri8", "Euler": "euler", "RK4": "rk4", "Kutta38": "rk4"}
_ON_TORCHDIFFEQ |= {"Heun3": "heun3"}

_IGNORED = ("dtype", "eps")  # all is float64; eps is an old name of perturb
_CONTROL = {"safety": "gamma", "ifactor": "qmax", "dfactor": "qmin"}  # the engines' names
_STOPS = ("step_t", "jump_t", "grid_points")
_SIZES = ("first_step", "min_step", "max_step", "max_num_steps")
_OPTIONS_ADAPTIVE = (*_SIZES, *_STOPS, *_CONTROL, "norm")
_OPTIONS_FIXED = ("step_size", "grid_constructor", "interp", "perturb", "norm")
_OPTIONS_SCIPY = ("solver", "min_step", "max_step", "norm", "grid_points")

_ON_JULIA = '; engine="julia" has those of OrdinaryDiffEq'

_MAX_STEPS = 1_000_000  # torchdiffeq has no limit, but the steps are kept here

Grid = Callable[[Any, Any, torch.Tensor], Array]


@dataclass(frozen=True)
class Method:
    """A method with its options.

    `name`, `given`: as they came. `alg`: the engine's name of it; None: the engine's own choice.
    `options`: fields of SolveOptions. `grid`: of a fixed-step method, (func, y0, t) -> times of the
    steps.
    """

    name: str | None
    given: Mapping[str, Any] | None
    alg: str | None
    options: Mapping[str, Any]
    grid: Grid | None = None

    def within(self, start: float, end: float) -> Mapping[str, Any]:
        """The options of a solve over this span: stops elsewhere are left out."""
        stops = self.options.get("tstops")
        if stops is None:
            return self.options
        inside = np.unique(stops[(stops > min(start, end)) & (stops < max(start, end))])
        if end < start:
            inside = inside[::-1].copy()
        return {**self.options, "tstops": inside if inside.size else None}


def find(method: str | None, options: Mapping[str, Any] | None, engine: str) -> Method:
    """The engine's equivalent of a method of torchdiffeq, or the engine's method of that name.

    Raises
    ------
    TypeError, ValueError: an option is wrong or unknown.
    UnsupportedError: only torchdiffeq itself can do it.
    """
    return _without_options(method, engine) if not options else _find(method, options, engine)


@lru_cache(maxsize=256)
def _without_options(method: str | None, engine: str) -> Method:
    return _find(method, {}, engine)


def _find(method: str | None, options: Mapping[str, Any], engine: str) -> Method:
    given = _checked(options)
    as_given = (method, dict(options) or None)
    if method in _ADAMS:
        raise UnsupportedError(f"the engines have no Adams method of a fixed step ({method})")
    if _is_fixed(method, given):
        return Method(
            *as_given, _fixed_alg(str(method), engine), *_fixed_options(str(method), given)
        )
    if method == "scipy_solver":
        _check_known(given, _OPTIONS_SCIPY, method)
        solver = given.get("solver", "LSODA")
        if solver not in _SCIPY:
            raise ValueError(
                f"options['solver'] must be one of {', '.join(_SCIPY)}; got {solver!r}"
            )
        return Method(*as_given, _SCIPY[solver], _adaptive_options(given))
    if method in _IMPLICIT:
        step = given.pop("step_size", None)
        if step is not None:
            given.setdefault("first_step", step)
        _check_known(given, _OPTIONS_ADAPTIVE, method)
        return Method(*as_given, "Rodas5P", _adaptive_options(given))
    _check_known(given, _OPTIONS_ADAPTIVE, method)
    alg = None if method is None else _ADAPTIVE.get(method, method)
    return Method(*as_given, alg, _adaptive_options(given))


def on_torchdiffeq(method: str | None) -> str | None:
    """The method of the installed torchdiffeq that does the work of `method`.

    Raises UnsupportedError when it has none.
    """
    from torchdiffeq._impl.odeint import SOLVERS

    if method is None or method in SOLVERS:
        return method
    nonstiff = method.partition("(")[0].removeprefix("Auto")
    if nonstiff not in _ON_TORCHDIFFEQ:
        raise UnsupportedError(
            f"this is left to torchdiffeq itself, and torchdiffeq has no method like {method}"
        )
    return _ON_TORCHDIFFEQ[nonstiff]


def check_name(method: Any, name: str, engine: Engine) -> None:
    """Refuse what is no method of torchdiffeq and none of the engine."""
    if method in TORCHDIFFEQ:
        return
    known = (*TORCHDIFFEQ, *engine.algorithms("ODEProblem"))
    if not isinstance(method, str):
        raise TypeError(f"{name} must be the name of a method; got {check.describe(method)}")
    name_alone = method.replace("()", "").replace(" ", "")
    if name_alone not in known and not name_alone.startswith("Auto"):  # these the engine knows
        raise ValueError(
            f"{name} must be a method of torchdiffeq ({', '.join(TORCHDIFFEQ)}) or of the engine; "
            f"got {method!r}{check.did_you_mean(method, known) or _ON_JULIA}"
        )


def tolerance(value: Any, name: str, layout: Layout) -> float | Array:
    """rtol or atol: a number, a tensor that broadcasts against the state, or one for each part."""
    if type(value) is float and 0.0 < value < math.inf:
        return value
    if isinstance(value, torch.Tensor) and value.requires_grad:
        raise ValueError(f"{name} must not require a gradient")
    if layout.parts is not None and _is_sequence(value):
        return _joined_tolerance(value, name, layout.parts)
    array = np.asarray(check.as_tolerance(value, name, np.shape(value), "y0"), dtype=np.float64)
    if array.ndim == 0:
        return float(array)
    shape = tuple(layout.shape)
    try:
        full = np.broadcast_to(array.reshape(np.shape(value)), shape)
    except ValueError:
        raise ValueError(
            f"{name} must be a number or broadcast against y0, {check.shape_words(shape)}; "
            f"got {check.describe(value)}"
        ) from None
    return np.ascontiguousarray(full).reshape(-1)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) > 0


def _joined_tolerance(value: Any, name: str, parts: tuple[torch.Size, ...]) -> Array:
    if len(value) != len(parts):
        raise ValueError(
            f"{name} must be a number or one entry for each of the {len(parts)} tensors of y0; "
            f"got {check.describe(value)}"
        )
    full = [
        np.ravel(
            np.broadcast_to(tolerance(entry, f"{name}[{i}]", Layout(tuple(part))), part.numel())
        )
        for i, (entry, part) in enumerate(zip(value, parts, strict=True))
    ]
    return np.concatenate(full).astype(np.float64)


# -- options ---------------------------------------------------------------------------------------
def _checked(options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be a dict; got {check.describe(options)}")
    return {key: value for key, value in options.items() if key not in _IGNORED}


def _check_known(given: dict[str, Any], known: tuple[str, ...], method: str | None) -> None:
    for key in given:
        if key not in known:
            elsewhere = {*_OPTIONS_FIXED, *_OPTIONS_ADAPTIVE, *_OPTIONS_SCIPY} - set(known)
            hint = check.did_you_mean(str(key), known)
            if key in elsewhere:
                fixed = key in _OPTIONS_FIXED
                hint = f"; it is one of a method with {'a fixed' if fixed else 'an adaptive'} step"
            whose = "the default method" if method is None else repr(method)
            raise ValueError(f"options has no {key!r} for {whose}{hint}")


def _adaptive_options(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("norm") is not None:
        raise UnsupportedError(
            "the engines measure the error in their own norm, not in options['norm']"
        )
    if _size(given, "min_step", 0.0) != 0.0:
        raise UnsupportedError(
            "the engines have no min_step that accepts a step whatever its error"
        )
    found: dict[str, Any] = {"maxiters": _MAX_STEPS}
    if given.get("max_num_steps") is not None:
        found["maxiters"] = check.as_count(given["max_num_steps"], "options['max_num_steps']")
    if given.get("first_step") is not None:
        found["dt"] = check.as_positive(given["first_step"], "options['first_step']")
    if _size(given, "max_step", math.inf) != math.inf:
        found["dtmax"] = check.as_positive(given["max_step"], "options['max_step']")
    stops = [given[name] for name in _STOPS if given.get(name) is not None]
    if stops:
        found["tstops"] = np.concatenate([as_times(x) for x in stops])
    algorithm = {
        theirs: check.as_positive(given[ours], f"options[{ours!r}]")
        for ours, theirs in _CONTROL.items()
        if given.get(ours) is not None
    }
    if algorithm:
        found["algorithm"] = algorithm
    return found


def _size(given: dict[str, Any], name: str, default: float) -> float:
    return check.as_real(given.get(name, default), f"options[{name!r}]", "a number >= 0")


def as_times(value: Any) -> Array:
    """Times as a float64 array."""
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    times: Array = tensor.detach().to("cpu", torch.float64).numpy()
    return np.atleast_1d(times)


# -- fixed steps -----------------------------------------------------------------------------------
def _is_fixed(method: str | None, given: dict[str, Any]) -> bool:
    if method in _FIXED or method in _ALWAYS_FIXED:
        return True
    asked = "step_size" in given or "grid_constructor" in given
    return asked and method in ("Midpoint", "Heun", "BS3", "DP5", "Tsit5", "Vern6", "Vern7")


def _fixed_alg(method: str, engine: str) -> str:
    alg = _FIXED.get(method, method)
    return _FIXED_ON_JULIA.get(method, alg) if engine == "julia" else alg


def _fixed_options(method: str, given: dict[str, Any]) -> tuple[dict[str, Any], Grid]:
    _check_known(given, _OPTIONS_FIXED, method)
    if given.get("perturb"):
        raise UnsupportedError("the engines do not perturb the times at the ends of fixed steps")
    if given.get("interp", "linear") != "linear":
        raise UnsupportedError("between fixed steps only linear interpolation is offered")
    return {"adaptive": False, "maxiters": 2**31 - 1}, _grid(given)


def _grid(given: dict[str, Any]) -> Grid:
    step, constructor = given.get("step_size"), given.get("grid_constructor")
    if step is not None and constructor is not None:
        raise ValueError("options must have one of 'step_size' and 'grid_constructor', not both")
    if constructor is not None:
        check.require_callable(
            constructor, "options['grid_constructor']", "a function(func, y0, t)"
        )
        return lambda func, y0, t: _constructed(constructor(func, y0, t), as_times(t))
    if step is not None:
        size = check.as_positive(step, "options['step_size']")
        return lambda func, y0, t: _even_steps(as_times(t), size)
    return lambda func, y0, t: as_times(t)  # from one output time to the next


def _constructed(grid: Any, times: Array) -> Array:
    found = as_times(grid)
    steps = np.diff(found) * np.sign(times[-1] - times[0])
    if found[0] != times[0] or found[-1] != times[-1] or not (steps > 0).all():
        raise ValueError(
            f"options['grid_constructor'] must return times from t[0] = {times[0]} on to "
            f"t[-1] = {times[-1]}; got {check.describe(grid)}"
        )
    return found


def _even_steps(times: Array, size: float) -> Array:
    """Steps of one size from the first time on, the last one cut short (as torchdiffeq has it)."""
    span = abs(times[-1] - times[0])
    count = math.ceil(span / size + 1.0)
    grid = times[0] + math.copysign(size, times[-1] - times[0]) * np.arange(count)
    grid[-1] = times[-1]
    return grid
