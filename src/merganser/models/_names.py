"""What a module's parameters are called in the file that it was loaded from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from merganser.models._hooks import LinearLayer, linear_layers
from merganser.weights import Checkpoint, tied_to

if TYPE_CHECKING:
    from torch import Tensor, nn

Names: TypeAlias = Callable[[str], str]
"""From the name of a parameter in memory to that in the file."""


def named_layers(module: nn.Module, checkpoint: Checkpoint, names: Names | None) -> dict[str, LinearLayer]:
    """A module's linear layers by the names of their weights in the file.

    A weight that stands in several places, such as a head that is tied to the embedding, is left out: what goes into
    one of them says nothing of the other.

    Raises:
        ValueError: If a weight has no such name in the file, or is another there.
    """
    uses = Counter(p.data_ptr() for _, p in module.named_parameters(remove_duplicate=False))
    found: dict[str, LinearLayer] = {}
    for layer in linear_layers(module):
        if uses[layer.weight.data_ptr()] == 1:
            name = name_in_file(layer.name, layer.weight, checkpoint, names)
            if name is not None:
                found[name] = layer
    return found


def named_parameters(
    module: nn.Module, checkpoint: Checkpoint, names: Names | None
) -> dict[str, nn.Parameter]:
    """A module's floating parameters by their names in the file; tied ones once.

    Raises:
        ValueError: If one has no such name in the file, or is another there.
    """
    seen: set[int] = set()
    found: dict[str, nn.Parameter] = {}
    for memory_name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.data_ptr() in seen or not parameter.is_floating_point():
            continue
        name = name_in_file(memory_name, parameter, checkpoint, names)
        if name is not None:
            found[name] = parameter
            seen.add(parameter.data_ptr())
    return found


def name_in_file(
    memory_name: str, parameter: Tensor, checkpoint: Checkpoint, names: Names | None
) -> str | None:
    """What a parameter is called in the file; None for a name that the file ties to another.

    Raises:
        ValueError: If there is no such name, or the numbers under it are others.
    """
    import torch

    name = memory_name if names is None else names(memory_name)
    if name not in checkpoint:
        if tied_to(name, checkpoint) is not None:
            return None
        raise ValueError(
            f"The module's parameter {memory_name!r} has no counterpart: {checkpoint.source} holds no {name!r}. "
            "Modules may rename tensors when they load them: say what each is called in the file (`names`)."
        )
    stored = checkpoint.read(name)
    if stored.shape != parameter.shape or not torch.equal(
        stored.to(parameter.dtype), parameter.detach().cpu()
    ):
        raise ValueError(
            f"The module's parameter {memory_name!r} of shape {tuple(parameter.shape)} is not {name!r} of "
            f"{checkpoint.source}, of shape {tuple(stored.shape)}, or holds other numbers. Load the module from this "
            "checkpoint, or say what each parameter is called in the file (`names`)."
        )
    return name
