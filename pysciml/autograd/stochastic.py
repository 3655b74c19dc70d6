"""One solve of an SDE, along the path of a seed, as a differentiable function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from pysciml import engines
from pysciml.autograd.solving import flatten
from pysciml.engines.base import AdjointOptions, Array, SolveOptions
from pysciml.errors import SolveError
from pysciml.problems import SDEProblem
from pysciml.solution import Solution


@dataclass(frozen=True)
class Paths:
    """States of a problem at the times of `options.saveat`, for a path, a state and parameters.

    Gradients are those of the steps along the path, which is held fixed; so are the sizes of the
    steps.
    """

    problem: SDEProblem
    engine: str
    alg: str | None
    options: SolveOptions

    @classmethod
    def of(
        cls, problem: SDEProblem, engine: str, saveat: Array, alg: str | None, **options: Any
    ) -> Paths:
        """`options` are those of `solve`. The engine "auto" is the native one."""
        from pysciml.options import solve_options
        from pysciml.solve import check_problem

        check_problem(problem, alg)
        runner = engines.for_problem("native" if engine == "auto" else engine, problem)
        settings = solve_options(problem, saveat, dense=False, **options)
        return cls(problem, runner.name, alg, settings)

    def __call__(self, seed: int, u0: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        """(len(saveat), *u0.shape) states from `u0`, with the flat parameters `p`.

        Raises SolveError.
        """
        sizes = self.problem.u0.size, self.problem.p_flat.size
        if (u0.numel(), p.numel()) != sizes:
            raise ValueError(
                f"u0 and p must have {sizes[0]} and {sizes[1]} entries; got {u0.numel()} and "
                f"{p.numel()}"
            )
        states: torch.Tensor = _Solve.apply(self, seed, u0, p)
        return states


def seed_from(random: torch.Generator) -> int:
    """A seed of a path, drawn."""
    return int(torch.randint(2**62, (), generator=random))


class _Solve(torch.autograd.Function):
    """(paths, seed, u0, p) -> states."""

    @staticmethod
    def forward(ctx: Any, paths: Paths, seed: int, u0: torch.Tensor, p: torch.Tensor) -> Any:
        problem = paths.problem.at(flatten((u0,)), flatten((p,)))
        options = replace(paths.options, seed=seed)
        engine = engines.get(paths.engine)
        needed = any(ctx.needs_input_grad)
        if needed:
            raw, ctx.pullback = engine.solve_with_pullback(
                problem, paths.alg, options, AdjointOptions()
            )
        else:
            raw = engine.solve(problem, paths.alg, options)
        if raw.retcode != "Success":
            solution = Solution(problem, engine.name, options, raw)
            raise SolveError(f"the solve stopped early ({raw.retcode}): {raw.message}", solution)
        ctx.shape = u0.shape
        return torch.from_numpy(raw.u).reshape(-1, *u0.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        found = ctx.pullback(grad.reshape(len(grad), -1).numpy())
        by_u0 = torch.from_numpy(found.u0).reshape(ctx.shape)
        return None, None, by_u0, torch.from_numpy(found.p)
