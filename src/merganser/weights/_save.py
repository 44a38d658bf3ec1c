"""Saving a whole checkpoint: one file, or a folder with its shards, index and configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from merganser._errors import OutputError
from merganser.weights._atomic import atomic_directory, output_errors, refuse_existing
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._open import CONFIG_NAME, INDEX_NAME, SINGLE_NAME, SUFFIX, open_checkpoint
from merganser.weights._spec import TensorSpec
from merganser.weights._write import ShardWriter

SHARD_BYTES = 5_000_000_000
_FORMAT = {"format": "pt"}  # transformers does not load files that do not say so


def save(
    tensors: Checkpoint | Mapping[str, Any],
    path: str | Path,
    *,
    shard_size: int | None = SHARD_BYTES,
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    verify: bool = True,
) -> Checkpoint:
    """Write a checkpoint, atomically and tensor by tensor, and open what was written.

    Args:
        tensors: A checkpoint; or torch tensors or numpy arrays by name.
        path: Where to. A name that ends in ``.safetensors`` becomes one file, which holds no
            configuration; any other a folder.
        shard_size: Bytes of tensors a file of the folder may have, unless a single tensor has more;
            None for no limit.
        config: The folder's ``config.json``; by default the checkpoint's own.
        metadata: Free strings for the headers, added to the checkpoint's own.
        overwrite: Whether to replace a file, or a folder that holds a checkpoint (with all it holds).
        verify: Whether to read every tensor back before the output gets its name.

    Returns:
        The checkpoint on disk.

    Raises:
        ValueError: If `config` is given for a single file, `shard_size` is not positive, or a name or the
            metadata cannot be stored.
        TypeError: If a value is no tensor that can be stored.
        CheckpointError: If the checkpoint to save is damaged.
        OutputError: If the target exists and may not be replaced, or cannot be written.
    """
    place = Path(path).expanduser().absolute()
    checkpoint = tensors if isinstance(tensors, Checkpoint) else Checkpoint.from_tensors(tensors, copy=False)
    strings = {**_FORMAT, **checkpoint.metadata, **checkpoint.tied, **(metadata or {})}
    specs = _file_order(checkpoint)
    with output_errors(place, sum(spec.nbytes for spec in specs)):
        if place.suffix == SUFFIX:
            if config is not None:
                raise ValueError(f"A single file holds no configuration. Save to a folder, not to {path}.")
            _write_file(checkpoint, place, specs, strings, overwrite=overwrite, verify=verify)
        else:
            _refuse_foreign(place, overwrite)
            shards = plan_shards(specs, shard_size)
            with atomic_directory(place, overwrite=overwrite) as folder:
                _write_shards(checkpoint, folder, shards, strings, verify=verify)
                _write_config(folder, checkpoint.config if config is None else config)
    return open_checkpoint(place)


def plan_shards(specs: Iterable[TensorSpec], shard_size: int | None) -> tuple[tuple[TensorSpec, ...], ...]:
    """Cut a sequence of tensors into shards of at most `shard_size` bytes; no tensor is cut.

    Raises:
        ValueError: If `shard_size` is not positive.

    Examples:
        >>> specs = [TensorSpec(name, "U8", (length,)) for name, length in [("a", 3), ("b", 3), ("c", 9)]]
        >>> [[spec.name for spec in shard] for shard in plan_shards(specs, 6)]
        [['a', 'b'], ['c']]
    """
    if shard_size is not None and shard_size < 1:
        raise ValueError(f"`shard_size` must be a positive number of bytes or None, but is {shard_size}.")
    shards: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in specs:
        if shard_size is not None and shards[-1] and filled + spec.nbytes > shard_size:
            shards.append([])
            filled = 0
        shards[-1].append(spec)
        filled += spec.nbytes
    return tuple(tuple(shard) for shard in shards)


def _file_order(checkpoint: Checkpoint) -> list[TensorSpec]:
    # Widest elements first keeps every tensor aligned, since the sizes are multiples of each other.
    return sorted((checkpoint.spec(name) for name in checkpoint), key=lambda spec: -spec.itemsize)


def _write_shards(
    checkpoint: Checkpoint,
    folder: Path,
    shards: Sequence[Sequence[TensorSpec]],
    metadata: Mapping[str, str],
    *,
    verify: bool,
) -> None:
    if len(shards) == 1:
        _write_file(checkpoint, folder / SINGLE_NAME, shards[0], metadata, verify=verify)
        return
    weight_map: dict[str, str] = {}
    for i, shard in enumerate(shards, start=1):
        file = f"model-{i:05d}-of-{len(shards):05d}{SUFFIX}"
        _write_file(checkpoint, folder / file, shard, metadata, verify=verify)
        weight_map |= dict.fromkeys((spec.name for spec in shard), file)
    total = sum(spec.nbytes for shard in shards for spec in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_file(
    checkpoint: Checkpoint,
    path: Path,
    specs: Sequence[TensorSpec],
    metadata: Mapping[str, str],
    *,
    verify: bool,
    overwrite: bool = False,
) -> None:
    with ShardWriter(path, specs, metadata=metadata, overwrite=overwrite, verify=verify) as writer:
        for spec in specs:
            for chunk in checkpoint.chunks(spec.name):
                writer.write(spec.name, chunk)


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    if config:
        text = json.dumps(dict(config), indent=2, sort_keys=True) + "\n"
        (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def _refuse_foreign(path: Path, overwrite: bool) -> None:
    """Refuse to replace what is no checkpoint: a mistyped path must not cost a folder of other things."""
    refuse_existing(path, overwrite=overwrite)
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not _holds_tensors(path)):
        raise OutputError(
            f"{path} exists, but is no folder with a checkpoint, so it is not overwritten. "
            "Choose another path."
        )


def _holds_tensors(folder: Path) -> bool:
    return (folder / INDEX_NAME).exists() or any(folder.glob(f"*{SUFFIX}"))
