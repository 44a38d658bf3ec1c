"""`merganser think watch`: what a trained model looks at, answers and does inside, tick by tick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from merganser._errors import ConfigError
from merganser.cli._output import OUTPUT_PANEL, Json, clear_errors, percent, plain_table, print_json, tables
from merganser.report import FILMS, check_film, thought_outcome, write_film, write_watch_page
from merganser.thinking import Thinker, answers_of, open_thinker
from merganser.thinking.mazes import FAMILIES, MOVES, draw_mazes, pictures, read_mazes, routes
from merganser.thinking.training import MazeRoutes, Samples, ThinkingTask, open_thinking
from merganser.thinking.watching import (
    MAZES,
    Watched,
    WatchedThought,
    chosen_samples,
    difficulty_of,
    wandering_of,
    watch_thoughts,
)

_MAZE_PANEL, _FILM_PANEL = "Other mazes", "A film"
_POOL, _BESIDE = 256, 12
"""Test samples that are chosen from, and those of them that are the background of neurons."""


def watch(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a training.", metavar="DIR", show_default=False)
    ],
    samples: Annotated[
        int, typer.Option(help="How many; from easy to hard, a third of them such as fail.", min=1)
    ] = 12,
    sample: Annotated[
        list[int] | None,
        typer.Option(help="This test sample, counted from 0; may be given several times.", min=0),
    ] = None,
    ticks: Annotated[
        int | None, typer.Option(help="How long it thinks.", min=1, show_default="as long as in training")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page.", rich_help_panel=OUTPUT_PANEL, metavar="FILE", show_default="DIR/watch.html"
        ),
    ] = None,
    maze: Annotated[
        Path | None,
        typer.Option(
            help="A maze from a picture of one pixel a place: black walls, red start, green goal.",
            rich_help_panel=_MAZE_PANEL,
            metavar="PNG",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Pixels of a side.", rich_help_panel=_MAZE_PANEL, show_default="as in training"),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="How they are drawn.",
            rich_help_panel=_MAZE_PANEL,
            metavar="|".join(FAMILIES),
            show_default="as in training",
        ),
    ] = None,
    film: Annotated[
        Path | None,
        typer.Option(
            help="Also write a film.",
            rich_help_panel=_FILM_PANEL,
            metavar="|".join("FILE" + f for f in FILMS),
        ),
    ] = None,
    tile: Annotated[
        bool,
        typer.Option("--tile", help="All samples side by side.", rich_help_panel=_FILM_PANEL),
    ] = False,
    fps: Annotated[
        float, typer.Option(help="Ticks a second.", min=0.1, max=50, rich_help_panel=_FILM_PANEL)
    ] = 4.0,
    as_json: Json = False,
) -> None:
    """Watch a trained model think: a page that plays it, and a film if asked for."""
    with clear_errors():
        if film is not None:
            check_film(film, fps)
        trained = open_thinking(folder)
        asked = _asked(trained.task, maze, size, family)
        model = open_thinker(trained.path)
        seen = _watched(model, trained.task, asked, sample or samples, ticks)
        page = write_watch_page(
            seen, out or trained.folder / "watch.html", title=f"Watch it think: {trained.task.name}"
        )
        if film is not None:
            write_film(seen, film, fps=fps, tile=tile)
    if as_json:
        made = {"page": str(page), "film": None if film is None else str(film)}
        print_json({**made, "samples": [_facts(seen.kind, each) for each in seen.thoughts]})
    else:
        _show(seen, [page, *([] if film is None else [film])])


def _asked(task: ThinkingTask, maze: Path | None, size: int | None, family: str | None) -> Samples:
    """Test samples of the task, or of other mazes."""
    if maze is None and size is None and family is None:
        return Samples(*(part[:_POOL] for part in task.test()))
    if task.name not in MAZES:
        raise ConfigError(
            f"--maze, --size and --family are for mazes, but the model learnt {task.name}. Leave them out."
        )
    if maze is not None and (size is not None or family is not None):
        raise ConfigError("A maze from a picture has its own size and family. Leave --size and --family out.")
    if maze is not None:
        mazes = read_mazes(maze)
    else:
        size = size or task.test().inputs.shape[-1]
        family = family or (task.family if isinstance(task, MazeRoutes) else next(iter(FAMILIES)))
        mazes = draw_mazes(_POOL, size, family=family, rng=np.random.default_rng(0))
    moves = routes(mazes, task.positions)
    return Samples(torch.from_numpy(pictures(mazes)), torch.from_numpy(moves))


def _watched(
    model: Thinker[Any], task: ThinkingTask, asked: Samples, wanted: int | list[int], ticks: int | None
) -> Watched:
    if isinstance(wanted, int):
        answers, difficulty = answers_of(model, *asked, ticks=ticks), difficulty_of(task, asked)
        rows = chosen_samples(answers, wanted, None if difficulty is None else difficulty.values)
    else:
        rows = wanted
        if max(rows) >= len(asked.inputs):
            raise ConfigError(f"Expected samples from 0 to {len(asked.inputs) - 1}, found {max(rows)}.")
    chosen = Samples(*(part[rows] for part in asked))
    return watch_thoughts(model, task, chosen, numbers=rows, ticks=ticks, beside=asked.inputs[:_BESIDE])


def _facts(kind: str, thought: WatchedThought) -> dict[str, Any]:
    halted = thought.halted()
    facts = {
        "sample": thought.number,
        "ticks": thought.ticks,
        "certainties": thought.certainties.tolist(),
        "surest": thought.surest + 1,
        "best": thought.best + 1,
        "halted": None if halted is None else halted + 1,
        "accuracy": float(thought.right[thought.answered].mean()),
    }
    if kind != "maze":
        return {**facts, "answers": thought.answers[thought.answered].tolist()}
    route = [MOVES[move] for move in thought.answers[thought.answered]]
    return {**facts, "route": route, "solved": bool(wandering_of(thought).solved[thought.answered])}


def _show(seen: Watched, files: list[Path]) -> None:
    numbers = ("sample", "surest tick", "certainty", "80 % sure at")
    table = plain_table(*numbers, "outcome", right=numbers)
    for each in seen.thoughts:
        halted = each.halted()
        table.add_row(
            str(each.number),
            str(each.surest + 1),
            percent(float(each.certainties.max())),
            "never" if halted is None else str(halted + 1),
            thought_outcome(seen.kind, each),
        )
    tables.print(table)
    for file in files:
        tables.print(str(file), soft_wrap=True, markup=False)
