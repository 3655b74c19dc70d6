"""`minimise`: parameters of a function that needs no solve, by the optimisers of `fit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.capture.functions import capture_map, capture_value_and_grad
from pysciml.capture.parameters import Parameters
from pysciml.engines.base import Array
from pysciml.train.loop import Run
from pysciml.train.objective import Objective
from pysciml.train.observation import as_tensor
from pysciml.train.optimisers import LBFGS, as_stages
from pysciml.train.progress import Progress
from pysciml.train.result import History
from pysciml.train.strategies import Phase
from pysciml.train.unknowns import Unknowns

_DEFAULT_STAGES = (LBFGS(500),)
_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Minimum:
    """What `minimise` found.

    Attributes
    ----------
    p : parameters, in the structure of those that were given.
    value : of the function there.
    history : see `History`.
    message : how it ended.
    """

    p: Any
    value: float
    history: History
    message: str


def minimise(
    function: Callable[[Any], Any],
    p: Any,
    *,
    optimisers: Any = _DEFAULT_STAGES,
    fixed: Any = (),
    transforms: Any = None,
    progress: bool = True,
) -> Minimum:
    """Minimise a function of parameters, such as the weights of a network that is no equation's.

    It is captured once, with its gradient: regression, physics-informed losses, baselines without
    an equation. What is solved goes to `fit`.

    Parameters
    ----------
    function : callable
        `function(p)`, in torch operations; one number.
    p : number, vector, or dict, namedtuple or list of these
        Where to begin; as of `pysciml.nn.functional`.
    optimisers, fixed, transforms, progress
        As for `fit`.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or the function is not finite at p.
    CaptureError
        The function cannot be captured.
    """
    import torch

    check.require_callable(function, "function", "a torch function of the parameters")
    stages = as_stages(optimisers)
    parameters = Parameters(check.as_parameters(p))
    unknowns = Unknowns(
        parameters, parameters.flatten(p), fixed, transforms, [], False, None, _NOTHING
    )
    if not unknowns.size:
        raise ValueError("there is nothing to minimise: p has no free parameters")
    starts, starts_vjp = capture_map(unknowns.p, unknowns.size)
    objective = Objective(
        size=unknowns.size,
        solves=(),
        starts=starts,
        starts_vjp=starts_vjp,
        loss=capture_value_and_grad(
            lambda nothing, theta: as_tensor(function(parameters.unflatten(unknowns.p(theta)))),
            0,
            unknowns.size,
            "the function",
        ),
    )
    bar = Progress(sum(stage.iterations for stage in stages), check.as_flag(progress, "progress"))
    phase = Phase("minimise", stages, lambda theta: (objective, _NOTHING))
    run = Run(engines.get("native"), [phase], [unknowns.first], show=bar)
    run.go()
    best = run.best()
    bar.close(best.loss, not run.interrupted)
    if best.theta is None:
        raise ValueError("function must be finite, with its gradient, at the p it begins from")
    found: Array = unknowns.p(torch.as_tensor(best.theta)).numpy()
    return Minimum(
        parameters.unflatten(found.copy()),
        best.loss,
        History.of(run),
        "interrupted" if run.interrupted else "finished",
    )
