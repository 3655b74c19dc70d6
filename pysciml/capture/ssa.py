"""Straight-line scalar code in single-assignment form, simplified while it is built."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from pysciml.capture.program import COMPARISONS, ELEMENTWISE, LOGIC

_COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum", "and", "or", "eq", "ne"})


@dataclass(frozen=True)
class Instruction:
    """`op` is an element-wise operation, ``const`` (key: its value) or ``load`` (key: where)."""

    op: str
    args: tuple[int, ...] = ()
    key: Hashable = None

    @property
    def is_bool(self) -> bool:
        return self.op in COMPARISONS or self.op in LOGIC


class Ssa:
    """Instructions in order. Equal ones are shared, constants folded, identities removed."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._known: dict[tuple[str, tuple[int, ...], Hashable], int] = {}

    def const(self, value: float) -> int:
        value = float(value)
        key = "nan" if math.isnan(value) else (value, math.copysign(1.0, value))
        return self._share(("const", (), key), Instruction("const", (), value))

    def load(self, key: Hashable) -> int:
        return self._share(("load", (), key), Instruction("load", (), key))

    def apply(self, op: str, *args: int) -> int:
        simpler = self._simplify(op, args)
        if simpler is not None:
            return simpler
        shared = tuple(sorted(args)) if op in _COMMUTATIVE else args
        return self._share((op, shared, None), Instruction(op, args))

    def _share(self, key: tuple[str, tuple[int, ...], Hashable], instruction: Instruction) -> int:
        if key not in self._known:
            self._known[key] = len(self.instructions)
            self.instructions.append(instruction)
        return self._known[key]

    def number(self, x: int) -> float | None:
        """The value of `x` when it is a constant."""
        instruction = self.instructions[x]
        return instruction.key if instruction.op == "const" else None  # type: ignore[return-value]

    def _simplify(self, op: str, args: tuple[int, ...]) -> int | None:
        numbers = [self.number(x) for x in args]
        if all(v is not None for v in numbers):
            with np.errstate(all="ignore"):
                folded = ELEMENTWISE[op](*numbers)
            if op not in COMPARISONS and op not in LOGIC:
                return self.const(float(folded))
        if op in ("add", "sub", "mul", "div", "pow"):
            return self._simplify_arithmetic(op, args, numbers)
        if op == "neg" and self.instructions[args[0]].op == "neg":
            return self.instructions[args[0]].args[0]
        if op == "where" and args[1] == args[2]:
            return args[1]
        return None

    def _simplify_arithmetic(
        self, op: str, args: tuple[int, ...], numbers: list[float | None]
    ) -> int | None:
        """Identities that hold for all finite values; 0*x = 0 is what derivatives are full of."""
        (x, y), (a, b) = args, numbers
        if op == "add":
            return y if a == 0.0 else x if b == 0.0 else None
        if op == "sub":
            return x if b == 0.0 else self.apply("neg", y) if a == 0.0 else None
        if op == "mul":
            if a == 0.0 or b == 0.0:
                return self.const(0.0)
            if a == 1.0 or b == 1.0:
                return y if a == 1.0 else x
            if a == -1.0 or b == -1.0:
                return self.apply("neg", y if a == -1.0 else x)
        if op == "div":
            return x if b == 1.0 else self.const(0.0) if a == 0.0 else None
        if op == "pow":
            return self._simplify_power(x, b)
        return None

    def _simplify_power(self, x: int, exponent: float | None) -> int | None:
        if exponent is None or abs(exponent) > 4:
            return None
        if exponent == 0.5:
            return self.apply("sqrt", x)
        if exponent != int(exponent):
            return None
        power = self.const(1.0)
        for _ in range(abs(int(exponent))):
            power = self.apply("mul", power, x)
        return power if exponent >= 0 else self.apply("div", self.const(1.0), power)

    def needed(self, results: list[int]) -> list[int]:
        """Positions of the instructions that `results` depend on, in order."""
        live = set(results)
        for x in range(max(results, default=-1), -1, -1):
            if x in live:
                live.update(self.instructions[x].args)
        return sorted(live)
