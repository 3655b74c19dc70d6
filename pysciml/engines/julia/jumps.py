"""Jump processes on the Julia engine, by JumpProcesses' methods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml.engines.base import RawSolution, SolveOptions
from pysciml.engines.julia import session
from pysciml.engines.julia.model import JuliaModel, Plan, key
from pysciml.engines.jumps import check_options, kept
from pysciml.engines.lines import Steps
from pysciml.errors import UnsupportedError
from pysciml.validation import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pysciml.problems import JumpProblem

EXTENSION = "PySciMLJumpsExt"

#: one jump after the other; the first is the default
EXACT = (
    "Direct", "DirectFW", "SortingDirect", "DirectCR", "RSSA", "RSSACR", "RDirect", "NRM", "CCNRM",
    "Coevolve", "FRM", "FRMFW",
)  # fmt: skip
#: Many at a time, in leaps of the length dt. Others of StochasticDiffEq (7.1) are left out: the
#: first leap of TauLeaping is empty, and when it chooses them it rejects leaps for what was drawn,
#: which biases the rest; the choice of CaoTauLeaping is not written.
LEAPS = ("SimpleTauLeaping", "ImplicitTauLeaping", "ThetaTrapezoidalTauLeaping")
NAMES = (*EXACT, *LEAPS)
# They bound a propensity by its values at the bounds of the state.
_OF_BOUNDS = ("RSSA", "RSSACR")


class ReactionModel(JuliaModel):
    """The reactions of a JumpProblem on the Julia side."""

    def __init__(self, problem: JumpProblem) -> None:
        super().__init__(problem.model)
        self._extension = session.extension(EXTENSION)
        self._problem = problem
        rates = [reaction.rate for reaction in problem.reactions]
        functions = [j for j, rate in enumerate(rates) if callable(rate)]
        others = [j for j, rate in enumerate(rates) if not callable(rate)]
        propensities = {j: problem.propensity(j) for j in functions}
        self._rates = [JuliaModel(model) for model in propensities.values()]
        names = problem.model.parameters.names
        self._reactions = self._extension.ReactionModel(
            self._handle,
            [model.handle for model in self._rates],
            np.array(functions, dtype=np.int64),
            [np.unique(model.sparsity().nonzero()[1]) for model in propensities.values()],
            # of a parameter minus its place, from 1
            np.array([_constant(rates[j], names) for j in others]),
            [np.array(problem.reactants[j], dtype=np.int64).reshape(-1) for j in others],
            problem.stoichiometry,
        )

    @classmethod
    def of(cls, problem: Any) -> ReactionModel:
        return cls(problem)

    @staticmethod
    def key(problem: Any) -> Any:
        return None

    @staticmethod
    def check(problem: Any, alg: str | None, options: SolveOptions) -> None:
        _checked(problem, alg, options)

    def compile_for(self, kind: str) -> None:
        if kind != "exact":
            self.compile("f")
            return
        for rate in self._rates:
            rate.compile("f")

    def prepared(self, alg: str | None, options: SolveOptions) -> tuple[str, SolveOptions]:
        return _checked(self._problem, alg, options), asked(options)

    def plan(self, alg: str | None, options: SolveOptions) -> Plan:
        return self.kept(key(alg, options), lambda: self._reaction_plan(alg, options))

    def solve_by(
        self, problem: Any, alg: str | None, options: SolveOptions, full: bool
    ) -> RawSolution:
        """Follow the path of the seed and the trajectory."""
        assert options.seed is not None  # `solve_options` sees to it
        plan = self.plan(alg, options)
        raw, _ = self.run(plan.handle, problem, plan, full, (options.seed, options.trajectory))
        return rested(raw, options)

    def _reaction_plan(self, alg: str | None, options: SolveOptions) -> Plan:
        # what Julia leaves behind is where the reason of a failure is
        return replace(self._new_plan(*self.prepared(alg, options)), dense=True)

    def _check_name(self, alg: str) -> None:
        """`_checked` has."""

    def _planned(self, alg: str | None, options: SolveOptions) -> Any:
        return self._reactions

    def _method(self, alg: str | None, options: SolveOptions) -> Any:
        if options.algorithm:
            raise UnsupportedError(f"{alg} has no options; got {sorted(options.algorithm)}")
        return self._extension.jump_algorithm(alg)

    def _message(
        self, retcode: str, plan: Plan, outcome: Any, facts: NDArray[np.int64], t1: float
    ) -> str:
        message = super()._message(retcode, plan, outcome, facts, t1)
        return message.partition(", with a last step")[0] if plan.title in EXACT else message

    def _why(self, retcode: str, plan: Plan, outcome: Any) -> str:
        if retcode == "ConvergenceFailure":
            return "an implicit leap was not found, for which dt is too long,"
        number, value = self._extension.bad_rate(outcome) if plan.title in EXACT else (-1, 0.0)
        if number < 0:
            return super()._why(retcode, plan, outcome)
        return (
            f"the propensity of reactions[{number}] ({self._problem.reactions[number]}) is "
            f"{value:.6g}, and should be a finite number >= 0: check its rate and p at the last "
            "state,"
        )


def rested(raw: RawSolution, options: SolveOptions) -> RawSolution:
    """What was asked for, of a state that rests between its jumps."""
    if not options.dense:
        return raw
    t, u = kept(raw.t, raw.u, options)
    return replace(raw, t=t, u=u, interpolate=Steps(raw.t, raw.u))


def _checked(problem: JumpProblem, alg: str | None, options: SolveOptions) -> str:
    """The method's name; refuses one that is not for the problem, or an option without meaning."""
    name = EXACT[0] if alg is None else alg.replace("()", "").strip()
    if name == "SSAStepper":  # which is how they all go
        name = EXACT[0]
    if name in ("TauLeaping", "CaoTauLeaping"):
        raise UnsupportedError(
            f"{name}, which chooses its leaps, is not in the Julia engine: there are "
            f'{", ".join(LEAPS)}, with a dt, and engine="native" has "TauLeaping"'
        )
    if name not in NAMES:
        raise ValueError(
            f"alg={alg!r} is no method for a JumpProblem of the Julia engine"
            f"{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}"
        )
    check_options(problem, name, name not in EXACT, options)
    if name in _OF_BOUNDS and any(callable(reaction.rate) for reaction in problem.reactions):
        raise UnsupportedError(
            f"{name} bounds each propensity by its values at bounds of the state, which is right "
            "for mass action, and nobody knows of a rate that is a function. SortingDirect, "
            "DirectCR and NRM take those"
        )
    if name in LEAPS and options.dt is None:
        raise ValueError(f"dt must be given for {name}: it is the length of a leap; got None")
    return name


def asked(options: SolveOptions) -> SolveOptions:
    """What Julia is asked for: for dense output, every jump."""
    asked = replace(options, dense=False)
    if options.dense:
        return replace(asked, saveat=None, save_everystep=True, save_idxs=None)
    return asked


def _constant(rate: Any, names: list[str]) -> float:
    return -1.0 - names.index(rate) if isinstance(rate, str) else float(rate)
