r"""Stored bits to numbers numpy can compute with.

numpy has no bfloat16 and no float8. Both families decode to float32 exactly:

| type | rule |
| --- | --- |
| BF16 | the upper half of a float32: shift left by 16 bits |
| F8_E8M0 | $2^{x - 127}$; all ones is NaN |
| F8_E5M2 | the upper half of a float16: shift left by 8 bits |
| others | $\pm 2^{E - b} (1 + M / 2^m)$, or $\pm 2^{1 - b} M / 2^m$ where $E = 0$ |

Here $E$ and $M$ are the exponent and mantissa fields, $m$ the mantissa's bits and $b$ the bias.
Eight bits have only 256 values, so each F8 type is a table, built at its first use.

References:
    Micikevicius et al., *FP8 Formats for Deep Learning*, 2022, https://arxiv.org/abs/2209.05433
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SMALL_FLOATS = {"F8_E4M3": (3, 7), "F8_E4M3FNUZ": (3, 8), "F8_E5M2FNUZ": (2, 16)}  # mantissa bits, bias


def decode(stored: Array, dtype: str) -> Array:
    """Numbers behind `stored` bits: unchanged where numpy has the type, else a float32 copy.

    Args:
        stored: Array of the storage type of `dtype`, any shape.
        dtype: Safetensors name of the element type.

    Examples:
        >>> decode(np.array([0x3F80, 0xC000], np.uint16), "BF16")
        array([ 1., -2.], dtype=float32)
    """
    if dtype == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype.startswith("F8_"):
        return _table(dtype)[stored]
    return stored


@cache
def _table(dtype: str) -> Array:
    bits = np.arange(256, dtype=np.uint16)
    if dtype == "F8_E5M2":
        return (bits << 8).view(np.float16).astype(np.float32)
    if dtype == "F8_E8M0":
        return np.where(bits == 255, np.nan, np.exp2(bits - 127.0)).astype(np.float32)
    values = _small_float(bits, *_SMALL_FLOATS[dtype])
    # "fn" spends both all-ones patterns on NaN; "fnuz" only the pattern of minus zero.
    values[[0x7F, 0xFF] if dtype == "F8_E4M3" else [0x80]] = np.nan
    return values


def _small_float(bits: Array, mantissa_bits: int, bias: int) -> Array:
    sign = np.where(bits & 0x80, -1.0, 1.0)
    exponent = ((bits & 0x7F) >> mantissa_bits).astype(np.float64)
    fraction = (bits & (2**mantissa_bits - 1)) / 2.0**mantissa_bits
    normal = np.exp2(exponent - bias) * (1 + fraction)
    subnormal = np.exp2(1.0 - bias) * fraction
    return (sign * np.where(exponent > 0, normal, subnormal)).astype(np.float32)
