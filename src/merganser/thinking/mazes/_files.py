"""Mazes from files that people draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from merganser._errors import TaskError
from merganser.thinking.mazes._mazes import Mazes
from merganser.thinking.mazes._pictures import mazes_of
from merganser.thinking.mazes._routes import routes


def read_maze(path: str | Path) -> Mazes:
    """One maze from a picture of one pixel for each place: black walls, a red start, a green goal.

    Needs ``pip install 'merganser[film]'``.

    Args:
        path: A picture, such as a PNG.

    Raises:
        TaskError: If it is no such picture, no way leads from start to goal, or Pillow is missing.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise TaskError(
            "Reading a maze needs Pillow. Install it with: pip install 'merganser[film]'"
        ) from error
    try:
        with Image.open(path) as opened:
            drawn = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255
    except UnidentifiedImageError as error:
        raise TaskError(
            f"{path} is no picture that can be read. Give a PNG of black walls and white passages."
        ) from error
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error}.") from error
    try:
        maze = mazes_of(drawn.transpose(2, 0, 1)[None])
        routes(maze)
    except TaskError as error:
        raise TaskError(
            f"{path}: {error} A maze has one pixel for each place: black walls, one pure red start, one pure green "
            "goal, and a way between them."
        ) from error
    return maze
