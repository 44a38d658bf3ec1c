"""One frame of a film: left, what is seen and answered; right, how sure the model is and what neurons do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from merganser.report._film_pen import BLUE, GREEN, GREY, INK, LINE, MUTED, ORANGE, Pen
from merganser.report._film_stage import draw_stage
from merganser.report._watch_data import thought_outcome
from merganser.thinking.watching import ENOUGH, Watched, WatchedThought

SIZE = (720, 440)
"""Pixels of one thought."""
_STAGE = (20.0, 48.0, 372.0)
_SIDE = (420.0, 280.0)
"""Left end and width of what stands at the right."""
_ACROSS, _DOWN = 3, 4

Area = tuple[float, float, float, float]
"""Left and upper end, width and height."""


def draw_thought(
    pen: Pen, watched: Watched, thought: WatchedThought, tick: int, corner: tuple[int, int]
) -> None:
    """Draw one thought at one tick.

    Args:
        pen: What draws.
        watched: The thoughts it is one of.
        thought: The sample.
        tick: From 0.
        corner: Left and upper end.
    """
    x, y = corner
    left, top, side = _STAGE
    draw_stage(pen, watched, thought, tick, (x + left, y + top, side))
    aside, width = x + _SIDE[0], _SIDE[1]
    pen.text(x + left, y + 32, f"sample {thought.number}: {thought_outcome(watched.kind, thought)}", size=14)
    pen.text(aside, y + 32, f"tick {tick + 1} of {thought.ticks}", size=17)
    sure = f"{100 * thought.certainties[tick]:.0f} % sure"
    pen.text(aside + width, y + 32, sure, size=14, colour=BLUE, anchor="rs")
    _certainty(pen, thought, tick, (aside, y + 52, width, 100))
    if watched.kind == "picture" and len(thought.targets) == 1:
        _classes(pen, watched, thought, tick, (aside, y + 176, width, 244))
    elif thought.activations is not None:
        pen.text(aside, y + 186, "neurons that move most", size=12, colour=MUTED)
        _neurons(pen, thought.activations, tick, (aside, y + 196, width, 224))


def _certainty(pen: Pen, thought: WatchedThought, tick: int, area: Area) -> None:
    left, top, width, height = area
    for share in (0.0, 0.5, 1.0):
        level = top + (1 - share) * height
        pen.line([(left, level), (left + width, level)], LINE)
    level = top + (1 - ENOUGH) * height
    pen.line([(left, level), (left + width, level)], GREY, width=0.5)
    pen.text(left, level - 3, f"{100 * ENOUGH:.0f} % sure", size=10, colour=MUTED)
    points = _points(thought.certainties, (0.0, 1.0), area)
    _drawn_so_far(pen, points, tick, width=2.0)
    if tick >= thought.answered:
        pen.dot(*points[thought.answered], 5, BLUE)
    pen.dot(*points[tick], 4, ORANGE)


def _neurons(pen: Pen, activations: Float[np.ndarray, "ticks neurons"], tick: int, area: Area) -> None:
    """The traces of some neurons, the past of each stronger than what is to come."""
    left, top, width, height = area
    shown = np.linspace(0, activations.shape[1] - 1, min(_ACROSS * _DOWN, activations.shape[1])).astype(int)
    wide, tall = width / _ACROSS, height / _DOWN
    for k, neuron in enumerate(shown):
        values = activations[:, neuron]
        place = (left + k % _ACROSS * wide, top + k // _ACROSS * tall + 6, wide - 12, tall - 16)
        points = _points(values, (float(values.min()), float(values.max())), place)
        _drawn_so_far(pen, points, tick, width=1.5)
        pen.dot(*points[tick], 2.5, ORANGE)


def _classes(pen: Pen, watched: Watched, thought: WatchedThought, tick: int, area: Area) -> None:
    left, top, width, height = area
    line, names = height / len(watched.classes), 40.0
    for k, (name, chance) in enumerate(zip(watched.classes, thought.chances[tick, 0], strict=True)):
        is_right = k == thought.targets[0]
        colour = INK if is_right else MUTED
        pen.text(left + names - 10, top + (k + 0.5) * line, name, size=13, colour=colour, anchor="rm")
        bar = (left + names, top + (k + 0.2) * line, float(chance) * (width - names), 0.6 * line)
        pen.box(*bar, GREEN if is_right else GREY)


def _points(
    values: Sequence[float] | np.ndarray, ends: tuple[float, float], area: Area
) -> list[tuple[float, float]]:
    """Values over ticks as places in an area."""
    (low, high), (left, top, width, height) = ends, area
    span, last = (high - low) or 1.0, max(len(values) - 1, 1)
    return [
        (left + t / last * width, top + (1 - (float(value) - low) / span) * height)
        for t, value in enumerate(values)
    ]


def _drawn_so_far(pen: Pen, points: list[tuple[float, float]], tick: int, *, width: float) -> None:
    if len(points) > 1:
        pen.line(points, LINE, width=width)
    if tick > 0:
        pen.line(points[: tick + 1], BLUE, width=width)
