"""`merganser think solve`: mazes of sizes and families that a model was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from merganser._errors import ConfigError
from merganser.cli._output import Json, Quiet, clear_errors, percent, plain_table, print_json, tables
from merganser.cli._step_bar import step_bar
from merganser.thinking import Thinker, find_ways, open_thinker
from merganser.thinking.mazes import FAMILIES, WAIT, Mazes, draw_mazes, read_mazes, routes
from merganser.thinking.training import open_thinking


def solve(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a training on mazes.", metavar="DIR", show_default=False)
    ],
    sizes: Annotated[
        str, typer.Option(help="Of the mazes, in pixels; odd.", metavar="N,…")
    ] = "9,11,13,15,19",
    family: Annotated[
        str, typer.Option(help="How mazes are drawn.", metavar="|".join(FAMILIES))
    ] = "depth-first",
    data: Annotated[
        Path | None,
        typer.Option(help="Mazes in files instead, a PNG each.", metavar="PATH", show_default=False),
    ] = None,
    mazes: Annotated[int, typer.Option(help="How many of each size, at most.", min=1)] = 200,
    most: Annotated[int, typer.Option(help="How often the model is asked at most.", min=1)] = 20,
    faults: Annotated[int, typer.Option(help="Moves into walls that each route may have.", min=0)] = 2,
    ticks: Annotated[
        int | None,
        typer.Option(help="How long it thinks.", min=1, show_default="as long as in training"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the mazes.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Let a model find ways through mazes it was not trained on: larger ones, or of another kind.

    Where a route ends the next one starts, until the goal is reached.
    """
    with clear_errors():
        trained = open_thinking(folder)
        model = open_thinker(trained.path).to(device)
        sets = [read_mazes(data, most=mazes)] if data else _drawn(sizes, family, mazes, seed)
        found = []
        with step_bar("solving", len(sets), quiet=quiet) as tell:
            for k, each in enumerate(sets):
                found.append(_solved(model, each, most, faults, ticks))
                if tell is not None:
                    tell(k + 1, found[-1].size)
    if as_json:
        print_json(
            {
                "out": str(folder),
                "family": None if data else family,
                "sizes": [each._asdict() for each in found],
            }
        )
    else:
        _show(found)


class _Solved(NamedTuple):
    """What a model reached on mazes of one size.

    Attributes:
        size: Rows and columns.
        mazes: How many.
        steps: Of the shortest way, mean.
        once: Share solved by one route without a fault.
        solved: Share solved by asking again.
        asked: How often it was asked, mean over those that are solved; None if none is.
        longest: Steps of the longest way that was found.
    """

    size: str
    mazes: int
    steps: float
    once: float
    solved: float
    asked: float | None
    longest: int


def _drawn(sizes: str, family: str, number: int, seed: int) -> list[Mazes]:
    try:
        asked = [int(size) for size in sizes.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"Expected --sizes as numbers with commas, such as 9,11,13, found {sizes!r}."
        ) from error
    return [
        draw_mazes(number, size, family=family, rng=np.random.default_rng([seed, size])) for size in asked
    ]


def _solved(model: Thinker[Any], mazes: Mazes, most: int, faults: int, ticks: int | None) -> _Solved:
    once = find_ways(model, mazes, most=1, tolerated=0, ticks=ticks).solved
    again = find_ways(model, mazes, most=most, tolerated=faults, ticks=ticks)
    steps = (routes(mazes) != WAIT).sum(axis=1)
    return _Solved(
        size="×".join(map(str, mazes.shape)),
        mazes=len(mazes),
        steps=float(steps.mean()),
        once=float(once.mean()),
        solved=float(again.solved.mean()),
        asked=float(again.asked[again.solved].mean()) if again.solved.any() else None,
        longest=int(steps[again.solved].max(initial=0)),
    )


def _show(found: list[_Solved]) -> None:
    numbers = ("mazes", "steps", "one route, no fault", "asked again", "times asked", "longest way found")
    table = plain_table("size", *numbers, right=numbers)
    for each in found:
        asked = "" if each.asked is None else f"{each.asked:.1f}"
        table.add_row(
            each.size,
            str(each.mazes),
            f"{each.steps:.1f}",
            percent(each.once),
            percent(each.solved),
            asked,
            str(each.longest),
        )
    tables.print(table)
