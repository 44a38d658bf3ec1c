"""Where each tensor of a checkpoint lives in a module's memory.

Libraries rename tensors when they load them, and pack some: transformers 5 stacks the experts of a layer into one
tensor. Nothing here knows their rules. The library is given empty memory under the names on disk; it makes its
parameters of that memory, and what it moves elsewhere on the way is watched: it *stacks* and *concatenates*, copies
and transposes. A place is then a view of the module's memory in the shape that the tensor has on disk.

| on disk | in memory | place |
| --- | --- | --- |
| `q_proj.weight` (o, i) | a parameter | the parameter |
| `c_attn.weight` (i, o) | a transposed parameter (o, i) | its transpose |
| `experts.3.gate_proj.weight` (f, i) | `experts.gate_up_proj` (e, 2f, i) | rows [0, f) of its matrix 3 |

A tensor that a library cuts and copies piece by piece has no such view; models with one are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_COPIES = (_aten.clone.default, _aten._to_copy.default)


class Watch(TorchDispatchMode):
    """Follows tensors through what is done with them; a context manager.

    Concatenating and stacking only reserve memory: nothing is copied, since there are no numbers yet.

    Args:
        places: Tensors by their names on disk, each with memory of its own; followed in place.
    """

    def __init__(self, places: dict[str, Tensor]) -> None:
        super().__init__()
        self._places = places
        self._names: dict[int, list[str]] = {}
        for name, tensor in places.items():
            self._names.setdefault(storage_of(tensor), []).append(name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one operation of torch, and note what it moves."""
        if func in (_aten.cat.default, _aten.stack.default):
            tensors, axis = args[0], args[1] if len(args) > 1 else (kwargs or {}).get("dim", 0)
            if all(self._names.get(storage_of(tensor)) for tensor in tensors):
                together, pieces = (_stacked if func is _aten.stack.default else _joined)(tensors, axis)
                for tensor, piece in zip(tensors, pieces, strict=True):
                    self._move(tensor, piece)
                return together
        if func is _aten.equal.default:
            return False  # a library asks it of tensors that may be tied, and there are no numbers yet
        result = func(*args, **(kwargs or {}))
        if func in _COPIES:
            self._move(args[0], result)
        return result

    def _move(self, source: Tensor, target: Tensor) -> None:
        """Everything that lies in `source` lies in `target` now, of the same shape."""
        for name in list(self._names.get(storage_of(source), ())):
            if (place := carried(self._places[name], source, target)) is not None:
                self._names[storage_of(source)].remove(name)
                self._names.setdefault(storage_of(target), []).append(name)
                self._places[name] = place


def carried(
    place: Shaped[Tensor, "..."], source: Shaped[Tensor, "*shape"], target: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "..."] | None:
    """The view of `target` on the elements that `place`, in the memory of `source`, has there.

    Args:
        place: A view of the memory of `source`.
        source: Strided without overlap.
        target: Of the same shape; element follows element.

    Returns:
        None if not all elements of `place` are in `source`, or they are on no axis of it.

    Examples:
        >>> source, target = torch.arange(6).view(2, 3), torch.zeros(3, 2).T
        >>> view = carried(source[:, 1], source, target)
        >>> view.fill_(7)
        tensor([7., 7.])
        >>> target
        tensor([[0., 7., 0.],
                [0., 7., 0.]])
    """
    axes = [axis for axis in range(source.dim()) if source.shape[axis] > 1]
    axes.sort(key=source.stride, reverse=True)
    of_stride = {source.stride(axis): axis for axis in axes}
    lengths = dict.fromkeys(axes, 1)
    strides: list[int] = []
    for length, stride in zip(place.shape, place.stride(), strict=True):
        if length > 1 and (stride not in of_stride or lengths[of_stride[stride]] > 1):
            return None
        strides.append(target.stride(of_stride[stride]) if length > 1 else 1)
        if length > 1:
            lengths[of_stride[stride]] = length
    rest, offset = int(place.storage_offset() - source.storage_offset()), target.storage_offset()
    for axis in axes:
        first, rest = divmod(rest, source.stride(axis))
        if not 0 <= first <= source.shape[axis] - lengths[axis]:
            return None
        offset += first * target.stride(axis)
    return target.as_strided(place.shape, strides, offset) if rest == 0 else None


def storage_of(tensor: Tensor) -> int:
    """What tensors that share memory have in common."""
    return tensor.untyped_storage().data_ptr()


def held_by(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers that a checkpoint may hold, tied ones under every name."""
    yield from module.state_dict(keep_vars=True).items()


def names_on_disk(module: nn.Module, places: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """For each tensor in memory the names on disk of what it is made of, in the order in which they lie there."""
    inside: dict[int, list[str]] = {}
    for name in sorted(places, key=lambda name: places[name].storage_offset()):
        inside.setdefault(storage_of(places[name]), []).append(name)
    return {name: tuple(inside.get(storage_of(tensor), ())) for name, tensor in held_by(module)}


def uncovered(module: nn.Module, places: Mapping[str, Tensor]) -> list[str]:
    """Names in memory of what no place, or more than one, would write."""
    filled: dict[int, int] = {}
    for place in places.values():
        filled[storage_of(place)] = filled.get(storage_of(place), 0) + place.numel()
    wanted: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    for _, tensor in held_by(module):
        if (at := (storage_of(tensor), int(tensor.storage_offset()))) not in seen:
            seen.add(at)
            wanted[storage_of(tensor)] = wanted.get(storage_of(tensor), 0) + tensor.numel()
    return [n for n, t in held_by(module) if filled.get(storage_of(t)) != wanted[storage_of(t)]]


def move_memory(module: nn.Module, places: dict[str, Tensor], device: torch.device) -> None:
    """Give a module that holds no numbers yet memory on a device, laid out as before; places follow."""
    before = dict(places)  # held, so that no address is given away twice
    moved: dict[int, Tensor] = {}

    def there(tensor: Tensor) -> Tensor:
        if storage_of(tensor) not in moved:
            elements = tensor.untyped_storage().nbytes() // tensor.element_size()
            moved[storage_of(tensor)] = torch.empty(elements, dtype=tensor.dtype, device=device)
        return moved[storage_of(tensor)].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    places.update({name: there(place) for name, place in before.items()})
    for _, tensor in held_by(module):
        if storage_of(tensor) in moved:
            tensor.data = there(tensor)
    module.to(device)  # what is computed from the configuration


def _joined(tensors: Sequence[Tensor], axis: int) -> tuple[Tensor, list[Tensor]]:
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    together = tensors[0].new_empty(shape)
    return together, list(together.split([tensor.shape[axis] for tensor in tensors], dim=axis))


def _stacked(tensors: Sequence[Tensor], axis: int) -> tuple[Tensor, list[Tensor]]:
    shape = list(tensors[0].shape)
    shape.insert(axis if axis >= 0 else axis + len(shape) + 1, len(tensors))
    together = tensors[0].new_empty(shape)
    return together, list(together.unbind(axis))
