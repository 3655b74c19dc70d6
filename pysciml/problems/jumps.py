"""Jump processes from reaction lists, and maps: problems, checked when they are written down."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pysciml import validation as check
from pysciml.engines.base import Array
from pysciml.errors import CaptureError
from pysciml.problems.base import Problem, Source

if TYPE_CHECKING:
    from pysciml.capture import Model

Species = str | int
_RATE = "a number >= 0, the name of a parameter, or a function rate(u, p, t)"


@dataclass(frozen=True, eq=False)
class Reaction:
    """One reaction: how often it happens, what it takes and what it makes.

    Parameters
    ----------
    rate : number, str, or function rate(u, p, t)
        A number, or the name of a parameter (`p` is a dict or namedtuple then), is the rate
        constant c of mass action: the reaction happens with the propensity c times the number of
        different sets of reactants that there are, c u_S u_I for S + I, and c u_A (u_A - 1)/2 for
        2 A (Gillespie 1977; SciML's `scale_rates=true`). A function gives the whole propensity,
        per unit of time, of the present state. It is captured like a right-hand side, and may not
        depend on t. Where a reactant is missing, the propensity is zero whatever it says.
    reactants, products : dict, optional
        Species, by name or by flat index into u0, and how many of each.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    rate: float | str | Callable[..., Any]
    reactants: Mapping[Species, int] | None = None
    products: Mapping[Species, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checked_rate(self.rate))
        for name in ("reactants", "products"):
            object.__setattr__(self, name, _checked_side(getattr(self, name), name))
        if self.reactants == self.products:
            raise ValueError(
                f"reactants and products must differ, or the reaction changes nothing; got "
                f"{_side_text(self.reactants)} for both"
            )

    def __str__(self) -> str:
        return f"{_side_text(self.reactants)} -> {_side_text(self.products)}"


class JumpProblem(Problem):
    """A jump process, alone or in the solution of an ODE or SDE.

    `JumpProblem(reactions, u0, tspan, p)`: whole numbers of things that react with each other, one
    by one. `JumpProblem(problem, jumps)`: see `JumpDiffusionProblem`.

    Reaction j happens at random times, with the propensity a_j(u, p) per unit of time, and changes
    the state by row j of `stoichiometry`. Methods: "Direct" (exact) and "TauLeaping".

    Parameters
    ----------
    reactions : list of Reaction
    u0 : whole number, or list or array of them
        Numbers at t0, >= 0, of any shape. They are kept as float64.
    tspan : (t0, t1)
        Two times, t0 < t1.
    p : None, number, vector, or dict, namedtuple or list of numbers and arrays
        Parameters, handed to the rates in the same structure. A copy is kept.
    names : list of str, optional
        Names of the entries of u0, in row-major order: what reactions may call them, and for plots.

    Attributes
    ----------
    reactions : tuple of Reaction
    stoichiometry : (m, n) float64 array
        By how much each of the m reactions changes each of the n entries of u0.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    __slots__ = ()

    kind = "JumpProblem"
    is_random = True
    is_piecewise_constant = True
    has_derivatives = False
    default_maxiters = 10**9
    _source: _ReactionSource

    def __new__(cls, reactions: Any = None, *args: Any, **keywords: Any) -> Any:
        if cls is not JumpProblem or not isinstance(reactions, Problem):
            return super().__new__(cls)
        from pysciml.problems.jump_diffusion import JumpDiffusionProblem

        return super().__new__(JumpDiffusionProblem)  # whose __init__ Python then calls

    def __init__(
        self,
        reactions: Sequence[Reaction] | Problem,
        u0: Any,
        tspan: Any = None,
        p: Any = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        listed = _checked_reactions(reactions)
        self._set(u0, tspan, p, names)
        n = self.u0_flat.size
        for i, reaction in enumerate(listed):
            check_parameter(reaction.rate, self._p, f"reactions[{i}]")
        reactants = tuple(resolved(each, "reactants", self.names, n) for each in listed)
        stoichiometry = np.array([change_of(each, self.names, n) for each in listed])
        stoichiometry.setflags(write=False)
        rates = tuple(each.rate for each in listed)
        self._source = _ReactionSource(
            Propensities(rates, reactants), self.u0, self._p, listed, stoichiometry
        )

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        return self._source.reactions

    @property
    def stoichiometry(self) -> Array:
        return self._source.stoichiometry

    @property
    def reactants(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Of each reaction: the reactants' flat indices, and how many of each."""
        return self._source.f.reactants

    def propensity(self, j: int) -> Model:
        """The captured propensity of one reaction, of shape (1,)."""
        store = self.model.compiled
        if ("propensity", j) not in store:
            store["propensity", j] = self._source.f.only([j]).capture_beside(self.model)
        found: Model = store["propensity", j]
        return found

    def _set_u0(self, u0: Array) -> None:
        bad = (u0 < 0.0) | (u0 != np.floor(u0))
        if bad.any():
            raise ValueError(f"u0 must be whole numbers >= 0; got {u0[bad].flat[0]}")
        super()._set_u0(u0)

    @staticmethod
    def _checked_tspan(tspan: Any) -> tuple[float, float]:
        t0, t1 = check.as_tspan(tspan)
        if t1 < t0:
            raise ValueError(
                "tspan must be two times t0 < t1, as jumps happen forwards in time; got "
                f"({t0}, {t1})"
            )
        return t0, t1

    def _functions(self) -> str:
        count = len(self.reactions)
        return f"{count} reaction{'s' * (count > 1)}"


class Propensities:
    """The function (u, p, t) -> propensities of all reactions, which is captured."""

    def __init__(
        self,
        rates: tuple[float | str | Callable[..., Any], ...],
        reactants: tuple[tuple[tuple[int, int], ...], ...],
        what: str = "reactions",
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.rates = rates
        self.reactants = reactants  # of each reaction: flat indices, and how many
        self.what = what  # they are called, in messages
        self.numbers = range(len(rates)) if numbers is None else numbers

    def only(self, numbers: Sequence[int]) -> Propensities:
        """Those of some reactions."""
        rates = tuple(self.rates[j] for j in numbers)
        return Propensities(rates, tuple(self.reactants[j] for j in numbers), self.what, numbers)

    def traceable(self) -> Propensities:
        """With functions that can be traced where they use `math`."""
        from pysciml.capture.numpy_style import with_traceable_math

        rates = tuple(with_traceable_math(rate) for rate in self.rates)
        return Propensities(rates, self.reactants, self.what, self.numbers)

    def capture_beside(self, model: Model) -> Model:
        """The Model of these propensities, of a model's state and parameters."""
        from pysciml.capture.capturing import capture_beside

        return capture_beside(self.traceable(), model, "a rate")

    def __call__(self, u: Any, p: Any, t: Any) -> list[Any]:
        counts = u.reshape(-1)
        found = []
        for i, rate, reactants in zip(self.numbers, self.rates, self.reactants, strict=True):
            if callable(rate):
                value = rate(u, p, t)
                _check_one_number(value, f"{self.what}[{i}]")
                found.append(_where_there(value, counts, reactants))
            else:
                constant = _parameter(p, rate) if isinstance(rate, str) else rate
                found.append(constant * _choices(counts, reactants))
        return found


class _ReactionSource(Source):
    """Propensities with what the reactions change."""

    __slots__ = ("reactions", "stoichiometry")
    f: Propensities

    def __init__(
        self,
        f: Propensities,
        u0: Array,
        p: Any,
        reactions: tuple[Reaction, ...],
        stoichiometry: Array,
    ) -> None:
        super().__init__(f, u0, p)
        self.reactions = reactions
        self.stoichiometry = stoichiometry

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.f, self.u0, self.p, self.reactions, self.stoichiometry)

    def capture(self) -> Model:
        from pysciml.capture import capture

        shape = (len(self.f.rates),)
        try:
            self.model = capture(self.f.traceable(), self.u0, self.p, shape=shape)
        except CaptureError as error:
            raise CaptureError(re.sub("^f ", "a rate ", str(error))) from error
        return self.model


def _choices(counts: Any, reactants: tuple[tuple[int, int], ...]) -> Any:
    """How many different sets of reactants there are: a product of binomial coefficients."""
    product = 1.0
    for species, order in reactants:
        for used in range(order):
            product = product * (counts[species] - used if used else counts[species])
        product = product / math.factorial(order)
    return product


def _where_there(value: Any, counts: Any, reactants: tuple[tuple[int, int], ...]) -> Any:
    """The value, or zero where a reactant is missing."""
    if not reactants:
        return value
    import torch

    where: Any = torch.where if isinstance(counts, torch.Tensor) else np.where
    for species, order in reactants:
        value = where(counts[species] >= order, value, 0.0)
    return value


def _check_one_number(value: Any, what: str) -> None:
    shape = tuple(getattr(value, "shape", ()))
    if shape != () or isinstance(value, (list, tuple)):
        got = f"shape {shape}" if shape else f"a {type(value).__name__}"
        raise CaptureError(f"the rate of {what} must return one number, but returned {got}")


def _parameter(p: Any, name: str) -> Any:
    return p[name] if isinstance(p, dict) else getattr(p, name)


def check_parameter(rate: Any, p: Any, what: str) -> None:
    """Refuse the name of a parameter that is not there, or is no single number."""
    if not isinstance(rate, str):
        return
    known = list(p) if isinstance(p, dict) else list(getattr(p, "_fields", ()))
    if rate not in known:
        have = f"p has {known}" if known else "p must be a dict or namedtuple that has it"
        raise ValueError(
            f"{what}.rate must be the name of a parameter; got {rate!r}: {have}"
            f"{check.did_you_mean(rate, known)}"
        )
    value = _parameter(p, rate)
    if np.ndim(value) != 0 or isinstance(value, dict):
        raise ValueError(
            f"p[{rate!r}] must be one number, as it is the rate of {what}; got "
            f"{check.describe(value)}"
        )


def _checked_reactions(reactions: Any) -> tuple[Reaction, ...]:
    expected = "a list of Reaction(rate, reactants, products)"
    if not isinstance(reactions, (list, tuple)):
        raise TypeError(f"reactions must be {expected}; got {check.describe(reactions)}")
    if not reactions:
        raise ValueError(f"reactions must be {expected}, with at least one; got an empty list")
    for i, entry in enumerate(reactions):
        if not isinstance(entry, Reaction):
            raise TypeError(f"reactions[{i}] must be a Reaction; got {check.describe(entry)}")
    return tuple(reactions)


def checked_rate(rate: Any) -> Any:
    if isinstance(rate, str):
        return rate
    if callable(rate) and not isinstance(rate, type) and not hasattr(rate, "__array__"):
        try:
            inspect.signature(rate).bind(0, 1, 2)
        except TypeError:
            raise TypeError(
                f"rate must be {_RATE}; got {check.describe(rate)}, which does not "
                "take three arguments"
            ) from None
        return rate
    number = check.as_real(rate, "rate", _RATE)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"rate must be {_RATE}; got {number}")
    return number


def _checked_side(side: Any, name: str) -> dict[Species, int]:
    expected = 'a dict of species and how many of each, such as {"S": 1, "I": 1}'
    if side is None:
        return {}
    if not isinstance(side, Mapping):
        raise TypeError(f"{name} must be {expected}; got {check.describe(side)}")
    counts: dict[Species, int] = {}
    for species, count in side.items():
        if not isinstance(species, (str, int)) or isinstance(species, bool):
            raise TypeError(
                f"{name} must name species by name or by index; got {check.describe(species)}"
            )
        counts[species] = check.as_count(count, f"{name}[{species!r}]")
    return counts


def resolved(
    reaction: Reaction, side: str, names: tuple[str, ...] | None, n: int
) -> tuple[tuple[int, int], ...]:
    """A reaction's reactants or products as flat indices, with how many of each."""
    found: dict[int, int] = {}
    for species, count in getattr(reaction, side).items():
        index = _index_of(species, side, names, n)
        found[index] = found.get(index, 0) + count
    return tuple(found.items())


def change_of(reaction: Reaction, names: tuple[str, ...] | None, n: int) -> Array:
    """By how much a reaction changes each of the n entries of the state."""
    change = np.zeros(n)
    for side, sign in (("products", 1.0), ("reactants", -1.0)):
        for species, count in resolved(reaction, side, names, n):
            change[species] += sign * count
    return change


def _index_of(species: Species, side: str, names: tuple[str, ...] | None, n: int) -> int:
    if isinstance(species, int):
        if not 0 <= species < n:
            raise ValueError(
                f"{side} must be species between 0 and {n - 1}, the entries of u0; got {species}"
            )
        return species
    if names is None:
        raise ValueError(
            f"names must be given when reactions name their species, here {species!r}; got None"
        )
    if species not in names:
        raise ValueError(
            f"{side} must be species out of names {list(names)}; got {species!r}"
            f"{check.did_you_mean(species, names)}"
        )
    return names.index(species)


def _side_text(side: Mapping[Species, int] | None) -> str:
    """2 A + B."""
    named = [(k if isinstance(k, str) else f"u[{k}]", count) for k, count in (side or {}).items()]
    return " + ".join(f"{count} {k}" if count > 1 else k for k, count in named) or "nothing"
