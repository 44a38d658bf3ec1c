"""Opening checkpoints: one function for each form a checkpoint can have on disk.

[`OPENERS`][] is asked from top to bottom; the first row whose `accepts` holds opens the path. A further
format is one more function and one more row. What is no path is a hub id, whose files are fetched and then opened
as any folder, or a base with adapters, each of which is a reference of its own.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._adapter import adapted
from merganser.weights._adapter_config import CONFIG_NAME as ADAPTER_CONFIG_NAME
from merganser.weights._adapter_config import read_lora_settings
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._gguf import SUFFIX as GGUF_SUFFIX
from merganser.weights._gguf import GgufFile
from merganser.weights._hub import Choice, adapter_files, fetch, model_files
from merganser.weights._json import read_config, read_object
from merganser.weights._reference import HubId, Place, Reference, local_path, parse_reference
from merganser.weights._safetensors import SafetensorsFile
from merganser.weights._shards import ShardedSource, TensorFile
from merganser.weights._torch_file import SUFFIXES as TORCH_SUFFIXES
from merganser.weights._torch_file import TorchFile

CONFIG_NAME = "config.json"
INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
TORCH_NAME = "pytorch_model.bin"
TORCH_INDEX_NAME = "pytorch_model.bin.index.json"
SUFFIX = ".safetensors"
ADAPTER_NAMES = ("adapter_model.safetensors", "adapter_model.bin")

_SHARD = re.compile(r".*-[0-9]+-of-(?P<count>[0-9]{1,9})\.safetensors")


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


def open_checkpoint(reference: str | Path) -> Checkpoint:
    """Open a checkpoint. Headers are read and checked; tensors wait until they are asked for.

    | reference | what is opened |
    | --- | --- |
    | a path | a file or folder of one of the forms below |
    | ``org/name[@revision]`` | a model on the Hugging Face hub, or in the cache of such |
    | ``base+adapter`` | a base with a PEFT adapter (LoRA) on it, added when tensors are read |

    Forms on disk are a ``.safetensors`` file; a folder with ``model.safetensors``, with its index and shards, or
    with one ``.safetensors`` file of any name; the same of torch's (``.bin``, ``.pt``, ``.pth``), which are never
    unpickled beyond plain tensors; and a ``.gguf`` file, whose tensors are decoded when they are read.

    What exists is a path, whatever its name; a `Path` is never anything else. Base and adapter are references
    themselves, and ``base+a+b`` applies one adapter after the other. A folder's ``config.json`` becomes `config`.

    Args:
        reference: What to open.

    Raises:
        CheckpointError: If nothing is there, its form is not known, a file is damaged, the adapter does not belong
            to the base, or the hub does not give it.
    """
    if isinstance(reference, Path):
        return _open_path(local_path(reference))
    try:
        parsed = parse_reference(reference)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_forms()}") from error
    checkpoint = _open_place(parsed.model)
    for adapter in parsed.adapters:
        checkpoint = _adapt(checkpoint, adapter)
    return checkpoint


def _open_place(place: Place) -> Checkpoint:
    return _open_path(place) if isinstance(place, Path) else _open_fetched(place, model_files, _open_path)


def _open_path(path: Path) -> Checkpoint:
    try:
        if not path.exists():
            raise CheckpointError(f"There is no checkpoint at {path}: no such file or folder. {_forms()}")
        if _holds_adapter(path):
            raise CheckpointError(_without_base(path))
        for opener in OPENERS:
            if opener.accepts(path):
                return opener.open(path)
        raise CheckpointError(f"{path} is no checkpoint of a known form. {_found(path)}{_forms()}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _open_fetched(hub_id: HubId, choose: Choice, open_folder: Callable[[Path], Checkpoint]) -> Checkpoint:
    folder = fetch(hub_id, choose)
    try:
        return dataclasses.replace(open_folder(folder), source=str(hub_id))
    except CheckpointError as error:
        raise CheckpointError(
            f"{hub_id} cannot be opened from the cache: {error} If it was fetched only in part, fetch it again with "
            f"a connection: hf download {hub_id.name}"
        ) from error


def _adapt(base: Checkpoint, place: Place) -> Checkpoint:
    """Put an adapter on a base."""
    local = isinstance(place, Path)
    adapter = _open_adapter(place) if local else _open_fetched(place, adapter_files, _open_adapter)
    assert adapter.path is not None
    return adapted(base, adapter, *read_lora_settings(adapter.path / ADAPTER_CONFIG_NAME))


def open_adapter(base: Checkpoint, reference: str | Path) -> Checkpoint:
    """Open an adapter on a base that is open already; otherwise as ``base+adapter``.

    Args:
        base: The base.
        reference: The adapter: a path or ``org/name[@revision]``.

    Raises:
        CheckpointError: If it is no adapter, or does not belong to the base.
    """
    parsed = Reference(local_path(reference)) if isinstance(reference, Path) else parse_reference(reference)
    for place in (parsed.model, *parsed.adapters):
        base = _adapt(base, place)
    return base


def is_adapter(reference: str | Path) -> bool:
    """Whether a reference is a PEFT adapter without a base. Looks at names of files only, on the hub if it is a hub id.

    Raises:
        CheckpointError: If nothing is there.
    """
    place = local_path(reference) if isinstance(reference, Path) else parse_reference(reference)
    if isinstance(place, Reference):
        if place.adapters:
            return False
        place = place.model
    try:
        return _holds_adapter(place if isinstance(place, Path) else fetch(place, adapter_files))
    except CheckpointError:  # the hub has no adapter of this name; to open it says what it has
        return False


def _holds_adapter(folder: Path) -> bool:
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set[str]()
    is_model = bool(names & {SINGLE_NAME, INDEX_NAME, TORCH_NAME, TORCH_INDEX_NAME})
    return ADAPTER_CONFIG_NAME in names and bool(names & set(ADAPTER_NAMES)) and not is_model


def _open_adapter(folder: Path) -> Checkpoint:
    """The tensors of an adapter, as a checkpoint of its own."""
    try:
        file = next((folder / name for name in ADAPTER_NAMES if (folder / name).exists()), None)
        if file is None or not (folder / ADAPTER_CONFIG_NAME).exists():
            raise CheckpointError(
                f"{folder} is no PEFT adapter: expected a folder with {ADAPTER_CONFIG_NAME} and "
                f"{' or '.join(ADAPTER_NAMES)}. {_found(folder)}"
            )
        return _checkpoint(folder, _file(file), read_config(folder / ADAPTER_CONFIG_NAME))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be opened: {error.strerror or error}.") from error


def _open_file(path: Path) -> Checkpoint:
    return _checkpoint(path, _file(path), {})


def _file(path: Path) -> TensorFile:
    return SafetensorsFile(path) if path.suffix == SUFFIX else TorchFile(path)


def _open_gguf(path: Path) -> Checkpoint:
    file = GgufFile(path)
    return Checkpoint(file, source=str(path), path=path, config=file.config, metadata=file.metadata)


def _open_folder_with_one(path: Path) -> Checkpoint:
    single = path / SINGLE_NAME
    file = single if single.exists() else _tensor_files(path)[0]
    if file.name in ADAPTER_NAMES:
        raise CheckpointError(_without_base(path))
    shard = _SHARD.fullmatch(file.name)
    if shard is not None and int(shard["count"]) > 1:
        raise CheckpointError(
            f"{path} holds {file.name} alone, which is one of several: expected {INDEX_NAME} and the others beside it. "
            "Was the download or the merge cut short?"
        )
    return _checkpoint(path, SafetensorsFile(file), _config(path))


def _open_folder_of_torch(path: Path) -> Checkpoint:
    return _checkpoint(path, TorchFile(path / TORCH_NAME), _config(path))


def _open_folder_with_index(path: Path) -> Checkpoint:
    index = next(path / name for name in (INDEX_NAME, TORCH_INDEX_NAME) if (path / name).exists())
    weight_map = read_object(index).get("weight_map")
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
    home = path if path.is_dir() else None
    return Checkpoint(
        source, source=str(path), path=path, home=home, config=config, metadata=metadata, tied=tied
    )


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_NAME
    return read_config(path) if path.exists() else {}


def _without_base(path: Path) -> str:
    file = next(path / name for name in ADAPTER_NAMES if (path / name).exists())
    return (
        f"{path} is an adapter, not a whole model. Name its base too: 'BASE+{path}'. "
        f"For the adapter's own tensors open {file}."
    )


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
    Opener(f"a file *{GGUF_SUFFIX}", lambda path: path.is_file() and path.suffix == GGUF_SUFFIX, _open_gguf),
)
"""Every form that can be opened, in the order in which they are tried."""
