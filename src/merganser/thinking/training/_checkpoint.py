"""Where a training stands, on disk: weights and the optimiser's moments as safetensors, the rest as JSON.

A checkpoint is a folder `checkpoint/step-N`, which appears whole; those before it are deleted only then. There is no
state of random numbers: batches and dropout follow from seed and step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from merganser._errors import CheckpointError
from merganser.weights import atomic_directory, open_checkpoint, save

CHECKPOINTS_NAME = "checkpoint"
_TENSORS_NAME, _STATE_NAME, _PREFIX = "state.safetensors", "state.json", "step-"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(folder: Path, step: int, model: nn.Module, optimiser: torch.optim.AdamW) -> None:
    """Write where the training stands, then forget where it stood before.

    Args:
        folder: The training's folder.
        step: Steps taken.
        model: What is trained.
        optimiser: Its optimiser.

    Raises:
        OutputError: If it cannot be written.
    """
    parent = folder / CHECKPOINTS_NAME
    place = parent / f"{_PREFIX}{step}"
    tensors = {f"model.{name}": tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in _MOMENTS:
            if moment in optimiser.state[parameter]:
                tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment].cpu()
    with atomic_directory(place, overwrite=True) as inside:
        save(tensors, inside / _TENSORS_NAME)
        (inside / _STATE_NAME).write_text(json.dumps({"step": step}) + "\n")
    for other in parent.iterdir():
        if other != place:
            shutil.rmtree(other)


def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.AdamW) -> int | None:
    """Bring model and optimiser to where the last whole checkpoint stands.

    Args:
        folder: The training's folder.
        model: What is trained, as it is made.
        optimiser: Its optimiser, as it is made.

    Returns:
        Steps taken; None if there is no checkpoint.

    Raises:
        CheckpointError: If it is damaged, or another model's.
    """
    places = [p.parent for p in (folder / CHECKPOINTS_NAME).glob(f"{_PREFIX}*/{_STATE_NAME}")]
    if not places:
        return None
    place = max(places, key=lambda p: int(p.name.removeprefix(_PREFIX)))
    file = open_checkpoint(place / _TENSORS_NAME)
    try:
        step = int(json.loads((place / _STATE_NAME).read_text())["step"])
        weights = {name: file.read(f"model.{name}") for name in model.state_dict()}
        model.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{place} is damaged: {error}. Train into another folder.") from error
    for name, parameter in model.named_parameters():
        if f"{_MOMENTS[0]}.{name}" in file:
            moments = {moment: _like(file.read(f"{moment}.{name}"), parameter) for moment in _MOMENTS}
            optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    return step


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    return tensor.to(parameter.device, copy=True)
