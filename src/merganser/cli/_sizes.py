"""Numbers of bytes, as people write and read them."""

from __future__ import annotations

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def bytes_in(text: str) -> int:
    """A size such as 500M or 5G.

    Examples:
        >>> bytes_in("500M"), bytes_in("1.5GB")
        (500000000, 1500000000)
    """
    number = text.strip().lower().removesuffix("b").rstrip("kmgt")
    unit = text.strip().lower().removesuffix("b")[len(number) :]
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"A size must look like 500M or 5G, but is {text!r}.") from None


def size_of(count: float) -> str:
    """Bytes for people.

    Examples:
        >>> size_of(2_208_436_224), size_of(999)
        ('2.21 GB', '999 B')
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count:.0f} B"
