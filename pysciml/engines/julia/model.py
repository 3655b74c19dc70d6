"""A captured model on the Julia side, and the solves that are prepared for it."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pysciml.engines.base import SUCCESSFUL, Array, RawSolution, SolveOptions, Stats
from pysciml.engines.julia import session
from pysciml.engines.julia.methods import check_algorithm, known_algorithms, refused
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.capture.program import Program
    from pysciml.problems import Problem

T = TypeVar("T")

_PLANS_KEPT = 64  # per model
_FIRST_ROOM = 256  # points to make room for when nobody knows how many there will be
_SPARSE_FROM = 64  # states; below, a dense factorisation is faster whatever the pattern
_SPARSE_FILL = 0.2


class JuliaModel:
    """A captured model on the Julia side: its handle, and the plans made for it."""

    def __init__(self, model: Any, mass: Array | None = None, handle: Any = None) -> None:
        self._julia = session.module()
        self._model = model
        self.n: int = model.n
        self.n_p: int = model.n_p
        self._handle = self._julia.Model(model.n, mass) if handle is None else handle
        self._has_mass = mass is not None
        self._has: set[str] = set()
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._solve = self._julia.solve
        self._solve_seeded = self._julia.solve_seeded
        self._fetch = self._julia.fetch_b
        self._retcodes = retcode_names()

    @classmethod
    def of(cls, problem: Any) -> JuliaModel:
        """Of a problem of the kind that this class is for."""
        return cls(problem.model, problem.mass_matrix)

    @staticmethod
    def key(problem: Any) -> Any:
        """What tells problems of one captured model apart that need different ones of these."""
        mass = problem.mass_matrix
        return None if mass is None else np.asarray(mass).tobytes()

    @staticmethod
    def check(problem: Any, alg: str | None, options: SolveOptions) -> None:
        """Refuse what can be known to be wrong before Julia runs."""

    @property
    def captured(self) -> Any:
        """The captured model."""
        return self._model

    @property
    def handle(self) -> Any:
        """Julia's `PySciML.Model`."""
        return self._handle

    def compile(self, *names: str) -> None:
        """Generate and compile some of the model's functions: "f", "jac", "tgrad", "jvp", ..."""
        for name in names:
            if name not in self._has:
                self.compile_program(name, getattr(self._model, name))

    def compile_program(self, name: str, program: Program) -> None:
        """Generate and compile one function, under the name that Julia looks it up by."""
        from pysciml.codegen.julia import generate

        source = generate(program, name)
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

    def start(self, problem: Any, plan: Plan) -> Array:
        """What a solve starts from."""
        found: Array = problem.u0_flat
        return found

    def prepared(self, alg: str | None, options: SolveOptions) -> tuple[str | None, SolveOptions]:
        """The method's name and the options that Julia is asked for; refuses what does not fit."""
        return alg, options

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        """The prepared solve for a method and options, kept for the next time."""
        return self.kept(key(alg, options), lambda: self._new_plan(alg, options))

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` made for a key, kept for the next time; the oldest are let go."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            if len(self._kept) > _PLANS_KEPT:
                self._kept.popitem(last=False)
        return found

    def solve_by(
        self, problem: Problem, alg: str | None, options: SolveOptions, full: bool
    ) -> RawSolution:
        """Solve by a method with options."""
        return self.solve(problem, self.plan(alg, options), full)

    def solve(self, problem: Problem, plan: Plan, full: bool) -> RawSolution:
        raw, outcome = self.run(plan.handle, problem, plan, full)
        if plan.dense:
            raw.interpolate = self._interpolant(outcome, plan.width)
        return raw

    def run(
        self, handle: Any, problem: Problem, plan: Plan, full: bool, stream: tuple[int, ...] = ()
    ) -> tuple[RawSolution, Any]:
        """Solve by Julia's Plan or Recipe; also returns what Julia's `solve` leaves behind.

        `stream`: the seed and the trajectory of a random problem.
        """
        u0, p = flat(self.start(problem, plan)), flat(problem.p_flat)
        t0, t1 = problem.tspan
        facts = np.zeros(12, np.int64)  # the last two are floats: where the solve has got to
        at = address(facts)
        room = plan.room
        t, u = np.empty(room), np.empty((room, plan.width))
        solve = self._solve_seeded if stream else self._solve
        outcome = solve(
            handle, *stream, address(u0), address(p), p.size, t0, t1, at, at + 80, address(t),
            address(u), room, plan.dense, full,
        )  # fmt: skip
        points, width, code, nf, njacs, nw, nsolve, naccept, nreject, written, *_ = facts.tolist()
        if points < 0:
            session.fail(points)
        if not written:
            plan.room = points
            t, u = np.empty(points), np.empty((points, width))
            self._fetch(outcome, address(t), address(u))
        elif points < room:
            t, u = t[:points], u[:points]
        if plan.chosen is not None:
            u = np.ascontiguousarray(u[:, plan.chosen])
        retcode = self._retcodes[code]
        raw = RawSolution(
            t=t,
            u=u,
            retcode=retcode,
            alg=plan.title,
            stats=Stats(nf, njacs, nw, nsolve, naccept, nreject),
            message=self._message(retcode, plan, outcome, facts, t1),
        )
        return raw, outcome

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
            self._check_name(alg)
        method = self._method(alg, options)
        kind = str(self._julia.needs(method, self.n))
        if isinstance(options.reltol, np.ndarray) and kind != "explicit":
            raise UnsupportedError(
                "reltol must be one number for an implicit method on engine='julia' (abstol may be "
                "one for each component); explicit methods and engine='native' take several"
            )
        if options.dt is None and self._julia.is_fixed(method):
            name = self._julia.title(method)
            raise ValueError(f"{name} with a fixed step needs dt ({name} has no error estimate)")
        self.compile_for(kind)
        saveat = np.empty(0) if options.saveat is None else options.saveat
        dense = options.dense and options.saveat is None and options.save_everystep
        kept = None if dense else options.save_idxs  # dense output is of all components
        try:
            handle = self._julia.plan(
                self._planned(alg, options),
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
                kept,
            )
        except Exception as error:
            raise session.translated(error) from None
        width = self.n if kept is None else len(kept)
        room = _FIRST_ROOM if options.saveat is None else len(options.saveat)
        title = str(self._julia.title(method))
        chosen = options.save_idxs if dense else None
        return Plan(handle, title, width, dense, room, options.maxiters, chosen)

    def _check_name(self, alg: str) -> None:
        """Refuse what is no name of a method."""
        check_algorithm(alg, known_algorithms)

    def _planned(self, alg: str | None, options: SolveOptions) -> Any:
        """What a plan is for: the model, or Julia's object around it."""
        return self._handle

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        name = alg or ("Rodas5P" if self._has_mass else "")  # explicit methods take no mass matrix
        try:
            return self._julia.make_algorithm(name, dict(options.algorithm), options.reltol)
        except Exception as error:
            raise refused(error, alg) from None

    def _interpolant(self, outcome: Any, width: int) -> Callable[[Array], Array]:
        def interpolate(times: Array) -> Array:
            at = np.array(times, dtype=np.float64).reshape(-1)
            out = np.empty((at.size, width))
            if at.size:
                code = self._call("interpolate!", outcome, address(at), at.size, address(out))
                if code < 0:
                    session.fail(int(code))
            return out

        return interpolate

    def _message(
        self, retcode: str, plan: Plan, outcome: Any, facts: NDArray[np.int64], t1: float
    ) -> str:
        if retcode in SUCCESSFUL:
            return ""
        t, dt = facts[10:].view(np.float64).tolist()
        where = f"at t = {t:.6g} of {t1:.6g}, with a last step of {dt:.3g}"
        return f"{self._why(retcode, plan, outcome)} {where}"

    def _why(self, retcode: str, plan: Plan, outcome: Any) -> str:
        """What a solve stopped for."""
        if retcode == "MaxIters":
            return f"the {plan.maxiters} steps of maxiters were used up"
        if retcode == "DtLessThanMin":
            return "the step size fell below its minimum"
        if retcode == "Unstable":
            return "the state stopped being finite"
        return "the solver gave up"

    def _call(self, name: str, *args: Any) -> Any:
        """A function of the Julia package; those that end in `!` take the model first."""
        function = getattr(self._julia, name.replace("!", "_b"))
        of_model = name in ("compile!", "set_pattern!")
        try:
            return function(self._handle, *args) if of_model else function(*args)
        except Exception as error:
            raise session.translated(error) from None


@dataclass
class Plan:
    """A method and options, ready to run; `room` follows the number of points that came."""

    handle: Any
    title: str
    width: int
    dense: bool
    room: int
    maxiters: int
    chosen: Any = None  # indices of components, to be taken of what Julia saves
    points: int = 0  # of the guess that a boundary value problem starts from


@lru_cache(maxsize=1)
def retcode_names() -> tuple[str, ...]:
    return tuple(str(name) for name in session.module().retcode_names())


def key(alg: str | None, options: SolveOptions) -> Any:
    """A hashable value that tells two prepared solves apart."""
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


def flat(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=np.float64)


def address(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's data, in a quarter of the time of `array.ctypes.data`."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # it is read-only, or empty
        return array.ctypes.data
