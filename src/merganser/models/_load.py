"""From a reference to a model that speaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from merganser.merging import RECIPE_NAME, MergePlan, plan_recipe, read_recipe
from merganser.models._language import LanguageModel
from merganser.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import torch


def load(
    model: str | Path | Checkpoint | MergePlan,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
) -> LanguageModel:
    """Bring a language model to life.

    Args:
        model: A reference as [`open_checkpoint`][] takes it, a ``recipe.json`` whose models are where they were, a
            checkpoint, or the plan of a merge, which is carried out in the model's memory.
        dtype: Element type of its parameters, torch's or its name; by default the one that most numbers have on disk.
        device: Where it lives, as torch names it.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or is no language model that transformers knows.
        ConfigError: If transformers is not installed, or a recipe cannot be carried out.
        ValueError: If torch has no such element type or device.
    """
    child = model if isinstance(model, Checkpoint | MergePlan) else open_child(model)
    alive = LanguageModel.of(child, dtype=dtype, device=device)
    alive.become(child)
    return alive


def open_child(reference: str | Path) -> Checkpoint | MergePlan:
    """A checkpoint, or the plan of a recipe; arguments and errors are those of `load`."""
    path = Path(reference).expanduser()
    if path.name == RECIPE_NAME and path.is_file():
        return plan_recipe(read_recipe(path))
    return open_checkpoint(reference)
