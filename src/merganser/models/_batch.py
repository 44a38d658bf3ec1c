"""Batches as modules take them, however they were given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from jaxtyping import Bool

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch: TypeAlias = "Tensor | Sequence[Any] | Mapping[str, Any]"
"""A tensor, positional arguments, or keyword arguments; the first tensor's first axis counts samples.

Of keyword arguments `attention_mask` (batch, positions) says which positions count, and `labels` what is to be
predicted; `labels` are not handed to the module.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        labels: What is to be predicted, if it was given.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    labels: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, module: nn.Module, *, last_is_label: bool = False) -> Call:
        """A batch as a call, on the module's device.

        Args:
            batch: The batch.
            module: The module that is to be called.
            last_is_label: Whether the last of positional arguments is what is to be predicted.

        Raises:
            TypeError: If it is no batch.
            ValueError: If there is nothing in it, or its mask has no two axes.
        """
        import torch

        place = next(module.parameters()).device

        def moved(value: Any) -> Any:
            return value.to(place) if isinstance(value, torch.Tensor) else value

        if isinstance(batch, torch.Tensor):
            return cls((moved(batch),))
        if isinstance(batch, Mapping):
            kwargs = {name: moved(value) for name, value in batch.items()}
            call = cls((), {n: v for n, v in kwargs.items() if n != "labels"}, kwargs.get("labels"))
        elif isinstance(batch, Sequence) and not isinstance(batch, str):
            args = tuple(map(moved, batch))
            call = cls(args[:-1], {}, args[-1]) if last_is_label else cls(args)
        else:
            raise TypeError(
                f"A batch must be a tensor, a tuple or a dict of arguments, but is {type(batch).__name__}."
            )
        mask = call.kwargs.get("attention_mask")
        if mask is not None and mask.ndim != 2:
            raise ValueError(
                f"`attention_mask` must have the axes (batch, positions), but has the shape {tuple(mask.shape)}."
            )
        return call

    def __call__(self, module: nn.Module) -> Any:
        """Call a module."""
        return module(*self.args, **self.kwargs)

    @property
    def mask(self) -> Bool[Tensor, "batch positions"] | None:
        """Which positions count; None for all."""
        mask = self.kwargs.get("attention_mask")
        return None if mask is None else mask != 0

    @property
    def samples(self) -> int:
        """How many samples it has.

        Raises:
            ValueError: If it has no tensor.
        """
        return len(self._first)

    @property
    def tokens(self) -> int:
        """How many tokens it has that count; as many as samples where there are none."""
        if self.mask is not None:
            return int(self.mask.sum().item())
        ids = self.kwargs.get("input_ids")
        return self.samples if ids is None else ids.numel()

    def one_by_one(self) -> Iterator[Call]:
        """Each sample for itself: whatever has as many entries as there are samples is cut."""
        import torch

        count = self.samples

        def part(value: Any, i: int) -> Any:
            is_cut = isinstance(value, torch.Tensor) and value.ndim and len(value) == count
            return value[i : i + 1] if is_cut else value

        for i in range(count):
            args = tuple(part(value, i) for value in self.args)
            kwargs = {name: part(value, i) for name, value in self.kwargs.items()}
            yield Call(args, kwargs, part(self.labels, i))

    @property
    def _first(self) -> Tensor:
        import torch

        tensors = [v for v in (*self.args, *self.kwargs.values()) if isinstance(v, torch.Tensor) and v.ndim]
        if not tensors:
            raise ValueError("A batch must hold a tensor whose first axis counts samples, but holds none.")
        return tensors[0]
