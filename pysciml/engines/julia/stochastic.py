"""SDEs on the Julia engine: StochasticDiffEq's methods, and which problems each of them is for."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import Array, RawSolution, SolveOptions
from pysciml.engines.julia import environment, session
from pysciml.engines.julia.methods import refused
from pysciml.engines.julia.model import JuliaModel, Plan, address, key
from pysciml.engines.lines import Lines
from pysciml.engines.stochastic import check_interpretation, check_step, default_method, unsuited
from pysciml.errors import UnsupportedError

if TYPE_CHECKING:
    from pysciml.problems import SDEProblem

_EXTENSION = "PySciMLStochasticExt"
_NAME = re.compile(r"\w+")
_EXPRESSION = re.compile(r"\w+(\(\w+\))?")  # SOSRI, AutoSOSRI2(ImplicitRKMil)


@dataclass(frozen=True)
class Scheme:
    """What a method is for; see `stochastic_algorithms.txt` of the Julia package."""

    name: str
    noise: str
    interpretations: tuple[str, ...]
    adaptive: bool

    def check_fits(self, problem: SDEProblem) -> None:
        """Refuse a problem that the method does not solve."""
        what = self._unsuited(problem)
        if what is not None:
            raise unsuited(self.name, what, problem)
        check_interpretation(self.name, self.interpretations, problem)

    def _unsuited(self, problem: SDEProblem) -> str | None:
        """Which property of the problem the method is not for."""
        noise = problem.noise
        if self.noise == "split":
            return "an SDEProblem, but for drifts that come in parts"
        if self.noise == "additive":
            return None if problem.is_additive else "a g that depends on u"
        if self.noise == "single":
            return None if problem.noise_shape in ((), (1,)) else "more than one Wiener process"
        allowed = ("diagonal",) if self.noise == "separate" else ("diagonal", "scalar")
        if self.noise != "any" and noise not in allowed:
            return f"noise={noise!r}"
        if self.noise == "own" and noise == "diagonal" and not problem.is_uncoupled:
            return "diagonal noise whose g_i depends on other entries of u"
        return None

    def form(self, noise: str) -> str:
        """How Julia is given the noise. Not all methods for any noise know a single process."""
        if noise == "diagonal":
            return "diagonal"
        return "scalar" if noise == "scalar" and self.noise in ("diagonal", "own") else "matrix"


@lru_cache(maxsize=1)
def schemes() -> dict[str, Scheme]:
    """The methods by name, from the Julia package's own table; Julia need not run."""
    path = environment.julia_package() / "stochastic_algorithms.txt"
    found: dict[str, Scheme] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        _library, _uuid, noise, sense, step, *names = line.split()
        senses = ("ito", "stratonovich") if sense == "both" else (sense,)
        found |= {name: Scheme(name, noise, senses, step == "adaptive") for name in names}
    return found


def find(alg: str) -> tuple[str, list[Scheme]]:
    """A method's plain name, and the method; of an automatic switch also what it turns to."""
    plain = re.sub(r"\(\)|\s", "", alg)
    if not _EXPRESSION.fullmatch(plain):
        raise UnsupportedError(
            f"alg={alg!r} is not the name of a method; write for example 'SOSRI' or "
            "'AutoSOSRI2(ImplicitRKMil)', and pass the method's own options in alg_options"
        )
    known = schemes()
    for name in _NAME.findall(plain):
        if name not in known:
            folded = {each.lower(): each for each in known}
            near = difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.6)
            hint = f"; the nearest are {', '.join(folded[one] for one in near)}" if near else ""
            raise UnsupportedError(f"StochasticDiffEq has no method {name!r}{hint}")
    return plain, [known[name] for name in _NAME.findall(plain)]


class StochasticModel(JuliaModel):
    """Drift and noise of an SDEProblem on the Julia side."""

    def __init__(self, problem: SDEProblem) -> None:
        super().__init__(problem.model)
        self._extension = session.extension(_EXTENSION)
        self._problem = problem

    @classmethod
    def of(cls, problem: Any) -> StochasticModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return problem.noise, problem.interpretation

    @staticmethod
    def check(problem: Any, alg: str | None, options: SolveOptions) -> None:
        checked(problem, alg, options)

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        return self.kept(
            (key(alg, options), options.save_noise), lambda: self._stochastic_plan(alg, options)
        )

    def prepared(self, alg: str | None, options: SolveOptions) -> tuple[str, SolveOptions]:
        name, found = checked(self._problem, alg, options)
        self._compile_noise(name)
        return name, _asked(options, options.adaptive and all(each.adaptive for each in found))

    def solve_by(
        self, problem: Any, alg: str | None, options: SolveOptions, full: bool
    ) -> RawSolution:
        """Follow the path of the seed and the trajectory. Output times end a step."""
        assert options.seed is not None  # `solve_options` sees to it
        plan = self.plan(alg, options)
        stream = options.seed, options.trajectory
        raw, outcome = self.run(plan.handle, problem, plan, full, stream)
        if options.save_noise:
            raw.noise = self.noise_of(outcome, len(raw.t))
        return kept(raw, options) if options.dense else raw

    def noise_of(self, outcome: Any, points: int) -> Array:
        """The Wiener processes at the times that were saved."""
        noise = np.empty((points, *self._problem.noise_shape))
        self._extension.wiener_b(outcome, address(noise))
        return noise

    def _stochastic_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        plan = self._new_plan(*self.prepared(alg, options))
        # what Julia leaves behind is what the noise is read from
        return replace(plan, dense=options.save_noise)

    def _compile_noise(self, name: str) -> None:
        noise = self._problem.noise_model
        if "g" not in self._has:
            self.compile_program("g", noise.f)
        if name == "PCEuler" and "ggprime" not in self._has:
            self.compile_program("ggprime", noise.along_itself.f)

    def _check_name(self, alg: str) -> None:
        find(alg)

    def _planned(self, alg: str | None, options: SolveOptions) -> Any:
        assert alg is not None
        problem = self._problem
        form = find(alg)[1][0].form(problem.noise)
        processes = int(np.prod(problem.noise_shape, dtype=int))
        return self._extension.StochasticModel(self._handle, form, processes, options.save_noise)

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        sense = {"ito": "Ito", "stratonovich": "Stratonovich"}[self._problem.interpretation]
        try:
            return self._extension.stochastic_algorithm(
                self._handle, alg, dict(options.algorithm), sense
            )
        except Exception as error:
            raise refused(error, alg) from None


def checked(
    problem: SDEProblem, alg: str | None, options: SolveOptions
) -> tuple[str, list[Scheme]]:
    """The method's name in plain spelling, and the methods in it; refuses what does not fit."""
    name, found = find(default_method(problem) if alg is None else alg)
    for scheme in found:
        scheme.check_fits(problem)
    if "interpretation" in options.algorithm:
        raise UnsupportedError(
            "alg_options must leave out 'interpretation': it is the problem's, and methods follow"
        )
    check_step(name, all(scheme.adaptive for scheme in found), options)
    return name, found


def _asked(options: SolveOptions, adaptive: bool) -> SolveOptions:
    """What Julia is asked for. Between its steps a path is not known, so output times end one."""
    stops = [times for times in (options.tstops, options.saveat) if times is not None]
    asked = replace(
        options, adaptive=adaptive, tstops=np.concatenate(stops) if stops else None, dense=False
    )
    if not options.dense:
        return asked
    return replace(asked, saveat=None, save_everystep=True, save_idxs=None)


def kept(raw: RawSolution, options: SolveOptions) -> RawSolution:
    """What was asked for, out of every step."""
    t, u = raw.t, raw.u
    rows = np.arange(len(t))
    if options.saveat is not None:
        # of two states at one time, that before a jump and that after, the second
        rows = np.searchsorted(t, options.saveat[options.saveat <= t[-1]], side="right") - 1
    elif not options.save_everystep:
        rows = rows[[0, -1]]
    columns = slice(None) if options.save_idxs is None else options.save_idxs
    return replace(
        raw,
        t=t[rows],
        u=np.ascontiguousarray(u[rows][:, columns]),
        noise=None if raw.noise is None else raw.noise[rows],
        interpolate=Lines(t, u),
    )
