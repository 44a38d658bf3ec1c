"""Mazes that lie in files: pictures as the published data sets have them, one PNG a maze."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import TaskError
from merganser.thinking.mazes._mazes import Mazes
from merganser.thinking.mazes._pictures import mazes_of, pictures

_MOST_PIXELS = 4096 * 4096


def read_mazes(place: str | Path, *, most: int | None = None) -> Mazes:
    """Mazes of one size from a picture or a folder of them.

    Args:
        place: A PNG file, or a folder whose PNG files, and those of folders in it, are read in the order of their
            names. Black is a wall, red the start, green the goal; a solution in blue is a passage.
        most: Mazes that are read at most; None for all.

    Raises:
        TaskError: If there are none, one cannot be read, or their sizes differ.
    """
    path = Path(place).expanduser()
    files = sorted(path.rglob("*.png"))[:most] if path.is_dir() else [path]
    if not path.exists() or not files:
        raise TaskError(f"{path} holds no pictures (*.png). Name a folder of mazes, one PNG file each.")
    drawn = [_read(file) for file in files]
    for file, each in zip(files, drawn, strict=True):
        if each.shape != drawn[0].shape:
            rows, columns = drawn[0].shape[1:]
            raise TaskError(
                f"Expected mazes of one size, {rows}×{columns} pixels as {files[0].name} has, found "
                f"{each.shape[1]}×{each.shape[2]} in {file}."
            )
    return mazes_of(np.stack(drawn), names=[str(file) for file in files])


def write_mazes(mazes: Mazes, folder: str | Path) -> None:
    """Write mazes as pictures that [`read_mazes`][] reads, named by their number.

    Args:
        mazes: The mazes.
        folder: Where to; it is made if it does not exist.
    """
    image = _pillow()
    target = Path(folder).expanduser()
    target.mkdir(parents=True, exist_ok=True)
    for k, drawn in enumerate(pictures(mazes)):
        pixels = np.ascontiguousarray(drawn.transpose(1, 2, 0) * 255).astype(np.uint8)
        image.fromarray(pixels).save(target / f"{k:06d}.png")


def _read(file: Path) -> Float[np.ndarray, "3 rows columns"]:
    image = _pillow()
    try:
        with image.open(file, formats=["PNG"]) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise TaskError(
                    f"{file} has {opened.width}×{opened.height} pixels, more than a maze can have."
                )
            pixels = np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise TaskError(f"{file} is no PNG picture that can be read: {error}") from error
    return pixels.transpose(2, 0, 1).astype(np.float32) / 255


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise TaskError("Mazes in files need Pillow: pip install 'merganser[film]'.") from error
    return Image
