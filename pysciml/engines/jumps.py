"""What engines share about jumps and maps: refusals, and what is kept of every step."""

from __future__ import annotations

import numpy as np

from pysciml.capture.sparsity import dependence
from pysciml.engines.base import Array, SolveOptions
from pysciml.engines.lines import Steps
from pysciml.errors import UnsupportedError
from pysciml.problems import DiscreteProblem, JumpDiffusionProblem, JumpProblem

# Options of a solve without a meaning for exact jumps and for maps.
_OF_STEPS = ("dt", "dtmax", "tstops", "save_noise")


def check_options(
    problem: JumpProblem | DiscreteProblem, name: str, leaps: bool, options: SolveOptions
) -> None:
    """Refuse what has no meaning for the method. `leaps`: whether it is one of tau-leaping."""
    for option in _OF_STEPS[leaps:]:
        if getattr(options, option) not in (None, False):
            raise ValueError(f"{option} has no meaning for {name}, which makes no time steps")
    if isinstance(problem, DiscreteProblem):
        if options.saveat is not None:
            broken = options.saveat[options.saveat != np.floor(options.saveat)]
            if broken.size:
                raise ValueError(
                    f"saveat must be whole numbers for a DiscreteProblem; got {broken[0]}"
                )
    elif dependence(problem.model.f, "t").nnz:
        raise UnsupportedError(
            f"a rate depends on t, and {name} takes the propensities to be constant from one jump "
            "to the next. Rates that vary in between are those of jumps in the solution of an "
            "equation: JumpProblem(ODEProblem(...), [...])"
        )


def check_noise(problem: JumpDiffusionProblem, options: SolveOptions) -> None:
    """Refuse to keep the noise of an equation that has none."""
    if options.save_noise and not problem.problem.is_random:
        raise ValueError("save_noise has no meaning for jumps in an ODEProblem: it has no noise")


def kept(t: Array, u: Array, options: SolveOptions) -> tuple[Array, Array]:
    """The times and states that were asked for, out of those of every step, whole."""
    if options.saveat is not None:
        times = options.saveat[options.saveat <= t[-1]]
        t, u = times, Steps(t, u)(times)
    elif not options.save_everystep:
        t, u = t[[0, -1]], u[[0, -1]]
    return t, u if options.save_idxs is None else np.ascontiguousarray(u[:, options.save_idxs])
