"""Universal differential equations: known terms, and networks for the others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pysciml import validation as check
from pysciml.models.base import Model, require_network
from pysciml.problems.base import binds, is_module, name_of
from pysciml.train.observation import as_tensor

_FORMS = "a function f(u, p, t), to which the network is added, or f(u, p, t, nn), which calls it"


class UDE(Model):
    """A right-hand side of known terms and networks (Rackauckas et al., arXiv:2001.04385, 2020).

    It stands where a right-hand side stands: in an `ODEProblem`, as drift or noise of an
    `SDEProblem`, of a state of any shape, such as a PDE's on a grid, and in `fit`:

        def known(u, p, t):
            return [p["growth"] * u[0], -p["death"] * u[1]]

        model = UDE(known, nn.mlp([2, 16, 2]))
        fit(model, data, p={"growth": 1.3, "death": 1.8}, fixed=["p"])

    With the network on some terms only, and with what is known of these built in (see
    `pysciml.models.structure`):

        def law(u, p, t, nn):
            met = nn(u) * u[0] * u[1]
            return [p["growth"] * u[0] - met[0], met[1] - p["death"] * u[1]]

        model = UDE(law, Positive(nn.mlp([2, 16, 2])))

    `fit` trains networks in an SDE by a `NeuralSDE`, with known terms by `Residual`, and those in a
    delay equation as parameters of a `DDEProblem`, by `pysciml.nn.functional`.

    Its parameters are a dict: "module", the networks' own by name, and "p", the user's.

    Parameters
    ----------
    f : callable
        `f(u, p, t)`: the result is f + network(u), of u's shape. `f(u, p, t, nn)`: the result is
        f's; `nn` is the network, or a dict of networks. In torch operations and arithmetic.
    networks : nn.Module or dict of nn.Module
    terms : list of int, optional
        Of f(u, p, t): the entries (of u's first axis) that the network's outputs are added to.
        Default: all.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, what came and what was expected.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        networks: nn.Module | dict[str, nn.Module],
        terms: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.calls_networks = _takes_networks(f)
        self.f = f
        self.networks = _as_networks(networks)
        self.terms = None if terms is None else [int(i) for i in terms]
        if self.calls_networks and terms is not None:
            raise ValueError("terms must not be given with f(u, p, t, nn): it calls the network")
        if not self.calls_networks and isinstance(self.networks, nn.ModuleDict):
            raise TypeError("networks must be one nn.Module for f(u, p, t); got a dict")

    def forward(self, u: Tensor, p: Any, t: Tensor) -> Tensor:
        return self.law(u, p, t, self.networks)

    def law(self, u: Tensor, p: Any, t: Tensor, networks: Any) -> Tensor:
        """The right-hand side with anything that can be called in the networks' place."""
        if self.calls_networks:
            return as_tensor(self.f(u, p, t, networks))
        known, learned = as_tensor(self.f(u, p, t)), networks(u)
        if self.terms is None:
            return known + learned.reshape(u.shape)
        rows = list(known.unbind(0))
        for i, more in zip(self.terms, learned.unbind(0), strict=True):
            rows[i] = rows[i] + more
        return torch.stack(rows)


def _takes_networks(f: Any) -> bool:
    """Whether f calls the networks itself."""
    check.require_callable(f, "f", _FORMS)
    if is_module(f):
        raise TypeError(f"f must be {_FORMS}; got the nn.Module {type(f).__name__}")
    signature = inspect.signature(f)
    if binds(signature, 3):
        return False
    if binds(signature, 4):
        return True
    raise TypeError(f"f must be {_FORMS}; got {name_of(f)}{signature}")


def _as_networks(networks: Any) -> nn.Module:
    if isinstance(networks, dict):
        checked = {key: require_network(x, f"networks[{key!r}]") for key, x in networks.items()}
        return nn.ModuleDict(checked)
    return require_network(networks, "networks")
