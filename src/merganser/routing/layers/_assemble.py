"""A module with several models' MLPs, put together without a copy of a tensor."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from merganser.routing.layers._places import mlp_names, width_of
from merganser.routing.layers._plan import LayerRouting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from merganser.routing.layers._modules import RoutedMlp


@dataclass(frozen=True, slots=True)
class RoutedNet:
    """A torch module whose MLPs are those of several models, mixed; made by [`assemble`][].

    Attributes:
        module: The module. Everything but the routers is shared with the models it was made of.
        routing: How they are mixed.
        experts: Names of the models.
        mlps: Names of the routed MLPs in the module, block by block.
        routers: What is trained, by name: ``static``, ``single``, or ``block.N``.
    """

    module: nn.Module
    routing: LayerRouting
    experts: tuple[str, ...]
    mlps: tuple[str, ...]
    routers: Mapping[str, nn.Parameter]

    @property
    def parameters(self) -> int:
        """Trainable parameters of all routers."""
        return sum(weight.numel() for weight in self.routers.values())

    def block(self, number: int) -> RoutedMlp:
        """What mixes the MLPs of a block."""
        part: Any = self.module.get_submodule(self.mlps[number])
        return part

    def weights(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Copies of the routers' weights, float32, by name."""
        return {name: weight.detach().cpu().numpy().copy() for name, weight in self.routers.items()}

    def set_weights(self, weights: Mapping[str, Float[Any, "..."]]) -> None:
        """Write the routers' weights.

        Args:
            weights: For each router numbers of its shape: (experts, width), or (models − 1,) for ``static``.

        Raises:
            ValueError: If names or shapes are not the routers'.
        """
        import torch

        found = {name: tuple(np.shape(value)) for name, value in weights.items()}
        expected = {name: tuple(weight.shape) for name, weight in self.routers.items()}
        if found != expected:
            raise ValueError(f"Expected weights of the shapes {expected}, found {found}.")
        with torch.no_grad():
            for name, value in weights.items():
                self.routers[name].copy_(torch.as_tensor(np.asarray(value, dtype=np.float32)))

    @contextmanager
    def dense(self) -> Iterator[None]:
        """Mix all experts while the block runs, whatever `top_k` says."""
        gates = [self.block(number).gate for number in range(len(self.mlps))]
        before = [gate.top_k for gate in gates]
        try:
            for gate in gates:
                gate.top_k = None
            yield
        finally:
            for gate, top_k in zip(gates, before, strict=True):
                gate.top_k = top_k


def assemble(
    trunk: nn.Module, experts: Mapping[str, nn.Module | Sequence[nn.Module]], routing: LayerRouting
) -> RoutedNet:
    """Put the MLPs of several models into the place of a trunk's.

    None of the modules is changed, and no tensor copied. At block $l$ the experts are the MLPs of all models at the
    depths of [`LayerRouting.depths`][], depth by depth, in the models' order.

    Args:
        trunk: Gives all that is no MLP.
        experts: The models whose MLPs are mixed, by name, or those MLPs; the trunk may be among them. They may differ
            in the width inside their MLPs, but not in the number of blocks.
        routing: How.

    Raises:
        ValueError: If there are fewer than two experts, the MLPs cannot be found, or they do not fit the trunk.
    """
    if len(experts) < 2:
        raise ValueError(f"Expected at least two models to mix, found {len(experts)}.")
    places = mlp_names(trunk, routing.mlps)
    width = width_of(trunk.get_submodule(places[0]))
    stacks = [_stack(name, model, routing, len(places), width) for name, model in experts.items()]
    module = _sharing_copy(trunk)
    module.requires_grad_(False)
    routers = _routers(routing, len(stacks), len(places), width, _device(stacks[0][0]))
    for place, router, depths in zip(places, routers, routing.depths(len(places)), strict=True):
        _install(module, place, [stack[depth] for depth in depths for stack in stacks], router, routing)
    return RoutedNet(module.eval(), routing, tuple(experts), places, _trainable(routing, routers))


def trunk_distance(trunk: nn.Module, expert: nn.Module, routing: LayerRouting) -> float:
    """How far what an expert has besides its MLPs is from the trunk: ‖expert − trunk‖ / ‖trunk‖.

    Args:
        trunk: The trunk.
        expert: The expert.
        routing: Says which parts are MLPs.

    Returns:
        0 for the same numbers; infinity if tensors of other shapes are among them.
    """
    mlps = tuple(f"{name}." for name in mlp_names(trunk, routing.mlps))
    theirs = dict(expert.named_parameters())
    apart = length = 0.0
    for name, mine in trunk.named_parameters():
        if name.startswith(mlps):
            continue
        if name not in theirs or theirs[name].shape != mine.shape:
            return float("inf")
        apart += float((theirs[name].detach().double() - mine.detach().double()).square().sum())
        length += float(mine.detach().double().square().sum())
    return (apart / length) ** 0.5 if length else 0.0


def mlps_of(model: nn.Module, routing: LayerRouting) -> list[nn.Module]:
    """A model's MLPs, block by block; errors are those of [`assemble`][]."""
    return [model.get_submodule(place) for place in mlp_names(model, routing.mlps)]


def _stack(
    name: str, model: nn.Module | Sequence[nn.Module], routing: LayerRouting, blocks: int, width: int
) -> list[nn.Module]:
    """An expert's MLPs, as copies of their structure."""
    mlps = model if isinstance(model, Sequence) else mlps_of(model, routing)
    if len(mlps) != blocks:
        raise ValueError(f"Expected {blocks} blocks, as the trunk has, but {name!r} has {len(mlps)}.")
    if wrong := [found for found in map(width_of, mlps) if found != width]:
        raise ValueError(
            f"Expected MLPs of width {width}, the trunk's, but those of {name!r} have {wrong[0]}."
        )
    return [_sharing_copy(mlp).eval().requires_grad_(False) for mlp in mlps]


def _sharing_copy(module: nn.Module) -> nn.Module:
    """A module of the same structure with the same memory."""
    from torch import nn

    held: dict[int, Any] = {}
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                held[id(tensor)] = _view(tensor) if isinstance(tensor, nn.Parameter) else tensor
    return copy.deepcopy(module, held)


def _view(parameter: nn.Parameter) -> nn.Parameter:
    """The same memory, with a flag of its own for whether it is trained."""
    from torch import nn

    return nn.Parameter(parameter.detach(), requires_grad=False)


def _routers(routing: LayerRouting, models: int, blocks: int, width: int, device: Any) -> Sequence[nn.Module]:
    """The router of each block."""
    from merganser.routing.layers._modules import Recalled, Router, StaticShares

    def router() -> Router:
        return Router(models * routing.reach, width, own=models, own_bias=routing.own_bias, device=device)

    if routing.level == "static":
        return [StaticShares(models, device)] * blocks
    if routing.level == "single":
        first = router()
        return [first, *(Recalled(first) for _ in range(blocks - 1))]
    return [router() for _ in range(blocks)]


def _trainable(routing: LayerRouting, routers: Sequence[nn.Module]) -> dict[str, nn.Parameter]:
    if routing.level in ("static", "single"):
        return {str(routing.level): routers[0].get_parameter("weight")}
    return {f"block.{number}": router.get_parameter("weight") for number, router in enumerate(routers)}


def _install(
    module: nn.Module, place: str, experts: Sequence[nn.Module], router: nn.Module, routing: LayerRouting
) -> None:
    from merganser.routing.layers._modules import RoutedMlp

    above, _, name = place.rpartition(".")
    setattr(module.get_submodule(above), name, RoutedMlp(experts, router, routing.top_k))


def _device(mlp: nn.Module) -> Any:
    first: Tensor = next(mlp.parameters())
    return first.device
