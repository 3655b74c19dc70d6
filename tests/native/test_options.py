"""Every field of SolveOptions, failures, names, and state kept between solves."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from native_models import (
    blow_up,
    brusselator,
    closed_form,
    exact,
    heat,
    lotka_volterra,
    nan_at_start,
    robertson,
    robertson_dae,
    square_wave,
    van_der_pol,
)

from pysciml.engines.base import SolveOptions
from pysciml.engines.native import run
from pysciml.engines.native.engine import NativeEngine
from pysciml.errors import UnsupportedError

ENGINE = NativeEngine()
TIGHT = {"abstol": 1e-8, "reltol": 1e-8}
ALGS = ["Tsit5", "Vern7", "Rodas5P", "AutoTsit5(Rodas5P)"]


def test_the_engine_is_there():
    assert ENGINE.availability().ready
    assert "Tsit5" in ENGINE.algorithms()
    assert "AutoTsit5(Rodas5P)" in ENGINE.algorithms()


@pytest.mark.parametrize("alg", ALGS)
def test_saveat(alg):
    times = np.array([0.0, 0.1, 0.11, 0.5, 1.7, 2.0])
    solution = ENGINE.solve(closed_form(), alg, SolveOptions(saveat=times, dense=False, **TIGHT))
    assert np.array_equal(solution.t, times)
    assert solution.u.flags.c_contiguous
    assert solution.interpolate is None
    assert np.abs(solution.u - exact(times)).max() < 1e-6
    assert np.array_equal(solution.u[0], exact(times[:1])[0])


@pytest.mark.parametrize("alg", ALGS)
def test_saveat_backwards_without_the_ends(alg):
    times = np.array([1.5, 1.0, 0.25])
    options = SolveOptions(saveat=times, dense=False, **TIGHT)
    solution = ENGINE.solve(closed_form((2.0, 0.0)), alg, options)
    assert np.array_equal(solution.t, times)
    assert np.abs(solution.u - exact(times)).max() < 1e-6


@pytest.mark.parametrize("alg", ALGS)
def test_saveat_agrees_with_dense_output(alg):
    """Saved points take the same path as sol(t), and do not change the steps."""
    times = np.linspace(0.0, 10.0, 57)
    dense = ENGINE.solve(lotka_volterra(), alg, SolveOptions(**TIGHT))
    saved = ENGINE.solve(lotka_volterra(), alg, SolveOptions(saveat=times, dense=True, **TIGHT))
    assert np.allclose(dense.interpolate(times), saved.u, rtol=1e-13, atol=1e-13)
    assert np.array_equal(saved.interpolate(times[::3]), dense.interpolate(times[::3]))


@pytest.mark.parametrize("alg", ALGS)
def test_dense_output_meets_the_steps(alg):
    solution = ENGINE.solve(closed_form(), alg, SolveOptions(**TIGHT))
    assert np.array_equal(solution.interpolate(solution.t), solution.u)
    for outside in (-1e-9, 2.0 + 1e-9, np.nan):
        with pytest.raises(ValueError, match="outside the integrated interval"):
            solution.interpolate(np.array([1.0, outside]))


@pytest.mark.parametrize("alg", ALGS)
def test_save_idxs(alg):
    whole = ENGINE.solve(lotka_volterra(), alg, SolveOptions(**TIGHT))
    idxs = np.array([1], dtype=np.intp)
    part = ENGINE.solve(lotka_volterra(), alg, SolveOptions(save_idxs=idxs, **TIGHT))
    assert part.u.shape == (len(whole.t), 1)
    assert np.array_equal(part.u[:, 0], whole.u[:, 1])
    times = np.array([1.0, 9.5])
    swapped = SolveOptions(saveat=times, save_idxs=np.array([1, 0]), dense=False, **TIGHT)
    solution = ENGINE.solve(lotka_volterra(), alg, swapped)
    assert np.allclose(solution.u[:, ::-1], whole.interpolate(times), rtol=1e-12)
    ends = SolveOptions(save_idxs=idxs, save_everystep=False, dense=False, **TIGHT)
    last = ENGINE.solve(lotka_volterra(), alg, ends).u
    assert np.allclose(last, whole.u[[0, -1], 1:], rtol=1e-12)


@pytest.mark.parametrize("alg", ALGS)
def test_start_and_end_only(alg):
    options = SolveOptions(save_everystep=False, dense=False, **TIGHT)
    solution = ENGINE.solve(closed_form(), alg, options)
    assert np.array_equal(solution.t, [0.0, 2.0])
    assert np.abs(solution.u - exact(solution.t)).max() < 1e-6


@pytest.mark.parametrize("alg", ALGS)
def test_tstops_are_hit_exactly(alg):
    stops = np.array([0.1, 0.1 + 1e-9, np.pi / 3, 1.99])
    solution = ENGINE.solve(closed_form(), alg, SolveOptions(tstops=stops, **TIGHT))
    assert np.isin(stops, solution.t).all()
    assert np.abs(solution.u - exact(solution.t)).max() < 1e-6


@pytest.mark.parametrize("alg", ["Tsit5", "Vern7", "Rodas5P"])
def test_a_jump_at_a_tstop_costs_nothing(alg):
    """The step that ends at the jump sees only what is before it, the next one what is after."""
    options = SolveOptions(tstops=np.array([0.5]), **TIGHT)
    solution = ENGINE.solve(square_wave(), alg, options)
    assert solution.stats.nreject == 0
    assert abs(solution.u[-1, 0]) < 1e-14
    times = np.array([0.25, 0.5, 0.75])
    assert np.allclose(solution.interpolate(times)[:, 0], [0.25, 0.5, 0.25], atol=1e-14)


@pytest.mark.parametrize("alg", ["Tsit5", "Rodas5P"])
def test_fixed_and_bounded_steps(alg):
    fixed = ENGINE.solve(closed_form(), alg, SolveOptions(dt=0.1, adaptive=False))
    assert len(fixed.t) == 21
    assert np.allclose(np.diff(fixed.t), 0.1)
    odd = ENGINE.solve(closed_form(), alg, SolveOptions(dt=0.3, adaptive=False))
    assert np.allclose(np.diff(odd.t), [0.3] * 6 + [0.2])
    short = ENGINE.solve(closed_form(), alg, SolveOptions(dtmax=0.05))
    assert np.diff(short.t).max() < 0.05 * 1.00001
    first = ENGINE.solve(closed_form(), alg, SolveOptions(dt=1e-3))
    assert abs(first.t[1] - 1e-3) < 1e-15


def test_tolerances_by_component():
    loose = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(abstol=1e-6, reltol=1e-6))
    vector = SolveOptions(abstol=np.full(2, 1e-6), reltol=np.full(2, 1e-6))
    assert np.array_equal(ENGINE.solve(lotka_volterra(), "Tsit5", vector).u, loose.u)
    mixed = SolveOptions(abstol=np.array([1e-6, 1e-10]), reltol=np.array([1e-6, 1e-10]))
    assert ENGINE.solve(lotka_volterra(), "Tsit5", mixed).stats.nf > 1.5 * loose.stats.nf


@pytest.mark.parametrize("alg", ALGS)
def test_maxiters_keeps_what_was_computed(alg):
    options = SolveOptions(maxiters=10, **TIGHT)
    solution = ENGINE.solve(lotka_volterra(), alg, options)
    assert solution.retcode == "MaxIters"
    assert solution.stats.naccept + solution.stats.nreject == 10
    assert len(solution.t) == solution.stats.naccept + 1
    assert f"t = {solution.t[-1]:.8g}" in solution.message
    assert "maxiters" in solution.message
    whole = ENGINE.solve(lotka_volterra(), alg, SolveOptions(**TIGHT))
    assert np.array_equal(solution.u, whole.u[: len(solution.t)])
    middle = 0.5 * (solution.t[0] + solution.t[-1])
    assert np.array_equal(
        solution.interpolate(np.array([middle])), whole.interpolate(np.array([middle]))
    )
    with pytest.raises(ValueError, match="outside"):
        solution.interpolate(np.array([10.0]))
    some = SolveOptions(maxiters=10, saveat=np.linspace(0, 10, 101), dense=False, **TIGHT)
    partial = ENGINE.solve(lotka_volterra(), alg, some)
    assert 0 < len(partial.t) == len(partial.u) < 101
    assert partial.t[-1] <= solution.t[-1]


@pytest.mark.parametrize("alg", ["Tsit5", "Vern7", "Rodas5P", None])
def test_blow_up(alg):
    solution = ENGINE.solve(blow_up(), alg, SolveOptions(**TIGHT))
    assert solution.retcode in ("DtLessThanMin", "Unstable")
    assert 0.99 < solution.t[-1] < 1.01
    inside = solution.t < 0.99
    assert np.allclose(solution.u[inside, 0], 1.0 / (1.0 - solution.t[inside]), rtol=1e-4)


def test_dtmin():
    solution = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(dtmin=0.1, **TIGHT))
    assert solution.retcode == "DtLessThanMin"
    assert len(solution.t) >= 1
    assert "dtmin" in solution.message


def test_not_a_number():
    solution = ENGINE.solve(nan_at_start(), "Tsit5", SolveOptions())
    assert solution.retcode == "Unstable"
    assert np.array_equal(solution.t, [0.0])
    assert "not finite" in solution.message
    exploding = ENGINE.solve(blow_up(50.0), "Euler", SolveOptions(dt=1.0, adaptive=False))
    assert exploding.retcode == "Unstable"
    assert np.isfinite(exploding.u).all()


def test_names_and_options():
    problem = lotka_volterra()
    plain = ENGINE.solve(problem, "Tsit5", SolveOptions())
    assert ENGINE.solve(problem, "Tsit5()", SolveOptions()).alg == "Tsit5"
    assert ENGINE.solve(problem, "AutoTsit5(Rodas5P())", SolveOptions()).alg == "AutoTsit5(Rodas5P)"
    with pytest.raises(ValueError, match=r"'Tsit6'.*Tsit5.*engine=\"julia\""):
        ENGINE.solve(problem, "Tsit6", SolveOptions())
    with pytest.raises(UnsupportedError, match=r"'FBDF'.*engine=\"julia\""):
        ENGINE.solve(problem, "FBDF", SolveOptions())
    with pytest.raises(UnsupportedError, match="julia"):
        ENGINE.solve(problem, "AutoVern9(Rodas5P())", SolveOptions())
    with pytest.raises(ValueError, match=r"'gama'.*gamma"):
        ENGINE.solve(problem, "Tsit5", SolveOptions(algorithm={"gama": 0.8}))
    with pytest.raises(ValueError, match="qmin"):
        ENGINE.solve(problem, "Tsit5", SolveOptions(algorithm={"qmin": 2.0}))
    with pytest.raises(ValueError, match="linsolve"):
        ENGINE.solve(problem, "Rodas5P", SolveOptions(algorithm={"linsolve": "qr"}))
    with pytest.raises(ValueError, match="dt"):
        ENGINE.solve(problem, "RK4", SolveOptions())
    with pytest.raises(UnsupportedError, match="Rodas5P"):
        ENGINE.solve(robertson_dae(), "Tsit5", SolveOptions())
    careful = ENGINE.solve(problem, "Tsit5", SolveOptions(algorithm={"gamma": 0.5}))
    assert careful.stats.naccept > plain.stats.naccept


def test_the_default_method():
    assert ENGINE.solve(lotka_volterra(), None, SolveOptions()).alg == "AutoTsit5(Rodas5P)"
    tight = SolveOptions(abstol=1e-10, reltol=1e-10)
    assert ENGINE.solve(lotka_volterra(), None, tight).alg == "AutoVern7(Rodas5P)"
    assert ENGINE.solve(robertson_dae((0.0, 1.0)), None, SolveOptions()).alg == "Rodas5P"


def test_the_pattern_is_asked_for_only_when_it_pays():
    small = robertson((0.0, 10.0))
    ENGINE.solve(small, "Rodas5P", SolveOptions())
    assert small.model.pattern_calls == 0
    large = brusselator(t_end=0.01)
    before = large.model.pattern_calls
    ENGINE.solve(large, "Tsit5", SolveOptions())
    assert large.model.pattern_calls == before
    for _ in range(3):
        ENGINE.solve(large, "Rodas5P", SolveOptions())
    assert large.model.pattern_calls <= 1


def test_colours_of_the_five_point_stencil():
    from pysciml.engines.native.rosenbrock.sparse import pattern_of

    problem, _ = heat(20)
    pattern = pattern_of(problem.model._pattern)
    assert pattern.n_colors <= 8
    assert max(pattern.kl, pattern.ku) <= 20
    matrix = problem.model._pattern.toarray()
    for color in range(pattern.n_colors):
        assert matrix[:, pattern.colors == color].sum(axis=1).max() <= 1


def test_solves_are_independent():
    """Work spaces are reused: nothing of one solve shows in the next, or in what it returned."""
    first = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(**TIGHT))
    u, dense = first.u.copy(), first.interpolate(np.array([3.3]))
    other = lotka_volterra((0.0, 3.0))
    other.p_flat = np.array([1.0, 2.0, 3.0, 4.0])
    ENGINE.solve(other, "Tsit5", SolveOptions(abstol=np.full(2, 1e-4), save_idxs=np.array([0])))
    again = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(**TIGHT))
    assert np.array_equal(first.u, u)
    assert np.array_equal(again.u, u)
    assert np.array_equal(first.interpolate(np.array([3.3])), dense)


def test_read_only_and_strided_input():
    problem = lotka_volterra()
    expected = ENGINE.solve(problem, "Tsit5", SolveOptions()).u
    problem.u0_flat = np.repeat(problem.u0_flat, 2)[::2]
    problem.p_flat.flags.writeable = False
    saveat = np.array([5.0])
    saveat.flags.writeable = False
    assert np.array_equal(ENGINE.solve(problem, "Tsit5", SolveOptions()).u, expected)
    ENGINE.solve(problem, "Rodas5P", SolveOptions(saveat=saveat, tstops=saveat))


def test_threads():
    """Compiled loops run without the GIL, each solve in its own memory."""
    expected = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(**TIGHT)).u
    results = [None] * 8

    def work(k):
        for _ in range(20):
            results[k] = ENGINE.solve(lotka_volterra(), "Tsit5", SolveOptions(**TIGHT)).u

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, expected) for result in results)


def test_many_steps_and_interruption(monkeypatch):
    """A long run returns to Python now and then; Ctrl-C then carries the part that is done."""
    options = SolveOptions(abstol=1e-6, reltol=1e-6, maxiters=10**7)
    problem = van_der_pol(1000.0, 5.0)
    whole = ENGINE.solve(problem, "Tsit5", options)
    assert whole.retcode == "Success"
    assert len(whole.t) > 4000  # several chunks, and growing output

    def ctrl_c(drive, seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Drive, "_next_chunk", ctrl_c)
    with pytest.raises(KeyboardInterrupt) as caught:
        ENGINE.solve(problem, "Tsit5", options)
    partial = caught.value.partial
    assert partial.retcode == "Failure"
    assert "interrupted" in partial.message
    assert np.array_equal(partial.u, whole.u[: len(partial.t)])
