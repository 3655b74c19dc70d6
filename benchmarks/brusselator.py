"""The 1-D Brusselator, N = 128 (256 unknowns): generated code against code written by hand.

`python -m benchmarks.brusselator`. Two comparisons, on each engine: one evaluation of the
right-hand side, called in a compiled loop, and a whole solve. The solve with Tsit5 calls nothing
but the right-hand side, some ten thousand times; the one with Rodas5P adds the Jacobian.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np

from .timing import Report, Skip, best, need_engine

N = 128
P = np.array([1.0, 3.0, (N + 1) ** 2 / 50])
U0 = np.stack([1 + np.sin(2 * np.pi * np.arange(1, N + 1) / (N + 1)), np.full(N, 3.0)])
TSPAN = (0.0, 10.0)
TOL = 1e-6

JULIA = """
function f!(dw, w, p, t)
    A, B, d = p
    N = 128
    @inbounds @simd for i in 1:N
        u, v = w[i], w[N + i]
        ul = i == 1 ? 1.0 : w[i - 1]
        ur = i == N ? 1.0 : w[i + 1]
        vl = i == 1 ? 3.0 : w[N + i - 1]
        vr = i == N ? 3.0 : w[N + i + 1]
        r = u * u * v
        dw[i] = A + r - (B + 1) * u + d * (ul - 2 * u + ur)
        dw[N + i] = B * u - r + d * (vl - 2 * v + vr)
    end
    nothing
end
function g!(dw, w, p, t)  # the same, the ends taken out of the loop
    A, B, d = p
    N = 128
    @inline function point(i, ul, ur, vl, vr)
        @inbounds begin
            u, v = w[i], w[N + i]
            r = u * u * v
            dw[i] = A + r - (B + 1) * u + d * (ul - 2 * u + ur)
            dw[N + i] = B * u - r + d * (vl - 2 * v + vr)
        end
    end
    @inbounds begin
        point(1, 1.0, w[2], 3.0, w[N + 2])
        @simd ivdep for i in 2:(N - 1)
            point(i, w[i - 1], w[i + 1], w[N + i - 1], w[N + i + 1])
        end
        point(N, w[N - 1], 1.0, w[2N - 1], 3.0)
    end
    nothing
end
const N = 128
const U0 = vcat(1 .+ sinpi.(2 .* (1:N) ./ (N + 1)), fill(3.0, N))
const P = [1.0, 3.0, 129^2 / 50]
const DU = similar(U0)
const FULL = SciMLBase.FullSpecialize
loop(f, du, u, p) = (for _ in 1:100; f(du, u, p, 0.0); end; du)
problem(f) = ODEProblem{true, FULL}(f, U0, (0.0, 10.0), P)
const HAND = problem(g!)
explicit(prob) = solve(prob, Tsit5(); save_everystep = false, abstol = 1e-6, reltol = 1e-6)
const PATTERN = let line = spdiagm(-1 => ones(N - 1), 0 => ones(N), 1 => ones(N - 1)),
        eye = spdiagm(0 => ones(N))
    [line eye; eye line]
end
const STIFF = ODEProblem{true, FULL}(
    ODEFunction{true, FULL}(g!; jac_prototype = PATTERN), U0, (0.0, 10.0), P)
implicit(prob) = solve(prob, Rodas5P(); save_everystep = false, abstol = 1e-6, reltol = 1e-6)
"""


def model(w, p, t):
    import torch

    u, v = w[0], w[1]
    one, three = torch.ones(1, dtype=torch.float64), torch.full((1,), 3.0, dtype=torch.float64)
    uu = torch.cat([one, u, one])
    vv = torch.cat([three, v, three])
    reaction = u**2 * v
    du = p[0] + reaction - (p[1] + 1) * u + p[2] * (uu[:-2] - 2 * u + uu[2:])
    dv = p[1] * u - reaction + p[2] * (vv[:-2] - 2 * v + vv[2:])
    return torch.stack([du, dv])


def native_evaluation(report: Report, prob) -> None:
    """The generated function and one written by hand for Numba, called through C pointers."""
    import numba
    from numba import types

    try:
        from pysciml.codegen.numba import compile_program
    except ImportError as error:
        raise Skip(str(error)) from error
    doubles = types.CPointer(types.float64)

    @numba.cfunc(types.void(doubles, doubles, doubles, types.float64, doubles), fastmath=False)
    def by_hand(out, w, p, t, work):
        A, B, d = p[0], p[1], p[2]
        for i in range(N):
            u, v = w[i], w[N + i]
            ul = w[i - 1] if i > 0 else 1.0
            ur = w[i + 1] if i < N - 1 else 1.0
            vl = w[N + i - 1] if i > 0 else 3.0
            vr = w[N + i + 1] if i < N - 1 else 3.0
            r = u * u * v
            out[i] = A + r - (B + 1.0) * u + d * (ul - 2.0 * u + ur)
            out[N + i] = B * u - r + d * (vl - 2.0 * v + vr)

    @numba.cfunc(types.void(doubles, doubles, doubles, types.float64, doubles), fastmath=False)
    def peeled(out, w, p, t, work):
        A, B, d = p[0], p[1], p[2]
        for i in range(1, N - 1):
            u, v = w[i], w[N + i]
            r = u * u * v
            out[i] = A + r - (B + 1.0) * u + d * (w[i - 1] - 2.0 * u + w[i + 1])
            out[N + i] = B * u - r + d * (w[N + i - 1] - 2.0 * v + w[N + i + 1])
        for i in (0, N - 1):
            u, v = w[i], w[N + i]
            ul, vl = (w[i - 1], w[N + i - 1]) if i > 0 else (1.0, 3.0)
            ur, vr = (w[i + 1], w[N + i + 1]) if i < N - 1 else (1.0, 3.0)
            r = u * u * v
            out[i] = A + r - (B + 1.0) * u + d * (ul - 2.0 * u + ur)
            out[N + i] = B * u - r + d * (vl - 2.0 * v + vr)

    compiled = compile_program(prob.model.f)
    w, p, work = U0.ravel().copy(), P.copy(), compiled.new_work()
    out = {name: np.zeros(2 * N) for name in ("generated", "hand", "peeled")}

    def looped(address, result):
        pointer = ctypes.c_void_p
        function = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_double, pointer)(
            address
        )

        @numba.njit
        def loop(result, w, p, work):
            for _ in range(100):
                function(result.ctypes, w.ctypes, p.ctypes, 0.0, work.ctypes)

        return lambda: loop(result, w, p, work)

    generated = best(looped(compiled.address, out["generated"])) / 100
    hand = best(looped(by_hand.address, out["hand"])) / 100
    ends = best(looped(peeled.address, out["peeled"])) / 100
    for name in ("generated", "peeled"):
        np.testing.assert_allclose(out[name], out["hand"], rtol=1e-12, atol=1e-9)
    report.add("f: pysciml native", generated, "generated, called by pointer")
    report.add("f: Numba by hand, plain", hand, "one loop with branches")
    report.add("f: Numba by hand, peeled", ends, "ends outside the loop")
    report.add("f: Numba by hand", min(hand, ends), "the faster of the two")


def main() -> int:
    from scipy.integrate import solve_ivp

    report = Report("brusselator", "Brusselator, 256 unknowns, t = 10, tolerances 1e-6")

    def scipy_rhs(t, y):
        u, v = y[:N], y[N:]
        uu, vv = np.concatenate([[1.0], u, [1.0]]), np.concatenate([[3.0], v, [3.0]])
        r = u * u * v
        du = P[0] + r - (P[1] + 1) * u + P[2] * (uu[:-2] - 2 * u + uu[2:])
        dv = P[1] * u - r + P[2] * (vv[:-2] - 2 * v + vv[2:])
        return np.concatenate([du, dv])

    exact = solve_ivp(scipy_rhs, TSPAN, U0.ravel(), "BDF", rtol=1e-10, atol=1e-12).y[:, -1]

    def error(u) -> float:
        return float(np.max(np.abs(np.ravel(u) - exact) / (1 + np.abs(exact))))

    for engine in ("native", "julia"):
        for alg in ("Tsit5", "Rodas5P"):
            with report.part(f"{alg}: pysciml {engine}"):
                sml = need_engine(engine)
                prob = sml.ODEProblem(model, U0, TSPAN, P)

                def solve(sml=sml, prob=prob, alg=alg, engine=engine):
                    return sml.solve(
                        prob,
                        alg,
                        engine=engine,
                        save_everystep=False,
                        abstol=TOL,
                        reltol=TOL,
                    )

                seconds = best(solve, least=3)
                report.add(f"{alg}: pysciml {engine}", seconds, "", error(solve().u[-1]))

    with report.part("f: pysciml native"):
        sml = need_engine("native")
        native_evaluation(report, sml.ODEProblem(model, U0, TSPAN, P))

    with report.part("f: Julia by hand"):
        from .julia_side import module, timed

        plain, _ = timed(JULIA, "loop(f!, DU, U0, P)")
        peeled, _ = timed(JULIA, "loop(g!, DU, U0, P)")
        report.add("f: Julia by hand, plain", plain / 100, "one loop with branches")
        report.add("f: Julia by hand, peeled", peeled / 100, "ends outside the loop")
        report.add("f: Julia by hand", min(plain, peeled) / 100, "the faster of the two")
        for name, call in (("Tsit5", "explicit(HAND)"), ("Rodas5P", "implicit(STIFF)")):
            seconds, states = timed(JULIA, call, states=f"{call}.u[end]")
            report.add(f"{name}: Julia by hand", seconds, "", error(states))

    with report.part("f: pysciml julia"):
        sml = need_engine("julia")
        there = module(JULIA)
        function = sml.julia.function(model, U0, P)  # takes the state flat, row by row: as U0 here
        evaluation = there.seval("f -> best(() -> loop(f, DU, U0, P))")
        check = there.seval(
            "f -> (a = similar(DU); f(a, U0, P, 0.0);"
            " b = similar(DU); f!(b, U0, P, 0.0); maximum(abs, a - b))"
        )
        if not float(check(function)) < 1e-9:
            raise RuntimeError("the generated function differs from the one written by hand")
        report.add("f: pysciml julia", float(evaluation(function)) / 100, "generated")

    with report.part("SciPy BDF"):
        from scipy.sparse import diags_array

        pattern = diags_array([1.0] * 5, offsets=[-N, -1, 0, 1, N], shape=(2 * N, 2 * N))

        def solve():
            return solve_ivp(
                scipy_rhs, TSPAN, U0.ravel(), "BDF", rtol=TOL, atol=TOL, jac_sparsity=pattern
            )

        report.add("SciPy BDF", best(solve, least=3), "NumPy rhs, sparse", error(solve().y[:, -1]))

    report.at_most("f: pysciml julia", 1.5, "f: Julia by hand")
    report.at_most("Tsit5: pysciml julia", 1.5, "Tsit5: Julia by hand")
    report.at_most("Rodas5P: pysciml julia", 1.5, "Rodas5P: Julia by hand")
    report.at_most("f: pysciml native", 1.5, "f: Numba by hand")
    return report.finish()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
