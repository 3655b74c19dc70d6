"""Memory and linear algebra of the Rosenbrock methods around their compiled driver."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pysciml.engines.base import Array
from pysciml.engines.native import common as c
from pysciml.engines.native import pointers
from pysciml.engines.native.rosenbrock import loop as rosenbrock
from pysciml.engines.native.rosenbrock.sparse import Pattern, pattern_of

if TYPE_CHECKING:
    from pysciml.engines.native.output import Output
    from pysciml.engines.native.rosenbrock.tableau import RosenbrockTableau
    from pysciml.engines.native.workspace import Compiled, Workspace

_LOOK_FOR_SPARSITY = 50  # below this a dense Jacobian is cheaper than looking at its pattern
_SMALL = 24  # up to this the LU written out beats LAPACK's calls


@cache
def lapack_address(name: str) -> int:
    """Address of a LAPACK routine, from SciPy's own table of C functions."""
    import scipy.linalg.cython_lapack as table

    capsule = table.__pyx_capi__[name]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, get_name(capsule))
    if address is None:
        raise RuntimeError(f"SciPy has no address for LAPACK's {name}")
    return int(address)


def _dense_mass(mass: Any, n: int) -> Array:
    array = mass.toarray() if sp.issparse(mass) else np.asarray(mass, dtype=float)
    return np.ascontiguousarray(array, dtype=float).reshape(n, n)


class Implicit:
    """The implicit side of a `Workspace`, for one tableau, kind of linear algebra and mass matrix.

    `linsolve`: "auto", "dense", "banded" or "sparse".
    """

    def __init__(
        self, space: Workspace, tableau: RosenbrockTableau, linsolve: str, mass: Any
    ) -> None:
        n = self.n = space.n
        self.tableau = tableau
        self.mass = mass
        self.space = space
        compiled = space.compiled
        self.pattern = _pattern(compiled, mass, linsolve)
        kind = linsolve if linsolve != "auto" else self.pattern.kind if self.pattern else "dense"
        self.buf = np.zeros(rosenbrock.rows_needed(tableau.degree, tableau.stages) * n)
        self.sizes = np.zeros(7, dtype=np.int32)
        self.sizes[pointers.LAPACK_N] = n
        self.sizes[pointers.LAPACK_NRHS] = 1
        self.sizes[pointers.LAPACK_LD] = n
        self.sizes[pointers.LAPACK_TRANS] = ord("T")  # W is row-major, LAPACK sees its transpose
        self.pivots = np.zeros(max(n, 1), dtype=np.int32)
        self.pat = np.zeros(1, dtype=np.int64)
        self.mass_values = np.zeros(1)
        self.lu: Any = None
        self.integers: dict[int, int] = {c.I_MASS: int(mass is not None)}
        self.tgrad = compiled.function("tgrad")
        self.integers[c.I_TGRAD] = self.tgrad.address
        self.work_t = _work(self.tgrad)
        if kind == "dense":
            self._set_dense(compiled, mass)
        else:
            assert self.pattern is not None
            self._set_sparse(compiled, self.pattern, kind, mass)

    def _set_dense(self, compiled: Compiled, mass: Any) -> None:
        n = self.n
        jac = compiled.function("jac")
        self.work_j = _work(jac)
        self.mat = np.zeros(2 * n * n)
        if mass is not None:
            self.mass_values = _dense_mass(mass, n).ravel()
        self.integers[c.I_JAC] = jac.address
        if n <= _SMALL:
            self.integers[c.I_LINALG] = rosenbrock.SMALL
        else:
            self.integers[c.I_LINALG] = rosenbrock.DENSE
            self.integers[c.I_TRF] = lapack_address("dgetrf")
            self.integers[c.I_TRS] = lapack_address("dgetrs")

    def _set_sparse(self, compiled: Compiled, pattern: Pattern, kind: str, mass: Any) -> None:
        n, nnz = self.n, pattern.nnz
        jvp = compiled.function("jvp")
        self.work_j = _work(jvp)
        self.pat = pattern.packed
        self.integers[c.I_JVP] = jvp.address
        self.integers[c.I_NCOLORS] = pattern.n_colors
        identity = sp.identity(n, format="csc") if mass is None else sp.csc_matrix(mass)
        column = np.repeat(np.arange(n), np.diff(pattern.indptr))
        self.mass_values = np.asarray(identity[pattern.indices, column], dtype=float).ravel()
        if kind == "banded":
            kl, ku = pattern.kl, pattern.ku
            ld = 2 * kl + ku + 1
            self.sizes[pointers.LAPACK_KL], self.sizes[pointers.LAPACK_KU] = kl, ku
            self.sizes[pointers.LAPACK_LD] = ld
            self.sizes[pointers.LAPACK_TRANS] = ord("N")
            self.mat = np.zeros(nnz + ld * n)
            self.integers[c.I_LINALG] = rosenbrock.BAND
            self.integers[c.I_KL], self.integers[c.I_KU] = kl, ku
            self.integers[c.I_TRF] = lapack_address("dgbtrf")
            self.integers[c.I_TRS] = lapack_address("dgbtrs")
        else:
            self.mat = np.zeros(2 * nnz)
            self.integers[c.I_LINALG] = rosenbrock.EXTERNAL

    def enter(self) -> None:
        """Begin, or go on, from the state that `space.buf` holds."""
        it = self.space.it
        for place, value in self.integers.items():
            it[place] = value
        it[c.I_JFRESH] = 0
        it[c.I_PHASE] = rosenbrock.STEP
        self.buf[: self.n] = self.space.buf[: self.n]

    def run(
        self,
        p: Array,
        tol: Array,
        saveat: Array,
        tstops: Array,
        out: Output,
        idxs: NDArray[np.int64],
    ) -> int:
        """As `explicit.run`; the factorisations by SuperLU happen here."""
        space, tableau = self.space, self.tableau
        integrate = rosenbrock.run if space.watched is None else _watched_run()
        while True:
            code = integrate(
                space.fl, space.it, tableau.ints, tableau.floats, self.buf, self.mat, self.pivots,
                self.sizes, self.mass_values, self.pat, p, space.work, self.work_j, self.work_t,
                tol, saveat, tstops, out.t, out.u, out.d_t, out.d_c, idxs,
            )  # fmt: skip
            if code == c.FACTOR:
                self.factor()
            elif code == c.SOLVE:
                at = (rosenbrock.ROW_K + int(space.it[c.I_STAGE])) * self.n
                row = self.buf[at : at + self.n]
                row[:] = self.lu.solve(row)
            else:
                return int(code)

    def factor(self) -> None:
        """Factor the W that the compiled loop has left in `mat`."""
        from scipy.sparse.linalg import splu

        pattern = self.pattern
        assert pattern is not None
        values = self.mat[pattern.nnz :]
        w = sp.csc_matrix((values, pattern.indices, pattern.indptr), shape=(self.n, self.n))
        try:
            self.lu = splu(w)
        except RuntimeError:  # exactly singular
            self.space.it[c.I_SINGULAR] = 1


def _watched_run() -> Any:
    from pysciml.engines.native.rosenbrock import watched as rosenbrock_watched

    return rosenbrock_watched.run


def _work(function: Any) -> Array:
    work: Array = function.new_work()
    return work if work.size else np.zeros(1)


def _pattern(compiled: Compiled, mass: Any, linsolve: str) -> Pattern | None:
    """The model's pattern when it is worth looking at; kept with the model."""
    n = compiled.model.n
    wanted = linsolve in ("banded", "sparse") or (linsolve == "auto" and n > _LOOK_FOR_SPARSITY)
    if not wanted:
        return None
    if compiled.pattern is None:
        compiled.pattern = compiled.model.sparsity()
    return pattern_of(compiled.pattern, mass)
