r"""Loops in machine code over stored numbers: sums of rows, rounded and checked in the same pass; products of rows.

Sums of rows in one pass: a block's sums stay in the first cache. Products and sums are rounded one by one (no fused
multiply-add, no reordering) and bfloat16 is rounded to nearest, ties to even, so that results are those of torch bit
for bit.

| stored | read | rounded | infinite from |
| --- | --- | --- | --- |
| bfloat16 | upper half of a float32 | upper half of $b + \mathtt{7fff} + b_{16}$ | $|b| = \mathtt{7f7f8000}$ |
| float32 | as it is | not | $|b| = \mathtt{7f800000}$ |

Here $b$ are the bits of a sum in float32, $b_{16}$ the last of the upper half, $|b|$ those without the sign.
Compiled on first use, kept on disk.
This module is imported where numba is installed only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

_BLOCK = 1024
"""Elements whose sums are held at a time: 4 KiB."""

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_INFINITE = np.uint32(0x7F800000)
_INFINITE_IN_BF16 = np.uint32(0x7F7F8000)
_HALF = np.uint32(0x7FFF)
_BITS = np.uint32(16)
_ONE = np.uint32(1)


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer: so any number of rows has one signature, and is compiled once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), generate


@njit(nogil=True, cache=True, error_model="numpy")
def mix_bf16(
    rows: Any, breaks: Any, coefficients: Any, factor: Any, divisor: Any, out: Any
) -> Any:  # pragma: no cover
    """Add up rows of bfloat16, given as bits.

    Args:
        rows: Addresses of the rows, int64; each as long as `out`.
        breaks: Where coefficients change, int64.
        coefficients: Of segments and rows, float32.
        factor: What sums are multiplied by, float32.
        divisor: What they are divided by, float32; 1 for nothing, and then nothing is.
        out: Where to, uint16.

    Returns:
        Whether all numbers are finite. If not, `out` is of no use.
    """
    sums = np.empty(_BLOCK, np.float32)
    bits = sums.view(np.uint32)
    greatest = np.uint32(0)
    for segment in range(len(coefficients)):
        for begin in range(breaks[segment], breaks[segment + 1], _BLOCK):
            count = min(_BLOCK, breaks[segment + 1] - begin)
            for k in range(len(rows)):
                address = _pointer(rows[k] + 2 * begin)  # pyright: ignore[reportCallIssue]
                row = carray(address, count, np.uint16)
                c = coefficients[segment, k]
                if k == 0:
                    for i in range(count):
                        sums[i] = np.uint32(np.uint32(row[i]) << _BITS).view(np.float32) * c
                else:
                    for i in range(count):
                        sums[i] += np.uint32(np.uint32(row[i]) << _BITS).view(np.float32) * c
            _scale(sums[:count], factor, divisor)
            rounded = out[begin : begin + count]
            for i in range(count):
                b = bits[i]
                greatest = max(greatest, np.uint32(b & _MAGNITUDE))
                even = np.uint32(np.uint32(b >> _BITS) & _ONE)
                rounded[i] = np.uint16(np.uint32(b + _HALF + even) >> _BITS)
    return greatest < _INFINITE_IN_BF16


@njit(nogil=True, cache=True, error_model="numpy")
def mix_f32(
    rows: Any, breaks: Any, coefficients: Any, factor: Any, divisor: Any, out: Any
) -> Any:  # pragma: no cover
    """The same for rows of float32; `out` is float32."""
    bits = out.view(np.uint32)
    greatest = np.uint32(0)
    for segment in range(len(coefficients)):
        for begin in range(breaks[segment], breaks[segment + 1], _BLOCK):
            count = min(_BLOCK, breaks[segment + 1] - begin)
            sums = out[begin : begin + count]
            for k in range(len(rows)):
                address = _pointer(rows[k] + 4 * begin)  # pyright: ignore[reportCallIssue]
                row = carray(address, count, np.float32)
                c = coefficients[segment, k]
                if k == 0:
                    for i in range(count):
                        sums[i] = row[i] * c
                else:
                    for i in range(count):
                        sums[i] += row[i] * c
            _scale(sums, factor, divisor)
            for i in range(begin, begin + count):
                greatest = max(greatest, np.uint32(bits[i] & _MAGNITUDE))
    return greatest < _INFINITE


@njit(nogil=True, cache=True, error_model="numpy")
def _scale(sums: Any, factor: Any, divisor: Any) -> None:  # pragma: no cover
    if factor != 1:
        for i in range(len(sums)):
            sums[i] *= factor
    if divisor != 1:
        for i in range(len(sums)):
            sums[i] /= divisor


@njit(nogil=True, cache=True, error_model="numpy")
def products_bf16(rows: Any, count: Any, position: Any, block: Any, lanes: Any) -> None:  # pragma: no cover
    """Add products of pairs of rows of bfloat16, given as bits, to the sums of the blocks they are in.

    Args:
        rows: Addresses of the rows, int64; each of `count` elements.
        count: How many.
        position: Place of the first among the blocks, counted from the first block's beginning.
        block: Elements of a block; a multiple of the lanes.
        lanes: Sums by block, pair (of the upper triangle, row by row) and lane, float64. Element i is in lane
            i modulo their number, and a lane is added up in the order of the elements.
    """
    wide = np.empty((len(rows), _BLOCK), np.float64)
    for begin in range(0, count, _BLOCK):
        held = min(_BLOCK, count - begin)
        for k in range(len(rows)):
            address = _pointer(rows[k] + 2 * begin)  # pyright: ignore[reportCallIssue]
            row = carray(address, held, np.uint16)
            for i in range(held):
                wide[k, i] = np.uint32(np.uint32(row[i]) << _BITS).view(np.float32)
        _add_products(wide, held, position + begin, block, lanes)


@njit(nogil=True, cache=True, error_model="numpy")
def products_f32(rows: Any, count: Any, position: Any, block: Any, lanes: Any) -> None:  # pragma: no cover
    """The same for rows of float32."""
    wide = np.empty((len(rows), _BLOCK), np.float64)
    for begin in range(0, count, _BLOCK):
        held = min(_BLOCK, count - begin)
        for k in range(len(rows)):
            address = _pointer(rows[k] + 4 * begin)  # pyright: ignore[reportCallIssue]
            row = carray(address, held, np.float32)
            for i in range(held):
                wide[k, i] = row[i]
        _add_products(wide, held, position + begin, block, lanes)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_products(wide: Any, count: Any, position: Any, block: Any, lanes: Any) -> None:  # pragma: no cover
    width = lanes.shape[2]
    begin = 0
    while begin < count:
        place = position + begin
        lane = place % width
        held = min(width - lane, count - begin)
        pair = 0
        for k in range(len(wide)):
            for other in range(k, len(wide)):
                sums = lanes[place // block, pair, lane : lane + held]
                a, b = wide[k, begin : begin + held], wide[other, begin : begin + held]
                for i in range(held):
                    sums[i] += a[i] * b[i]
                pair += 1
        begin += held
