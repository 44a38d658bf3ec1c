"""Opening checkpoints: one function for each form a checkpoint can have on disk.

[`OPENERS`][] is asked from top to bottom; the first row whose `accepts` holds opens the path. A further
format is one more function and one more row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._json import JsonError, parse_object
from merganser.weights._safetensors import MAX_HEADER_BYTES, SafetensorsFile, open_regular
from merganser.weights._shards import ShardedSource, TensorFile
from merganser.weights._torch_file import SUFFIXES as TORCH_SUFFIXES
from merganser.weights._torch_file import TorchFile

CONFIG_NAME = "config.json"
INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
TORCH_NAME = "pytorch_model.bin"
TORCH_INDEX_NAME = "pytorch_model.bin.index.json"
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Opener:
    """One form of checkpoint.

    Args:
        form: What it looks like, for messages.
        accepts: Whether a path has this form; looks at names only.
        open: Opens a path that has it.
    """

    form: str
    accepts: Callable[[Path], bool]
    open: Callable[[Path], Checkpoint]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint on disk. Headers are read and checked; tensors wait until they are asked for.

    Args:
        path: A ``.safetensors`` file; or a folder with ``model.safetensors``, with
            ``model.safetensors.index.json`` and its shards, or with one ``.safetensors`` file of any name;
            or the same of torch's (``.bin``, ``.pt``, ``.pth``), which are never unpickled beyond plain
            tensors. A folder's ``config.json`` becomes `config`.

    Raises:
        CheckpointError: If nothing is there, its form is not known, or a file is damaged.
    """
    # Files are opened again when they are read, perhaps after a change of directory.
    place = Path(path).expanduser().absolute()
    try:
        if not place.exists():
            raise CheckpointError(f"There is no checkpoint at {path}: no such file or folder. {_forms()}")
        for opener in OPENERS:
            if opener.accepts(place):
                return opener.open(place)
        raise CheckpointError(f"{path} is no checkpoint of a known form. {_found(place)}{_forms()}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _open_file(path: Path) -> Checkpoint:
    return _checkpoint(path, _file(path), {})


def _file(path: Path) -> TensorFile:
    return SafetensorsFile(path) if path.suffix == SUFFIX else TorchFile(path)


def _open_folder_with_one(path: Path) -> Checkpoint:
    single = path / SINGLE_NAME
    file = single if single.exists() else _tensor_files(path)[0]
    return _checkpoint(path, SafetensorsFile(file), _config(path))


def _open_folder_of_torch(path: Path) -> Checkpoint:
    return _checkpoint(path, TorchFile(path / TORCH_NAME), _config(path))


def _open_folder_with_index(path: Path) -> Checkpoint:
    index = next(path / name for name in (INDEX_NAME, TORCH_INDEX_NAME) if (path / name).exists())
    weight_map = _read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f"{index} must have a `weight_map` of file names by tensor name; found none.")
    shards = {file: _file(_shard_path(index, file)) for file in sorted(set(weight_map.values()))}
    return _checkpoint(path, ShardedSource(index, weight_map, shards), _config(path))


def _shard_path(index: Path, file: str) -> Path:
    # A bare name cannot leave the folder. Both grammars, so that no index is safe on one system only.
    if file in ("", ".", "..") or PurePosixPath(file).name != file or PureWindowsPath(file).name != file:
        raise CheckpointError(
            f"{index} names the shard {file!r}: expected the name of a file beside the index, without a path."
        )
    path = index.parent / file
    if not path.exists():
        raise CheckpointError(
            f"{index} names the shard {file!r}, which is missing. Download or copy it again."
        )
    return path


def _checkpoint(path: Path, source: TensorFile, config: Mapping[str, Any]) -> Checkpoint:
    # As in safetensors.torch.save_model: the metadata of a tied name is the name that was kept.
    metadata, specs = source.metadata, source.specs
    tied = {name: kept for name, kept in metadata.items() if name not in specs and kept in specs}
    return Checkpoint(source, source=str(path), path=path, config=config, metadata=metadata, tied=tied)


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_NAME
    if not path.exists():
        return MappingProxyType({})
    try:
        # Not strict: configurations in the wild hold NaN and Infinity, as Python writes them.
        config = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds a {type(config).__name__}.")
    return config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return parse_object(_read_text(path).strip())
    except JsonError as error:
        raise CheckpointError(f"{path} is malformed: {error}.") from error


def _read_text(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            text = file.read(MAX_HEADER_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(text) > MAX_HEADER_BYTES:
        raise CheckpointError(f"{path} is too large: expected at most {MAX_HEADER_BYTES} bytes.")
    return text


def _tensor_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("."))


def _found(path: Path) -> str:
    if not path.is_dir():
        return f"Its name ends in {path.suffix!r}. "
    names = sorted(file.name for file in path.iterdir())
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"It is a folder that holds: {listed or 'nothing'}. "


def _forms() -> str:
    return "Expected " + "; or ".join(opener.form for opener in OPENERS) + "."


OPENERS: tuple[Opener, ...] = (
    Opener(f"a file *{SUFFIX}", lambda path: path.is_file() and path.suffix == SUFFIX, _open_file),
    Opener(
        f"a folder with {SINGLE_NAME}",
        lambda path: path.is_dir() and (path / SINGLE_NAME).exists(),
        _open_folder_with_one,
    ),
    Opener(
        f"a folder with {INDEX_NAME} and its shards",
        lambda path: path.is_dir() and (path / INDEX_NAME).exists(),
        _open_folder_with_index,
    ),
    Opener(
        f"a folder with exactly one file *{SUFFIX}",
        lambda path: path.is_dir() and len(_tensor_files(path)) == 1,
        _open_folder_with_one,
    ),
    Opener(
        "a file of torch's (" + ", ".join(f"*{suffix}" for suffix in TORCH_SUFFIXES) + ")",
        lambda path: path.is_file() and path.suffix in TORCH_SUFFIXES,
        _open_file,
    ),
    Opener(
        f"a folder with {TORCH_NAME}",
        lambda path: path.is_dir() and (path / TORCH_NAME).exists(),
        _open_folder_of_torch,
    ),
    Opener(
        f"a folder with {TORCH_INDEX_NAME} and its shards",
        lambda path: path.is_dir() and (path / TORCH_INDEX_NAME).exists(),
        _open_folder_with_index,
    ),
)
"""Every form that can be opened, in the order in which they are tried."""
