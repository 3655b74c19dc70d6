"""`python -m benchmarks [name ...]`: run them all, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from .timing import RESULTS, ROOT

NAMES = (
    "lotka_volterra",
    "robertson",
    "brusselator",
    "latency",
    "gradients",
    "adjoint_memory",
    "odeint",
    "training",
    "ensembles",
    "jumps",
    "stochastic",
    "discovery",
    "latent_ode",
    "neural_sde",
    "deep_bsde",
    "ude",
    "neural_ode",
    "mechanics",
    "normalizing_flow",
    "koopman",
    "approximation",
    "pinn",
    "learned_pde",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"unknown benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    chosen = names or list(NAMES)
    codes = {}
    for name in chosen:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        codes[name] = subprocess.run(command, cwd=ROOT, check=False).returncode
    together = {}
    for name in chosen:
        path = RESULTS / f"{name}.json"
        if path.exists():
            together[name] = json.loads(path.read_text())
    path = RESULTS / "all.json"
    path.write_text(json.dumps(together, indent=1, ensure_ascii=False) + "\n")
    failed = [name for name, code in codes.items() if code]
    bars = [bar for part in together.values() for bar in part["bars"]]
    counts = [sum(bar["passed"] is value for bar in bars) for value in (True, False, None)]
    print(f"{counts[0]} bars passed, {counts[1]} missed, {counts[2]} could not be judged; {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
