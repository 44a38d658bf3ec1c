"""A training as a folder.

| name | what |
| --- | --- |
| `training.json` | what is trained on what and how; once it is over, what came of it |
| `history.jsonl` | a line for each step |
| `checkpoint/` | the last checkpoint |
| `expert.safetensors`, `adapter/` or `model/` | the best expert, LoRA adapter of PEFT, or model |
| `report.html` | all of it as pictures, if the command made it |
"""

from __future__ import annotations

from pathlib import Path

EXPERT_NAME, ADAPTER_NAME, MODEL_NAME = "expert.safetensors", "adapter", "model"
CHECKPOINTS_NAME, WHOLE_NAME = "checkpoint", "whole.json"


def last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint of a training; None if there is none."""
    places = (folder / CHECKPOINTS_NAME).glob(f"checkpoint-*/{WHOLE_NAME}")
    return max((each.parent for each in places), key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Steps taken before a checkpoint, by its name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))
