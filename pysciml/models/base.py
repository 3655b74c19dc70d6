"""What all learning systems share: they are modules, so `fit` and every problem take them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from pysciml import validation as check

if TYPE_CHECKING:
    from pysciml.train import FitResult

_Kind = TypeVar("_Kind", bound="Model")


class Model(nn.Module):
    """A right-hand side with parameters of its own, for `fit`, `ODEProblem` or `SDEProblem`."""

    def part(self, name: str, p: Mapping[str, Any], x: Tensor) -> Tensor:
        """What the submodule of that name makes of x with the weights that are in p, a dict of all
        the parameters by name.
        """
        own = {
            key.removeprefix(f"{name}."): w for key, w in p.items() if key.startswith(f"{name}.")
        }
        result: Tensor = torch.func.functional_call(self.get_submodule(name), own, (x,))
        return result

    def fitted(self: _Kind, result: FitResult) -> _Kind:
        """A copy with the parameters that a fit of this model found.

        Raises
        ------
        ValueError
            The result is not of a model like this one.
        """
        found = (
            result.p["module"] if isinstance(result.p, dict) and "module" in result.p else result.p
        )
        new = copy.deepcopy(self)
        own = dict(new.named_parameters())
        if not isinstance(found, dict) or found.keys() != own.keys():
            raise ValueError(
                f"result must be of a fit of this {type(self).__name__}, with the parameters "
                f"{', '.join(own)}; got those of {result!r}"
            )
        with torch.no_grad():
            for name, x in own.items():
                x.copy_(torch.as_tensor(found[name]))
        return new


def require_network(value: Any, name: str = "network") -> nn.Module:
    """An nn.Module in double precision, as all that is solved is."""
    if not isinstance(value, nn.Module):
        raise TypeError(
            f"{name} must be an nn.Module, such as pysciml.nn.mlp(...); got {check.describe(value)}"
        )
    return value.double()


def with_time(x: Tensor, t: Any) -> Tensor:
    """x with the time as one more entry of its last axis."""
    t = torch.as_tensor(t, dtype=x.dtype)
    return torch.cat([x, t.expand(*x.shape[:-1], 1)], dim=-1)
