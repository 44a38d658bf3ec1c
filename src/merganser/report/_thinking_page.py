"""A training of a thought machine as one HTML file: how it learnt, how it thinks, and when it could stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merganser._training_folder import read_training
from merganser.report._html import Html, element, table
from merganser.report._page import chart_place, page
from merganser.report._sections import Section, section
from merganser.report._thinking_charts import calibration_chart, cells_chart, lines_chart
from merganser.report._thinking_info import ThinkingInfo, thinking_info
from merganser.report._watch_data import player_data
from merganser.report._watch_player import player
from merganser.report._words import count, counted, duration, percent
from merganser.thinking.training import ThinkingTrained, looks
from merganser.thinking.watching import ENOUGH
from merganser.weights import atomic_write_text

_PLAYER = "thoughts"
_STOPPED = {
    "enough": "until every validation sample was right",
    "steps": "over all steps",
    "seconds": "until its time was up",
}

_MODELS = {"ctm": "A thought machine", "lstm": "An LSTM", "feed-forward": "A feed-forward net"}


def write_thinking_report(trained: ThinkingTrained, path: str | Path) -> Path:
    """Write what came of a training as one HTML file that needs nothing else, not even a network.

    Args:
        trained: The training.
        path: Where; a file that is there is replaced.

    Returns:
        The file.

    Raises:
        OutputError: If the file cannot be written, or a library that draws is missing.
        RunError, CheckpointError: If the training's folder or its model is damaged.
    """
    of, info = read_training(trained.folder)["of"], thinking_info(trained)
    sections = [*_watch(info), _learning(trained), *_positions(trained)]
    sections += [_ticks(info), *_looks(info), *_hardness(info), _halting(info)] if info.ticks > 1 else []
    sections += [_calibration(info), _settings(of)]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    header = element(
        "header",
        element("p", "Thinking", class_="kicker"),
        element("h1", f"{trained.task.name}: {percent(trained.test)} of the test{_halted(trained, info)}"),
        element("p", _lead(trained, of), class_="lead"),
    )
    body, target = [header, *(each.html for each in sections)], Path(path)
    title = f"Thinking about {trained.task.name}"
    data = {} if info.watched is None else {_PLAYER: player_data(info.watched)}
    atomic_write_text(target, page(title, body, charts, data))
    return target


def model_in_words(of: Mapping[str, Any]) -> str:
    """What was trained.

    Args:
        of: What a training's folder says of it.
    """
    return _MODELS[of["config"].get("kind", "ctm")]


def _lead(trained: ThinkingTrained, of: Mapping[str, Any]) -> str:
    model, last = model_in_words(of), trained.rows[-1]
    numbers, steps = counted(trained.parameters, "number"), counted(last.step, "step")
    how = f"{numbers} trained in {steps}, {_STOPPED[trained.stopped]}: {duration(last.seconds)}."
    return f"{model}, {how}"


def _halted(trained: ThinkingTrained, info: ThinkingInfo) -> str:
    halted = trained.halted
    if info.ticks == 1:
        return ""
    return f", {percent(halted.accuracy)} with {percent(halted.saved)} of the ticks saved"


def _learning(trained: ThinkingTrained) -> Section:
    words = "Loss of each batch, mean of the best tick and the one that answers."
    loss = {"loss": [(row.step, row.loss) for row in trained.rows if row.loss is not None]}
    shown = "Share of positions right at the tick that answers: of each batch, and of the validation samples; and "
    shown += "share of validation samples that are right at every position."
    lines = {
        "batch": [(row.step, row.accuracy) for row in trained.rows if row.accuracy is not None],
        "validation": [
            (row.step, row.validation) for row in looks(trained.rows) if row.validation is not None
        ],
        "validation, all positions": [
            (row.step, row.whole) for row in looks(trained.rows) if row.whole is not None
        ],
    }
    charts = {
        "accuracy": lines_chart(lines, x="step", y="right", description=shown),
        "loss": lines_chart(loss, x="step", y="nats", description=words, shares=False, height=170),
    }
    figures = [_figure("accuracy", shown), _figure("loss", words)]
    return section("learning", "How it learnt", *figures, charts=charts)


def _positions(trained: ThinkingTrained) -> list[Section]:
    """Accuracy of each position over the looks, if there are several positions."""
    seen = looks(trained.rows)
    values = np.array([row.positions for row in seen]).T
    if len(values) < 2:
        return []
    words = "Accuracy of each position on the validation samples, from even chance (no colour) up."
    chart = cells_chart(
        values,
        rows=[str(k + 1) for k in range(len(values))],
        columns=[row.step for row in seen],
        x="step",
        y="position",
        value="right",
        description=words,
        least=1 / trained.task.classes,
    )
    figure = _figure("positions", words)
    return [section("positions", "Which positions came first", figure, charts={"positions": chart})]


def _ticks(info: ThinkingInfo) -> Section:
    right = "Share of test positions that are right after each tick, by how one answer is made of the ticks so far."
    sure = "Mean certainty at each tick, of test samples that end right at every position and of the others."
    charts = {
        "readouts": lines_chart(_by_tick(info.accuracy), x="tick", y="right", description=right, marked=True),
        "certainty": lines_chart(
            _by_tick(info.certainties), x="tick", y="certainty", description=sure, height=190
        ),
    }
    return section(
        "ticks", "From tick to tick", _figure("readouts", right), _figure("certainty", sure), charts=charts
    )


def _by_tick(values: Mapping[str, list[float]]) -> dict[str, list[tuple[float, float]]]:
    return {name: [(t + 1, value) for t, value in enumerate(line)] for name, line in values.items()}


def _halting(info: ThinkingInfo) -> Section:
    words = "What stopping at a certainty keeps of the accuracy, and what share of the ticks it takes."
    *points, end = info.halting
    lines = {
        "accuracy": [(point.threshold or 0.0, point.accuracy) for point in points],
        "ticks used": [(point.threshold or 0.0, 1 - point.saved) for point in points],
    }
    chart = lines_chart(lines, x="certainty at which it stops", y="share", description=words, marked=True)
    rows = [
        [
            "all ticks" if point.threshold is None else f"{point.threshold:g}",
            percent(point.accuracy),
            f"{100 * (point.accuracy - end.accuracy):+.1f}".replace("-", "−"),
            f"{point.ticks:.1f}",
            percent(point.saved),
            percent(point.reached) if point.threshold is not None else "",
        ]
        for point in info.halting
    ]
    head = ["stop at", "right", "points lost or won", "ticks", "saved", "samples that get so sure"]
    return section(
        "halting", "When to stop", _figure("halting", words), table(head, rows), charts={"halting": chart}
    )


def _calibration(info: ThinkingInfo) -> Section:
    words = "Answers after the last tick, by how probable the model says they are; dotted, a model that is right as "
    words += "often as it says."
    chart = calibration_chart(
        {name: each.bins for name, each in info.calibrations.items()}, description=words
    )
    rows = [[name, percent(each.error)] for name, each in info.calibrations.items()]
    return section(
        "calibration",
        "Whether it knows what it knows",
        _figure("calibration", words),
        table(["readout", "expected calibration error"], rows),
        charts={"calibration": chart},
    )


def _watch(info: ThinkingInfo) -> list[Section]:
    return [] if info.watched is None else [section("watch", "Watch it think", player(_PLAYER, info.watched))]


def _looks(info: ThinkingInfo) -> list[Section]:
    """Where attention is at each tick, if what it looks at stands in a line."""
    if info.looks is None or len(info.looks) < 2:
        return []
    words = (
        "Where it looks at each tick, mean over heads and test samples. A slope is a search in one direction."
    )
    chart = cells_chart(
        info.looks,
        rows=[str(k + 1) for k in range(len(info.looks))],
        columns=list(range(1, info.looks.shape[1] + 1)),
        x="tick",
        y="position",
        value="share",
        description=words,
    )
    return [section("looks", "Where it looks", _figure("looks", words), charts={"looks": chart})]


def _hardness(info: ThinkingInfo) -> list[Section]:
    """How long samples take, and how many are right, by how hard they are."""
    if len(info.hardness) < 2:
        return []
    long = f"Ticks until it is {100 * ENOUGH:.0f} % sure, mean over the test mazes whose routes have so many steps."
    right = "Share of them whose route is right throughout, at the surest tick."
    ticks = {"ticks": [(each.value, each.ticks) for each in info.hardness]}
    shares = {"right": [(each.value, each.right) for each in info.hardness]}
    x = "steps of the route"
    charts = {
        "hard-ticks": lines_chart(
            ticks, x=x, y="ticks", description=long, shares=False, height=190, marked=True
        ),
        "hard-right": lines_chart(shares, x=x, y="right", description=right, height=170, marked=True),
    }
    figures = [_figure("hard-ticks", long), _figure("hard-right", right)]
    return [section("hardness", "Whether hard ones take longer", *figures, charts=charts)]


def _settings(of: Mapping[str, Any]) -> Section:
    rows = [
        [f"{part}: {key}", _said(value)]
        for part in ("task", "config", "settings", "versions")
        for key, value in of[part].items()
    ]
    return section("settings", "How it was done", table(["setting", "value"], rows, numbers=False))


def _said(value: Any) -> str:
    return "none" if value is None else count(value) if type(value) is int else str(value)


def _figure(name: str, words: str) -> Html:
    return element("figure", chart_place(name), element("figcaption", words))
