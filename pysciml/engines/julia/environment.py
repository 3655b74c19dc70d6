"""Where Julia and its packages are, whether they are complete, and how to get them.

Nothing here starts Julia, except `install`. The places looked at, and their order, are juliapkg's
(`PYTHON_JULIAPKG_EXE`, its own install, juliaup, the PATH) and juliacall's
(`PYTHON_JULIACALL_EXE` with `PYTHON_JULIACALL_PROJECT`), each also as a `-X` option.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pysciml.engines.base import Availability
from pysciml.errors import EngineUnavailableError
from pysciml.validation import did_you_mean

Row = tuple[str, str, str, str]

PACKAGE_UUID = "d5764537-4c04-4cb1-9a7d-13da30644b6c"
INSTALL = "pysciml julia install"
_INSTALL_TIME = "20 to 40 minutes the first time: downloads of about 1 GB, then compilation"
_STANDARD = {"LinearAlgebra", "Random", "SparseArrays", "TOML"}  # come with Julia


@dataclass(frozen=True)
class Environment:
    """What is known of Julia without starting it."""

    julia: str | None  # path of the executable
    found_by: str  # what named it
    project: Path  # folder of the Julia project
    offline: bool
    fixed: bool  # juliacall's own settings name both: juliapkg is not asked
    meta: dict[str, Any] | None  # what juliapkg noted when it last set the project up


def source_root() -> Path:
    """The folder with juliapkg.json and julia_src: the package, or the checkout it lies in."""
    package = Path(__file__).resolve().parents[2]
    for root in (package, package.parent):
        if (root / "julia_src" / "PySciML" / "Project.toml").is_file():
            return root
    raise EngineUnavailableError(
        "the Julia sources of pysciml (julia_src/PySciML) are missing from this installation; "
        "reinstall pysciml"
    )


def julia_package() -> Path:
    """The Julia package PySciML that belongs to this very Python package."""
    return source_root() / "julia_src" / "PySciML"


def locate() -> Environment:
    """Find Julia and the project as juliacall will."""
    offline = setting("juliapkg", "offline") == "yes"
    exe, project = setting("juliacall", "exe"), setting("juliacall", "project")
    if exe and project:
        return Environment(
            shutil.which(exe), "PYTHON_JULIACALL_EXE", Path(project), offline, True, None
        )
    folder = _project()
    meta = _read_meta(folder)
    julia, found_by = _find_julia(folder, meta)
    return Environment(julia, found_by, folder, offline, False, meta)


def availability() -> Availability:
    """Whether Julia can start now with all it needs. Takes milliseconds."""
    try:
        env = locate()
        missing = _what_is_missing(env)
    except (EngineUnavailableError, OSError, ValueError) as error:
        return Availability(False, str(error), INSTALL)
    if missing is None:
        return Availability(True)
    return Availability(False, *missing)


def require() -> Environment:
    """The environment, complete; else an error that says what is missing and how to get it."""
    env = locate()
    missing = _what_is_missing(env)
    if missing is not None:
        raise unavailable(*missing)
    return env


def unavailable(reason: str, remedy: str) -> EngineUnavailableError:
    return EngineUnavailableError(f'engine="julia" is not available: {reason}. To get it: {remedy}')


def report() -> list[Row]:
    """Rows (name, status, detail, remedy) for `pysciml doctor`; status is ok, missing or note."""
    rows = [_juliacall_row()]
    try:
        env = locate()
    except (EngineUnavailableError, OSError, ValueError) as error:
        return [*rows, ("julia", "missing", str(error), INSTALL)]
    rows.append(_julia_row(env))
    rows += _project_rows(env)
    rows += _package_rows(env)
    return rows


def install(*, update: bool = False) -> None:
    """Get Julia and the packages, compile them, and show the progress of both.

    It does what is left to do: offline, or in an environment that is complete, it only compiles.

    Raises
    ------
    EngineUnavailableError
        Something is missing and cannot be fetched.
    """
    env = locate()
    missing = _what_is_missing(env)
    if missing is not None and (env.offline or env.fixed):
        raise unavailable(*missing)
    if missing is not None or update:
        if not online():
            reason = missing[0] if missing else "an update needs the network"
            raise unavailable(f"{reason}, and the network cannot be reached", _remedy(env))
        _say(f"pysciml: setting up Julia in {env.project} ({_INSTALL_TIME})")
        resolve(update=update)
        env = require()
    _precompile(env)
    _say("pysciml: Julia is ready")


def add(name: str) -> None:
    """Add an optional package, one that an extension of PySciML.jl waits for, and compile it.

    Raises
    ------
    EngineUnavailableError
        No extension needs a package of that name, or it cannot be fetched.
    """
    optional = _section("weakdeps")
    if name not in optional:
        raise EngineUnavailableError(
            f"no extension of pysciml waits for a Julia package {name!r}"
            f"{did_you_mean(name, optional)}; optional are {', '.join(optional)}"
        )
    env = locate()
    if env.offline or env.fixed:
        raise unavailable(f"{name} has to be fetched", _remedy(env))
    import juliapkg

    juliapkg.add(name, uuid=optional[name], version=_section("compat")[name])
    resolve()
    _precompile(require())


def resolve(*, update: bool = False) -> None:
    """Let juliapkg bring the project up to date; its output is Pkg's own progress."""
    import juliapkg

    with requirements_visible():
        try:
            juliapkg.resolve(force=update, update=update)
        except Exception as error:  # juliapkg raises plain Exception
            why = str(error)
            if isinstance(error, subprocess.CalledProcessError):  # its text is a whole Julia script
                why = f"exit code {error.returncode}"
            raise unavailable(
                f"setting up the Julia environment failed ({why})",
                f"look at the output above, then run {INSTALL} again",
            ) from error


@contextlib.contextmanager
def requirements_visible() -> Iterator[None]:
    """Make sure that juliapkg sees our juliapkg.json: it only looks at folders of sys.path."""
    import juliapkg.deps

    root = source_root()
    wanted = os.path.normcase(os.path.normpath(root / "juliapkg.json"))
    if wanted in juliapkg.deps.deps_files():
        yield
        return
    sys.path.append(str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def online(timeout: float = 1.5) -> bool:
    """Whether Julia's package server (or the proxy on the way to it) answers."""
    host, port = _gateway()
    found = threading.Event()

    def knock() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout):
            found.set()

    # in a thread, because looking up a name can block for longer than any timeout
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(timeout)
    return found.is_set()


def _gateway() -> tuple[str, int]:
    proxy = next(
        (os.environ[key] for key in ("https_proxy", "HTTPS_PROXY") if os.environ.get(key)), None
    )
    server = proxy or os.environ.get("JULIA_PKG_SERVER") or "https://pkg.julialang.org"
    parts = urlsplit(server if "//" in server else f"//{server}")
    return parts.hostname or "pkg.julialang.org", parts.port or 443


def setting(owner: str, name: str) -> str | None:
    """A `-X` option or an environment variable, as juliapkg and juliacall read them."""
    value = sys._xoptions.get(f"{owner}-{name}".replace("_", "-"))
    if isinstance(value, str):
        return value
    return os.environ.get(f"PYTHON_{owner.upper()}_{name.upper()}") or None


def _depot() -> Path:
    depots = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    return Path(depots[0]) if depots[0] else Path.home() / ".julia"


def _project() -> Path:
    """Where juliapkg keeps its project: as set, in the virtual environment, or in the depot."""
    chosen = setting("juliapkg", "project")
    if chosen:
        return Path(chosen)
    inside = sys.prefix != sys.base_prefix
    prefix = sys.prefix if inside else os.environ.get("CONDA_PREFIX")
    if prefix:
        return Path(prefix) / "julia_env"
    return _depot() / "environments" / "pyjuliapkg"


def _read_meta(project: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads((project / "pyjuliapkg" / "meta.json").read_text())
    except (OSError, ValueError):
        return None
    return meta if isinstance(meta, dict) else None


def _find_julia(project: Path, meta: dict[str, Any] | None) -> tuple[str | None, str]:
    chosen = setting("juliapkg", "exe")
    if chosen:
        return shutil.which(chosen), "PYTHON_JULIAPKG_EXE"
    if meta is not None and shutil.which(str(meta.get("executable"))):
        return meta["executable"], "juliapkg"
    own = shutil.which(str(project / "pyjuliapkg" / "install" / "bin" / "julia"))
    if own:
        return own, "juliapkg"
    return shutil.which("julia"), "the PATH"


def _what_is_missing(env: Environment) -> tuple[str, str] | None:
    """(reason, remedy) when Julia cannot start with all it needs."""
    if env.julia is None:
        chosen = setting("juliacall", "exe") if env.fixed else setting("juliapkg", "exe")
        if chosen:
            return f"{env.found_by}={chosen} is not an executable", "set it to a julia executable"
        return "Julia is not installed", _remedy(env)
    missing = _missing_packages(env.project)
    if missing is None:
        return f"no Julia environment is set up in {env.project}", _remedy(env)
    if missing:
        return f"the Julia environment {env.project} lacks {', '.join(missing)}", _remedy(env)
    if not (env.fixed or env.offline) and not _is_current(env.meta):
        reason = f"the Julia environment {env.project} is not up to date with the Python packages"
        return reason, f"{_remedy(env)} (or set PYTHON_JULIAPKG_OFFLINE=yes to use it as it is)"
    return None


def _remedy(env: Environment) -> str:
    if env.fixed:
        return (
            f"add the packages of juliapkg.json to {env.project}, or unset PYTHON_JULIACALL_EXE "
            f"and PYTHON_JULIACALL_PROJECT and run `{INSTALL}`"
        )
    if env.offline:
        return f"unset PYTHON_JULIAPKG_OFFLINE and run `{INSTALL}` once, with a network"
    return f"`{INSTALL}`, once, with a network ({_INSTALL_TIME})"


def _missing_packages(project: Path) -> list[str] | None:
    """Required packages that the project's manifest does not list; None without a manifest."""
    listed = manifest(project)
    if listed is None:
        return None
    return sorted(name for name in required_packages() if name not in listed)


def required_packages() -> set[str]:
    """What PySciML itself loads, and PythonCall. Other solver libraries are optional."""
    return (set(_section("deps")) - _STANDARD) | {"PythonCall"}


def _section(name: str) -> dict[str, str]:
    """The entries of a section of our Project.toml, where they are strings."""
    text = (julia_package() / "Project.toml").read_text(encoding="utf-8")
    section = re.search(rf"^\[{name}\]$(.*?)^\[", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    return dict(re.findall(r'^(\w+)\s*=\s*"(.*)"', section.group(1), re.MULTILINE))


def manifest(project: Path) -> dict[str, str] | None:
    """Package versions in the newest manifest of a project; None when there is none."""
    found = [*project.glob("Manifest*.toml"), *project.glob("JuliaManifest*.toml")]
    if not found:
        return None
    newest = max(found, key=lambda path: path.stat().st_mtime)
    entries = re.split(r"^\[\[deps\.", newest.read_text(encoding="utf-8"), flags=re.MULTILINE)
    versions = {}
    for entry in entries[1:]:
        version = re.search(r'^version = "([^"]*)"', entry, re.MULTILINE)
        versions[entry.partition("]]")[0].strip('"')] = version.group(1) if version else ""
    return versions


def _is_current(meta: dict[str, Any] | None) -> bool:
    """Whether juliacall will take the project as it is, without resolving (and downloading).

    A cheap version of juliapkg's own test: it does not search sys.path for new juliapkg.json.
    """
    if meta is None or meta.get("offline"):
        return False
    files = meta.get("deps_files")
    own = os.path.normcase(os.path.normpath(source_root() / "juliapkg.json"))
    if not isinstance(files, dict) or own not in files:
        return False
    return all(_unchanged(Path(name), noted) for name, noted in files.items())


def _unchanged(path: Path, noted: dict[str, Any]) -> bool:
    try:
        if path.stat().st_mtime <= noted["timestamp"]:
            return True
        return hashlib.sha256(path.read_bytes()).hexdigest() == noted["hash_sha256"]
    except (OSError, KeyError, TypeError):
        return False


def _precompile(env: Environment) -> None:
    """Compile everything in a Julia of its own, so that the first use does not have to."""
    assert env.julia is not None
    _say("pysciml: compiling the Julia packages (up to 20 minutes when nothing is compiled yet)")
    # Pkg compiles the packages in parallel and shows progress; ours may not be in the project
    script = (
        "import Pkg; Pkg.precompile(); "
        f'push!(LOAD_PATH, raw"{julia_package()}"); '
        'println("pysciml: compiling PySciML"); '
        f'package = Base.require(Base.PkgId(Base.UUID("{PACKAGE_UUID}"), "PySciML")); '
        "foreach(package.extension, package.installed_extensions())"
    )
    environ = dict(os.environ)
    environ.setdefault("JULIA_PYTHONCALL_EXE", sys.executable)
    environ.setdefault("JULIA_CONDAPKG_BACKEND", "Null")
    if env.offline:
        environ["JULIA_PKG_OFFLINE"] = "true"
    command = [env.julia, f"--project={env.project}", "--startup-file=no", "-e", script]
    code = subprocess.run(command, env=environ, check=False).returncode
    if code != 0:
        raise unavailable(
            f"compiling the Julia packages failed (exit code {code})", "look at the output above"
        )


def _juliacall_row() -> Row:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return ("juliacall", "ok", version("juliacall"), "")
    except PackageNotFoundError:
        return ("juliacall", "missing", "not installed", "pip install juliacall")


def _julia_row(env: Environment) -> Row:
    if env.julia is None:
        missing = _what_is_missing(env)
        assert missing is not None
        return ("julia", "missing", missing[0], missing[1])
    return ("julia", "ok", f"{_version(env)} {env.julia} (by {env.found_by})".strip(), "")


def _version(env: Environment) -> str:
    if env.meta is not None and env.meta.get("executable") == env.julia:
        return str(env.meta.get("version", ""))
    assert env.julia is not None
    try:
        done = subprocess.run(
            [env.julia, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().rpartition(" ")[2]


def _project_rows(env: Environment) -> list[Row]:
    detail = str(env.project) + (" (offline)" if env.offline else "")
    missing = _what_is_missing(env)
    if missing is not None and env.julia is not None:
        return [("julia environment", "missing", missing[0], missing[1])]
    if env.julia is None:
        return [("julia environment", "note", detail, "")]
    return [("julia environment", "ok", detail, "")]


def _package_rows(env: Environment) -> list[Row]:
    rows: list[Row] = [("PySciML.jl", "ok", str(julia_package()), "")]
    listed = manifest(env.project)
    if listed is None:
        return rows  # the row of the environment says it all
    required = required_packages()
    wanted = set(json.loads((source_root() / "juliapkg.json").read_text())["packages"])
    for name in sorted((required | wanted) & set(listed) - {"PySciML"}):
        rows.append((f"{name}.jl", "ok", listed[name], ""))
    rows += [
        (f"{name}.jl", "missing", "not in the environment", _remedy(env))
        for name in sorted(required - set(listed))
    ]
    absent = sorted(wanted - required - set(listed) - {"PySciML"})
    if absent:
        rows.append(("optional Julia packages", "note", f"absent: {', '.join(absent)}", INSTALL))
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
