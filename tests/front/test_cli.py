"""The command line."""

from __future__ import annotations

import sys

import pytest

import pysciml as sml
from pysciml import bench, cli, demo, engines

ENVIRONMENT = "pysciml.engines.julia.environment"


@pytest.fixture
def environment(monkeypatch):
    """The Julia environment's functions, replaced."""
    from pysciml.engines.julia import environment

    monkeypatch.setattr(
        environment,
        "report",
        lambda: [
            ("julia", "missing", "Julia is not installed", "pysciml julia install"),
            ("CommonSolve.jl", "missing", "not in the environment", "pysciml julia install"),
            ("juliacall", "ok", "0.9.34", ""),
        ],
    )
    monkeypatch.setattr(environment, "installed", 0, raising=False)

    def install():
        environment.installed += 1

    monkeypatch.setattr(environment, "install", install)
    return environment


def test_doctor(environment, capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Python 3.")
    for name in ("pysciml", "numpy", "torch", "torchdiffeq", "julia", "native"):
        assert f"\n  {name} " in text
    assert "Julia is not installed" in text
    assert text.count("julia and what else is missing: pysciml julia install") == 1


def test_doctor_without_the_julia_engine(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, ENVIRONMENT, None)
    monkeypatch.setitem(engines._HOMES, "julia", ("pysciml.engines.nowhere", "JuliaEngine"))
    monkeypatch.delitem(engines._loaded, "julia", raising=False)
    assert cli.main(["doctor"]) == 1
    assert "the Julia engine could not be loaded" in capsys.readouterr().out


def test_julia_install(environment):
    assert cli.main(["julia", "install"]) == 0
    assert environment.installed == 1


def test_julia_add(environment, monkeypatch):
    added = []
    monkeypatch.setattr(environment, "add", added.append)
    assert cli.main(["julia", "add", "DataDrivenSparse"]) == 0
    assert added == ["DataDrivenSparse"]


def test_an_explained_failure_is_one_line_and_a_status(environment, monkeypatch, capsys):
    def install():
        raise sml.EngineUnavailableError("no network")

    monkeypatch.setattr(environment, "install", install)
    assert cli.main(["julia", "install"]) == 1
    assert capsys.readouterr().err == "pysciml: no network\n"


def test_an_interrupt_is_not_a_traceback(environment, monkeypatch, capsys):
    def install():
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "install", install)
    assert cli.main(["julia", "install"]) == 130
    assert capsys.readouterr().err == "pysciml: interrupted\n"


def test_demo_passes_its_options_on(monkeypatch):
    seen = []
    monkeypatch.setattr(demo, "run", lambda *arguments: seen.append(arguments))
    assert cli.main(["demo", "--engine", "torch", "--output", "here"]) == 0
    assert seen == [("here", "torch")]


@pytest.mark.parametrize("arguments", [["julia"], ["frobnicate"], ["demo", "--engine", "basic"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: pysciml" in capsys.readouterr().err


def test_no_arguments_show_the_help(capsys):
    assert cli.main([]) == 2
    assert "doctor" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"pysciml {sml.__version__}\n"


def test_bench_measures_what_is_there(monkeypatch, capsys):
    monkeypatch.setattr(bench, "best_time", lambda call: 1.0)  # the numbers are not the matter here
    assert cli.main(["bench"]) == 0
    text = capsys.readouterr().out
    assert "SciPy RK45, plain Python" in text
    assert "pysciml native, Tsit5" in text
    for line in text.splitlines():
        if "1 s" in line:  # every package solves the same problem
            assert float(line.split()[-1]) < 1e-4
