"""Fits of models that bring a loss of their own, in torch operations, differentiated by torch.

Such a loss may be a mean over random samples: paths, points of a domain, a part of the data. Each
iteration of Adam then sees a sample of its own, which its number and the seed determine, so that a
fit repeats and resumes; a quasi-Newton stage keeps one sample. No iteration is the best of a random
loss: the last one counts, unless there are validation data. Starts are compared, and stages end
early, by the loss of one more sample, that no iteration sees.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from pysciml import engines
from pysciml import validation as check
from pysciml.capture.parameters import Parameters
from pysciml.engines.base import Array
from pysciml.errors import SolveError
from pysciml.solution import installed_versions
from pysciml.train.checkpoint import checkpointing
from pysciml.train.loop import EarlyStopping, Run, as_early_stopping
from pysciml.train.losses import Penalty, Physics, as_penalty
from pysciml.train.objective import FailedTrial
from pysciml.train.observation import as_tensor
from pysciml.train.optimisers import LBFGS, Adam, as_stages, identity
from pysciml.train.progress import Progress
from pysciml.train.result import FitResult, History
from pysciml.train.strategies import Phase
from pysciml.train.unknowns import Unknowns, select_all, starts

if TYPE_CHECKING:
    import torch

_DEFAULT_STAGES = (Adam(0.01, 300), LBFGS(500))
_JUDGED_ON = (0, -1)  # no stage has this number
_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class OwnLoss:
    """What a model asks `fit` to minimise.

    Attributes
    ----------
    value : called with a torch.Generator, from which it draws all that is random; one number, in
        torch operations of the module's parameters as they are.
    is_random : whether it draws from it.
    engine : what solves the equations in it.
    held : names of parameters that stages without resampling leave as they are: weights of the
        loss's own terms, which a quasi-Newton method would drive to extremes.
    kept : what these stages minimise, if it is not `value`: one whose gradient is its own, without
        weights that are computed from it but not differentiated.
    """

    value: Callable[[torch.Generator], torch.Tensor]
    is_random: bool = False
    engine: str = "torch"
    held: tuple[str, ...] = ()
    kept: Callable[[torch.Generator], torch.Tensor] | None = None


@runtime_checkable
class BringsLoss(Protocol):
    """An nn.Module that `fit` trains by a loss of its own."""

    def fit_loss(self, data: Any) -> OwnLoss:
        """The loss of this model on `data`, as the user gave them.

        Further keyword arguments, if it has any, are arguments of `fit`: "engine", "abstol", ...
        """
        ...


def has_own_loss(model: Any) -> bool:
    return isinstance(model, BringsLoss) and not isinstance(model, type)


@dataclass(frozen=True)
class Draw:
    """Which random sample an evaluation sees, and whether it is the only one that does."""

    number: tuple[int, ...]
    once: bool


class OwnLossFunction:
    """theta -> (value, gradient). `draw()`, which may be set, says of which sample.

    It moves the module's parameters. Raises `FailedTrial` where a solve fails or a number is not
    finite.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        own: OwnLoss,
        unknowns: Unknowns,
        penalties: Sequence[Penalty],
        seed: int,
    ) -> None:
        self._weights = [x for _, x in model.named_parameters()]
        self._own = own
        self._unknowns = unknowns
        self._penalties = penalties
        self.draw: Callable[[], Draw] = lambda: Draw(_JUDGED_ON, True)
        self._held = select_all(own.held, unknowns.parameters, "held")
        self._seed = seed

    def __call__(self, theta: Array) -> tuple[float, Array]:
        import torch

        at = torch.tensor(theta, requires_grad=True)
        draw = self.draw()
        with torch.enable_grad():
            flat = self._unknowns.p(at)
            self._put(flat)
            kept = None if draw.once else self._own.kept
            value = self._evaluate(kept or self._own.value, draw.number)
            slopes = torch.autograd.grad(
                value, self._weights, allow_unused=True, materialize_grads=True
            )
            penalty = self._penalty(flat)
            along = torch.cat([slope.reshape(-1) for slope in slopes])
            if not draw.once:
                along[self._held] = 0.0
            (gradient,) = torch.autograd.grad((flat * along).sum() + penalty, at)
        total = value.detach() + as_tensor(penalty).detach()
        return _finite(total), _finite_gradient(gradient)

    def judge(self, own: OwnLoss, theta: Array) -> float:
        """Another loss of the model, without penalties, on the sample that no iteration sees."""
        import torch

        with torch.no_grad():
            self._put(self._unknowns.p(torch.as_tensor(theta)))
            try:
                return _finite(self._evaluate(own.value, _JUDGED_ON))
            except FailedTrial:
                return np.inf

    def _put(self, flat: torch.Tensor) -> None:
        import torch

        with torch.no_grad():
            pieces = flat.split([x.numel() for x in self._weights])
            for x, piece in zip(self._weights, pieces, strict=True):
                x.copy_(piece.reshape(x.shape))

    def _evaluate(
        self, loss: Callable[[torch.Generator], torch.Tensor], number: tuple[int, ...]
    ) -> torch.Tensor:
        import torch

        key = np.random.SeedSequence([self._seed, *(k + 1 for k in number)])
        random = torch.Generator().manual_seed(int(key.generate_state(1, np.uint64)[0]))
        try:
            return loss(random)
        except SolveError as error:
            raise FailedTrial(str(error)) from error

    def _penalty(self, flat: torch.Tensor) -> Any:
        p = self._unknowns.parameters.unflatten(flat)
        return sum(as_tensor(penalty(flat, p, (), ())) for penalty in self._penalties)


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise FailedTrial("the loss is not finite")
    return number


def _finite_gradient(gradient: torch.Tensor) -> Array:
    found: Array = gradient.numpy()
    if not np.isfinite(found).all():
        raise FailedTrial("the gradient of the loss is not finite")
    return found


def fit_own_loss(
    model: Any,
    data: Any = None,
    *,
    regularise: Any = (),
    fixed: Any = (),
    transforms: Any = None,
    optimisers: Any = _DEFAULT_STAGES,
    early_stopping: EarlyStopping | None = None,
    validation: Any = None,
    multi_start: int = 1,
    spread: float = 1.0,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    resume: bool | str | Path = False,
    progress: bool = True,
    **settings: Any,
) -> FitResult:
    """`fit` of a model that brings its loss; see there for the arguments."""
    stages = as_stages(optimisers)
    _require_known(model, settings)
    model = copy.deepcopy(model)
    seed = check.as_seed(seed, "seed")
    parameters, p0 = _parameters(model)
    own = model.fit_loss(data, **settings)
    unknowns = Unknowns(parameters, p0, fixed, transforms, [], False, None, _NOTHING)
    if not unknowns.size:
        raise ValueError("there is nothing to fit: the model has no free parameters")

    function = OwnLossFunction(model, own, unknowns, _penalties(regularise, parameters), seed)
    held_out = own if validation is None else model.fit_loss(validation, **settings)
    judged = own.is_random or validation is not None
    begins = starts(unknowns, check.as_count(multi_start, "multi_start"), spread, seed)
    total = len(begins) * sum(stage.iterations for stage in stages)
    bar = Progress(total, check.as_flag(progress, "progress"))
    save, load = checkpointing(
        checkpoint,
        resume,
        lambda: _fingerprint(function, begins, [*map(identity, stages), early_stopping, seed]),
    )
    run = Run(
        engines.get("native"),
        [Phase("fit", stages, lambda theta: (function, _NOTHING))],
        begins,
        as_early_stopping(early_stopping),
        partial(function.judge, held_out) if judged else None,
        bar,
        save,
        check.as_count(checkpoint_every, "checkpoint_every"),
        in_python=True,
        last_counts=own.is_random and validation is None,
    )

    def draw() -> Draw:
        here = run.position
        every = stages[here.stage].resample
        sample = (here.rows - here.began) // every if every else 0
        return Draw((here.start, here.stage, sample), every == 1)

    function.draw = draw
    if load is not None:
        load(run)
        bar.skip(run.position.rows)
        anchor = run.position.memory.get("anchor", run.position.vector)
        if anchor is not None:
            function(anchor)  # a sample may depend on where it was drawn
    run.go()
    best = run.best()
    bar.close(best.loss, not run.interrupted)
    if best.theta is None:
        assert run.failure is not None
        raise ValueError(f"the fit cannot start: {run.failure.trial} at the first parameters")
    return _result(model, unknowns, own, run, best.theta, best.loss, seed)


def _require_known(model: Any, settings: Mapping[str, Any]) -> None:
    """Refuse arguments of `fit` that mean nothing to this model."""
    _, *known = inspect.signature(model.fit_loss).parameters
    for name in settings:
        if name not in known:
            _, *others, _ = inspect.signature(fit_own_loss).parameters
            raise TypeError(
                f"fit() of a {type(model).__name__} has no option {name!r}; it has "
                f"{', '.join([*others, *known])}"
            )


def _parameters(model: torch.nn.Module) -> tuple[Parameters, Array]:
    p = {name: x.detach().double().numpy() for name, x in model.named_parameters()}
    parameters = Parameters(p)
    return parameters, parameters.flatten(p)


def _penalties(regularise: Any, parameters: Parameters) -> list[Penalty]:
    extras = regularise if isinstance(regularise, (list, tuple)) else (regularise,)
    if any(isinstance(each, Physics) for each in extras):
        raise TypeError(
            "regularise must be L1(...), L2(...) or a torch function of p: a model with a loss of "
            "its own has no solutions for Physics(...)"
        )
    return [as_penalty(each, parameters) for each in extras]


def _fingerprint(function: OwnLossFunction, begins: Sequence[Array], rest: Sequence[Any]) -> str:
    """Equal for fits that take the same course. The first value stands for model and data."""
    digest = hashlib.sha256(repr(rest).encode())
    value, gradient = function(begins[0])
    for array in (np.array(value), gradient, *begins):
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]


def _result(
    model: Any, unknowns: Unknowns, own: OwnLoss, run: Run, theta: Array, loss: float, seed: int
) -> FitResult:
    import torch

    at = torch.as_tensor(theta)
    p_flat: Array = unknowns.p(at).numpy()
    return FitResult(
        p=unknowns.parameters.unflatten(p_flat.copy()),
        p_flat=p_flat,
        p_names=unknowns.parameters.names,
        u0=_NOTHING,
        noise=_NOTHING,
        loss=loss,
        history=History.of(run),
        message=run.message(),
        data=(),
        fitted=(),
        curves=(),
        names=(),
        quantities=dict(zip(unknowns.names, unknowns.quantities(at).tolist(), strict=True)),
        seed=seed,
        engine=own.engine,
        alg=type(model).__name__,
        versions=installed_versions(),
    )
