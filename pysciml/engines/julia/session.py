"""The one Julia of this process: started on first use, with PySciML loaded."""

from __future__ import annotations

import ctypes
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pysciml.engines.julia import environment
from pysciml.engines.julia.threads import threads_chosen
from pysciml.errors import EngineUnavailableError, PyscimlError, UnsupportedError

_INTERRUPTED = -2

_lock = threading.Lock()
_module: Any = None


class JuliaError(PyscimlError, RuntimeError):
    """Julia raised an error. The message is Julia's, without the stack trace."""


def started() -> bool:
    """Whether this process runs Julia with PySciML."""
    return _module is not None


def module() -> Any:
    """Julia's module PySciML. The first call starts Julia, and says so."""
    if _module is not None:
        return _module
    with _lock:
        return _module if _module is not None else _start()


@cache
def extension(name: str) -> Any:
    """An extension of the Julia package (a Julia module), loaded with the packages it needs.

    Raises
    ------
    EngineUnavailableError
        The Julia environment lacks one of them.
    """
    julia = module()
    packages = ", ".join(str(id.name) for id in julia.triggers(name))
    _say(f"pysciml: loading {packages} (up to a minute, once per session)")
    try:
        return julia.extension(name)
    except Exception as error:
        raise environment.unavailable(
            f"{packages} could not be loaded ({first_lines(error)})",
            "`pysciml doctor` shows what is missing",
        ) from None


@cache
def package(name: str) -> Any:
    """A Julia package of the active environment, loaded.

    Raises
    ------
    EngineUnavailableError
        The environment does not have it.
    """
    base = main().Base
    found = base.identify_package(name)
    if found is None:
        raise environment.unavailable(
            f"the Julia environment has no package {name}", environment.INSTALL
        )
    return base.require(found)


def array(values: Any) -> Any:
    """A Julia Array of float64 numbers, a copy of an array or tensor."""
    plain = values.detach().numpy() if hasattr(values, "detach") else values
    return main().Base.Array(np.asarray(plain, dtype=np.float64))


def main() -> Any:
    """juliacall's Main."""
    module()
    import juliacall

    return juliacall.Main


def _start() -> Any:
    global _module
    if not _runs():
        _make_ready()
    juliacall = start_juliacall()
    try:
        _module = _load(juliacall)
    except juliacall.JuliaError as error:
        raise environment.unavailable(
            f"the Julia package PySciML could not be loaded ({first_lines(error)})",
            "`pysciml doctor` shows what is missing",
        ) from None
    return _module


def start_juliacall() -> Any:
    """The module juliacall; its first import starts Julia: here with our threads and signals."""
    if not _runs():
        _say("pysciml: starting Julia (5 to 20 s, once per session)")
    with threads_chosen(), environment.requirements_visible(), warnings.catch_warnings():
        # both orders of loading are tested here, in loops of solving and back-propagating
        warnings.filterwarnings("ignore", message="torch was imported before juliacall")
        import juliacall
    return juliacall


def _runs() -> bool:
    return "juliacall" in sys.modules and bool(sys.modules["juliacall"].CONFIG.get("inited"))


def _make_ready() -> None:
    """Check the environment; set it up when that can be done, which takes a while and is said."""
    try:
        env = environment.require()
    except EngineUnavailableError:
        env = environment.locate()
        if env.offline or env.fixed or not environment.online():
            raise
        environment.install()
        env = environment.require()
    if not env.fixed:
        environment.resolve()  # what juliacall would do, with our own requirements in sight


# Where the project knows of no PySciML, our folder is an environment of its own, without manifest:
# its dependencies are found by their uuid in the project. It has to come last for that, because
# Julia looks for them in no environment beyond the one that names them.
_LOAD = """
function (folder, uuid)
    folder in LOAD_PATH || push!(LOAD_PATH, folder)
    id = Base.PkgId(Base.UUID(uuid), "PySciML")
    if !haskey(Base.loaded_modules, id) && !Base.isprecompiled(id)
        println(stderr, "pysciml: compiling its Julia part (some minutes, once per environment; " *
            "`pysciml julia install` does it beforehand)")
        flush(stderr)
    end
    return Base.require(id)
end
"""


def _load(juliacall: Any) -> Any:
    load = juliacall.Main.seval(_LOAD)
    own = environment.julia_package()
    loaded = load(str(own), environment.PACKAGE_UUID)
    found = Path(str(juliacall.Base.pkgdir(loaded)))
    if not found.samefile(own):
        raise environment.unavailable(
            f"the Julia project has a PySciML of another installation, {found}",
            f"remove it from the project, or point it to {own}",
        )
    api = ctypes.pythonapi
    loaded.set_interrupt_check(_address(api.PyErr_CheckSignals), _address(api.PyErr_Clear))
    return loaded


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def translated(error: Exception) -> PyscimlError:
    """A juliacall error as one of ours: Julia's message, no stack."""
    return JuliaError(first_lines(error))


def fail(code: int) -> NoReturn:
    """Raise what a function of the Julia package returned as a negative number."""
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    kind, message = (str(part) for part in module().last_error())
    if "not able to use mass matrices" in message:
        raise UnsupportedError(
            "this method cannot use a mass matrix; try Rodas5P, FBDF or alg=None"
        )
    if kind == "CheckInitFailureError":
        raise JuliaError(
            "the initial values are not consistent with the algebraic equations; solve(..., "
            'initialize="BrownFullBasicInit") finds consistent ones'
        )
    if kind == "NotForStiff":
        raise UnsupportedError(message)
    raise JuliaError(f"{kind}: {message}" if kind not in message else message)


def first_lines(error: Exception, count: int = 8) -> str:
    julia = getattr(error, "exception", None)
    try:
        import juliacall

        text = str(juliacall.Base.sprint(juliacall.Base.showerror, julia))
    except Exception:  # the message must not be lost to a second error
        text = str(error)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[:count])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
