"""Ctrl-C, checkpoints, and going on bit for bit."""

from __future__ import annotations

import runpy
import subprocess
import sys

import numpy as np
import pytest

import pysciml as sml
from pysciml import train
from pysciml.train import BFGS, LBFGS, Adam, EarlyStopping, SSBroyden

GUESS = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.5}


def fit(lotka_volterra, **options):
    problem, t, u = lotka_volterra
    options = {"optimisers": [Adam(0.05, 30), LBFGS(20)], **options}
    return sml.fit(problem.remake(p=GUESS), (t, u), engine="native", progress=False, **options)


def assert_same(one, other):
    np.testing.assert_array_equal(one.history.loss, other.history.loss)
    np.testing.assert_array_equal(one.history.validation, other.history.validation)
    for name in ("start", "phase", "stage"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name))
    np.testing.assert_array_equal(one.p_flat, other.p_flat)
    assert one.loss == other.loss


def test_ctrl_c_returns_the_best_so_far(lotka_volterra, interrupt):
    whole = fit(lotka_volterra)
    interrupt(20)
    part = fit(lotka_volterra)
    assert part.message == "interrupted in 'fit', after 20 iterations"
    np.testing.assert_array_equal(part.history.loss, whole.history.loss[:20])
    assert part.loss == whole.history.loss[:20].min()
    again = fit(lotka_volterra, optimisers=Adam(0.05, 20))
    np.testing.assert_array_equal(part.p_flat, again.p_flat)


def test_ctrl_c_at_once_returns_the_start(lotka_volterra, interrupt):
    interrupt(0)
    part = fit(lotka_volterra)
    assert part.p == GUESS
    assert len(part.history) == 0


def test_ctrl_c_in_a_later_start_returns_the_best_of_all(lotka_volterra, interrupt):
    options = {"optimisers": LBFGS(30), "multi_start": 3, "spread": 0.1}
    whole = fit(lotka_volterra, **options)
    first = (whole.history.start == 0).sum()
    interrupt(int(first * 1.5))
    part = fit(lotka_volterra, **options)
    assert part.message.startswith("interrupted")
    assert part.loss <= whole.history.loss[:first].min()


VALIDATION = {"validation": True, "early_stopping": EarlyStopping(15, every=3)}
RUNS = {
    "Adam, then LBFGS": ({}, [0, 5, 29, 30, 31, 40]),
    "BFGS": ({"optimisers": BFGS(25)}, [3, 17]),
    "SSBroyden": ({"optimisers": SSBroyden(15, resample=6)}, [3, 9, 13]),
    "clip and schedule": ({"optimisers": Adam(0.1, 30, "exponential", clip=0.5)}, [13]),
    "multi-start": ({"optimisers": LBFGS(8), "multi_start": 3, "spread": 0.1}, [4, 14, 25]),
    "strategies": (
        {
            "strategy": [train.Collocation(), train.MultipleShooting(3), train.GrowingHorizon()],
            "optimisers": [Adam(0.01, 6), LBFGS(6)],
        },
        [10, 30, 45, 60, 80],
    ),
    "early stopping": ({"optimisers": [Adam(0.2, 200), LBFGS(10)], **VALIDATION}, [11, 25]),
    "noise and u0": ({"loss": "gaussian", "fit_u0": True}, [7, 44]),
}


@pytest.mark.parametrize(
    ("options", "at"),
    [
        pytest.param(options, at, id=f"{name} at {at}")
        for name, (options, times) in RUNS.items()
        for at in times
    ],
)
def test_resumed_is_uninterrupted_bit_for_bit(lotka_volterra, interrupt, tmp_path, options, at):
    if options.get("validation"):
        _, t, u = lotka_volterra
        options = {**options, "validation": (t[5::5], 1.02 * u[5::5])}
    whole = fit(lotka_volterra, **options)
    path = tmp_path / "run.npz"
    engine = interrupt(at)
    part = fit(lotka_volterra, checkpoint=path, **options)
    assert part.message.startswith("interrupted")
    before = engine.solves
    rest = fit(lotka_volterra, checkpoint=path, resume=True, **options)
    assert rest.message == "finished"
    assert_same(rest, whole)
    assert engine.solves - before < len(whole.history) * 3


def test_resuming_does_not_solve_again_what_was_solved(lotka_volterra, interrupt, tmp_path):
    engine = interrupt(10**9)
    options = {"optimisers": LBFGS(40)}
    fit(lotka_volterra, **options)
    solves = engine.solves
    engine = interrupt(solves // 2)
    fit(lotka_volterra, checkpoint=tmp_path / "run.npz", **options)
    engine.solves = 0
    fit(lotka_volterra, resume=tmp_path / "run.npz", **options)
    assert engine.solves < 0.75 * solves


def test_a_checkpoint_is_written_while_it_runs(lotka_volterra, tmp_path, monkeypatch):
    """A process that is killed goes on from the last one."""
    path = tmp_path / "deep" / "run.npz"
    whole = fit(lotka_volterra, checkpoint=path, checkpoint_every=7)
    assert sorted(each.name for each in path.parent.iterdir()) == ["run.npz"]
    rest = fit(lotka_volterra, resume=path, checkpoint_every=7)
    assert_same(rest, whole)
    assert_same(whole, fit(lotka_volterra))


def test_failed_trials_are_resumed_too(interrupt, tmp_path):
    problem = sml.ODEProblem(lambda u, p, t: p["k"] * u**2, [1.0], (0.0, 1.0), {"k": 0.9})

    def run(**options):
        return sml.fit(
            problem,
            ([1.0], [[50.0]]),
            optimisers=Adam(0.05, 40),
            engine="native",
            progress=False,
            **options,
        )

    whole = run()
    failed = int(np.flatnonzero(np.diff(whole.history.loss) > 0.0)[0]) + 1
    interrupt(failed + 1)
    run(checkpoint=tmp_path / "run.npz")
    assert_same(run(resume=tmp_path / "run.npz"), whole)


ANOTHER_PROCESS = """
import sys
import numpy as np
import pysciml as sml
from pysciml.train import LBFGS, Adam

def run(**options):
    t = np.linspace(0.1, 1.0, 10)
    problem = sml.ODEProblem(lambda u, p, t: -p["k"] * u, [2.0], (0.0, 1.0), {"k": 0.3})
    return sml.fit(
        problem, (t, 2.0 * np.exp(-t)), optimisers=[Adam(0.1, 20), LBFGS(9)], engine="native",
        progress=False, **options,
    )

if __name__ == "__main__":
    # the checkpoint of iteration 13 is what a process killed before iteration 26 leaves
    run(checkpoint=sys.argv[1], checkpoint_every=13)
"""


def test_another_process_goes_on(tmp_path):
    """The file is all that is needed."""
    script, path = tmp_path / "script.py", tmp_path / "run.npz"
    script.write_text(ANOTHER_PROCESS)
    subprocess.run([sys.executable, script, path], check=True)
    run = runpy.run_path(str(script))["run"]
    assert_same(run(resume=path), run())


def test_a_checkpoint_of_another_fit_is_refused(lotka_volterra, tmp_path):
    path = tmp_path / "run.npz"
    fit(lotka_volterra, checkpoint=path, checkpoint_every=10)
    for change in (
        {"optimisers": [Adam(0.04, 30), LBFGS(20)]},
        {"loss": "gaussian"},
        {"reltol": 1e-7},
        {"multi_start": 2},
        {"fixed": ["a"]},
        {"early_stopping": EarlyStopping(9)},
        {"strategy": train.GrowingHorizon()},
    ):
        with pytest.raises(ValueError, match="is the checkpoint of another fit"):
            fit(lotka_volterra, checkpoint=path, resume=True, **change)


def test_resume_needs_its_file(lotka_volterra, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint at .*nowhere\.npz"):
        fit(lotka_volterra, resume=tmp_path / "nowhere.npz")
    other = tmp_path / "other.npz"
    other.write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match="is not a checkpoint of pysciml"):
        fit(lotka_volterra, resume=other)
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        fit(lotka_volterra, resume=True)
    begun = fit(lotka_volterra, checkpoint=tmp_path / "new.npz", resume=True)
    assert begun.message == "finished"
