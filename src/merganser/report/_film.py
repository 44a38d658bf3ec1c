"""Thoughts as a film: a GIF, or an MP4 where imageio-ffmpeg is installed."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merganser._errors import ConfigError, OutputError
from merganser.report._film_frame import SIZE, draw_thought
from merganser.report._film_pen import Pen, pillow
from merganser.thinking.watching import Watched, WatchedThought
from merganser.weights import atomic_write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

FILMS = (".gif", ".mp4")
"""How names of films end."""
_REST = 1.5
"""Seconds that the last tick stays."""
_COLOURS = 128


def write_film(watched: Watched, path: str | Path, *, fps: float = 4.0, tile: bool = False) -> Path:
    """Write thoughts as a film. Needs ``pip install 'merganser[film]'``.

    Args:
        watched: The thoughts.
        path: Where, ending in ``.gif`` or ``.mp4``; a file that is there is replaced.
        fps: Ticks a second.
        tile: Whether all thoughts are seen at once, side by side, rather than one after the other.

    Returns:
        The file.

    Raises:
        ConfigError: If the name ends in something else, or there are no ticks a second.
        OutputError: If a library is missing or the file cannot be written.
    """
    target = Path(path)
    check_film(target, fps)
    shots = [watched.thoughts] if tile else [(each,) for each in watched.thoughts]
    images = (image for shot in shots for image in _frames(watched, shot, fps))
    content = _gif(images, fps) if target.suffix.lower() == ".gif" else _mp4(images, fps)
    atomic_write_bytes(target, content)
    return target


def check_film(path: Path, fps: float) -> None:
    """See to it that such a film can be asked for, before anything is thought.

    Raises:
        ConfigError: If it cannot.
    """
    if path.suffix.lower() not in FILMS:
        raise ConfigError(
            f"Expected a film named {' or '.join('*' + each for each in FILMS)}, found {path.name!r}."
        )
    if not 0 < fps <= 50:
        raise ConfigError(f"Expected between 0 and 50 ticks a second, found {fps:g}.")


def _frames(watched: Watched, thoughts: Sequence[WatchedThought], fps: float) -> Iterator[Image]:
    """A frame for each tick, the last for some time; all thoughts of a shot beside each other."""
    ticks = max(each.ticks for each in thoughts)
    for tick in range(ticks - 1):
        yield _frame(watched, thoughts, tick)
    yield from repeat(_frame(watched, thoughts, ticks - 1), 1 + round(_REST * fps))


def _frame(watched: Watched, thoughts: Sequence[WatchedThought], tick: int) -> Image:
    across = math.ceil(math.sqrt(len(thoughts)))
    down = math.ceil(len(thoughts) / across)
    pen = Pen(across * SIZE[0], down * SIZE[1])
    for k, thought in enumerate(thoughts):
        corner = (k % across * SIZE[0], k // across * SIZE[1])
        draw_thought(pen, watched, thought, min(tick, thought.ticks - 1), corner)
    return pen.done()


def _gif(images: Iterator[Image], fps: float) -> bytes:
    kinds = pillow("Image")
    few = (
        image.quantize(_COLOURS, method=kinds.Quantize.FASTOCTREE, dither=kinds.Dither.NONE)
        for image in images
    )
    stream, begun = io.BytesIO(), next(few)
    milliseconds = 10 * round(100 / fps)
    begun.save(stream, "GIF", save_all=True, append_images=few, duration=milliseconds, loop=0)
    return stream.getvalue()


def _mp4(images: Iterator[Image], fps: float) -> bytes:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise OutputError(
            "An MP4 needs imageio-ffmpeg. Install it with: pip install 'merganser[film]', or write a GIF."
        ) from error
    first = next(images)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "film.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(place),
            first.size,
            fps=fps,  # pyright: ignore[reportArgumentType] (any number will do)
            macro_block_size=2,
            quality=8,
        )
        writer.send(None)
        try:
            for image in chain((first,), images):
                writer.send(np.ascontiguousarray(image).tobytes())
        finally:
            writer.close()
        return place.read_bytes()
