"""A perceptron's checkpoint as a torch module, to measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merganser.models._perceptron import Perceptron
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn


def perceptron_module(checkpoint: Checkpoint, features: int) -> tuple[nn.Module, dict[str, str]]:
    """The module that a perceptron's checkpoint holds.

    Args:
        checkpoint: Its tensors, in either layout.
        features: Number of inputs, of samples of any shape.

    Returns:
        The module, and what its parameters are called in the checkpoint.

    Raises:
        ValueError: If the tensors do not form a chain of layers that begins with `features` inputs.
    """
    from torch import nn

    from merganser.models._dense import Dense

    places = {begin: name for name, (begin, _) in checkpoint.layout.spans().items()}
    parts: list[nn.Module] = [nn.Flatten()]
    names: dict[str, str] = {}
    for layer in Perceptron.of(checkpoint, features).layers:
        weight = places[layer.weight.start]
        bias = None if layer.bias is None else places[layer.bias.start]
        parts += [nn.ReLU()] if len(parts) > 1 else []
        names[f"{len(parts)}.weight"] = weight
        if bias is not None:
            names[f"{len(parts)}.bias"] = bias
        held = None if bias is None else checkpoint.read(bias).float()
        parts.append(Dense(checkpoint.read(weight).float(), held, inputs_first=not layer.transposed))
    return nn.Sequential(*parts), names
