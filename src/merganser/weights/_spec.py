"""What is known of a tensor before a byte of it is read: name, element type and shape.

Element types carry the names that the safetensors format gives them. Each row of [`DTYPES`][] says
how many bytes an element takes, what torch (and numpy, where it has the type) calls it, and which
numpy type holds its bits. Types narrower than a byte (F4, F6) are not supported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Args:
        name: The format's name, such as ``"BF16"``.
        itemsize: Bytes an element takes.
        library: Name in torch, and in numpy where numpy has the type.
        storage: Little-endian numpy type string that holds the bits unchanged.
        is_floating: Whether elements are real floating-point numbers: what can be merged.
    """

    name: str
    itemsize: int
    library: str
    storage: str
    is_floating: bool


_ROWS = (
    DType("F64", 8, "float64", "<f8", True),
    DType("F32", 4, "float32", "<f4", True),
    DType("F16", 2, "float16", "<f2", True),
    DType("BF16", 2, "bfloat16", "<u2", True),
    DType("F8_E4M3", 1, "float8_e4m3fn", "|u1", True),
    DType("F8_E5M2", 1, "float8_e5m2", "|u1", True),
    DType("F8_E4M3FNUZ", 1, "float8_e4m3fnuz", "|u1", True),
    DType("F8_E5M2FNUZ", 1, "float8_e5m2fnuz", "|u1", True),
    DType("F8_E8M0", 1, "float8_e8m0fnu", "|u1", True),
    DType("C64", 8, "complex64", "<c8", False),
    DType("I64", 8, "int64", "<i8", False),
    DType("I32", 4, "int32", "<i4", False),
    DType("I16", 2, "int16", "<i2", False),
    DType("I8", 1, "int8", "|i1", False),
    DType("U64", 8, "uint64", "<u8", False),
    DType("U32", 4, "uint32", "<u4", False),
    DType("U16", 2, "uint16", "<u2", False),
    DType("U8", 1, "uint8", "|u1", False),
    DType("BOOL", 1, "bool", "|b1", False),
)

DTYPES: Mapping[str, DType] = MappingProxyType({row.name: row for row in _ROWS})
"""Every supported element type, by its safetensors name."""

BY_LIBRARY_NAME: Mapping[str, DType] = MappingProxyType({row.library: row for row in _ROWS})
"""The same rows, by the name that torch and numpy use."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of one tensor; holds no data.

    Args:
        name: The tensor's name in its checkpoint.
        dtype: Safetensors name of the element type, such as ``"F32"``.
        shape: Length of each dimension; ``()`` for a scalar.

    Raises:
        ValueError: If the element type is unknown or a dimension is no non-negative integer.

    Examples:
        >>> spec = TensorSpec("lm_head.weight", "BF16", (32000, 4096))
        >>> spec.numel, spec.nbytes, spec.is_floating
        (131072000, 262144000, True)
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(
                f"Tensor {self.name!r} has the unknown element type {self.dtype!r}. "
                f"Known are: {', '.join(DTYPES)}."
            )
        if not isinstance(self.shape, tuple) or not all(map(_is_length, self.shape)):
            raise ValueError(
                f"The shape of tensor {self.name!r} must be a tuple of non-negative integers, "
                f"but is {self.shape!r}."
            )

    @property
    def numel(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes an element takes."""
        return DTYPES[self.dtype].itemsize

    @property
    def nbytes(self) -> int:
        """Bytes the whole tensor takes."""
        return self.numel * self.itemsize

    @property
    def is_floating(self) -> bool:
        """Whether the elements are real floating-point numbers, and so have a flat position."""
        return DTYPES[self.dtype].is_floating


def _is_length(value: object) -> bool:
    # bool is an int to Python, but `true` is no length in a header.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
