"""Several files and an index as one source of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from merganser._errors import CheckpointError
from merganser.weights._source import Bytes, FileStamp, ForesightedSource, TensorSource
from merganser.weights._spec import TensorSpec


class TensorFile(TensorSource, Protocol):
    """One file among several."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's free strings."""
        ...


class ShardedSource:
    """Tensors spread over files, under the same protocol as those in one.

    Args:
        index: Path of the index, for messages.
        weight_map: File name by tensor name, as the index has it.
        shards: Every file that the index names, opened.

    Raises:
        CheckpointError: If index and shards disagree about which tensor is where.
    """

    def __init__(self, index: Path, weight_map: Mapping[str, str], shards: Mapping[str, TensorFile]) -> None:
        _check_index(index, weight_map, shards)
        self._shards = {name: shards[file] for name, file in weight_map.items()}
        self._files = tuple(shards.values())
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(
            {name: shard.specs[name] for name, shard in self._shards.items()}
        )

    @property
    def metadata(self) -> Mapping[str, str]:
        """The free strings of all shards; where they disagree, those of the first count."""
        merged: dict[str, str] = {}
        for file in reversed(self._files):
            merged |= file.metadata
        return merged

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of every file when it was opened."""
        return tuple(stamp for file in self._files for stamp in file.stamps)

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor, mapped."""
        return self._shards[name].view(name)

    def will_need(self, name: str, begin: int, end: int) -> None:
        """Have the system begin to read the elements [begin, end) of a tensor, if its file knows how."""
        shard = self._shards[name]
        if isinstance(shard, ForesightedSource):
            shard.will_need(name, begin, end)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The bytes of a tensor, read from its file."""
        return self._shards[name].chunks(name)


def _check_index(index: Path, weight_map: Mapping[str, str], shards: Mapping[str, TensorFile]) -> None:
    for name, file in weight_map.items():
        if name not in shards[file].specs:
            raise CheckpointError(f"{index} says that tensor {name!r} is in {file}, but it is not there.")
    for file, shard in shards.items():
        for name in shard.specs:
            if weight_map.get(name) != file:
                said = f"says it is in {weight_map[name]}" if name in weight_map else "does not list it"
                raise CheckpointError(f"Tensor {name!r} is in shard {file}, but {index} {said}.")
