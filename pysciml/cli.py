"""The command line: pysciml doctor | julia install | julia add | demo | bench."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

import pysciml
from pysciml import engines
from pysciml.compare import columns
from pysciml.errors import PyscimlError

_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "torchdiffeq",
    "numba",
    "juliacall",
    "matplotlib",
    "pandas",
    "diffrax",
    "diffeqpy",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 for success, 1 for a failure that was explained."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        status: int = options.run(options)
    except PyscimlError as error:
        print(f"pysciml: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pysciml: interrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pysciml", description="Differential equations and machine learning."
    )
    parser.add_argument("--version", action="version", version=f"pysciml {pysciml.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")

    doctor = commands.add_parser("doctor", help="show what is installed, what is not, the remedy")
    doctor.set_defaults(run=_doctor)

    julia = commands.add_parser("julia", help="set Julia up")
    actions = julia.add_subparsers(dest="action", metavar="action", required=True)
    install = actions.add_parser("install", help="install Julia and its packages (downloads)")
    install.set_defaults(run=_julia_install)
    add = actions.add_parser("add", help="add an optional Julia package (downloads)")
    add.add_argument("package", help="its name, such as DataDrivenSparse")
    add.set_defaults(run=_julia_add)

    demo = commands.add_parser("demo", help="fit the lynx and hare data and draw the result")
    demo.add_argument("--engine", default="auto", choices=("auto", *engines.NAMES))
    demo.add_argument("--output", default="output", metavar="DIR", help="folder of the picture")
    demo.set_defaults(run=_demo)

    bench = commands.add_parser("bench", help="time one solve beside other packages")
    bench.set_defaults(run=_bench)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    print(f"Python {platform.python_version()} at {sys.executable}")
    print(f"{platform.platform()}\n")
    rows = [("pysciml", pysciml.__version__)]
    rows += [(name, _version(name)) for name in _PACKAGES]
    _print_rows(rows)
    print("\nEngines")
    states = {name: engines.availability(name) for name in engines.NAMES}
    _print_rows(
        [
            (name, "ready" if state.ready else "not ready", state.reason)
            for name, state in states.items()
        ]
    )
    for name, state in states.items():
        if not state.ready and state.remedy:
            print(f"to get {name}: {state.remedy}")
    print("\nJulia")
    return _report_julia()


def _report_julia() -> int:
    try:
        from pysciml.engines.julia.environment import report
    except ImportError as error:
        print(f"the Julia engine could not be loaded: {error}")
        return 1
    rows = [tuple(str(part) for part in row) for row in report()]
    _print_rows([row[:3] for row in rows])
    for remedy in dict.fromkeys(row[3] for row in rows if row[3]):
        names = [row[0] for row in rows if row[3] == remedy]
        print(f"{names[0]}{' and what else is missing' if len(names) > 1 else ''}: {remedy}")
    return 0


def _julia_install(options: argparse.Namespace) -> int:
    from pysciml.engines.julia.environment import install

    install()
    return 0


def _julia_add(options: argparse.Namespace) -> int:
    from pysciml.engines.julia.environment import add

    add(options.package)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pysciml import demo

    demo.run(options.output, options.engine)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from pysciml import bench

    bench.run()
    return 0


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    for line in columns(rows, left=len(rows[0])) if rows else ():
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
