r"""Gram matrices of what goes into layers, $G = \frac1n \sum_i x_i x_i^\top$, summed while a module runs."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Bool, Float

from merganser.models._hooks import LinearLayer
from merganser.weights import Checkpoint, flat_order

if TYPE_CHECKING:
    from torch import Tensor


class _Seen(NamedTuple):
    """The inputs of the layer that was called last, and what came of them."""

    inputs: weakref.ref[Tensor]
    version: int
    product: Float[Tensor, "inputs inputs"]
    rows: int
    was_convolution: bool

    def is_of(self, inputs: Tensor) -> bool:
        """Whether a tensor is the same, and was not changed since."""
        return self.inputs() is inputs and self.version == inputs._version


class GramSums:
    """Sums over the inputs of layers, by the layers' keys.

    Computed in float32, in float64 where the inputs are. Layers that are called one after the other with the same
    tensor (queries, keys and values) share the product.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Float[Tensor, "inputs inputs"]] = {}
        self._rows: dict[str, int] = {}
        self._last: _Seen | None = None
        self.mask: Bool[Tensor, "batch positions"] | None = None

    def add(self, key: str, layer: LinearLayer, inputs: Tensor) -> None:
        """Take what a layer is called with; positions that the current `mask` leaves out do not count."""
        product, rows = self._product(layer, inputs)
        if key in self._sums:
            self._sums[key] += product
        else:
            self._sums[key] = product.clone()
        self._rows[key] = self._rows.get(key, 0) + rows

    def forget_inputs(self) -> None:
        """Let go of what the last layer saw."""
        self._last = None

    def means(self) -> dict[str, Float[Tensor, "inputs inputs"]]:
        """The matrices, on the CPU, of layers that were called.

        Raises:
            ValueError: If one holds NaN or infinite numbers.
        """
        import torch

        found: dict[str, Tensor] = {}
        for key, total in self._sums.items():
            mean = (total / max(self._rows[key], 1)).cpu()
            if not torch.isfinite(mean).all():
                raise ValueError(
                    f"The inputs of {key!r} are NaN or infinite on these data, or too large to be squared. Use a sound "
                    "model, or compute in float32."
                )
            found[key] = mean
        return found

    def _product(self, layer: LinearLayer, inputs: Tensor) -> tuple[Float[Tensor, "inputs inputs"], int]:
        import torch

        last = self._last
        if last is not None and last.is_of(inputs) and not (layer.is_convolution or last.was_convolution):
            return last.product, last.rows
        rows = layer.rows(inputs.detach(), self.mask)
        rows = rows if rows.dtype == torch.float64 else rows.float()
        product = rows.mT @ rows
        self._last = _Seen(weakref.ref(inputs), inputs._version, product, len(rows), layer.is_convolution)
        return product, len(rows)


def tied_checkpoint(grams: Mapping[str, Float[Tensor, "inputs inputs"]]) -> Checkpoint:
    """Matrices as a checkpoint, equal ones once: the other names are tied to the first in flat order."""
    import dataclasses

    import torch

    kept: dict[tuple[int, float], list[str]] = {}
    tied: dict[str, str] = {}
    for name in flat_order(grams):
        gram = grams[name]
        alike = kept.setdefault((len(gram), math.fsum(gram.diagonal().tolist())), [])
        original = next((each for each in alike if torch.equal(grams[each], gram)), None)
        if original is None:
            alike.append(name)
        else:
            tied[name] = original
    tensors = {name: gram for name, gram in grams.items() if name not in tied}
    return dataclasses.replace(Checkpoint.from_tensors(tensors, copy=False), tied=tied, source="statistics")
