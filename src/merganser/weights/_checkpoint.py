"""A model as named tensors, read lazily."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy.typing as npt

from merganser.weights._decode import decode
from merganser.weights._digest import Digest, digest_of
from merganser.weights._layout import FlatLayout
from merganser.weights._order import Layer, flat_order, group_layers
from merganser.weights._source import (
    Bytes,
    ComputingSource,
    ForesightedSource,
    PartialSource,
    Reader,
    TensorSource,
    memory_source,
    part_of,
)
from merganser.weights._spec import DTYPES, TensorSpec
from merganser.weights._tied import tied_names

if TYPE_CHECKING:
    import torch

_ALL = slice(None)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """A model as named tensors on disk or in memory; made by [`open_checkpoint`][] or `from_…`.

    Iterating gives tensor names: the floating ones in flat order, then the `buffers` (integers, booleans
    and complex numbers, which have no flat position), in the same order among themselves.

    Opening reads the headers only. What `read`, `array` and `elements` return is, where possible, a view
    of the mapped file, and pages are read when touched; where a tensor is decoded or computed (GGUF, an
    adapter on a base), it is a copy, made of the rows or elements asked for and no others. **Treat it as
    read-only**: numpy refuses to write into it, torch has no way to. What is written into a tensor
    nevertheless shows in later reads of the same object; it never reaches a file, nor the digest of one or
    what is saved from it. `clone()` what you want to change. The file must not be cut short while it is
    open: the system ends programs that touch lost pages.

    Args:
        tensors: Where specs and bytes come from.
        source: Where the checkpoint comes from: what messages call it, and for all that [`open_checkpoint`][]
            gave, a reference that opens it again.
        path: The file or folder that was opened; None if the tensors are in memory or follow from several.
        config: The model's configuration (``config.json``); empty if there is none.
        metadata: Free strings stored beside the tensors.
        tied: Names that stand for another tensor of the checkpoint, and that tensor's name.

    Examples:
        >>> import numpy as np
        >>> model = Checkpoint.from_tensors({"0.bias": np.zeros(2), "0.weight": np.ones((2, 3), "float32")})
        >>> list(model)
        ['0.weight', '0.bias']
        >>> model.spec("0.weight")
        TensorSpec(name='0.weight', dtype='F32', shape=(2, 3))
        >>> model.read("0.weight", rows=slice(1, 2))
        tensor([[1., 1., 1.]])
    """

    tensors: TensorSource
    source: str = "memory"
    path: Path | None = None
    home: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("config", "metadata", "tied"):
            frozen = MappingProxyType(copy.deepcopy(dict(getattr(self, name))))
            object.__setattr__(self, name, frozen)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Any], *, config: Mapping[str, Any] | None = None, copy: bool = True
    ) -> Checkpoint:
        """Make a checkpoint of torch tensors or numpy arrays.

        Args:
            tensors: Name to tensor.
            config: The model's configuration.
            copy: Whether to copy the tensors. Without it, the caller gives them up: changing one later
                changes the checkpoint behind its digest's back.

        Raises:
            TypeError: If a value is no tensor, or has an element type that safetensors cannot hold.
        """
        return cls(memory_source(tensors, copy=copy), config=config or {})

    @classmethod
    def from_module(
        cls, module: torch.nn.Module, *, config: Mapping[str, Any] | None = None, copy: bool = True
    ) -> Checkpoint:
        """Make a checkpoint of a module's state dict; the module can be changed afterwards.

        Tensors that share their memory whole (tied embeddings, say) appear once, under the name that
        comes first in flat order; `tied` maps the others to it.

        Args:
            module: The module.
            config: The model's configuration.
            copy: As in `from_tensors`.

        Raises:
            TypeError: If a tensor has no data (device ``meta``), or its element type cannot be stored.
        """
        state = module.state_dict()
        tied = tied_names(state)
        tensors = {name: tensor for name, tensor in state.items() if name not in tied}
        held = memory_source(tensors, copy=copy)
        return cls(held, source=type(module).__name__, config=config or {}, tied=tied)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors.specs

    def __repr__(self) -> str:
        types = "/".join(sorted({self.spec(name).dtype for name in self})) or "empty"
        blocks = sum(layer.kind == "block" for layer in self.layers)
        parameters = f"{self.layout.size:,} parameters in {len(self.layout.names)} tensors"
        buffers = f"{len(self.buffers)} buffers"
        return f"<Checkpoint {self.source}: {parameters}, {buffers}, {blocks} blocks, {types}>"

    def spec(self, name: str) -> TensorSpec:
        """Element type and shape of a tensor; reads no data.

        Raises:
            ValueError: If there is no such tensor.
        """
        if name not in self.tensors.specs:
            raise ValueError(self._unknown(name))
        return self.tensors.specs[name]

    def read(self, name: str, rows: slice = _ALL) -> torch.Tensor:
        """A tensor, or some of its rows, on the CPU; memory-mapped, so treat it as read-only.

        Args:
            name: The tensor.
            rows: Which rows, along the first dimension.

        Raises:
            ValueError: If there is no such tensor, or rows of a scalar are asked for.
            TypeError: If the installed torch lacks the element type.
            CheckpointError: If the file has changed since it was opened.
        """
        import torch

        spec = self.spec(name)
        dtype = _torch_dtype(spec)
        stored, shape, step = self._rows(spec, rows)
        # torch cannot view no bytes as something wider
        flat = torch.from_numpy(stored).view(dtype) if len(stored) else torch.empty(0, dtype=dtype)
        found = flat.reshape(shape)
        return found if step == 1 else found[::step]

    def array(self, name: str, rows: slice = _ALL) -> npt.NDArray[Any]:
        """A tensor, or some of its rows, as a read-only numpy array.

        BF16 and the F8 types, which numpy does not have, come as a float32 copy; others as a view.

        Args:
            name: The tensor.
            rows: Which rows, along the first dimension.

        Raises:
            ValueError: If there is no such tensor, or rows of a scalar are asked for.
            CheckpointError: If the file has changed since it was opened.
        """
        spec = self.spec(name)
        stored, shape, step = self._rows(spec, rows)
        bits = stored.view(DTYPES[spec.dtype].storage).reshape(shape)
        return _read_only(decode(bits if step == 1 else bits[::step], spec.dtype))

    def elements(self, name: str, begin: int = 0, end: int | None = None) -> npt.NDArray[Any]:
        """Elements [begin, end) of a tensor, counted row-major; otherwise as `array`."""
        spec = self.spec(name)
        first, last, _ = slice(begin, end).indices(spec.numel)
        stored = part_of(self.tensors, name, first, max(first, last))
        return _read_only(decode(stored.view(DTYPES[spec.dtype].storage), spec.dtype))

    def reader(self, name: str) -> Reader:
        """A function that copies elements of a tensor, as numbers, into a buffer: what streaming merges read with.

        Where the source computes the tensor (an adapter on a base, say), the numbers are not rounded to
        the stored type, as those of `read` are.

        Args:
            name: The tensor; must be floating.

        Raises:
            ValueError: If there is no such tensor.
            TypeError: If the installed torch lacks the element type.
            CheckpointError: If the file has changed since it was opened.

        Examples:
            >>> import numpy as np, torch
            >>> read = Checkpoint.from_tensors({"weight": np.arange(6.0).reshape(2, 3)}).reader("weight")
            >>> out = torch.empty(2)
            >>> read(3, out)
            >>> out
            tensor([3., 4.])
        """
        self.spec(name)
        if self._computing is not None:
            return self._computing.reader(name)
        if self._is_partial:
            return self._part_reader(name)
        stored = self.read(name).reshape(-1)

        def read(begin: int, out: torch.Tensor) -> None:
            out.copy_(stored[begin : begin + len(out)])

        return read

    def will_need(self, name: str, begin: int, end: int) -> None:
        """Say that elements [begin, end) of a tensor will be read soon, so that the disk can begin; returns at once."""
        if self._foresighted is not None:
            self._foresighted.will_need(name, begin, end)

    def bits(self, name: str) -> npt.NDArray[Any] | None:
        """A whole tensor as it is stored, flat and without a copy, for loops that read stored numbers themselves.

        Of the storage type: uint16 for BF16, say. None where the tensor is decoded or computed.

        Raises:
            ValueError: If there is no such tensor.
            CheckpointError: If the file has changed since it was opened.
        """
        spec = self.spec(name)
        if self._computing is not None or self._is_partial:
            return None
        return self.tensors.view(name).view(DTYPES[spec.dtype].storage)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """A tensor's bytes in order, a few MiB at a time; each chunk is valid until the next."""
        self.spec(name)
        return self.tensors.chunks(name)

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the tensors that are not floating, and so have no flat position."""
        return self._names[len(self.layout.names) :]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All tensors, each in exactly one layer: embeddings, every block, final norm, head."""
        return group_layers(self.tensors.specs)

    @cached_property
    def layout(self) -> FlatLayout:
        """Positions of the floating tensors in the flattened parameters."""
        return FlatLayout.of(self.spec(name) for name in self)

    @cached_property
    def digest(self) -> Digest:
        """Name of the content: equal exactly if all names, types, shapes and bytes are.

        Raises:
            CheckpointError: If the file has changed since it was opened, or cannot be read.
        """
        return digest_of(self.tensors)

    @cached_property
    def _computing(self) -> ComputingSource | None:
        """The source, if it computes; asked once, since to ask a protocol is slow."""
        return self.tensors if isinstance(self.tensors, ComputingSource) else None

    @cached_property
    def _foresighted(self) -> ForesightedSource | None:
        return self.tensors if isinstance(self.tensors, ForesightedSource) else None

    @cached_property
    def _is_partial(self) -> bool:
        return isinstance(self.tensors, PartialSource)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        ordered = flat_order(self.tensors.specs)
        return tuple(sorted(ordered, key=lambda name: not self.spec(name).is_floating))

    def _rows(self, spec: TensorSpec, rows: slice) -> tuple[Bytes, tuple[int, ...], int]:
        """Bytes of the rows from the first asked for to the last, their shape, and the step through them."""
        if _checked(spec, rows) == _ALL:
            return part_of(self.tensors, spec.name, 0, spec.numel), spec.shape, 1
        first, last, step = rows.indices(spec.shape[0])
        shape = (max(last - first, 0), *spec.shape[1:])
        width = math.prod(spec.shape[1:])
        stored = part_of(self.tensors, spec.name, first * width, (first + shape[0]) * width)
        return stored, shape, step

    def _part_reader(self, name: str) -> Reader:
        import torch

        dtype = _torch_dtype(self.spec(name))

        def read(begin: int, out: torch.Tensor) -> None:
            stored = part_of(self.tensors, name, begin, begin + len(out))
            out.copy_(torch.from_numpy(stored).view(dtype))

        return read

    def _unknown(self, name: object) -> str:
        if name in self.tied:
            return f"Tensor {name!r} of {self.source} is tied: read {self.tied[str(name)]!r} instead."
        similar = difflib.get_close_matches(str(name), self.tensors.specs, n=1)
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        return f"{self.source} has no tensor {name!r}.{hint}"


def _torch_dtype(spec: TensorSpec) -> torch.dtype:
    import torch

    dtype = getattr(torch, DTYPES[spec.dtype].library, None)
    if dtype is None:
        message = f"torch {torch.__version__} lacks {spec.dtype}, the type of {spec.name!r}. Upgrade torch."
        raise TypeError(message)
    return dtype


def _checked(spec: TensorSpec, rows: slice) -> slice:
    if not isinstance(rows, slice):
        raise TypeError(f"`rows` must be a slice, but is {rows!r}. For one row take slice(i, i + 1).")
    if rows.step is not None and rows.step < 1:
        raise ValueError(f"`rows` must have a positive step, but has {rows.step}.")
    if rows != _ALL and not spec.shape:
        raise ValueError(f"Tensor {spec.name!r} is a scalar and has no rows, but {rows} was asked for.")
    return rows


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
