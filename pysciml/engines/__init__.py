"""Engines: peers behind the protocol of `base`, looked up by name.

An engine is imported when it is first asked for, so `import pysciml` costs none of them.
"""

from __future__ import annotations

import importlib
import logging
import time
from typing import TYPE_CHECKING

from pysciml.engines.base import Availability, Engine
from pysciml.engines.native.symplectic.tableau import SYMPLECTIC
from pysciml.errors import EngineUnavailableError, UnsupportedError
from pysciml.validation import describe, did_you_mean

if TYPE_CHECKING:
    from pysciml.events import Event
    from pysciml.problems import Problem

_HOMES = {
    "julia": ("pysciml.engines.julia.engine", "JuliaEngine"),
    "native": ("pysciml.engines.native.engine", "NativeEngine"),
    "torch": ("pysciml.engines.torch.engine", "TorchEngine"),
}
NAMES = tuple(_HOMES)

#: The engines that have each kind of problem, the one that "auto" takes first.
_HAVE = {"ODEProblem": NAMES, "SDEProblem": ("native", "julia", "torch")}
_HAVE |= {"DAEProblem": ("julia",), "DDEProblem": ("julia", "native")}
_HAVE |= dict.fromkeys(
    ("BVProblem", "TwoPointBVProblem", "SteadyStateProblem", "JumpProblem"), ("native", "julia")
)
_HAVE |= {
    "DiscreteProblem": ("native", "julia"),
    "JumpProblem of an ODEProblem": ("native", "julia"),
    "JumpProblem of an SDEProblem": ("julia",),
}
_HAVE_EVENTS = ("julia", "native")
_HAVE_SYMPLECTIC = ("native", "julia")

_log = logging.getLogger("pysciml")
_loaded: dict[str, Engine] = {}
_RECHECK_SECONDS = 5.0  # how long "Julia is not ready" is believed: it may be installed meanwhile
_auto: tuple[Engine, float] | None = None  # engine of engine="auto", and when to look again
_fallback_said = False


def get(name: str) -> Engine:
    """The engine of that name, or of the name "auto"."""
    engine = _loaded.get(name) if type(name) is str else None
    if engine is not None:
        return engine
    if name == "auto":
        return _choose()
    return _load(name)


def for_problem(
    name: str,
    problem: Problem,
    events: tuple[Event, ...] | None = None,
    alg: str | None = None,
) -> Engine:
    """The engine of that name, or of the name "auto", if it has this kind of problem.

    `events`: those of the solve; None for the problem's own. `alg`: the method, where it decides.
    """
    able, what = _HAVE[problem.kind], problem.kind
    if alg is not None and alg.removesuffix("()") in SYMPLECTIC:
        able, what = _HAVE_SYMPLECTIC, "symplectic methods"
    elif problem.events if events is None else events:
        able, what = _HAVE_EVENTS, "events"
    if able is NAMES:
        return get(name)
    if name == "auto":
        return _first_ready(able, what)
    check_name(name)
    if name not in able:
        others = " and ".join(f'engine="{other}"' for other in able)
        have = "have" if len(able) > 1 else "has"
        raise UnsupportedError(f'engine="{name}" has no {what}; {others} {have}')
    return get(name)


def check_name(name: object) -> None:
    """Refuse what is not the name of an engine, without loading one."""
    known = ("auto", *NAMES)
    choices = ", ".join(repr(entry) for entry in known)
    if not isinstance(name, str):
        raise TypeError(f"engine must be one of {choices}; got {describe(name)}")
    if name not in known:
        raise ValueError(
            f"engine must be one of {choices}; got {name!r}{did_you_mean(name, known)}"
        )


def availability(name: str) -> Availability:
    """Whether an engine can run now. Starts nothing."""
    try:
        return get(name).availability()
    except EngineUnavailableError as error:
        return Availability(False, str(error))


def _first_ready(able: tuple[str, ...], what: str) -> Engine:
    """The first of some engines that can run now. Never downloads, never starts Julia."""
    for name in able:
        found = availability(name)
        if found.ready:
            return get(name)
    raise EngineUnavailableError(
        f'{what} needs engine="{able[-1]}", which is not ready: {found.reason}. To get it: '
        f"{found.remedy}"
    )


def _load(name: str) -> Engine:
    check_name(name)
    module, cls = _HOMES[name]
    try:
        engine: Engine = getattr(importlib.import_module(module), cls)()
    except ImportError as error:
        raise EngineUnavailableError(f'engine="{name}" could not be loaded: {error}') from error
    _loaded[name] = engine
    return engine


def _choose() -> Engine:
    """Julia when its environment is ready, else native. Never downloads, never starts Julia."""
    global _auto
    now = time.monotonic()
    if _auto is not None and now < _auto[1]:
        return _auto[0]
    julia = availability("julia")
    if julia.ready:
        engine, until = get("julia"), float("inf")
    else:
        engine, until = get("native"), now + _RECHECK_SECONDS
        _say_fallback(julia)
    _auto = (engine, until)
    return engine


def _say_fallback(julia: Availability) -> None:
    global _fallback_said
    if _fallback_said:
        return
    _fallback_said = True
    remedy = julia.remedy or "pysciml julia install"
    _log.warning(
        'pysciml: engine="auto" uses the native engine, because Julia is not ready (%s). '
        "To get it: %s",
        julia.reason,
        remedy,
    )
