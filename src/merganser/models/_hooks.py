"""Looking into a torch module while it runs; nothing of it stays behind, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float

from merganser.models._threads import fitting_threads

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A layer whose output is linear in its inputs, but for a bias.

    Args:
        name: Name of its weight in the module.
        module: The layer.
        inputs_first: Whether the first axis of the weight is that of the inputs.
    """

    name: str
    module: nn.Module
    inputs_first: bool

    @property
    def weight(self) -> Tensor:
        """Its weight."""
        weight = self.module.weight
        assert not isinstance(weight, type(self.module))
        return weight  # pyright: ignore[reportReturnType]

    @property
    def is_convolution(self) -> bool:
        """Whether it sees patches of its inputs, rather than their last axis."""
        from torch import nn

        return isinstance(self.module, nn.Conv2d)

    def rows(
        self, inputs: Float[Tensor, "..."], mask: Bool[Tensor, "batch positions"] | None
    ) -> Float[Tensor, "rows inputs"]:
        """What the weight is multiplied with, one vector a row; of a convolution, each patch that the kernel sees.

        Args:
            inputs: What the layer was called with.
            mask: Which positions count; ignored where the inputs have other positions.
        """
        from torch import nn
        from torch.nn import functional

        layer = self.module
        if isinstance(layer, nn.Conv2d):
            sizes: list[Any] = [layer.kernel_size, layer.dilation, layer.padding, layer.stride]
            return functional.unfold(inputs, *sizes).transpose(1, 2).flatten(0, 1)
        rows = inputs.reshape(-1, inputs.shape[-1])
        if mask is None or inputs.shape[:-1] not in (mask.shape, (mask.numel(),)):
            return rows
        return rows[mask.flatten()]


def linear_layers(module: nn.Module) -> Iterator[LinearLayer]:
    """The linear layers of a module: `Linear`, GPT-2's `Conv1D`, and plain 2-D convolutions.

    Those with several groups, or that pad with anything but a given number of zeros, are left out.
    """
    from torch import nn

    from merganser.models._dense import Dense

    for name, layer in module.named_modules():
        weight = f"{name}.weight".lstrip(".")
        if isinstance(layer, nn.Linear):
            yield LinearLayer(weight, layer, inputs_first=False)
        elif type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
            yield LinearLayer(weight, layer, inputs_first=True)
        elif isinstance(layer, Dense):
            yield LinearLayer(weight, layer, inputs_first=layer.inputs_first)
        elif isinstance(layer, nn.Conv2d) and _is_plain(layer):
            yield LinearLayer(weight, layer, inputs_first=False)


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


@contextmanager
def watching(
    layers: Mapping[str, LinearLayer], see: Callable[[str, LinearLayer, Tensor], None]
) -> Iterator[None]:
    """Show the inputs of layers whenever they are called.

    Args:
        layers: The layers by their keys.
        see: Called with key, layer and inputs before the layer computes.
    """
    with ExitStack() as stack:
        for key, layer in layers.items():

            def look(_: Any, args: tuple[Any, ...], given: dict[str, Any], key: str = key) -> None:
                [inputs, *_rest] = (*args, *given.values())
                see(key, layers[key], inputs)

            stack.enter_context(layer.module.register_forward_pre_hook(look, with_kwargs=True))
        yield


@contextmanager
def outputs_of(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect what parts of a module put out while the block runs; see `LanguageModel.activations`."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    parts = dict(module.named_modules())
    if unknown := [name for name in names if name not in parts]:
        raise ValueError(f"{type(module).__name__} has no part {unknown[0]!r}. It has {list(parts)[1:6]}, …")

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _inputs, out: seen[name].append(out[0] if isinstance(out, tuple) else out)

    hooks = [parts[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode, on threads that fit its size, and leave every part of it as it was."""
    was_training = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with fitting_threads(sum(parameter.numel() for parameter in module.parameters())):
            yield
    finally:
        for part, mode in was_training:
            part.training = mode


@contextmanager
def requiring_gradients(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Have gradients for parameters, also those that are frozen otherwise."""
    before = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])
