"""A routed model as a folder: what it is made of, by name and digest, and the routers' weights.

| file | what |
| --- | --- |
| ``routed.json`` | version, routing, trunk and experts: reference and digest of each |
| ``router.safetensors`` | the routers' weights, float32 |
| ``trunk/``, ``experts/NAME/`` | copies, if it is self-contained; of experts the MLPs and the configuration |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError, OutputError
from merganser.merging import plan_merge, write_companions
from merganser.routing.layers._model import RoutedModel
from merganser.routing.layers._plan import LayerRouting
from merganser.weights import (
    Checkpoint,
    atomic_directory,
    atomic_write_text,
    open_checkpoint,
    refuse_existing,
    save,
)

if TYPE_CHECKING:
    import torch

ROUTED_NAME, ROUTER_NAME = "routed.json", "router.safetensors"
_VERSION = 1
_TRUNK, _EXPERTS = "trunk", "experts"


def is_routed(reference: Any) -> bool:
    """Whether a reference is a folder with a routed model."""
    return isinstance(reference, str | Path) and (Path(reference).expanduser() / ROUTED_NAME).is_file()


def save_routed(
    model: RoutedModel, path: str | Path, *, self_contained: bool = False, overwrite: bool = False
) -> None:
    """Write a routed model as a folder, atomically.

    Args:
        model: The model.
        path: The folder.
        self_contained: Copy trunk and MLPs into it, rather than naming the models that have them.
        overwrite: Whether to replace a folder with another routed model.

    Raises:
        ValueError: If the models are only in memory, and it is not to be self-contained.
        OutputError: If the folder exists and may not be replaced, or cannot be written.
        CheckpointError: If a model cannot be read any more.
    """
    place = Path(path).expanduser()
    refuse_existing(place, overwrite=overwrite)
    if place.exists() and not is_routed(place):
        raise OutputError(
            f"{place} exists, but is no routed model, so it is not overwritten. Choose another path."
        )
    with atomic_directory(place, overwrite=overwrite) as folder:
        if self_contained:
            trunk, experts = _copied(model, folder)
        else:
            trunk = _named(model.trunk)
            experts = {name: _named(each.checkpoint) for name, each in model.ingredients.items()}
        facts = {
            "version": _VERSION,
            "kind": "layers",
            "routing": model.net.routing.to_json(),
            "trunk": trunk,
            "experts": experts,
        }
        atomic_write_text(folder / ROUTED_NAME, json.dumps(facts, indent=2) + "\n")
        save(model.net.weights(), folder / ROUTER_NAME)


def open_routed(
    path: str | Path, *, dtype: str | torch.dtype | None = None, device: str = "cpu"
) -> RoutedModel:
    """Bring a routed model to life.

    Args:
        path: Its folder.
        dtype: Element type of all parameters but the routers'; by default the one that most of the trunk's have.
        device: Where it lives, as torch names it.

    Raises:
        CheckpointError: If the folder is damaged, or one of its models is missing or not the one it was made of.
        ConfigError: If transformers is not installed.
        ValueError: If torch has no such element type or device.
    """
    folder = Path(path).expanduser()
    file = folder / ROUTED_NAME
    try:
        facts = json.loads(file.read_bytes())
        if facts["version"] != _VERSION:
            raise CheckpointError(
                f"{file} is of version {facts['version']}, but this release reads version {_VERSION}. Update merganser."
            )
        routing = LayerRouting.from_json(facts["routing"])
        named = {str(name): dict(said) for name, said in facts["experts"].items()}
        trunk = _opened(folder, dict(facts["trunk"]), file)
        experts = {name: _opened(folder, said, file) for name, said in named.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} does not describe a routed model: {error!r}.") from error
    models = {name: _whole(each, trunk, named[name]) for name, each in experts.items()}
    model = RoutedModel.of(models, routing, trunk=trunk, dtype=dtype, device=device)
    router = open_checkpoint(folder / ROUTER_NAME)
    try:
        model.net.set_weights({name: router.read(name).numpy() for name in router})
    except ValueError as error:
        raise CheckpointError(f"{folder / ROUTER_NAME} does not fit {file}: {error}") from error
    return model


def _named(checkpoint: Checkpoint) -> dict[str, Any]:
    """A model by its reference, which must open it again."""
    try:
        digest = open_checkpoint(checkpoint.source).digest
    except CheckpointError:
        digest = None
    if digest != checkpoint.digest:
        raise ValueError(
            f"{checkpoint.source} is in memory, or was changed, and cannot be named. Save it self-contained."
        )
    return {"reference": checkpoint.source, "digest": digest}


def _copied(model: RoutedModel, folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Copy trunk and MLPs into a folder; gives what is said of them."""
    copy = save(model.trunk, folder / _TRUNK)
    write_companions(plan_merge([model.trunk], "passthrough"), folder / _TRUNK)
    trunk = {"reference": _TRUNK, "digest": copy.digest, "origin": model.trunk.source}
    experts = {}
    for number, (name, each) in enumerate(model.ingredients.items()):
        inside = f"{_EXPERTS}/{number}"
        mlps = {tensor: each.checkpoint.read(tensor) for tensor in each.mlps}
        copy = save(mlps, folder / inside, config=each.checkpoint.config)
        experts[name] = {"reference": inside, "digest": copy.digest, "origin": each.checkpoint.source}
    return trunk, experts


def _opened(folder: Path, said: Mapping[str, Any], file: Path) -> Checkpoint:
    """A model that is named or copied, if it is the one that it should be."""
    reference = str(said["reference"])
    checkpoint = open_checkpoint(folder / reference if "origin" in said else reference)
    if checkpoint.digest != said["digest"]:
        raise CheckpointError(
            f"{checkpoint.source} is not the model that {file} was made of: expected the digest "
            f"{said['digest'][:16]}…, found {checkpoint.digest[:16]}…. Put that model back, or route anew; "
            "`self_contained` copies what is needed."
        )
    return checkpoint


def _whole(expert: Checkpoint, trunk: Checkpoint, said: Mapping[str, Any]) -> Checkpoint:
    """An expert of which only MLPs were copied, with the rest of the trunk."""
    if "origin" not in said:
        return expert
    tensors = {name: trunk.read(name) for name in trunk} | {name: expert.read(name) for name in expert}
    return Checkpoint.from_tensors(tensors, config=expert.config, copy=False)
