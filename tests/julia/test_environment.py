"""Finding Julia, saying what is missing, and doing neither at import. No Julia needed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pysciml.engines.julia import environment
from pysciml.engines.julia.engine import JuliaEngine, known_algorithms
from pysciml.errors import EngineUnavailableError

COME_WITH_JULIA = {"Distributed", "Serialization"}
BY_JULIA_ADD = {"DataDrivenSparse"}  # heavy, and for few


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Julia, offline."""
    for name in list(os.environ):
        if name.startswith(("PYTHON_JULIA", "JULIA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHON_JULIAPKG_OFFLINE", "yes")
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path / "env"))
    return tmp_path


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def _manifest(project: Path, names: set[str]) -> None:
    project.mkdir(parents=True, exist_ok=True)
    entries = "".join(f'[[deps.{name}]]\nversion = "1.2.3"\n\n' for name in sorted(names))
    (project / "Manifest.toml").write_text('julia_version = "1.10.4"\n\n' + entries)


def test_without_julia_says_what_is_missing_and_how_to_get_it(nowhere: Path) -> None:
    found = environment.availability()
    assert not found.ready
    assert found.reason == "Julia is not installed"
    assert "pysciml julia install" in found.remedy
    assert "PYTHON_JULIAPKG_OFFLINE" in found.remedy


def test_availability_takes_milliseconds(nowhere: Path) -> None:
    _executable(nowhere / "julia")
    _manifest(
        nowhere / "env", {f"Package{i}" for i in range(400)} | environment.required_packages()
    )
    assert environment.availability().ready
    start = time.perf_counter()
    environment.availability()
    assert time.perf_counter() - start < 0.05


def test_offline_answer_comes_within_two_seconds(nowhere: Path) -> None:
    code = (
        "import time; from pysciml.engines.julia import session; start = time.perf_counter()\n"
        "try: session.module()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "print(time.perf_counter() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    message, seconds = done.stdout.strip().rsplit("\n", 1)
    assert message.startswith("EngineUnavailableError")
    assert "Julia is not installed" in message
    assert "pysciml julia install" in message
    assert float(seconds) < 2


def test_no_network_is_found_out_within_two_seconds(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHON_JULIAPKG_OFFLINE")
    # an address that answers nothing: TEST-NET-1
    monkeypatch.setenv("https_proxy", "http://192.0.2.1:3128")
    start = time.perf_counter()
    with pytest.raises(EngineUnavailableError, match="network"):
        environment.install()
    assert time.perf_counter() - start < 2


def test_a_failed_setup_does_not_repeat_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    import juliapkg

    def resolve(**_: bool) -> None:
        raise subprocess.CalledProcessError(3, ["julia", "-e", "Pkg.add([...])"])

    monkeypatch.setattr(juliapkg, "resolve", resolve)
    with pytest.raises(EngineUnavailableError, match=r"failed \(exit code 3\)") as raised:
        environment.resolve()
    assert "Pkg.add" not in str(raised.value)
    assert "look at the output above" in str(raised.value)


def test_import_starts_nothing_of_julia() -> None:
    code = (
        "import sys, pysciml, pysciml.julia, pysciml.engines.julia.engine\n"
        "print([name for name in sys.modules if name.startswith('julia')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
    assert "julia" not in done.stderr.lower()


def test_lacking_packages_are_named(nowhere: Path) -> None:
    _executable(nowhere / "julia")
    _manifest(nowhere / "env", environment.required_packages() - {"PythonCall", "SciMLBase"})
    found = environment.availability()
    assert not found.ready
    assert "lacks PythonCall, SciMLBase" in found.reason


def test_optional_packages_are_those_of_extensions(nowhere: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=r"'DataDriven'.*mean 'DataDrivenSparse'"):
        environment.add("DataDriven")
    with pytest.raises(EngineUnavailableError, match="DataDrivenSparse has to be fetched"):
        environment.add("DataDrivenSparse")


def test_an_optional_package_is_noted_for_juliapkg(nowhere: Path) -> None:
    _executable(nowhere / "julia")
    _manifest(nowhere / "env", environment.required_packages())
    code = (
        "from pysciml.engines.julia import environment\n"
        "environment.resolve = environment._precompile = lambda *_: None\n"
        "environment.require = environment.locate\n"
        "environment.add('DataDrivenSparse')"
    )
    settings = {**os.environ, "PYTHON_JULIAPKG_OFFLINE": "no"}
    subprocess.run([sys.executable, "-c", code], env=settings, timeout=60, check=True)
    noted = json.loads((nowhere / "env" / "pyjuliapkg" / "juliapkg.json").read_text())
    uuid = "5b588203-7d8b-4fab-a537-c31a7f73f46b"
    assert noted == {"packages": {"DataDrivenSparse": {"uuid": uuid, "version": "0.2"}}}


def test_without_an_environment(nowhere: Path) -> None:
    _executable(nowhere / "julia")
    assert "no Julia environment is set up" in environment.availability().reason


def test_juliapkg_exe_comes_first(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _executable(nowhere / "julia")
    mine = _executable(nowhere / "mine" / "julia")
    monkeypatch.setenv("PYTHON_JULIAPKG_EXE", str(mine))
    env = environment.locate()
    assert (env.julia, env.found_by) == (str(mine), "PYTHON_JULIAPKG_EXE")
    monkeypatch.setenv("PYTHON_JULIAPKG_EXE", str(nowhere / "no-such"))
    assert "no-such is not an executable" in environment.availability().reason


def test_juliacall_settings_win(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _executable(nowhere / "mine" / "julia")
    _manifest(nowhere / "theirs", environment.required_packages())
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(mine))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(nowhere / "theirs"))
    env = environment.locate()
    assert env.fixed
    assert env.project == nowhere / "theirs"
    assert environment.availability().ready


def test_a_managed_environment_is_ready_only_when_juliapkg_would_leave_it_alone(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHON_JULIAPKG_OFFLINE")
    julia = _executable(nowhere / "julia")
    _manifest(nowhere / "env", environment.required_packages())
    assert "not up to date" in environment.availability().reason

    own = environment.source_root() / "juliapkg.json"
    other = nowhere / "juliapkg.json"
    other.write_text("{}")
    noted = {
        str(path): {
            "timestamp": path.stat().st_mtime,
            "hash_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in (own, other)
    }
    meta = nowhere / "env" / "pyjuliapkg" / "meta.json"
    meta.parent.mkdir()
    content = {"executable": str(julia), "version": "1.10.4", "offline": False, "deps_files": noted}
    meta.write_text(json.dumps(content))
    assert environment.availability().ready

    other.write_text('{"packages": {}}')
    os.utime(other, (time.time() + 10, time.time() + 10))
    assert "not up to date" in environment.availability().reason


def test_juliapkg_finds_our_requirements(nowhere: Path) -> None:
    import juliapkg.deps

    with environment.requirements_visible():
        compat, packages = juliapkg.deps.find_requirements()
    ours = {package.name: package for package in packages}["PySciML"]
    assert ours.dev
    assert ours.uuid == environment.PACKAGE_UUID
    assert (Path(ours.path) / "src" / "PySciML.jl").is_file()
    assert compat


def _section(text: str, name: str) -> dict[str, str]:
    section = text.partition(f"[{name}]\n")[2].partition("\n[")[0]
    return dict(re.findall(r'^(\w+) = "(.*)"$', section, re.MULTILINE))


def test_what_an_ordinary_user_gets_is_all_that_extensions_load() -> None:
    project = (environment.julia_package() / "Project.toml").read_text()
    wanted, compat = _section(project, "weakdeps"), _section(project, "compat")
    assert {"JumpProcesses", "Distributed"} <= set(wanted)  # it has been read
    listed = json.loads((environment.source_root() / "juliapkg.json").read_text())["packages"]
    for name in sorted(set(wanted) - COME_WITH_JULIA - BY_JULIA_ADD):
        assert listed[name] == {"uuid": wanted[name], "version": compat[name]}


def test_report_has_rows_for_doctor(nowhere: Path) -> None:
    rows = environment.report()
    assert all(len(row) == 4 and all(isinstance(cell, str) for cell in row) for row in rows)
    by_name = {row[0]: row for row in rows}
    assert by_name["juliacall"][1] == "ok"
    assert by_name["julia"][1] == "missing"
    assert "pysciml julia install" in by_name["julia"][3]


def test_names_of_methods_are_known_without_julia() -> None:
    assert {"Tsit5", "Vern9", "Rodas5P", "FBDF", "KenCarp4", "RadauIIA5"} <= known_algorithms()


def test_engine_protocol(nowhere: Path) -> None:
    engine = JuliaEngine()
    assert engine.name == "julia"
    assert "Tsit5" in engine.algorithms()
