"""torch networks as Lux models, and the parameters back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from pysciml.engines.base import Array
from pysciml.engines.julia import session
from pysciml.errors import UnsupportedError
from pysciml.nn import RBF, Sine

Parts = tuple[Any, Any]  # a Lux layer and its parameters


def to_lux(module: nn.Module, parameters: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    lux = session.package("Lux")
    layer, values = _Converter(lux, parameters).layer(module, "")
    random = session.package("Random")
    return layer, values, lux.LuxCore.initialstates(random.default_rng(), layer)


def values_of(module: nn.Module, parameters: Any) -> Mapping[str, Any]:
    """The values to use for a module's parameters, by name."""
    own = {name: value.detach() for name, value in module.named_parameters()}
    if parameters is None:
        return own
    if isinstance(parameters, Mapping):
        missing = sorted(set(own) - set(parameters))
        if missing:
            raise ValueError(
                f"parameters must have an entry for each of the module's; got no {missing}"
            )
        given = {name: np.asarray(parameters[name], dtype=np.float64) for name in own}
    else:
        given = _unflattened(np.asarray(parameters, dtype=np.float64).reshape(-1), own)
    for name, value in own.items():
        if given[name].shape != tuple(value.shape):
            raise ValueError(
                f"parameters must have the module's shapes; {name} is {tuple(value.shape)}; "
                f"got {given[name].shape}"
            )
    return given


def _unflattened(flat: Array, own: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    size = sum(value.numel() for value in own.values())
    if flat.size != size:
        raise ValueError(f"parameters must be the module's {size} numbers; got {flat.size}")
    ends = np.cumsum([value.numel() for value in own.values()])[:-1]
    parts = np.split(flat, ends)
    return {
        name: part.reshape(tuple(value.shape))
        for (name, value), part in zip(own.items(), parts, strict=True)
    }


def from_lux(parameters: Any) -> dict[str, torch.Tensor]:
    return dict(_entries(parameters, ""))


class _Converter:
    """One walk through a module."""

    def __init__(self, lux: Any, parameters: Mapping[str, Any]) -> None:
        self._lux = lux
        self._parameters = parameters
        self._julia = session.main()

    def layer(self, module: nn.Module, name: str) -> Parts:
        if isinstance(module, nn.Sequential):
            return self._chain(module, name)
        if isinstance(module, nn.Linear):
            return self._dense(module, name)
        if isinstance(module, (nn.Identity, nn.Dropout)):
            return self._lux.NoOpLayer(), self._named({})
        make = _ACTIVATIONS.get(type(module))
        if make is None:
            known = ", ".join(sorted(kind.__name__ for kind in _ACTIVATIONS))
            raise UnsupportedError(
                f"module must be made of Sequential, Linear, Identity, Dropout and {known}; "
                f"{name or 'it'} is a {type(module).__name__}"
            )
        function = make(module, self._lux.NNlib, self._julia)
        elementwise = self._julia.Base.Fix1(self._julia.broadcast, function)
        return self._lux.WrappedFunction(elementwise), self._named({})

    def _chain(self, module: nn.Sequential, name: str) -> Parts:
        children = list(module.named_children())
        numbered = all(key == str(index) for index, (key, _) in enumerate(children))
        layers, values = {}, {}
        for index, (key, child) in enumerate(children):
            label = f"layer_{index + 1}" if numbered else key
            layers[label], values[label] = self.layer(child, f"{name}{key}.")
        chain = self._lux.Chain(*layers.values()) if numbered else self._lux.Chain(**layers)
        return chain, self._named(values)

    def _dense(self, module: nn.Linear, name: str) -> Parts:
        has_bias = module.bias is not None
        layer = self._lux.Dense(module.in_features, module.out_features, use_bias=has_bias)
        values = {"weight": session.array(self._parameters[f"{name}weight"])}
        if has_bias:
            values["bias"] = session.array(self._parameters[f"{name}bias"])
        return layer, self._named(values)

    def _named(self, values: Mapping[str, Any]) -> Any:
        return session.module().named(**values)


# module, NNlib, Main -> the Julia function of one number
_ACTIVATIONS: dict[type[nn.Module], Callable[[Any, Any, Any], Any]] = {
    nn.CELU: lambda m, lib, jl: jl.Base.Fix2(lib.celu, float(m.alpha)),
    nn.ELU: lambda m, lib, jl: jl.Base.Fix2(lib.elu, float(m.alpha)),
    nn.GELU: lambda m, lib, jl: (
        lib.gelu_tanh if m.approximate == "tanh" else session.module().Activations.gelu
    ),
    nn.LeakyReLU: lambda m, lib, jl: jl.Base.Fix2(lib.leakyrelu, float(m.negative_slope)),
    nn.ReLU: lambda m, lib, jl: lib.relu,
    nn.SELU: lambda m, lib, jl: lib.selu,
    nn.SiLU: lambda m, lib, jl: lib.swish,
    nn.Sigmoid: lambda m, lib, jl: lib.sigmoid,
    nn.Softplus: lambda m, lib, jl: session.module().Activations.Softplus(
        float(m.beta), float(m.threshold)
    ),
    nn.Softsign: lambda m, lib, jl: lib.softsign,
    nn.Tanh: lambda m, lib, jl: jl.tanh,
    RBF: lambda m, lib, jl: session.module().Activations.rbf,
    Sine: lambda m, lib, jl: jl.sin,
}


def _entries(parameters: Any, prefix: str) -> list[tuple[str, torch.Tensor]]:
    """(name in the state_dict, values), in the order of the layers."""
    found: list[tuple[str, torch.Tensor]] = []
    for key in (str(name) for name in session.main().propertynames(parameters)):
        value = session.main().getproperty(parameters, session.main().Symbol(key))
        if key in ("weight", "bias"):
            # a copy in C order, whatever Julia's array is a view of
            array = np.array(value, dtype=np.float64, order="C")
            found.append((f"{prefix}{key}", torch.from_numpy(array)))
        else:
            number = re.fullmatch(r"layer_(\d+)", key)  # Lux counts from 1
            found += _entries(value, f"{prefix}{int(number[1]) - 1 if number else key}.")
    return found
