"""The sections of the page that show a picture each, and what they say where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from merganser.report._curves import diversity_chart, progress_chart
from merganser.report._front_chart import front_chart
from merganser.report._fronts import FrontsInfo
from merganser.report._html import Html, element, table
from merganser.report._interval_chart import interval_chart
from merganser.report._lineage import LineageInfo
from merganser.report._lineage_chart import lineage_chart
from merganser.report._page import chart_place
from merganser.report._png import data_uri, matrix_png
from merganser.report._run_info import RunInfo
from merganser.report._share_chart import share_chart
from merganser.report._shares import ShareInfo
from merganser.report._theme import MATRIX_COLOUR
from merganser.report._wins import MOST_COLUMNS, WinInfo, bin_width
from merganser.report._words import count, counted, listed, percent, percent_interval, points

_LABELLED_ROWS = 60
_LISTED_LAYERS = 40
_LISTED_FRONT = 20


class Section(NamedTuple):
    """A part of the page, and the charts to be drawn in it."""

    html: Html
    charts: Mapping[str, dict[str, Any]]


def section(
    name: str, title: str, *parts: Html, charts: Mapping[str, dict[str, Any]] | None = None
) -> Section:
    """A section with its heading."""
    heading = element("h2", title, id=name)
    return Section(element("section", heading, *parts, aria_labelledby=name), charts or {})


def figure(name: str, caption: str, heading: str | None = None) -> Html:
    """A place for a chart, and what it shows.

    Args:
        name: Of the chart.
        caption: What it shows, in words.
        heading: Above it, if any.
    """
    top = None if heading is None else element("h3", heading)
    return element("figure", top, chart_place(name), element("figcaption", caption))


def progress_section(info: RunInfo) -> Section:
    """Best and mean, search beside validation, and the parents."""
    if not info.progress:
        return section(
            "progress", "Progress", _note("No point of the curve is known yet; the first follows soon.")
        )
    last = info.progress[-1]
    description = (
        f"Scores over {counted(last.evaluations, 'evaluation')}: the best member ends at {percent(last.best)}"
    )
    caption = "The best member on the samples the search sees"
    if last.validation is not None:
        description += f" on the search samples and at {percent(last.validation)} on validation"
        caption += ", the same member on validation samples it does not see,"
    description += f", the population's mean at {percent(last.mean)}."
    caption += " and the population's mean. Dotted lines: the parents on the search samples."
    if last.validation is not None:
        caption += " Where the first two part, the search fits its samples rather than the task."
    if info.subset is not None:
        caption += (
            f" Search scores before the end are estimates: children were scored on {count(info.subset.samples)} or "
            f"more of {counted(info.subset.of, 'search sample')} at a time, other ones after a while."
        )
    if info.estimate is not None:
        description += f" The search scores are estimates; the last best is an {info.estimate}."
    spec = progress_chart(info, description=description)
    return section("progress", "Progress", figure("progress", caption), charts={"progress": spec})


def diversity_section(info: RunInfo) -> Section:
    """Coverage and entropy."""
    title = "Diversity"
    if not info.progress:
        return section("diversity", title, _note("No point of the curves is known yet."))
    last = info.progress[-1]
    charts = {
        "coverage": diversity_chart(
            info, "coverage", description=f"Coverage over evaluations; it ends at {percent(last.coverage)}."
        ),
        "entropy": diversity_chart(
            info, "entropy", description=f"Entropy over evaluations; it ends at {last.entropy:.2f} bits."
        ),
    }
    panels = element(
        "div",
        figure("coverage", "Share of search samples that at least one member solves.", "Coverage"),
        figure(
            "entropy",
            "Mean disagreement on a sample, in bits: 0 if all agree, 1 at half and half.",
            "Entropy",
        ),
        class_="pair",
    )
    words = (
        f"Together the {counted(last.members, 'member')} solve {percent(last.coverage)} of the search samples"
    )
    if last.coverage > last.best:
        words += (
            f"; the best alone scores {percent(last.best)}. What lies between is what crossover can still win"
        )
    return section("diversity", title, element("p", f"{words}."), panels, charts=charts)


def front_section(info: RunInfo, fronts: FrontsInfo | None) -> Section | None:
    """What could be traded for what; no section where there is one objective only."""
    if fronts is None:
        return None
    last = fronts.stages[-1]
    words = f"{counted(len(last.points), 'trade-off')} between {listed(list(fronts.objectives))} that nobody beats"
    caption = "Models that no other beats on one task without losing on another, on the search samples. "
    if len(fronts.objectives) == 2:
        caption += "The paler a front, the fewer evaluations had been made."
    else:
        caption += "Each line is one of them."
    spec = front_chart(fronts, description=f"{words}, after {counted(last.evaluations, 'evaluation')}.")
    parts, charts = [figure("front", caption)], {"front": spec}
    if any(point.hypervolume is not None for point in info.progress):
        volume = info.progress[-1].hypervolume
        charts["hypervolume"] = diversity_chart(
            info, "hypervolume", description=f"Hypervolume over evaluations; it ends at {percent(volume)}."
        )
        meaning = "Share of the space of all scores that the members dominate."
        parts.append(figure("hypervolume", meaning, "Hypervolume"))
    if info.front:
        parts.append(element("p", "In the population at the end:", class_="caption"))
        parts.append(_front_table(info))
    return section("front", "Trade-offs", element("p", f"{words}, of all candidates."), *parts, charts=charts)


def _front_table(info: RunInfo) -> Html:
    names = list(info.front[0].search)
    rows = [
        [
            f"{member.recipe[:8]}{', winner' if info.winner and member.recipe == info.winner.digest else ''}",
            *(f"{percent(member.search[n])} / {percent((member.validation or {}).get(n))}" for n in names),
        ]
        for member in info.front[:_LISTED_FRONT]
    ]
    return table(["recipe", *(f"{name}: search / validation" for name in names)], rows)


def wins_section(info: RunInfo, wins: WinInfo | None) -> Section:
    """The score matrix of the final population."""
    title = "Who solves what"
    if wins is None:
        said = (
            "The search holds no member yet."
            if not info.members
            else "No sample is known of all members yet."
        )
        return section("wins", title, _note(said))
    return section("wins", title, _win_figure(info, wins))


def lineage_section(info: RunInfo, lineage: LineageInfo | None) -> Section:
    """The winner's ancestry."""
    title, who = "Lineage", "winner" if info.finished else "best member so far"
    if lineage is None:
        return section("lineage", title, _note("There is nobody yet whose ancestors could be shown."))
    event = info.events[lineage.index]
    if event.kind == "seed":
        name = info.parents[lineage.index].name if lineage.index < len(info.parents) else str(lineage.index)
        return section(
            "lineage", title, _note(f"The {who} is the parent “{name}” itself: no child surpassed it.")
        )
    if not event.parents:
        words = (
            f"The {who} is candidate {count(lineage.index)}. "
            "This search draws candidates from a distribution, so they have no parents."
        )
        return section("lineage", title, _note(words))
    total = len(lineage.ancestors) + lineage.hidden - 1
    words = (
        f"Candidate {count(lineage.index)} descends from {counted(total, 'ancestor')} over "
        f"{counted(lineage.generations, 'generation')}."
    )
    caption = "Each ancestor at its birth and at its score; lines lead from parents to children."
    if info.subset is not None:
        caption += f" Scores are those of the subset at birth: an {info.subset}."
    if lineage.hidden:
        caption += (
            f" {count(lineage.hidden)} ancestors through which less of it passed are left out; "
            "broken lines bridge them."
        )
    description = f"{words} Ancestors by birth and search score, with lines from parents to children."
    spec = lineage_chart(info, lineage, description=description)
    return section(
        "lineage", title, element("p", words), figure("lineage", caption), charts={"lineage": spec}
    )


def share_section(info: RunInfo, shares: ShareInfo | None) -> Section:
    """How much of each seed is where in the winner."""
    title = "Where each seed lives"
    if shares is None:
        return section("shares", title, _note(_no_shares(info)))
    parts = ", ".join(f"{percent(s)} {name}" for name, s in zip(shares.seeds, shares.total, strict=True))
    words = (
        f"Over all parameters the winner is {parts}, "
        f"in {counted(shares.segments, 'segment')} of constant weights."
    )
    caption = (
        "Share of each parent in each stretch of the winner's parameters, by the size of its coefficient. "
        "Light lines: where layers begin."
    )
    if shares.averaged:
        caption += f" The segments are averaged over {count(len(shares.shares))} equal stretches."
    rows = [
        [layer.name, count(layer.end - layer.start), *(percent(s) for s in layer.shares)]
        for layer in shares.layers[:_LISTED_LAYERS]
    ]
    listing = table(["layer", "parameters", *shares.seeds], rows)
    if len(shares.layers) > _LISTED_LAYERS:
        listing = element(
            "div", listing, _note(f"The first {_LISTED_LAYERS} of {len(shares.layers)} layers.")
        )
    spec = share_chart(shares, description=f"{words} Stacked shares along the flat parameters.")
    return section(
        "shares", title, element("p", words), figure("shares", caption), listing, charts={"shares": spec}
    )


def test_section(info: RunInfo) -> Section:
    """Winner and parents on every split."""
    models = [*([] if info.winner is None else [info.winner]), *info.baselines, *info.parents]
    rows = [[m.name, percent(m.search), percent(m.validation), percent_interval(m.test)] for m in models]
    scores = table(["model", "search", "validation", "test (95 % interval)"], rows)
    split = info.split("test")
    title = "Final test"
    if split is None:
        words = "This run has no test samples. The search scores are no evidence for samples it has not seen."
        return section("test", title, element("p", words), scores)
    if info.winner is None:
        words = f"The {counted(split.samples, 'test sample')} are scored once, when the run is finished."
        return section("test", title, element("p", words), scores)
    words = (
        f"{counted(split.samples, 'sample')} that neither search nor choice of the winner has seen, "
        "scored once, for the "
        f"winner, every parent{' and the baselines' if info.baselines else ''}."
    )
    description = "Test scores with 95 % intervals: " + ", ".join(
        f"{m.name} {percent_interval(m.test)}" for m in models
    )
    caption = "Lines: 95 % intervals, Wilson's for scores of 0 and 1, by bootstrap for others."
    if info.weights.on("test") is not None:
        caption += " The tasks count by their weights, whatever the number of their samples."
    spec = interval_chart(models, description=description)
    return section("test", title, element("p", words), figure("test", caption), scores, charts={"test": spec})


def watch_section(info: RunInfo) -> Section | None:
    """Tasks that nothing was selected on; None if there are none."""
    if not info.watched:
        return None
    names = [parent.name for parent in info.parents]
    rows = [
        [
            watched.task,
            percent_interval(watched.winner),
            *(percent_interval(watched.parents[name]) for name in names),
            f"{points(watched.change.value)} ({points(watched.change.low)} to {points(watched.change.high)})",
        ]
        for watched in info.watched
    ]
    scores = table(["task", "winner", *names, "over the best parent"], rows)
    words = "Scored for the winner and every parent, and never selected on: what was gained or lost beside the aim."
    return section("watch", "Watched tasks", element("p", words), scores)


def _win_figure(info: RunInfo, wins: WinInfo) -> Html:
    rows = len(wins.members)
    height = 17 if rows <= 25 else 13 if rows <= _LABELLED_ROWS else 4
    picture = data_uri(
        matrix_png(wins.picture, colour=MATRIX_COLOUR, height=height, gap=2 if height > 4 else 1)
    )
    alt = (
        f"Scores of {counted(rows, 'member')} on {counted(wins.samples, 'search sample')}: all solve "
        f"{count(wins.everyone)}, "
        f"some {count(wins.contested)}, nobody {count(wins.nobody)}."
    )
    labels: tuple[Html | None, Html | None] = (None, None)
    if rows <= _LABELLED_ROWS:
        labels = (
            element("ol", *(_row_label(info, i) for i in wins.members), aria_label="Members"),
            element("ol", *(element("li", percent(m)) for m in wins.means), aria_label="Their search scores"),
        )
    grid = element(
        "div",
        element("span", "member", class_="heads"),
        element("span", f"{count(wins.samples)} search samples →", class_="heads"),
        element("span", "solved", class_="heads"),
        labels[0] or element("span"),
        element("img", src=picture, alt=alt),
        labels[1] or element("span"),
        _bands(wins),
        class_="wins",
        style=f"--row: {height}px; --rows: {rows}",
    )
    return element("figure", grid, element("figcaption", _win_caption(info, wins)))


def _row_label(info: RunInfo, index: int) -> Html:
    if index != info.leader:
        return element("li", str(index))
    return element("li", f"▲ {index}", class_="chosen")


def _bands(wins: WinInfo) -> Html:
    """A ruler under the columns: solved by all, by some, by nobody."""
    parts = [
        (wins.everyone, "all", f"{count(wins.everyone)} by all"),
        (wins.contested, "contested", f"{count(wins.contested)} contested"),
        (wins.nobody, "none", f"{count(wins.nobody)} by nobody"),
    ]
    present = [part for part in parts if part[0]]
    ruler = [
        element("span", class_=kind, style=f"width: {100 * number / wins.samples:.3f}%")
        for number, kind, _ in present
    ]
    names = [element("span", text) for _, _, text in present]
    return element(
        "div",
        element("div", *ruler, class_="ruler"),
        element("div", *names, class_="names"),
        class_="bands",
        aria_hidden="true",
    )


def _win_caption(info: RunInfo, wins: WinInfo) -> str:
    chosen = "winner" if info.finished else "best so far"
    words = (
        "A row is a member of the final population, by the number of its birth; a column is a search "
        "sample, coloured "
        f"where the member solves it (▲: the {chosen}). Left are the {count(wins.everyone)} samples "
        "that all members solve, "
        f"right the {count(wins.nobody)} that nobody does. Between them rows and columns are ordered "
        "so that samples solved "
        "by the same members adjoin: a block is a niche, and blocks in different places are members "
        "that complement each other."
    )
    width = bin_width(wins.samples, MOST_COLUMNS)
    if width > 1:
        words += f" Each column is the average of {width} neighbouring samples."
    if wins.left_out:
        words += f" The {count(wins.left_out)} weakest members are left out."
    return words


def _no_shares(info: RunInfo) -> str:
    kind, models = info.settings.genome.kind, info.settings.models
    if kind == "dense" or (kind == "auto" and models == "scratch"):
        return (
            "This run evolved the parameters themselves: every child carries noise of its own on all "
            "of them, so no "
            "position belongs to a seed. Combinations of given models have such shares."
        )
    if info.settings.genome.is_recipe:
        return (
            f"The winner is a merge by `{info.settings.genome.method}`, which combines all models at every "
            "position: its recipe says with which parameters."
        )
    if not info.finished:
        return "The winner's recipe is written when the run is finished."
    return "The winner's recipe is no longer in the run directory, so its shares cannot be shown."


def _note(words: str) -> Html:
    return element("p", words, class_="note")
