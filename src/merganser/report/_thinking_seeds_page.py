"""Trainings of a thought machine with several seeds as one HTML file: all of them beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from merganser._errors import ConfigError
from merganser._training_folder import read_training
from merganser.report._html import Html, element, table
from merganser.report._page import page
from merganser.report._sections import Section, figure, section
from merganser.report._thinking_charts import lines_chart
from merganser.report._thinking_page import model_in_words
from merganser.report._words import count, counted, duration, percent
from merganser.thinking.training import SeedTrained, Spread, ThinkingTrained, looks, spreads
from merganser.weights import atomic_write_text

_SHARES = ("test", "whole", "halted", "saved")
_HEAD = ["seed", "right", "all positions right", "right, halted at 0.8", "ticks saved", "steps", "time"]


def write_seeds_report(seeds: Sequence[SeedTrained], path: str | Path) -> Path:
    """Write what came of several seeds as one HTML file, with links to each seed's own page.

    Args:
        seeds: What came of each; one at least did not fail.
        path: Where, beside the seeds' folders; a file that is there is replaced.

    Returns:
        The file.

    Raises:
        ConfigError: If all seeds failed.
        OutputError: If the file cannot be written, or a library that draws is missing.
        RunError: If a training's folder is damaged.
    """
    over = {each.seed: each.trained for each in seeds if each.trained is not None}
    if not over:
        raise ConfigError("All seeds failed, so there is nothing to show.")
    target, found = Path(path), spreads(seeds)
    first = next(iter(over.values()))
    sections = [_learning(over), _figures(seeds, found)]
    heading = (
        f"{first.task.name}: {percent(found['test'].mean)} of the test, mean of {counted(len(over), 'seed')}"
    )
    failed = len(seeds) - len(over)
    model = model_in_words(read_training(first.folder)["of"])
    lead = f"{model}, {counted(first.parameters, 'number')} trained with seeds {', '.join(map(str, over))}."
    header = element(
        "header",
        element("p", "Thinking", class_="kicker"),
        element("h1", f"{heading}, {failed} failed" if failed else heading),
        element("p", lead, class_="lead"),
    )
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    title = f"Thinking about {first.task.name}, several seeds"
    atomic_write_text(target, page(title, [header, *(each.html for each in sections)], charts))
    return target


def _learning(over: Mapping[int, ThinkingTrained]) -> Section:
    shown = {
        "accuracy": "Share of validation positions right at the tick that answers, by seed.",
        "loss": "Loss of each batch, by seed.",
    }
    right = {
        f"seed {seed}": [
            (row.step, row.validation) for row in looks(trained.rows) if row.validation is not None
        ]
        for seed, trained in over.items()
    }
    loss = {
        f"seed {seed}": [(row.step, row.loss) for row in trained.rows if row.loss is not None]
        for seed, trained in over.items()
    }
    charts = {
        "accuracy": lines_chart(right, x="step", y="right", description=shown["accuracy"]),
        "loss": lines_chart(loss, x="step", y="nats", description=shown["loss"], shares=False, height=170),
    }
    figures = [figure(name, words) for name, words in shown.items()]
    return section("learning", "How they learnt", *figures, charts=charts)


def _figures(seeds: Sequence[SeedTrained], found: Mapping[str, Spread]) -> Section:
    rows: list[Sequence[str]] = [_row(each) for each in seeds]
    rows.append(["mean", *_said({name: each.mean for name, each in found.items()})])
    deviations = {name: each.deviation for name, each in found.items() if each.deviation is not None}
    if deviations:
        rows.append(["standard deviation", *_said(deviations)])
    rows += [
        [end, *_said({name: getattr(each, end) for name, each in found.items()})] for end in ("least", "most")
    ]
    failures = [
        element("p", f"Seed {each.seed} failed: {each.failure}", class_="note")
        for each in seeds
        if each.failure
    ]
    return section("figures", "What came of each", table(_HEAD, rows), *failures)


def _row(each: SeedTrained) -> list[str]:
    if each.figures is None:
        return [str(each.seed), "failed", *[""] * (len(_HEAD) - 2)]
    return [_link(each), *_said(each.figures)]


def _link(each: SeedTrained) -> Html:
    return element("a", str(each.seed), href=f"{each.folder.name}/report.html")


def _said(figures: Mapping[str, float]) -> list[str]:
    shares = [percent(figures[name]) for name in _SHARES]
    return [*shares, count(figures["steps"]), duration(figures["seconds"])]
