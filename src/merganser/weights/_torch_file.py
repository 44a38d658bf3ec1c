"""Checkpoints that torch saved (`.bin`, `.pt`, `.pth`), read without unpickling anything but tensors.

These files are pickles, and a pickle can run any code when it is loaded. Only torch's weights-only loader touches
them: it knows tensors and plain containers and refuses everything else. Files in torch's present format are mapped;
those of torch before 1.6 are read whole.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._mapped import open_regular, stamp_of
from merganser.weights._source import Bytes, FileStamp, memory_source
from merganser.weights._spec import TensorSpec
from merganser.weights._tied import tied_names

SUFFIXES = (".bin", ".pt", ".pth")

_NESTED = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training scripts put the tensors."""


class TorchFile:
    """One file of torch's as a source of tensors.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is damaged, holds anything but tensors, or would run code.
    """

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self._stamp = stamp_of(path, file)
        state = _state_dict(path, _load(path))
        tied = tied_names(state)
        try:
            kept = {name: tensor for name, tensor in state.items() if name not in tied}
            self._tensors = memory_source(kept, copy=False)
        except TypeError as error:
            raise CheckpointError(f"{path}: {error}") from error
        self.specs: Mapping[str, TensorSpec] = self._tensors.specs
        self.metadata: Mapping[str, str] = MappingProxyType(tied)
        """Tied names and the tensor each stands for, as safetensors files note them."""

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """State of the file when it was opened."""
        return (self._stamp,)

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor, mapped where the file's format allows."""
        return self._tensors.view(name)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        return self._tensors.chunks(name)


def _load(path: Path) -> Any:
    import torch

    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it asks for more than tensors, and loading that could run code. "
            "If you trust where it comes from, save its state dict as safetensors there. "
            f"({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a file of torch's: {type(error).__name__} {error}"
        ) from error


def _state_dict(path: Path, loaded: Any) -> Mapping[str, Any]:
    """The named tensors in what was loaded, perhaps one level down."""
    import torch

    found = loaded
    if isinstance(loaded, Mapping):
        nested = next((k for k in _NESTED if isinstance(loaded.get(k), Mapping)), None)
        found = loaded if nested is None else loaded[nested]
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{path} must hold tensors by name, but holds {type(found).__name__}.")
    wrong = next((n for n, t in found.items() if not isinstance(t, torch.Tensor)), None)
    if wrong is not None:
        raise CheckpointError(
            f"{path} must hold tensors by name, but {wrong!r} is {type(found[wrong]).__name__}. Is it a training "
            "state? Then save the model's state dict alone."
        )
    return found
