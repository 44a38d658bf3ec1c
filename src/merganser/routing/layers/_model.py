"""A language model whose MLPs are those of several, mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError
from merganser.models import LanguageModel, SpokenModel, load
from merganser.routing.layers._assemble import RoutedNet, assemble, mlps_of, trunk_distance
from merganser.routing.layers._places import mlp_names
from merganser.routing.layers._plan import LayerRouting
from merganser.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A model that gives a routed one its MLPs.

    Attributes:
        checkpoint: The model.
        mlps: Names of the tensors of its MLPs, as the checkpoint has them.
        trunk_distance: How far the rest of it is from the trunk: ‖rest − trunk‖ / ‖trunk‖; infinity if shapes differ.
    """

    checkpoint: Checkpoint
    mlps: tuple[str, ...]
    trunk_distance: float


class RoutedModel(SpokenModel):
    """A language model on one model's trunk with the MLPs of several; begin with [`RoutedModel.of`][].

    Attributes:
        net: What is routed; its routers can be trained.
        module: The module, of transformers.
        trunk: What gives everything but MLPs.
        ingredients: What gives the MLPs, by name.
    """

    module: nn.Module

    def __init__(
        self, net: RoutedNet, trunk: Checkpoint, ingredients: Mapping[str, Ingredient], tokens: Any
    ) -> None:
        self.net, self.module, self.trunk = net, net.module, trunk
        self.ingredients, self._tokens = dict(ingredients), tokens

    @classmethod
    def of(
        cls,
        models: Mapping[str, str | Path | Checkpoint],
        routing: LayerRouting | None = None,
        *,
        trunk: str | Path | Checkpoint | None = None,
        dtype: str | torch.dtype | None = None,
        device: str = "cpu",
    ) -> RoutedModel:
        """Bring models to life and put their MLPs on one trunk; routers begin with equal shares.

        One model is whole in memory beside the trunk at a time; of the others only MLPs stay.

        Args:
            models: The models whose MLPs are mixed, by name; a base too, if it is to be one of them.
            routing: How; by default a router in each block.
            trunk: What gives attention, norms, embeddings, head and tokenizer; by default the first model.
            dtype: Element type of all parameters but the routers'; by default the one that most of the trunk's have.
            device: Where it lives, as torch names it.

        Raises:
            CheckpointError: If one cannot be read, or is no language model that transformers knows.
            ConfigError: If transformers is not installed.
            ValueError: If there are fewer than two models, they do not fit the trunk, their MLPs cannot be found, or
                torch has no such element type or device.
        """
        routing = routing or LayerRouting()
        opened = {name: _opened(model) for name, model in models.items()}
        if len(opened) < 2:
            raise ValueError(f"Expected at least two models to mix, found {len(opened)}.")
        frame = next(iter(opened.values())) if trunk is None else _opened(trunk)
        alive = load(frame, dtype=dtype, device=device)
        stacks: dict[str, list[nn.Module]] = {}
        ingredients: dict[str, Ingredient] = {}
        for name, checkpoint in opened.items():
            is_trunk = checkpoint is frame or (
                checkpoint.path is not None and checkpoint.source == frame.source
            )
            expert = alive if is_trunk else load(checkpoint, dtype=alive.dtype, device=device)
            stacks[name] = mlps_of(expert.module, routing)
            apart = trunk_distance(alive.module, expert.module, routing)
            ingredients[name] = Ingredient(checkpoint, _tensors_of_mlps(expert, routing), apart)
        return cls(assemble(alive.module, stacks, routing), frame, ingredients, _tokens_of(alive))

    @property
    def tokens(self) -> Any:
        """The trunk's tokenizer.

        Raises:
            CheckpointError: If the trunk has none.
        """
        if self._tokens is None:
            raise CheckpointError(
                f"{self.trunk.source} has no tokenizer. Open it as a folder with `tokenizer.json` beside the tensors."
            )
        return self._tokens

    @property
    def digest(self) -> str:
        """A name for the models that it is made of; reads them once."""
        parts = [self.trunk.digest, *(each.checkpoint.digest for each in self.ingredients.values())]
        return hashlib.sha256(json.dumps([*parts, str(self.net.module.dtype)]).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Number of parameters; those of an MLP that several blocks use count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def _opened(model: str | Path | Checkpoint) -> Checkpoint:
    return model if isinstance(model, Checkpoint) else open_checkpoint(model)


def _tensors_of_mlps(model: LanguageModel, routing: LayerRouting) -> tuple[str, ...]:
    """Tensors on disk that a model's MLPs are made of."""
    places = tuple(f"{place}." for place in mlp_names(model.module, routing.mlps))
    found = [names for name, names in model.names.items() if name.startswith(places)]
    return tuple(dict.fromkeys(name for names in found for name in names))


def _tokens_of(model: LanguageModel) -> Any:
    """A model's tokenizer, if it has one: what is asked for numbers only needs none."""
    try:
        return model.tokens
    except CheckpointError:
        return None
