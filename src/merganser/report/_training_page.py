"""A training as one HTML file: what it won, reward and divergence over steps, which scales moved, how it was done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merganser.adaptation import ExpertVector
from merganser.adaptation.training import Trained, read_training
from merganser.report._html import element, table
from merganser.report._page import chart_place, page
from merganser.report._sections import Section, section
from merganser.report._training_charts import gains_chart, reward_chart, step_chart
from merganser.report._words import count, counted, duration, percent, percent_interval, points
from merganser.weights import atomic_write_text, group_layers

_KINDS = {"svf": "An expert", "lora": "A LoRA", "full": "All weights"}
_FIGURES = {
    "kl": ("Divergence from the base", "nats a token", "Estimated on the answers of each step."),
    "surprise": ("Cross-entropy", "nats a token", "Of the answers that each step was trained on."),
    "entropy": ("Entropy", "nats a token", "Of the next token: how undecided the model is."),
}


def write_training_report(trained: Trained, path: str | Path) -> Path:
    """Write what came of a training as one HTML file that needs nothing else, not even a network.

    Args:
        trained: The training.
        path: Where; a file that is there is replaced.

    Returns:
        The file.

    Raises:
        OutputError: If the file cannot be written, or a library that draws is missing.
        RunError, CheckpointError: If the training's folder is damaged.
    """
    of = read_training(trained.folder)["of"]
    sections = [_progress(trained), *_figures(trained)]
    if trained.kind == "svf":
        sections.append(_scales(trained.expert()))
    sections += [_scores(trained), _settings(of)]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    name = of["task"]["search"]["name"]
    numbers, steps = counted(trained.parameters, "number"), counted(trained.rows[-1].step, "step")
    lead = f"{_KINDS[trained.kind]} of {of['base']['name']}: {numbers} trained in {steps}"
    header = element(
        "header",
        element("p", "Training", class_="kicker"),
        element("h1", _headline(trained, name)),
        element("p", f"{lead}, {duration(trained.rows[-1].seconds)}.", class_="lead"),
    )
    target = Path(path)
    atomic_write_text(
        target, page(f"Training on {name}", [header, *(each.html for each in sections)], charts)
    )
    return target


def _headline(trained: Trained, name: str) -> str:
    if trained.test is not None:
        return (
            f"{name}: {percent(trained.test.base.value)} → {percent(trained.test.trained.value)} on the test"
        )
    if trained.best is not None:
        return f"{name}: {percent(trained.rows[0].validation)} → {percent(trained.best.validation)} on validation"
    return f"Trained on {name}"


def _progress(trained: Trained) -> Section:
    words = (
        "Mean reward of the answers at each step, and the score on validation samples where it was looked at."
    )
    kept = "" if trained.best is None else f" Kept was what step {trained.best.step} left."
    chart = reward_chart(trained.rows, description=words)
    figure = element("figure", chart_place("reward"), element("figcaption", words + kept))
    return section("progress", "Reward and validation", figure, charts={"reward": chart})


def _figures(trained: Trained) -> list[Section]:
    """A section for each figure that there is."""
    made: list[Section] = []
    for field, (title, unit, words) in _FIGURES.items():
        if any(getattr(row, field) is not None for row in trained.rows):
            chart = step_chart(trained.rows, field, unit, description=f"{title}. {words}")
            figure = element("figure", chart_place(field), element("figcaption", words))
            made.append(section(f"figure-{field}", title, figure, charts={field: chart}))
    return made


def _scales(expert: ExpertVector) -> Section:
    words = (
        "How far the scales of a matrix spread around 1 (standard deviation), by kind of matrix and block."
    )
    gains = _gains(expert)
    chart = gains_chart(gains, description=words)
    caption = "The fuller the colour, the wider the spread. Point at a cell for numbers."
    rows = [
        [matrix, f"{np.concatenate(list(blocks.values())).std():.4f}", *_ends(blocks)]
        for matrix, blocks in gains.items()
    ]
    return section(
        "scales",
        "Which scales moved",
        element("p", words),
        element("figure", chart_place("scales"), element("figcaption", caption)),
        table(["matrices", "spread", "smallest scale", "largest scale"], rows),
        charts={"scales": chart},
    )


def _ends(blocks: Mapping[int, np.ndarray]) -> list[str]:
    every = 1 + np.concatenate(list(blocks.values()))
    return [f"{every.min():.3f}", f"{every.max():.3f}"]


def _gains(expert: ExpertVector) -> dict[str, dict[int, np.ndarray]]:
    """Gains by kind of matrix and number of the block."""
    found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for layer in group_layers(list(expert)):
        number = int(layer.name.rpartition(".")[2])  # experts adapt matrices of blocks, which are numbered
        for name in layer.tensors:
            found[name.split(".")[-2]][number] = expert.gains(name).double().numpy()
    return dict(found)


def _scores(trained: Trained) -> Section:
    rows = [[str(row.step), percent(row.validation)] for row in trained.rows if row.validation is not None]
    parts = [table(["step", "validation"], rows)] if rows else []
    if trained.test is not None:
        test = trained.test
        head = ["test", "score (95 %)"]
        change = (
            f"{points(test.change.value)} ({points(test.change.low)} to {points(test.change.high)}) points"
        )
        lines = [
            ["base", percent_interval(test.base)],
            ["trained", percent_interval(test.trained)],
            ["change", change],
        ]
        parts.insert(0, table(head, lines))
    if not parts:
        parts.append(element("p", "The task has neither validation nor test samples."))
    return section("scores", "Scores", *parts)


def _settings(of: Mapping[str, Any]) -> Section:
    rows = [
        [key, _said(value)] for part in ("adapter", "settings", "versions") for key, value in of[part].items()
    ]
    digests = [["base", of["base"]["digest"]]] + [
        [f"{split} samples", part["digest"]] for split, part in of["task"].items() if part is not None
    ]
    return section(
        "settings",
        "How it was done",
        table(["setting", "value"], rows, numbers=False),
        table(["of", "digest"], digests, numbers=False),
    )


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "by itself" if value is None else count(value) if type(value) is int else str(value)
