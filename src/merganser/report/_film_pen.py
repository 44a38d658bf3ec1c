"""A pen for frames of films: draws at twice the size, so that lines and letters come out smooth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from merganser._errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]
PAPER, INK, MUTED, LINE = (252, 252, 250), (29, 36, 48), (93, 102, 115), (226, 227, 223)
BLUE, ORANGE, GREEN, GREY = (0, 114, 178), (213, 94, 0), (0, 158, 115), (123, 132, 144)
"""The colours of a light page."""
_FINE = 2
_ROUNDED = 3.0
"""Lines that are wider than so many pixels get round ends."""


def pillow(name: str) -> ModuleType:
    """A module of Pillow.

    Raises:
        OutputError: If it is missing.
    """
    import importlib

    try:
        return importlib.import_module(f"PIL.{name}")
    except ImportError as error:
        raise OutputError("A film needs Pillow. Install it with: pip install 'merganser[film]'") from error


@lru_cache(maxsize=16)
def _font(size: float) -> Any:
    """Pillow's own font, which takes a hundredth of a second to open."""
    return pillow("ImageFont").load_default(size)


class Pen:
    """What draws one frame; places and sizes are pixels of the frame, from its upper left corner.

    Args:
        width: Of the frame.
        height: Of the frame.

    Raises:
        OutputError: If Pillow is missing.
    """

    def __init__(self, width: int, height: int) -> None:
        self._image = pillow("Image").new("RGB", (_FINE * width, _FINE * height), PAPER)
        self._draw = pillow("ImageDraw").Draw(self._image, "RGBA")

    def box(
        self, x: float, y: float, width: float, height: float, colour: Colour, *, opacity: float = 1.0
    ) -> None:
        """A filled rectangle."""
        left, top, right, bottom = (round(_FINE * value) for value in (x, y, x + width, y + height))
        if right > left and bottom > top and opacity > 0:
            self._draw.rectangle(
                (left, top, right - 1, bottom - 1), fill=(*colour, round(255 * min(opacity, 1.0)))
            )

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, *, width: float = 1.0) -> None:
        """A line through points, with round ends."""
        places = [(_FINE * x, _FINE * y) for x, y in points]
        thick = max(1, round(_FINE * width))
        self._draw.line(places, fill=colour, width=thick, joint="curve")
        if width > _ROUNDED:
            for x, y in points:
                self.dot(x, y, width / 2, colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        edges = (_FINE * (x - radius), _FINE * (y - radius), _FINE * (x + radius), _FINE * (y + radius))
        self._draw.ellipse(edges, fill=colour)

    def text(
        self, x: float, y: float, words: str, *, size: float = 13, colour: Colour = INK, anchor: str = "ls"
    ) -> None:
        """A line of text; `anchor` as Pillow has it, ``"ls"`` for the left end of the base line."""
        place = (_FINE * x, _FINE * y)
        self._draw.text(place, words, font=_font(_FINE * size), fill=colour, anchor=anchor)

    def done(self) -> Image:
        """The frame."""
        return self._image.reduce(_FINE)
