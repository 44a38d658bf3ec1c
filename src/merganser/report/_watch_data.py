"""Watched thoughts as small JSON: numbers as bytes where a picture needs no more."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

from merganser.report._words import counted
from merganser.thinking.mazes import WAIT
from merganser.thinking.watching import ENOUGH, Watched, WatchedThought, wandering_of

_STEPS = 255


def player_data(watched: Watched) -> dict[str, Any]:
    """What the player of a page draws.

    Args:
        watched: The thoughts.
    """
    others = None if watched.others is None else _shades(watched.others.transpose(2, 0, 1))
    return {
        "kind": watched.kind,
        "classes": list(watched.classes),
        "enough": ENOUGH,
        "grid": watched.grid,
        "neurons": list(watched.neurons),
        "others": others,
        "samples": [_thought(watched.kind, each) for each in watched.thoughts],
    }


def thought_outcome(kind: str, thought: WatchedThought) -> str:
    """What became of a sample, at the tick whose answer counts, in words.

    Args:
        kind: How its input is drawn, as [`Watched`][merganser.thinking.watching.Watched] has it.
        thought: The sample.
    """
    right = thought.right[thought.answered]
    if kind == "maze":
        steps = int((thought.targets != WAIT).sum())
        asked = counted(steps, "step") + (" or more" if steps == len(right) else "")
        if wandering_of(thought).solved[thought.answered]:
            return f"{asked}: solved"
        if right.all():
            return f"{asked}: right as far as asked"
        return f"{asked}: wrong at step {int(right.argmin()) + 1}"
    if len(right) == 1:
        return "recognised" if right[0] else "mistaken"
    return "all right" if right.all() else f"{int(right.sum())} of {len(right)} right"


def is_solved(kind: str, thought: WatchedThought) -> bool:
    """Whether all is right at the tick whose answer counts; in mazes another way to the goal is right as well."""
    if thought.right[thought.answered].all():
        return True
    return kind == "maze" and bool(wandering_of(thought).solved[thought.answered])


def _thought(kind: str, thought: WatchedThought) -> dict[str, Any]:
    halted = thought.halted()
    data = {
        "number": thought.number,
        "outcome": thought_outcome(kind, thought),
        "solved": is_solved(kind, thought),
        "targets": thought.targets.tolist(),
        "answers": _counts(thought.answers),
        "chances": _shades(thought.chances if len(thought.targets) == 1 else thought.chances.max(axis=2)),
        "certainties": _rounded(thought.certainties),
        "losses": _rounded(thought.losses),
        "surest": thought.surest,
        "answered": thought.answered,
        "best": thought.best,
        "halted": halted,
    }
    for name in ("attention", "activations", "together"):
        values = getattr(thought, name)
        data[name] = None if values is None else _shades(values)
    return data | _input(kind, thought)


def _input(kind: str, thought: WatchedThought) -> dict[str, Any]:
    if kind == "maze":
        found = wandering_of(thought)
        return {
            "passages": _counts(found.maze.passages[0]),
            "ends": [found.maze.starts[0].tolist(), found.maze.goals[0].tolist()],
            "right": found.right.tolist(),
            "places": _counts(found.places),
            "walls": [each.tolist() for each in found.walls],
            "reached": found.solved.tolist(),
            "whole": thought.right.all(axis=1).tolist(),
        }
    if kind == "signs":
        return {"signs": np.sign(thought.input).astype(int).tolist()}
    return {"picture": _shades(thought.input)} if kind == "picture" else {}


def _shades(values: np.ndarray) -> dict[str, Any]:
    """Numbers as 256 levels from the smallest to the largest."""
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    levels = np.rint((values - low) / span * _STEPS).astype(np.uint8)
    return {"shape": list(values.shape), "low": _short(low), "span": _short(span), "bytes": _said(levels)}


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _counts(values: np.ndarray) -> dict[str, Any]:
    """Whole numbers from 0 on, exactly; two bytes each where one is not enough."""
    kind = "<u2" if values.max() > _STEPS else "u1"
    return {"shape": list(values.shape), "wide": kind != "u1", "bytes": _said(values.astype(kind))}


def _said(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
