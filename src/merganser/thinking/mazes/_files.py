"""Mazes from pictures that people draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from merganser._errors import TaskError
from merganser.thinking.mazes._mazes import Mazes
from merganser.thinking.mazes._pictures import mazes_of


def read_mazes(path: str | Path) -> Mazes:
    """One maze from a picture of one pixel for each place: black walls, a red start, a green goal.

    Needs ``pip install 'merganser[film]'``.

    Args:
        path: A picture, such as a PNG.

    Raises:
        TaskError: If it is no such picture, or Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise TaskError("Reading mazes needs Pillow: pip install 'merganser[film]'.") from error
    try:
        with Image.open(path) as opened:
            drawn = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255
    except OSError as error:
        raise TaskError(f"{path} is no picture that can be read: {error}") from error
    return mazes_of(drawn.transpose(2, 0, 1)[None])
