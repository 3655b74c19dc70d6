"""`Equation`: a found function as text, formula and SymPy, and as a right-hand side to solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from pysciml import validation as check
from pysciml.discover.library import compiled, evaluate, symbols_of
from pysciml.engines.base import Array
from pysciml.problems import ODEProblem

if TYPE_CHECKING:
    from pysciml.train.result import FitResult

_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Equation:
    """A vector of functions, each a sum of terms of the inputs with coefficients.

    Attributes
    ----------
    inputs, outputs : names; of a differential equation, outputs are those of du/dt.
    terms : SymPy expressions of the inputs.
    coefficients : (terms, outputs) array, zero where a term is not in.
    support : (terms, outputs) booleans, whether it is.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    terms: tuple[Any, ...]
    coefficients: Array
    support: Any

    @property
    def p(self) -> dict[str, dict[str, float]]:
        """The coefficients that are in, by output and term: `p["dx/dt"]["x*y"]`."""
        return {
            name: {str(self.terms[i]): float(self.coefficients[i, k]) for i in self._terms_of(k)}
            for k, name in enumerate(self.outputs)
            if self.support[:, k].any()
        }

    @property
    def size(self) -> int:
        """How many coefficients are in."""
        return int(self.support.sum())

    @property
    def expressions(self) -> list[Any]:
        """One SymPy expression for each output, in symbols named as the inputs."""
        return [
            sympy.Add(*(float(self.coefficients[i, k]) * self.terms[i] for i in self._terms_of(k)))
            for k in range(len(self.outputs))
        ]

    def latex(self, digits: int = _DIGITS) -> str:
        """The formulas as a LaTeX `aligned` environment, coefficients to so many digits."""
        lines = [
            f"{_left_side(name)} &= {sympy.latex(_rounded(expression, digits))}"
            for name, expression in zip(self.outputs, self.expressions, strict=True)
        ]
        body = r" \\ ".join(lines)
        return rf"\begin{{aligned}} {body} \end{{aligned}}"

    def __str__(self) -> str:
        return "\n".join(
            f"{name} = {_rounded(expression, _DIGITS)}"
            for name, expression in zip(self.outputs, self.expressions, strict=True)
        )

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def __call__(self, u: Any, p: Any = None) -> Any:
        """The values at inputs u, (..., inputs), with coefficients as in `p`; default: its own.

        For an array an array, (..., outputs); for a tensor, or a list of them, a tensor: it can
        stand in a right-hand side wherever a network stands.
        """
        import torch

        p = self.p if p is None else p
        if not _has_tensors(u):
            return self._at(np.asarray(u, dtype=float), p)
        parts = list(u) if isinstance(u, (list, tuple)) else list(u.unbind(-1))
        values = compiled(self.terms, self.inputs, "torch")(*parts)
        sums = []
        for k, name in enumerate(self.outputs):
            total = torch.zeros_like(parts[0])
            for i in self._terms_of(k):
                total = total + p[name][str(self.terms[i])] * values[i]
            sums.append(total)
        return torch.stack(sums, dim=-1)

    def rhs(self, u: Any, p: Any, t: Any) -> Any:
        """du/dt = self(u, p), for `ODEProblem(equation.rhs, u0, tspan, equation.p)`."""
        return self(u, p)

    def problem(self, u0: Any, tspan: Any) -> ODEProblem:
        """The equation to be solved and fitted; its parameters are the coefficients.

        Raises
        ------
        ValueError
            There is not one output for each input, so it is not the whole of a du/dt.
        """
        if len(self.outputs) != len(self.inputs):
            raise ValueError(
                f"a problem needs one output for each input; there are {len(self.inputs)} inputs "
                f"and {len(self.outputs)} outputs: put the equation into a right-hand side of "
                "your own"
            )
        return ODEProblem(self.rhs, u0, tspan, self.p, names=self.inputs)

    def with_coefficients(self, p: Mapping[str, Mapping[str, float]]) -> Equation:
        """The same terms with other coefficients, as in `p`: what a fit has found."""
        check.same_structure(p, self.p)
        coefficients = np.zeros_like(self.coefficients)
        for k, name in enumerate(self.outputs):
            for i in self._terms_of(k):
                coefficients[i, k] = p[name][str(self.terms[i])]
        return replace(self, coefficients=coefficients)

    def of_fit(self, result: FitResult) -> Equation:
        """The equation that a fit of `problem(...)` has found."""
        return self.with_coefficients(result.p)

    def restricted(self, support: Any) -> Equation:
        """Only the terms of a (terms, outputs) mask, with the coefficients that they have."""
        kept = np.asarray(support, dtype=bool)
        return replace(self, coefficients=np.where(kept, self.coefficients, 0.0), support=kept)

    def _terms_of(self, output: int) -> list[int]:
        return np.flatnonzero(self.support[:, output]).tolist()

    def _at(self, u: Array, p: Mapping[str, Mapping[str, float]]) -> Array:
        coefficients = self.with_coefficients(p).coefficients
        matrix = evaluate(self.terms, self.inputs, u.reshape(-1, len(self.inputs)))
        return (matrix @ coefficients).reshape(*u.shape[:-1], len(self.outputs))


def equation_of(
    inputs: Sequence[str], outputs: Sequence[str], terms: Sequence[Any], coefficients: Array
) -> Equation:
    """The equation whose terms are those with a coefficient."""
    return Equation(tuple(inputs), tuple(outputs), tuple(terms), coefficients, coefficients != 0.0)


def _has_tensors(u: Any) -> bool:
    first = u[0] if isinstance(u, (list, tuple)) else u
    return hasattr(first, "detach")


def _rounded(expression: Any, digits: int) -> Any:
    return expression.xreplace({x: sympy.Float(x, digits) for x in expression.atoms(sympy.Float)})


def _left_side(name: str) -> str:
    """`dx/dt` as a fraction; another name as SymPy writes a symbol."""
    if name.startswith("d") and name.endswith("/dt"):
        return rf"\frac{{d {sympy.latex(symbols_of([name[1:-3]])[0])}}}{{dt}}"
    return str(sympy.latex(symbols_of([name])[0]))
