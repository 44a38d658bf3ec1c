"""From a reference to a model that speaks, routed and adaptive ones among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

from merganser.adaptation.strategies import AdaptiveModel, is_adaptive, open_adaptive
from merganser.merging import MergePlan
from merganser.models import LanguageModel
from merganser.models import load as load_plain
from merganser.routing.layers import RoutedModel, is_routed, open_routed
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    import torch


@overload
def load(
    model: Checkpoint | MergePlan, *, dtype: str | torch.dtype | None = None, device: str = "cpu"
) -> LanguageModel: ...
@overload
def load(
    model: str | Path, *, dtype: str | torch.dtype | None = None, device: str = "cpu"
) -> LanguageModel | RoutedModel | AdaptiveModel: ...
def load(
    model: str | Path | Checkpoint | MergePlan,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
) -> LanguageModel | RoutedModel | AdaptiveModel:
    """Bring a language model to life.

    Args:
        model: A reference as [`open_checkpoint`][] takes it, a ``recipe.json`` whose models are where they were, a
            checkpoint, the plan of a merge, or the folder of a routed or adaptive model.
        dtype: Element type of its parameters, torch's or its name; by default the one that most numbers have on disk.
        device: Where it lives, as torch names it.

    Returns:
        A model that generates and scores; a plain one becomes other models in place.

    Raises:
        CheckpointError: If the checkpoint cannot be read, is no language model that transformers knows, or a routed
            or adaptive model is not made of what it should be.
        ConfigError: If transformers is not installed, or a recipe cannot be carried out.
        ValueError: If torch has no such element type or device.
    """
    if isinstance(model, str | Path) and is_routed(model):
        return open_routed(model, dtype=dtype, device=device)
    if isinstance(model, str | Path) and is_adaptive(model):
        return open_adaptive(model, dtype=dtype, device=device)
    return load_plain(model, dtype=dtype, device=device)
