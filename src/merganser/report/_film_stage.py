"""What a model sees, where it looks and what it answers at one tick, as one picture of a film."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from merganser.report._film_pen import BLUE, GREEN, GREY, INK, LINE, MUTED, ORANGE, PAPER, Colour, Pen
from merganser.thinking.watching import Watched, WatchedThought, wandering_of

_WALL, _OPEN, _RED, _GOAL = (75, 85, 99), (255, 255, 255), (224, 49, 49), (43, 154, 71)
_FULL = 0.72
"""Opacity of the largest share of attention."""
_READABLE = 11
"""Pixels that a letter needs."""

Box = tuple[float, float, float]
"""Left and upper end, and side, of the square that is drawn in."""


def draw_stage(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, box: Box) -> None:
    """Draw what is seen and answered at a tick.

    Args:
        pen: What draws.
        watched: Says what kind of input it is.
        thought: The sample.
        tick: From 0.
        box: Where.
    """
    STAGES.get(watched.kind, _nothing)(pen, watched, thought, tick, box)


def looks_of(thought: WatchedThought) -> Float[np.ndarray, "ticks tokens"] | None:
    """Attention, mean over heads, as shares of its largest value; None without attention."""
    if thought.attention is None:
        return None
    mean = thought.attention.mean(axis=1)
    return mean / max(float(mean.max()), 1e-9)


def _maze(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, box: Box) -> None:
    found = wandering_of(thought)
    rows, columns = found.maze.shape
    left, top, side = box
    cell = side / max(rows, columns)
    pen.box(left, top, columns * cell, rows * cell, _WALL)
    for y, x in np.argwhere(found.maze.passages[0]):
        pen.box(left + x * cell, top + y * cell, cell, cell, _OPEN)
    _look(pen, watched, thought, tick, (left, top, columns * cell, rows * cell))

    def centre(place: np.ndarray) -> tuple[float, float]:
        return left + (place[1] + 0.5) * cell, top + (place[0] + 0.5) * cell

    pen.line([centre(place) for place in found.places[tick]], ORANGE, width=0.24 * cell)
    for place in found.walls[tick]:
        (x, y), arm = centre(place), 0.2 * cell
        for slope in (1, -1):
            pen.line([(x - arm, y - slope * arm), (x + arm, y + slope * arm)], ORANGE, width=0.14 * cell)
    pen.dot(*centre(found.maze.starts[0]), 0.32 * cell, _RED)
    x, y = centre(found.maze.goals[0])
    pen.box(x - 0.3 * cell, y - 0.3 * cell, 0.6 * cell, 0.6 * cell, _GOAL)


def _signs(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, box: Box) -> None:  # noqa: ARG001 all kinds are called alike
    left, top, side = box
    count, names = len(thought.input), 60
    cell, high = min(26, (side - names) / count), 26
    looks = looks_of(thought)
    for line, name in enumerate(("sign", "looks", "says", "truth")):
        pen.text(left, top + line * (high + 8) + 18, name, colour=MUTED)
    for k, (sign, right) in enumerate(zip(thought.input, thought.targets, strict=True)):
        x, inner = left + names + k * cell, cell * 0.9
        answer = int(thought.answers[tick, k])
        _square(pen, (x, top, inner, high), GREY if sign < 0 else LINE, "-" if sign < 0 else "+")
        strength = 0.0 if looks is None or looks.shape[1] != count else float(looks[tick, k])
        pen.box(x, top + 2 * high + 8 - high * strength, inner, high * strength, BLUE)
        colour = GREEN if answer == right else ORANGE
        _square(pen, (x, top + 2 * (high + 8), inner, high), colour, str(answer), PAPER)
        _square(pen, (x, top + 3 * (high + 8), inner, high), GREY if right else LINE, str(right))
    if looks is not None and looks.shape[1] == count:
        _looked(pen, looks[: tick + 1], thought.ticks, (left + names, top + 4 * (high + 8) + 24, cell), side)


def _looked(pen: Pen, looks: Float[np.ndarray, "ticks tokens"], ticks: int, place: Box, side: float) -> None:
    """Where it looked at every tick so far, in the columns of the signs."""
    left, top, cell = place
    high = min(9.0, (side - 4 * 34 - 24) / ticks)
    pen.text(left, top - 8, "where it looked, tick after tick", size=12, colour=MUTED)
    for t, row in enumerate(looks):
        for k, strength in enumerate(row):
            pen.box(left + k * cell, top + t * high, cell * 0.9, high, BLUE, opacity=float(strength))
    most = [(left + (row.argmax() + 0.45) * cell, top + (t + 0.5) * high) for t, row in enumerate(looks)]
    if len(most) > 1:
        pen.line(most, ORANGE, width=1.5)


def _picture(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, box: Box) -> None:
    channels, rows, columns = thought.input.shape
    left, top, side = box
    cell = side / max(rows, columns)
    low, high = float(thought.input.min()), float(thought.input.max())
    levels = (thought.input - low) / ((high - low) or 1.0)
    for y in range(rows):
        for x in range(columns):
            pen.box(left + x * cell, top + y * cell, cell, cell, _colour(levels[:, y, x], channels))
    _look(pen, watched, thought, tick, (left, top, columns * cell, rows * cell))


def _colour(levels: Float[np.ndarray, " channels"], channels: int) -> Colour:
    """Of one channel, paper to ink; of three, red, green and blue."""
    if channels == 1:
        red, green, blue = (round(p + float(levels[0]) * (i - p)) for p, i in zip(_OPEN, INK, strict=True))
    else:
        red, green, blue = (round(255 * float(level)) for level in levels)
    return red, green, blue


def _nothing(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, box: Box) -> None:
    """Inputs that have no picture."""


def _look(
    pen: Pen,
    watched: Watched,
    thought: WatchedThought,
    tick: int,
    place: tuple[float, float, float, float],
) -> None:
    looks = looks_of(thought)
    if looks is None or watched.grid is None:
        return
    left, top, width, height = place
    rows, columns = watched.grid
    for y, x, strength in _cells(looks[tick].reshape(rows, columns)):
        box = (left + x * width / columns, top + y * height / rows, width / columns, height / rows)
        pen.box(*box, BLUE, opacity=_FULL * strength)


def _cells(values: Float[np.ndarray, "rows columns"]) -> Iterator[tuple[int, int, float]]:
    for (y, x), value in np.ndenumerate(values):
        yield y, x, float(value)


def _square(
    pen: Pen, place: tuple[float, float, float, float], colour: Colour, letter: str, ink: Colour = INK
) -> None:
    x, y, width, height = place
    pen.box(x, y, width, height, colour)
    if width >= _READABLE:
        pen.text(x + width / 2, y + height / 2, letter, size=13, colour=ink, anchor="mm")


STAGES: Mapping[str, Callable[[Pen, Watched, WatchedThought, int, Box], None]] = MappingProxyType(
    {"maze": _maze, "signs": _signs, "picture": _picture}
)
"""How each kind of input is drawn."""
