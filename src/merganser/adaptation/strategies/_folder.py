"""An adaptive model as a folder: its base by name and digest, its experts, and how requests come to them.

| file | what |
| --- | --- |
| ``adaptive.json`` | version, base (reference and digest), experts (file and description), strategy |
| ``experts/N.safetensors`` | the experts |
| ``factors/`` | the base's decomposition, where it is kept |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError, OutputError
from merganser.adaptation._decomposition import decompose
from merganser.adaptation._expert_file import open_expert, save_expert
from merganser.adaptation.strategies._model import AdaptiveModel
from merganser.adaptation.strategies._specialist import Specialist
from merganser.adaptation.strategies._strategies import strategy_from_json
from merganser.weights import (
    Checkpoint,
    atomic_directory,
    atomic_write_text,
    open_checkpoint,
    refuse_existing,
)

if TYPE_CHECKING:
    import torch

ADAPTIVE_NAME = "adaptive.json"
_VERSION = 1
_EXPERTS, _FACTORS = "experts", "factors"


def is_adaptive(reference: Any) -> bool:
    """Whether a reference is a folder with an adaptive model."""
    return isinstance(reference, str | Path) and (Path(reference).expanduser() / ADAPTIVE_NAME).is_file()


def save_adaptive(
    model: AdaptiveModel, path: str | Path, *, keep_factors: bool = False, overwrite: bool = False
) -> Path:
    """Write an adaptive model as a folder, atomically; its base is named, not copied.

    Args:
        model: The model.
        path: The folder.
        keep_factors: Keep the base's decomposition in it, so that opening it takes no time; about two to three times as
            large as the matrices.
        overwrite: Whether to replace a folder with another adaptive model.

    Raises:
        ValueError: If the base is only in memory.
        OutputError: If the folder exists and may not be replaced, or cannot be written.
    """
    place = Path(path).expanduser()
    refuse_existing(place, overwrite=overwrite)
    if place.exists() and not is_adaptive(place):
        raise OutputError(
            f"{place} exists, but is no adaptive model, so it is not overwritten. Choose another path."
        )
    base = _named(model.base)
    with atomic_directory(place, overwrite=overwrite) as folder:
        experts: dict[str, dict[str, str]] = {}
        for number, (name, each) in enumerate(model.specialists.items()):
            file = f"{_EXPERTS}/{number}.safetensors"
            (folder / _EXPERTS).mkdir(exist_ok=True)
            save_expert(each.vector, folder / file)
            experts[name] = {"file": file, "description": each.description}
        if keep_factors:
            decompose(model.base, list(model.adapted.decomposition), cache=folder / _FACTORS)
        facts = {
            "version": _VERSION,
            "base": base,
            "experts": experts,
            "strategy": model.strategy.to_json(),
        }
        atomic_write_text(folder / ADAPTIVE_NAME, json.dumps(facts, indent=2) + "\n")
    return place


def open_adaptive(
    path: str | Path,
    *,
    cache: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
) -> AdaptiveModel:
    """Bring an adaptive model to life.

    Args:
        path: Its folder.
        cache: Folder that keeps the decomposition of the base; by default its own, if it has one.
        dtype: Element type of the base's parameters; by default the one that most numbers have on disk.
        device: Where it lives, as torch names it.

    Raises:
        CheckpointError: If the folder is damaged, or the base is missing or not the one it was made of.
        ConfigError: If its strategy is unknown, or transformers is not installed.
        ValueError: If torch has no such element type or device.
    """
    folder = Path(path).expanduser()
    file = folder / ADAPTIVE_NAME
    try:
        facts = json.loads(file.read_bytes())
        if facts["version"] != _VERSION:
            raise CheckpointError(
                f"{file} is of version {facts['version']}, but this release reads version {_VERSION}. Update merganser."
            )
        said = {
            str(name): (str(each["file"]), str(each["description"]))
            for name, each in facts["experts"].items()
        }
        reference, digest = str(facts["base"]["reference"]), str(facts["base"]["digest"])
        strategy = dict(facts["strategy"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} does not describe an adaptive model: {error!r}.") from error
    base = open_checkpoint(reference)
    if base.digest != digest:
        raise CheckpointError(
            f"{reference} is not the base that {file} was made of: expected the digest {digest[:16]}…, found "
            f"{base.digest[:16]}…. Put that base back, or make the adaptive model anew."
        )
    experts = {name: Specialist(open_expert(folder / each), words) for name, (each, words) in said.items()}
    own = folder / _FACTORS
    cache = own if cache is None and own.is_dir() else cache
    how = strategy_from_json(strategy)
    return AdaptiveModel.of(base, experts, how, cache=cache, dtype=dtype, device=device)


def _named(base: Checkpoint) -> dict[str, str]:
    """The base by its reference, which must open it again."""
    try:
        digest = open_checkpoint(base.source).digest
    except CheckpointError:
        digest = None
    if digest != base.digest:
        raise ValueError(f"{base.source} is in memory, or was changed, and cannot be named. Save it first.")
    return {"reference": str(base.source), "digest": base.digest}
