"""Libraries of candidate terms: recipes that give SymPy expressions of the inputs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from sympy.parsing.sympy_parser import parse_expr

from pysciml import validation as check
from pysciml.engines.base import Array

Symbols = tuple[sympy.Symbol, ...]

_TERM = "a string, a SymPy expression, or a function of the inputs' symbols"


@dataclass(frozen=True)
class Library:
    """Candidate terms for an unknown function, of inputs that are named later.

    Made by `polynomial`, `fourier` and `custom`; libraries are joined by `+`.

    Parameters
    ----------
    build : symbols of the inputs -> expressions.
    """

    build: Callable[[Symbols], Sequence[Any]]

    def __add__(self, other: Library) -> Library:
        if not isinstance(other, Library):
            return NotImplemented
        return Library(lambda symbols: [*self.build(symbols), *other.build(symbols)])

    def terms(self, inputs: Sequence[str]) -> tuple[Any, ...]:
        """The different terms, as SymPy expressions of symbols with these names."""
        return tuple(dict.fromkeys(self.build(symbols_of(inputs))))

    def matrix(self, x: Any, inputs: Sequence[str] | None = None) -> Array:
        """The terms at m inputs, (m, n): an (m, terms) array.

        Raises
        ------
        ValueError
            A term is not finite at one of them; the message names it.
        """
        points = as_points(x, "x")
        names = default_inputs(points.shape[1]) if inputs is None else tuple(inputs)
        return evaluate(self.terms(names), names, points)


def polynomial(degree: int = 2, *, constant: bool = True) -> Library:
    """All monomials of the inputs up to a total degree.

    Parameters
    ----------
    degree : highest total degree.
    constant : whether 1 is one of them.
    """
    highest = check.as_count(degree, "degree")
    lowest = 0 if check.as_flag(constant, "constant") else 1

    def build(symbols: Symbols) -> list[Any]:
        return [
            sympy.Mul(*factors)
            for total in range(lowest, highest + 1)
            for factors in itertools.combinations_with_replacement(symbols, total)
        ]

    return Library(build)


def fourier(frequencies: int = 1, *, period: float = 2.0 * math.pi) -> Library:
    """sin and cos of each input, at the first multiples of a base frequency.

    Parameters
    ----------
    frequencies : how many multiples of 2 pi / period.
    period : in the units of the inputs.
    """
    count = check.as_count(frequencies, "frequencies")
    base = 2.0 * math.pi / check.as_positive(period, "period")
    factor = sympy.Integer(round(base)) if math.isclose(base, round(base)) else sympy.Float(base)

    def build(symbols: Symbols) -> list[Any]:
        return [
            function(k * factor * symbol)
            for symbol in symbols
            for k in range(1, count + 1)
            for function in (sympy.sin, sympy.cos)
        ]

    return Library(build)


def custom(*terms: Any) -> Library:
    """Terms of your own.

    Parameters
    ----------
    terms : strings such as "x/(1 + y)", SymPy expressions of symbols with the inputs' names, or
        functions that take the inputs' symbols and return an expression or a list of them. A
        string is Python code, and is run.
    """
    if not terms:
        raise ValueError(f"terms must be at least one, {_TERM}; got none")
    for i, term in enumerate(terms):
        if not isinstance(term, (str, sympy.Expr)) and (
            isinstance(term, type) or not callable(term)
        ):
            raise TypeError(f"terms[{i}] must be {_TERM}; got {check.describe(term)}")

    def build(symbols: Symbols) -> list[Any]:
        return [each for term in terms for each in _expressions(term, symbols)]

    return Library(build)


def _expressions(term: Any, symbols: Symbols) -> list[Any]:
    if isinstance(term, str):
        try:
            found = [parse_expr(term, local_dict={symbol.name: symbol for symbol in symbols})]
        except (SyntaxError, TypeError, AttributeError) as error:
            raise ValueError(
                f"terms must be {_TERM}; got {term!r}, which is none: {error}"
            ) from error
    elif isinstance(term, sympy.Expr):
        found = [term]
    else:
        returned = term(*symbols)
        found = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    expressions = [sympy.sympify(each) for each in found]
    for expression in expressions:
        unknown = expression.free_symbols - set(symbols)
        if unknown:
            names = ", ".join(symbol.name for symbol in symbols)
            raise ValueError(
                f"terms must be expressions of the inputs {names}; got {expression}, with "
                f"{', '.join(sorted(map(str, unknown)))}"
            )
    return expressions


def as_library(value: Any) -> Library:
    """A library; None is all monomials up to degree 2."""
    if value is None:
        return polynomial(2)
    if not isinstance(value, Library):
        raise TypeError(
            "library must be polynomial(...), fourier(...), custom(...) or a sum of these; "
            f"got {check.describe(value)}"
        )
    return value


def symbols_of(names: Sequence[str]) -> Symbols:
    return tuple(sympy.Symbol(name) for name in names)


def default_inputs(n: int) -> tuple[str, ...]:
    """x, or x0, x1, ..."""
    return ("x",) if n == 1 else tuple(f"x{i}" for i in range(n))


def as_points(value: Any, name: str) -> Array:
    """(m, n) finite numbers, n inputs at m points; (m,) is one input."""
    expected = "an (m, n) array of finite numbers, n values at each of m points"
    points = check.as_observations(value, name, expected)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2 or points.size == 0 or not np.isfinite(points).all():
        raise ValueError(f"{name} must be {expected}; got {check.describe(value)}")
    return points


def evaluate(terms: tuple[Any, ...], inputs: Sequence[str], x: Array) -> Array:
    """(m, len(terms)) values at the points x, (m, n), all finite."""
    function = compiled(terms, tuple(inputs), "numpy")
    with np.errstate(all="ignore"):
        values = function(*x.T)
    matrix = np.stack([np.broadcast_to(value, len(x)) for value in values], axis=1).astype(float)
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = (int(index[0]) for index in np.nonzero(~finite))
        where = ", ".join(f"{name} = {v:g}" for name, v in zip(inputs, x[row], strict=True))
        raise ValueError(
            f"library must have terms that are finite at all points; got {terms[column]} at {where}"
        )
    return matrix


@lru_cache(maxsize=256)
def compiled(terms: tuple[Any, ...], inputs: tuple[str, ...], module: str) -> Callable[..., Any]:
    """The terms as one function of the inputs, in the operations of "numpy" or "torch"."""
    function: Callable[..., Any] = sympy.lambdify(
        symbols_of(inputs), list(terms), module, cse=module == "numpy"
    )
    return function
