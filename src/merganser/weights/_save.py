"""Saving a whole checkpoint: one file, or a folder with its shards, index and configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from merganser._errors import OutputError
from merganser.weights._atomic import atomic_directory, atomic_write_text, output_errors, refuse_existing
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
    strings = {**file_metadata(checkpoint), **(metadata or {})}
    specs = [checkpoint.spec(name) for name in checkpoint]
    with output_errors(place, sum(spec.nbytes for spec in specs)):
        if place.suffix == SUFFIX:
            if config is not None:
                raise ValueError(f"A single file holds no configuration. Save to a folder, not to {path}.")
            [ordered] = shard_files(specs, None).values()
            _write_file(checkpoint, place, ordered, strings, overwrite=overwrite, verify=verify)
        else:
            refuse_foreign(place, overwrite=overwrite)
            files = shard_files(specs, shard_size)
            with atomic_directory(place, overwrite=overwrite) as folder:
                for file, shard in files.items():
                    _write_file(checkpoint, folder / file, shard, strings, verify=verify)
                write_index(folder, files)
                write_config(folder, checkpoint.config if config is None else config)
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


def shard_files(specs: Iterable[TensorSpec], shard_size: int | None) -> dict[str, tuple[TensorSpec, ...]]:
    """Names of a folder's files and what each holds, widest elements first, which keeps every tensor aligned.

    Raises:
        ValueError: If `shard_size` is not positive.
    """
    shards = plan_shards(sorted(specs, key=lambda spec: -spec.itemsize), shard_size)
    if len(shards) == 1:
        return {SINGLE_NAME: shards[0]}
    return {f"model-{i:05d}-of-{len(shards):05d}{SUFFIX}": shard for i, shard in enumerate(shards, start=1)}


def write_index(folder: Path, files: Mapping[str, Sequence[TensorSpec]]) -> None:
    """Write the index that says which tensor is in which file; a single file needs none."""
    if len(files) == 1:
        return
    weight_map = {spec.name: file for file, specs in files.items() for spec in specs}
    total = sum(spec.nbytes for specs in files.values() for spec in specs)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    atomic_write_text(folder / INDEX_NAME, json.dumps(index, indent=2) + "\n")


def file_metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """Free strings for the headers of files with a checkpoint's tensors: its own, and its tied names."""
    return {**_FORMAT, **checkpoint.metadata, **checkpoint.tied}


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


def write_config(folder: Path, config: Mapping[str, Any], name: str = CONFIG_NAME) -> None:
    """Write a folder's ``config.json``, or another file of this kind, if there is anything to write."""
    if config:
        atomic_write_text(folder / name, json.dumps(dict(config), indent=2, sort_keys=True) + "\n")


def refuse_foreign(path: Path, *, overwrite: bool) -> None:
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
