"""A routed model as one HTML file: what training won, who is used where, how undecided the routers are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from merganser.report._html import element, table
from merganser.report._page import chart_place, page
from merganser.report._sections import Section, section
from merganser.report._usage_chart import entropy_chart, usage_chart
from merganser.report._words import counted, listed, percent
from merganser.routing.layers import RouterState, Usage
from merganser.weights import atomic_write_text


def write_layers_report(usage: Mapping[str, Usage], state: RouterState, path: str | Path) -> Path:
    """Write what a routed model does as one HTML file that needs nothing else, not even a network.

    Args:
        usage: Who is used where, by the name of what was read.
        state: Where training ended.
        path: Where; a file that is there is replaced.

    Returns:
        The file.

    Raises:
        ValueError: If there is no usage.
        OutputError: If the file cannot be written, or a library that draws is missing.
    """
    sections = [_usage(usage), _entropy(usage), _training(state)]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    experts = next(iter(usage.values())).experts
    before, best = state.looks[0].validation, state.best_look
    header = element(
        "header",
        element("p", "Routed model", class_="kicker"),
        element("h1", f"Held-out loss {before:.3f} → {best.validation:.3f} nats a token"),
        element(
            "p",
            f"The MLPs of {listed(experts)} on one trunk; routers after {counted(best.step, 'step')}.",
            class_="lead",
        ),
    )
    target = Path(path)
    title = f"{listed(experts)}: layer by layer"
    atomic_write_text(target, page(title, [header, *(each.html for each in sections)], charts))
    return target


def _usage(usage: Mapping[str, Usage]) -> Section:
    found = {task: each.by_expert for task, each in usage.items()}
    experts = next(iter(usage.values())).experts
    words = "Mean share of each model's MLPs, block by block, on what was read."
    caption = "The fuller the colour, the larger the share. Point at a cell for the number."
    rows = [[task, *(percent(float(share)) for share in each.mean(axis=0))] for task, each in found.items()]
    return section(
        "usage",
        "Who is used where",
        element("p", words),
        element("figure", chart_place("usage"), element("figcaption", caption)),
        table(["read", *experts], rows),
        charts={"usage": usage_chart(found, experts, description=words)},
    )


def _entropy(usage: Mapping[str, Usage]) -> Section:
    first = next(iter(usage.values()))
    words = "Entropy of the shares at each block: 0 where one MLP has all, at the dashed line where all have the same."
    choices = len(first.experts) * len(first.depths[0])
    chart = entropy_chart({task: each.entropy for task, each in usage.items()}, choices, description=words)
    figure = element("figure", chart_place("entropy"), element("figcaption", words))
    return section("entropy", "How undecided the routers are", figure, charts={"entropy": chart})


def _training(state: RouterState) -> Section:
    rows = [[str(look.step), f"{look.validation:.4f}"] for look in state.looks]
    return section("training", "Training", table(["step", "held-out loss"], rows))
