"""Names of methods: which there are, and what is said of a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import lru_cache

from pysciml.engines.julia import environment, session
from pysciml.errors import UnsupportedError

#: for f(du, u, p, t) = 0; the first is the default
IMPLICIT = ("DFBDF", "DABDF2", "DImplicitEuler", "DNordsieckBDF")

# A method's name, alone or with others as arguments: AutoTsit5(Rosenbrock23())
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_EXPRESSION = re.compile(r"[A-Za-z_0-9(), ]*")


@lru_cache(maxsize=4)
def known_algorithms(family: str = "OrdinaryDiffEq") -> frozenset[str]:
    """Names from the Julia package's own table, of some libraries; Julia need not run."""
    text = (environment.julia_package() / "algorithms.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    own = (names for library, _uuid, *names in lines if library.startswith(family))
    return frozenset(name for names in own for name in names)


def check_algorithm(
    alg: str, known: Callable[[], frozenset[str]], family: str = "OrdinaryDiffEq"
) -> None:
    """Refuse a name that neither the table nor the loaded libraries have, with the nearest ones."""
    if not _EXPRESSION.fullmatch(alg) or not _NAME.match(alg):
        raise UnsupportedError(
            f"alg={alg!r} is not the name of a method; write for example 'Rodas5P' or "
            "'AutoTsit5(Rosenbrock23)', and pass the method's own options by keyword"
        )
    for name in _NAME.findall(alg):
        if name in known() or name in _loaded_algorithms():
            continue
        raise UnsupportedError(_unknown(name, known() | _loaded_algorithms(), family))


def _loaded_algorithms() -> frozenset[str]:
    return frozenset(str(name) for name in session.module().algorithm_names())


def _unknown(name: str, names: frozenset[str], family: str) -> str:
    folded = {known.lower(): known for known in sorted(names)}
    near = difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.6)
    hint = f"; the nearest are {', '.join(folded[one] for one in near)}" if near else ""
    return f"{family} has no method {name!r}{hint}"


def refused(error: Exception, alg: str | None) -> UnsupportedError:
    """What Julia says of a method's name or options, as an error of the argument."""
    text = session.first_lines(error).removeprefix("ArgumentError: ")
    return UnsupportedError(f"{alg or 'the default method'}: {text}")
