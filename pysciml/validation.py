"""Checks at the door. Every error names the argument, what came and what was expected.

Nothing here imports torch: a tensor is recognised by its methods, so that checking the input of a
small problem costs microseconds.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STATE = "real numbers: a scalar, a list, an array or a tensor, of any shape"
_PREVIEW = 60


def describe(value: Any) -> str:
    """What came, in a few words that fit in an error message."""
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"the string {_short(value)}"
    if _is_tensor(value):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor of shape {tuple(value.shape)} and dtype {kind}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return f"{value}"
    if isinstance(value, (list, tuple, dict, set)):
        return f"the {type(value).__name__} {_short(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def with_article(kind: str) -> str:
    """A kind of problem as it is said aloud: an ODEProblem, a JumpProblem."""
    return f"an {kind}" if kind.startswith(("O", "SD")) else f"a {kind}"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that look most like `name`, whatever their case, best first."""
    by_lower = {entry.lower(): entry for entry in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)
    return [by_lower[entry] for entry in close]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'a' or 'b'?"`, or an empty string when nothing is close."""
    close = nearest(name, known)
    return f"; did you mean {' or '.join(repr(entry) for entry in close)}?" if close else ""


def as_state(value: Any, name: str = "u0") -> Array:
    """The float64 copy of a state: any shape, at least one entry, all finite."""
    array = _real_array(value, name, _STATE)
    if array.size == 0:
        raise ValueError(f"{name} must have at least one entry; got {describe(value)}")
    _require_finite(array, name)
    return array


def as_tspan(value: Any, name: str = "tspan") -> tuple[float, float]:
    """Two finite, distinct times. The second may be the smaller one: backwards in time."""
    expected = "two times (t0, t1)"
    array = _real_array(value, name, expected)
    if array.shape != (2,):
        raise ValueError(f"{name} must be {expected}; got {describe(value)}")
    t0, t1 = array.tolist()
    if not (math.isfinite(t0) and math.isfinite(t1)):
        raise ValueError(f"{name} must be two finite times; got ({t0}, {t1})")
    if t0 == t1:
        raise ValueError(f"{name} must be two different times; got ({t0}, {t1})")
    return t0, t1


def as_parameters(value: Any, name: str = "p") -> Any:
    """The same structure with float64 leaves of its own: numbers and arrays, all finite."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name} must have strings as keys; got the key {key!r}")
        return {key: as_parameters(leaf, f"{name}[{key!r}]") for key, leaf in value.items()}
    if is_namedtuple(value):
        fields = value._fields
        return type(value)(
            *(
                as_parameters(leaf, f"{name}.{field}")
                for field, leaf in zip(fields, value, strict=True)
            )
        )
    if _is_structured_list(value):
        return [as_parameters(leaf, f"{name}[{i}]") for i, leaf in enumerate(value)]
    expected = "real numbers: None, a number, a vector, or a dict, namedtuple or list of them"
    array = _real_array(value, name, expected)
    _require_finite(array, name)
    return float(array) if array.ndim == 0 else array


def same_structure(new: Any, old: Any, name: str = "p") -> None:
    """Refuse parameters that do not fit the ones the model was captured with."""
    hint = "; make a new problem for parameters of another structure"
    if isinstance(old, dict):
        if not isinstance(new, dict) or new.keys() != old.keys():
            got = f"the keys {sorted(new)}" if isinstance(new, dict) else describe(new)
            raise ValueError(f"{name} must have the keys {sorted(old)}; got {got}{hint}")
        for key, leaf in old.items():
            same_structure(new[key], leaf, f"{name}[{key!r}]")
    elif is_namedtuple(old):
        if not is_namedtuple(new) or new._fields != old._fields:
            raise ValueError(
                f"{name} must be a namedtuple with the fields {list(old._fields)}; "
                f"got {describe(new)}{hint}"
            )
        for field in old._fields:
            same_structure(getattr(new, field), getattr(old, field), f"{name}.{field}")
    elif (
        old is None or isinstance(new, dict) or is_namedtuple(new) or np.shape(new) != np.shape(old)
    ):
        want = "None" if old is None else shape_words(np.shape(old))
        raise ValueError(f"{name} must be {want}, as in the problem; got {describe(new)}{hint}")


def as_mass_matrix(value: Any, n: int, name: str = "mass_matrix") -> Array | None:
    """A finite n-by-n matrix, or None for the identity."""
    if value is None:
        return None
    if hasattr(value, "toarray"):  # scipy.sparse
        value = value.toarray()
    matrix = _real_array(value, name, "a square matrix of real numbers")
    if matrix.shape != (n, n):
        raise ValueError(
            f"{name} must have the shape ({n}, {n}), one row and one column per entry of u0; "
            f"got {describe(matrix)}"
        )
    _require_finite(matrix, name)
    return np.ascontiguousarray(matrix)


def as_names(value: Any, n: int, name: str = "names") -> tuple[str, ...] | None:
    """One different name for each of the n components, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of {n} strings; got {describe(value)}")
    if len(value) != n or not all(isinstance(entry, str) for entry in value):
        raise ValueError(
            f"{name} must be a list of {n} strings, one per entry of u0; got {describe(value)}"
        )
    if len(set(value)) != n:
        raise ValueError(f"{name} must be different from each other; got {describe(value)}")
    return tuple(value)


def as_positive(value: Any, name: str) -> float:
    """A finite number above zero."""
    number = as_real(value, name, "a number > 0")
    if not 0.0 < number < math.inf:
        raise ValueError(f"{name} must be a finite number > 0; got {number}")
    return number


def as_nonnegative(value: Any, name: str) -> float:
    """A finite number, zero or above."""
    number = as_real(value, name, "a number >= 0")
    if not 0.0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number >= 0; got {number}")
    return number


def as_count(value: Any, name: str) -> int:
    """A whole number of at least one; 1e5 counts as one."""
    number = as_real(value, name, "a whole number >= 1")
    if not 1.0 <= number < 2**62 or number != int(number):
        raise ValueError(f"{name} must be a whole number >= 1; got {value}")
    return int(number)


def as_flag(value: Any, name: str) -> bool:
    """True or False; a 0 or "no" is more often a slip than a choice."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} must be True or False; got {describe(value)}")


def as_real(value: Any, name: str, expected: str) -> float:
    """One real number of any numeric type."""
    array = _real_array(value, name, expected)
    if array.ndim != 0:
        raise TypeError(f"{name} must be {expected}; got {describe(value)}")
    return float(array)


def as_observations(value: Any, name: str, expected: str) -> Array:
    """A float64 copy of measured numbers: NaN stands for a missing one, infinity is refused."""
    array = _real_array(value, name, expected)
    infinite = np.isinf(array)
    if infinite.any():
        where = "" if array.ndim == 0 else f" in {name}{_index(infinite)}"
        raise ValueError(
            f"{name} must be finite, or NaN where missing; got {array[infinite].flat[0]}{where}"
        )
    return array


def as_choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    expected = " or ".join([", ".join(map(repr, choices[:-1])), repr(choices[-1])])
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {expected}; got {describe(value)}")
    if value not in choices:
        raise ValueError(f"{name} must be {expected}; got {value!r}{did_you_mean(value, choices)}")
    return value


def as_seed(value: Any, name: str) -> int:
    """A whole number of at least zero."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number >= 0; got {describe(value)}")
    number = operator.index(value)
    if not 0 <= number < 2**63:
        raise ValueError(f"{name} must be a whole number >= 0 and < 2**63; got {number}")
    return number


def as_rows(value: Any, name: str, shape: tuple[int, ...], what: str) -> Array:
    """At least one row, each an array of `shape`: one `what` for each trajectory. All finite."""
    rows = "(" + ", ".join(["n", *map(str, shape)]) + ("" if shape else ",") + ")"
    expected = f"an array of shape {rows}, one {what} for each trajectory"
    array = _real_array(value, name, expected)
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape or len(array) == 0:
        raise ValueError(f"{name} must be {expected}; got {describe(value)}")
    _require_finite(array, name)
    return array


def as_tolerance(value: Any, name: str, shape: tuple[int, ...], state: str = "u0") -> float | Array:
    """A tolerance: one number > 0, or one per component, flattened. `state`: the state's name."""
    expected = f"a number > 0, or one for each entry of {state}"
    array = _real_array(value, name, expected)
    if array.ndim and array.shape != shape and array.shape != (math.prod(shape),):
        raise ValueError(f"{name} must be {expected} ({shape_words(shape)}); got {describe(value)}")
    bad = ~((array > 0.0) & np.isfinite(array))
    if bad.any():
        where = "" if array.ndim == 0 else f" in {name}{_index(bad)}"
        raise ValueError(f"{name} must be finite and > 0; got {array[bad].flat[0]}{where}")
    return float(array) if array.ndim == 0 else np.ascontiguousarray(array).reshape(-1)


def as_times(
    value: Any, name: str, tspan: tuple[float, float], *, ordered: bool, or_: str = ""
) -> Array:
    """Times inside tspan, in the direction of integration.

    Unless they are `ordered` by the caller, they are sorted here. `or_` is what else the argument
    may be, for the message.
    """
    expected = f"{or_}a vector of times inside tspan"
    times = _real_array(value, name, expected)
    t0, t1 = tspan
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"{name} must be {expected}; got {describe(value)}")
    if ordered and _goes_from_to(times, t0, t1):  # by far the most common, and a third of the time
        return times
    _require_finite(times, name)
    low, high = min(t0, t1), max(t0, t1)
    # np.arange often ends one rounding error beyond t1; that is not worth an error
    slack = 4e-15 * max(abs(low), abs(high), high - low)
    outside = (times < low - slack) | (times > high + slack)
    if outside.any():
        raise ValueError(
            f"{name} must lie inside tspan ({t0}, {t1}); got {times[outside][0]} "
            f"in {name}{_index(outside)}"
        )
    np.clip(times, low, high, out=times)
    steps = np.diff(times) if t1 > t0 else -np.diff(times)
    if ordered and (steps <= 0.0).any():
        which = "increasing" if t1 > t0 else "decreasing"
        i = int(np.flatnonzero(steps <= 0.0)[0])
        raise ValueError(
            f"{name} must be strictly {which}, the direction of tspan ({t0}, {t1}); "
            f"got {times[i]} and then {times[i + 1]}"
        )
    if not ordered:
        times = np.unique(times)
        if t1 < t0:
            times = times[::-1].copy()
    return times


def _goes_from_to(times: Array, t0: float, t1: float) -> bool:
    """Whether times are strictly monotone and not outside [t0, t1]."""
    first, last = times.item(0), times.item(-1)
    if t1 > t0:
        return t0 <= first and last <= t1 and bool((times[1:] > times[:-1]).all())
    return t0 >= first and last >= t1 and bool((times[1:] < times[:-1]).all())


def as_indices(value: Any, n: int, name: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Different flat indices of components, counted from 0 (negative: from the end)."""
    array = np.asarray(value)
    if array.size == 0 or array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(
            f"{name} must be whole numbers, flat indices of entries of u0; got {describe(value)}"
        )
    indices = np.atleast_1d(array).astype(np.intp)
    if (indices < -n).any() or (indices >= n).any():
        bad = indices[(indices < -n) | (indices >= n)][0]
        raise ValueError(f"{name} must lie between 0 and {n - 1}, the entries of u0; got {bad}")
    indices = np.where(indices < 0, indices + n, indices)
    if np.unique(indices).size != indices.size:
        raise ValueError(f"{name} must not repeat an entry; got {describe(value)}")
    return indices


def require_callable(value: Any, name: str, expected: str) -> None:
    """Refuse what cannot be called, and a class given where an instance is meant."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be {expected}; got {describe(value)}: pass an instance, "
            f"{value.__name__}(...)"
        )
    if not callable(value):
        raise TypeError(f"{name} must be {expected}; got {describe(value)}")


def is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def count_numbers(p: Any) -> int:
    """How many numbers a parameter structure holds."""
    if p is None:
        return 0
    if isinstance(p, dict):
        return sum(map(count_numbers, p.values()))
    if isinstance(p, (list, tuple)):
        return sum(map(count_numbers, p))
    return int(np.size(p))


def shape_words(shape: tuple[int, ...]) -> str:
    """A shape as it is said aloud."""
    return "one number" if shape == () else f"an array of shape {shape}"


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _is_structured_list(value: Any) -> bool:
    """A list of arrays or structures, such as [W1, b1]; a list of plain numbers is a vector."""
    return isinstance(value, (list, tuple)) and any(
        isinstance(entry, (Mapping, list, tuple)) or getattr(entry, "ndim", 0) > 0
        for entry in value
    )


def _real_array(value: Any, name: str, expected: str) -> Array:
    """A float64 copy of real numbers; anything else is refused with its own description."""

    def refuse(got: str) -> NoReturn:
        raise TypeError(f"{name} must be {expected}; got {got}")

    source = value
    if _is_tensor(value):
        value = value.detach().cpu()
        if value.dtype.is_floating_point:  # bfloat16 has no NumPy counterpart
            value = value.double()
        value = value.numpy()
    if isinstance(value, (str, bytes)) or callable(value) or isinstance(value, (dict, set)):
        refuse(describe(source))
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        refuse(f"{describe(source)}, whose rows differ in length")
    if array.dtype.kind == "c":
        refuse(f"{describe(source)}, which is complex: solve for real and imaginary parts")
    if array.dtype.kind == "O" and not all(isinstance(entry, int) for entry in array.flat):
        refuse(describe(source))  # whole numbers beyond int64 are objects too, and are welcome
    if array.dtype.kind not in "iufO":
        refuse(describe(source))
    return np.array(array, dtype=np.float64, order="C")


def _require_finite(array: Array, name: str) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        where = "" if array.ndim == 0 else f" in {name}{_index(bad)}"
        raise ValueError(f"{name} must be finite; got {array[bad].flat[0]}{where}")


def _index(mask: np.ndarray[Any, Any]) -> str:
    first = np.argwhere(mask)[0].tolist()
    return f"[{', '.join(str(i) for i in first)}]"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else f"{text[: _PREVIEW - 3]}..."
