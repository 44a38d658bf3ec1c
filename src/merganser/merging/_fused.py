"""Linear combinations and products in one pass over stored numbers, at the speed of memory.

torch needs a pass for every conversion, product, sum, check and rounding. Where all there is to a stretch is a
[`Mixture`][] of sources of one type, bfloat16 or float32, that lie in memory or in mapped files as they are, the loops
of `_kernels` do it in one. The result is the same, bit for bit. They need numba (``pip install 'merganser[fast]'``);
without it, and for anything else, torch computes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from merganser.merging.methods import Mixture, divisor_of

if TYPE_CHECKING:
    from torch import Tensor

_LOOPS = {"BF16": "mix_bf16", "F32": "mix_f32"}
_PRODUCTS = {"BF16": "products_bf16", "F32": "products_f32"}

WORTH_LOADING = 1 << 25
"""Elements of a model from which on loading numba (half a CPU-second, once) costs less than it saves."""


def is_worth_it(elements: int) -> bool:
    """Whether a merge of so many elements should use the loops, which are loaded if so."""
    return elements >= WORTH_LOADING and _kernels() is not None


def takes(dtype: str) -> bool:
    """Whether there is a loop for an element type, by its safetensors name."""
    return dtype in _LOOPS


def mix(
    mixture: Mixture,
    dtype: str,
    rows: Sequence[Shaped[np.ndarray, " elements"]],
    out: Shaped[np.ndarray, " elements"],
) -> bool:
    """Compute a stretch.

    Args:
        mixture: The coefficients.
        dtype: Element type of rows and result, by its safetensors name.
        rows: The sources' elements as they are stored: bits (uint16) of bfloat16, or float32.
        out: Where to; of the same type, contiguous.

    Returns:
        Whether all numbers are finite and fit the type. If not, `out` is of no use.

    Examples:
        >>> half = Mixture(np.array([0, 2]), np.array([[0.5, 0.5]]))
        >>> out = np.empty(2, np.float32)
        >>> mix(half, "F32", [np.float32([1, 2]), np.float32([3, 5])], out), out.tolist()
        (True, [2.0, 3.5])
    """
    divisor = divisor_of(mixture.factor)
    held = [np.ascontiguousarray(row) for row in rows]
    addresses = np.array([row.ctypes.data for row in held], np.int64)
    loop = getattr(_kernels(), _LOOPS[dtype])
    return bool(
        loop(
            addresses,
            mixture.breaks.astype(np.int64),
            np.ascontiguousarray(mixture.coefficients, np.float32),
            np.float32(1.0 if divisor else mixture.factor),
            np.float32(divisor or 1.0),
            out,
        )
    )


def add_products(
    dtype: str,
    rows: Sequence[Shaped[np.ndarray, " elements"]],
    position: int,
    block: int,
    lanes: Float[np.ndarray, "blocks products lanes"],
) -> None:
    """Add products of stored rows to the sums of the blocks they are in; see `_products`.

    Args:
        dtype: Element type of the rows, by its safetensors name.
        rows: The sources' elements as they are stored.
        position: Place of the first element, counted from where the first block begins.
        block: Elements of a block.
        lanes: The sums.
    """
    held = [np.ascontiguousarray(row) for row in rows]
    addresses = np.array([row.ctypes.data for row in held], np.int64)
    getattr(_kernels(), _PRODUCTS[dtype])(addresses, len(held[0]), position, block, lanes)


def bits_of(values: Tensor) -> Shaped[np.ndarray, " elements"]:
    """A flat tensor's memory as `mix` wants it."""
    import torch

    return values.view(torch.int16).numpy().view(np.uint16) if values.itemsize == 2 else values.numpy()


@cache
def _kernels() -> ModuleType | None:
    """The loops; None without numba, or where it does not work."""
    try:
        return importlib.import_module("merganser.merging._kernels")
    except (ImportError, RuntimeError):  # it has no folder to keep what it compiled, or refuses this numpy
        return None
