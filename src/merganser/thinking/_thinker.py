"""What all models that answer tick by tick have in common: eyes, and a place on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from merganser.thinking._backbones import backbone
from merganser.thinking._baseline_config import BaselineConfig
from merganser.thinking._config import CTMConfig
from merganser.thinking._positions import positions
from merganser.thinking._pretrained import checkpoint_of, open_as, push_thinker, save_thinker
from merganser.thinking._think import Steps, Thinking
from merganser.thinking._thought import Thought
from merganser.weights import Checkpoint

C = TypeVar("C", CTMConfig, BaselineConfig)
"""What a model is made of."""
S = TypeVar("S")
"""What a thought goes on from."""
_T = TypeVar("_T", bound="Thinker[Any]")


class Thinker(nn.Module, ABC, Generic[C]):
    """A model that answers tick by tick: a [`CTM`][], or what it is compared with.

    Args:
        config: Sizes and parts.

    Attributes:
        config: The same.
        channels: Of the features.
        head: From what a thought came to at a tick to logits; None for none.
        readout: Where its thoughts answer; see [`Thought`][].
    """

    readout: ClassVar[Literal["certain", "instant"]] = "certain"
    head: nn.Linear | None

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.channels = backbone(config)
        self.positions = positions(config.positional, self.channels)

    @abstractmethod
    def forward(
        self, inputs: Num[Tensor, "batch ..."], *, ticks: int | None = None, trace: bool = False
    ) -> Thought[Any]:
        """Think about inputs for a number of ticks.

        Args:
            inputs: What the backbone takes.
            ticks: How many; by default the configuration's.
            trace: Whether to keep what happens inside.

        Raises:
            ValueError: If there are no ticks, or inputs are not what it takes.
        """

    @abstractmethod
    def think(self, inputs: Num[Tensor, "batch ..."], *, ticks: int | None = None) -> Thinking[Any]:
        """Think tick by tick, without gradients: rows of the batch that are done may leave.

        Args:
            inputs: What the backbone takes.
            ticks: How many at most; by default the configuration's.

        Raises:
            ValueError: As for a call, or if the model has no head.
        """

    def features(self, inputs: Num[Tensor, "batch ..."]) -> Float[Tensor, "batch channels *places"]:
        """What the backbone makes of inputs, and where each feature is.

        Args:
            inputs: What the backbone takes.
        """
        features = inputs if self.backbone is None else self.backbone(inputs)
        return features if self.positions is None else features + self.positions(features)

    @classmethod
    def from_pretrained(cls: type[_T], reference: str | Path | Checkpoint) -> _T:
        """A model from a folder, the hub, or a checkpoint, in evaluation mode; a CTM of the official code's too.

        Args:
            reference: A folder, ``org/name``, a checkpoint that is open, or a file of the official training scripts.

        Raises:
            CheckpointError: If it is damaged or another model.
            ConfigError: If its configuration is wrong.
        """
        return open_as(cls, reference)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> Checkpoint:
        """Write ``config.json`` and ``model.safetensors``, atomically, and open what was written.

        Args:
            folder: Where to.
            overwrite: Whether to replace a folder that holds a checkpoint.

        Raises:
            OutputError: If the folder exists and may not be replaced, or cannot be written.
        """
        return save_thinker(self, folder, overwrite=overwrite)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload to the Hugging Face hub; gives the address. Needs ``pip install 'merganser[hub]'``.

        Args:
            name: ``org/name``.
            private: Whether a repository that does not exist yet shall be private.

        Raises:
            OutputError: If huggingface_hub is missing, or the hub refuses.
        """
        return push_thinker(self, name, private=private)

    def checkpoint(self) -> Checkpoint:
        """The model as a checkpoint, to compare, merge or evolve it without a file."""
        return checkpoint_of(self)

    def _checked(self, ticks: int | None) -> int:
        count = self.config.ticks if ticks is None else ticks
        if count < 1:
            raise ValueError(f"`ticks` must be at least 1, but is {count}.")
        return count

    def _thinking(self, steps: Steps[S], batch: int, ticks: int | None) -> Thinking[S]:
        """What hands out these steps tick by tick.

        Raises:
            ValueError: If the model has no head, or there are no ticks.
        """
        if self.head is None:
            raise ValueError("Only models with a head think tick by tick. Call the model instead.")
        rows = torch.arange(batch, device=self.head.weight.device)
        return Thinking(steps, self._read_head, self.config.positions, ticks=self._checked(ticks), rows=rows)

    def _read_head(self, latent: Float[Tensor, "*places latent"]) -> Float[Tensor, "*places outputs"]:
        assert self.head is not None
        return self.head(latent.to(self.head.weight.dtype))
