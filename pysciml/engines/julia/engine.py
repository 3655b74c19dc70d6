"""The engine "julia": OrdinaryDiffEq's solvers on the captured functions, compiled by Julia."""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from pysciml.engines.base import Array, Availability, RawSolution, SolveOptions, Stats
from pysciml.engines.julia import environment, session
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import ODEProblem

_FAILED, _INTERRUPTED = -1, -2
_PLANS_KEPT = 64  # per model
_FIRST_ROOM = 256  # points to make room for when nobody knows how many there will be
_SPARSE_FROM = 64  # states; below, a dense factorisation is faster whatever the pattern
_SPARSE_FILL = 0.2

# A method's name, alone or with others as arguments: AutoTsit5(Rosenbrock23())
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_EXPRESSION = re.compile(r"[A-Za-z_0-9(), ]*")


class JuliaEngine:
    """OrdinaryDiffEq.jl through juliacall.

    Parameters
    ----------
    specialize : "shared" or "full"
        "shared" runs the solver code that is precompiled for all models: a new model costs the
        compilation of its own functions only. "full" compiles each solver for each model, which
        takes some seconds per pair and saves the price of an indirect call per right-hand side.
    """

    name = "julia"

    def __init__(self, specialize: str = "shared") -> None:
        if specialize not in ("shared", "full"):
            raise ValueError(f"specialize must be 'shared' or 'full'; got {specialize!r}")
        self.specialize = specialize
        self._models: WeakKeyDictionary[Any, dict[bytes | None, JuliaModel]] = WeakKeyDictionary()

    def availability(self) -> Availability:
        if session.started():
            return Availability(True)
        return environment.availability()

    def algorithms(self) -> tuple[str, ...]:
        """Names of the methods; those of the installed libraries once Julia runs."""
        if session.started():
            return tuple(str(name) for name in session.module().algorithm_names())
        return tuple(sorted(known_algorithms()))

    def solve(self, problem: ODEProblem, alg: str | None, options: SolveOptions) -> RawSolution:
        """Solve; see `pysciml.solve`. Ctrl-C raises KeyboardInterrupt and leaves Julia running."""
        model = self.model(problem)
        return model.solve(problem, model.plan(alg, options), self.specialize == "full")

    def model(self, problem: ODEProblem) -> JuliaModel:
        """The problem's functions in Julia, compiled as they are needed."""
        by_mass = self._models.get(problem.model)
        if by_mass is None:
            by_mass = self._models[problem.model] = {}
        mass = problem.mass_matrix
        key = None if mass is None else np.asarray(mass).tobytes()
        found = by_mass.get(key)
        if found is None:
            found = by_mass[key] = JuliaModel(problem.model, mass)
        return found


class JuliaModel:
    """A captured model on the Julia side: its handle, and the plans made for it."""

    def __init__(self, model: Any, mass: Array | None) -> None:
        self._julia = session.module()
        self._model = model
        self._handle = self._julia.Model(model.n, mass)
        self._has: set[str] = set()
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._solve = self._julia.solve
        self._retcodes = retcode_names()

    @property
    def handle(self) -> Any:
        """Julia's `PySciML.Model`."""
        return self._handle

    def compile(self, *names: str) -> None:
        """Generate and compile some of the model's functions: "f", "jac", "tgrad", "jvp", ..."""
        from pysciml.codegen.julia import generate

        for name in names:
            if name in self._has:
                continue
            source = generate(getattr(self._model, name), name)
            self._call("compile!", name, source.text, source.name, source.new_work())
            self._has.add(name)

    def compile_for(self, kind: str) -> None:
        """What a sort of method needs: "explicit", "implicit" or "krylov"."""
        self.compile("f")
        if kind == "explicit":
            return
        self.compile("tgrad", *self._jacobian_from())
        if kind == "krylov":
            self.compile("jvp")

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        """The prepared solve for a method and options, kept for the next time."""
        key = _key(alg, options)
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._new_plan(alg, options)
            if len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        return found

    def solve(self, problem: ODEProblem, plan: Plan, full: bool) -> RawSolution:
        u0, p = _flat(problem.u0_flat), _flat(problem.p_flat)
        t0, t1 = problem.tspan
        info, reached = np.zeros(10, np.int64), np.zeros(2)
        room = plan.room
        t, u = np.empty(room), np.empty((room, plan.width))
        outcome = self._solve(
            plan.handle, _at(u0), _at(p), p.size, float(t0), float(t1), _at(info), _at(reached),
            _at(t), _at(u), room, plan.dense, full,
        )  # fmt: skip
        points, width, code, nf, njacs, nw, nsolve, naccept, nreject, written = info.tolist()
        if points < 0:
            self._raise(points)
        if not written:
            plan.room = points
            t, u = np.empty(points), np.empty((points, width))
            self._call("fetch!", outcome, _at(t), _at(u))
        elif points < room:
            t, u = t[:points], u[:points]
        retcode = self._retcodes[code]
        return RawSolution(
            t=t,
            u=u,
            retcode=retcode,
            alg=plan.title,
            stats=Stats(nf, njacs, nw, nsolve, naccept, nreject),
            interpolate=self._interpolant(outcome, plan.width) if plan.dense else None,
            message="" if retcode == "Success" else _message(reached, t1, plan, retcode),
        )

    def _jacobian_from(self) -> tuple[str, ...]:
        """The functions that give the Jacobian: jac, or the jvp and the pattern when sparse."""
        n = self._model.n
        if n < _SPARSE_FROM:
            return ("jac",)
        if "pattern" not in self._has:
            pattern = self._model.sparsity().tocoo()
            if pattern.nnz > _SPARSE_FILL * n * n:
                return ("jac",)
            rows, columns = pattern.row.astype(np.int64), pattern.col.astype(np.int64)
            self._call("set_pattern!", rows, columns)
            self._has.add("pattern")
        return ("jvp",)

    def _new_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        if alg is not None:
            check_algorithm(alg, known_algorithms)
        method = self._method(alg, options.algorithm)
        self.compile_for(str(self._julia.needs(method, self._model.n)))
        saveat = np.empty(0) if options.saveat is None else options.saveat
        dense = options.dense and options.saveat is None and options.save_everystep
        try:
            handle = self._julia.plan(
                self._handle,
                method,
                saveat,
                options.save_everystep,
                dense,
                options.adaptive,
                0.0 if options.dt is None else float(options.dt),
                float(options.dtmin),
                float("nan") if options.dtmax is None else float(options.dtmax),
                int(options.maxiters),
                np.empty(0) if options.tstops is None else options.tstops,
                options.abstol,
                options.reltol,
                options.save_idxs,
            )
        except Exception as error:
            raise session.translated(error) from None
        width = self._model.n if options.save_idxs is None else len(options.save_idxs)
        room = _FIRST_ROOM if options.saveat is None else len(options.saveat)
        return Plan(handle, str(self._julia.title(method)), width, dense, room, options.maxiters)

    def _method(self, alg: str | None, options: Mapping[str, Any]) -> Any:
        try:
            return self._julia.make_algorithm(alg or "", dict(options))
        except Exception as error:
            raise _refused(error, alg) from None

    def _interpolant(self, outcome: Any, width: int) -> Callable[[Array], Array]:
        def interpolate(times: Array) -> Array:
            at = np.array(times, dtype=np.float64).reshape(-1)
            out = np.empty((at.size, width))
            if at.size:
                code = self._call("interpolate!", outcome, _at(at), at.size, _at(out))
                if code < 0:
                    self._raise(int(code))
            return out

        return interpolate

    def _call(self, name: str, *args: Any) -> Any:
        """A function of the Julia package; those that end in `!` take the model first."""
        function = getattr(self._julia, name.replace("!", "_b"))
        of_model = name in ("compile!", "set_pattern!")
        try:
            return function(self._handle, *args) if of_model else function(*args)
        except Exception as error:
            raise session.translated(error) from None

    def _raise(self, code: int) -> None:
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        kind, message = (str(part) for part in self._julia.last_error())
        if "not able to use mass matrices" in message:
            raise UnsupportedError(
                "this method cannot use a mass matrix; try Rodas5P, FBDF or alg=None"
            )
        raise session.JuliaError(f"{kind}: {message}" if kind not in message else message)


@dataclass
class Plan:
    """A method and options, ready to run; `room` follows the number of points that came."""

    handle: Any
    title: str
    width: int
    dense: bool
    room: int
    maxiters: int


@lru_cache(maxsize=1)
def known_algorithms() -> frozenset[str]:
    """Names from the Julia package's own table; Julia need not run."""
    text = (environment.julia_package() / "algorithms.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return frozenset(name for _library, _uuid, *names in lines for name in names)


@lru_cache(maxsize=1)
def retcode_names() -> tuple[str, ...]:
    return tuple(str(name) for name in session.module().retcode_names())


def check_algorithm(alg: str, known: Callable[[], frozenset[str]]) -> None:
    """Refuse a name that neither the table nor the loaded libraries have, with the nearest ones."""
    if not _EXPRESSION.fullmatch(alg) or not _NAME.match(alg):
        raise UnsupportedError(
            f"alg={alg!r} is not the name of a method; write for example 'Rodas5P' or "
            "'AutoTsit5(Rosenbrock23)', and pass the method's own options by keyword"
        )
    for name in _NAME.findall(alg):
        if name in known() or name in _loaded_algorithms():
            continue
        raise UnsupportedError(_unknown(name, known() | _loaded_algorithms()))


def _loaded_algorithms() -> frozenset[str]:
    return frozenset(str(name) for name in session.module().algorithm_names())


def _unknown(name: str, names: frozenset[str]) -> str:
    folded = {known.lower(): known for known in sorted(names)}
    near = difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.6)
    hint = f"; the nearest are {', '.join(folded[one] for one in near)}" if near else ""
    return f"OrdinaryDiffEq has no method {name!r}{hint}"


def _refused(error: Exception, alg: str | None) -> UnsupportedError:
    """What Julia says of a method's name or options, as an error of the argument."""
    text = session.first_lines(error).removeprefix("ArgumentError: ")
    return UnsupportedError(f"{alg or 'the default method'}: {text}")


def _key(alg: str | None, options: SolveOptions) -> Any:
    return (
        alg,
        _frozen(options.saveat),
        _frozen(options.abstol),
        _frozen(options.reltol),
        options.dt,
        options.dtmin,
        options.dtmax,
        options.maxiters,
        options.adaptive,
        _frozen(options.tstops),
        _frozen(options.save_idxs),
        options.save_everystep,
        options.dense,
        repr(sorted(options.algorithm.items())) if options.algorithm else "",
    )


def _frozen(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def _flat(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float64)


def _at(array: np.ndarray[Any, Any]) -> int:
    return array.ctypes.data


def _message(reached: Array, t1: float, plan: Plan, retcode: str) -> str:
    t, dt = reached.tolist()
    where = f"at t = {t:.6g} of {t1:.6g}, with a last step of {dt:.3g}"
    if retcode == "MaxIters":
        return f"the {plan.maxiters} steps of maxiters were used up {where}"
    if retcode == "DtLessThanMin":
        return f"the step size fell below its minimum {where}"
    if retcode == "Unstable":
        return f"the state stopped being finite {where}"
    return f"the solver gave up {where}"
