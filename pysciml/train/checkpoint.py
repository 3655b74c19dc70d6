"""Files of a run that can go on, and of results: NumPy's npz, without pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pysciml.engines.base import Array
from pysciml.train.loop import Attempt, Position, Rows, Run


def write(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write facts (as JSON) and arrays to one npz file, which is whole or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts and arrays of a file that `write` wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {kind} at {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path} is not a {kind} of pysciml: {error}") from error
    if facts.get("kind") != kind:
        raise ValueError(f"{path} must be a {kind}; it is a {facts.get('kind')}")
    return facts, arrays


def checkpointing(
    checkpoint: Any, resume: Any, fingerprint: Callable[[], str]
) -> tuple[Callable[[Run], None] | None, Callable[[Run], None] | None]:
    """What writes a run to a file, and what reads it back, where each is asked for."""
    target = None if checkpoint is None else Path(checkpoint)
    if resume is True and target is None:
        raise ValueError("resume=True needs checkpoint=, the file to go on from")
    source = target if resume is True else Path(resume) if resume else None
    if resume is True and target is not None and not target.exists():
        source = None
    if target is None and source is None:
        return None, None
    mark = fingerprint()
    save = None if target is None else partial(save_run, path=target, fingerprint=mark)
    load = None if source is None else partial(load_run, path=source, fingerprint=mark)
    return save, load


def save_run(run: Run, path: Path, fingerprint: str) -> None:
    """Write where a run is."""
    here = run.position
    facts = {
        "kind": "checkpoint",
        "fingerprint": fingerprint,
        "start": here.start,
        "phase": here.phase,
        "stage": here.stage,
        "waited": here.waited,
        "began": here.began,
        "attempted": [each.theta is not None for each in run.attempts],
    }
    arrays = {"theta": here.theta, "scores": np.array([here.loss, here.score])}
    arrays |= {name: x for name in ("vector", "best") if (x := getattr(here, name)) is not None}
    arrays |= {f"memory.{key}": x for key, x in here.memory.items() if key != "told"}
    if here.told:
        told = here.memory["told"][: here.told]
        arrays["told.values"] = np.array([value for value, _ in told])
        arrays["told.gradients"] = np.stack([gradient for _, gradient in told])
    if here.trials is not None:
        arrays |= {f"trials.{i}": np.array(x) for i, x in enumerate(here.trials)}
    for i, attempt in enumerate(run.attempts):
        arrays[f"attempts.{i}.scores"] = np.array([attempt.loss, attempt.score])
        arrays[f"attempts.{i}.theta"] = np.zeros(0) if attempt.theta is None else attempt.theta
    for column in fields(Rows):
        arrays[f"rows.{column.name}"] = np.array(getattr(run.rows, column.name)[: here.rows])
    write(path, facts, arrays)


def load_run(run: Run, path: Path, fingerprint: str) -> None:
    """Put a run where `save_run` left it."""
    facts, arrays = read(path, "checkpoint")
    if facts["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path} is the checkpoint of another fit: model, data, loss, unknowns, optimisers, "
            "strategy, seed, engine and tolerances must be the same to resume"
        )
    for column in fields(Rows):
        setattr(run.rows, column.name, arrays[f"rows.{column.name}"].tolist())
    run.attempts = [
        Attempt(arrays[f"attempts.{i}.theta"] if begun else None, *_floats(arrays, f"attempts.{i}"))
        for i, begun in enumerate(facts["attempted"])
    ]
    loss, score = arrays["scores"].tolist()
    memory = _memory(arrays)
    run.position = Position(
        start=facts["start"],
        phase=facts["phase"],
        stage=facts["stage"],
        theta=arrays["theta"],
        vector=arrays.get("vector"),
        best=arrays.get("best"),
        loss=loss,
        score=score,
        waited=facts["waited"],
        began=facts["began"],
        rows=len(run.rows),
        memory=memory,
        told=len(memory.get("told", ())),
        trials=_trials(arrays),
    )


def _floats(arrays: Mapping[str, Any], name: str) -> list[float]:
    values: list[float] = arrays[f"{name}.scores"].tolist()
    return values


def _memory(arrays: Mapping[str, Any]) -> dict[str, Any]:
    memory: dict[str, Any] = {
        name.removeprefix("memory."): x for name, x in arrays.items() if name.startswith("memory.")
    }
    if "told.values" in arrays:
        values: list[float] = arrays["told.values"].tolist()
        memory["told"] = list(zip(values, arrays["told.gradients"], strict=True))
    return memory


def _trials(arrays: Mapping[str, Any]) -> tuple[Array, Array, float] | None:
    if "trials.0" not in arrays:
        return None
    return arrays["trials.0"], arrays["trials.1"], float(arrays["trials.2"])
