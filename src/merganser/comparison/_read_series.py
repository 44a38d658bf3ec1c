"""The checkpoints of one training, by the steps that their names end in."""

from __future__ import annotations

import re
from glob import has_magic
from pathlib import Path

from merganser._errors import CheckpointError

_FILES = (".safetensors", ".gguf")
_NUMBER = re.compile(r"\d+")


def read_series(reference: str) -> dict[int, str]:
    """Checkpoints of one training by their steps.

    Args:
        reference: A folder with a folder or ``.safetensors`` file for each, or a pattern such as ``runs/a-*``, in which
            only the last part may vary. The step is the last number in a name. Where no name holds a number, the
            order of the names is the order of steps.

    Returns:
        Paths by step, in order.

    Raises:
        CheckpointError: If there is no checkpoint, a name of several holds no number, or two have the same.
    """
    found = sorted(path for path in _entries(Path(reference)) if path.is_dir() or path.suffix in _FILES)
    numbers = {path: _NUMBER.findall(path.stem if path.is_file() else path.name) for path in found}
    if any(numbers.values()) and not has_magic(reference):
        numbers = {path: digits for path, digits in numbers.items() if digits}  # trainers keep logs there too
    if not numbers:
        raise CheckpointError(
            f"Expected checkpoints in {reference}, a folder for each, but found none. Name the folder they lie in, or "
            "a pattern in quotation marks."
        )
    if not any(numbers.values()):
        return {place: str(path) for place, path in enumerate(numbers, start=1)}
    steps: dict[int, str] = {}
    for path, digits in numbers.items():
        if not digits or int(digits[-1]) in steps:
            fault = f"the same as {Path(steps[int(digits[-1])]).name}" if digits else "no number"
            raise CheckpointError(
                f"Expected a step of its own in every name of {reference}, but {path.name} has {fault}. Rename it, or "
                "name the checkpoints by a pattern that leaves it out."
            )
        steps[int(digits[-1])] = str(path)
    return dict(sorted(steps.items()))


def _entries(reference: Path) -> list[Path]:
    """What lies in a folder, or what a pattern in the last part of a path stands for."""
    try:
        if has_magic(reference.name):
            return list(reference.parent.glob(reference.name))
        return list(reference.iterdir())
    except OSError as error:
        raise CheckpointError(f"{reference} cannot be read as a folder: {error.strerror}.") from error
