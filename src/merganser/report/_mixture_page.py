"""A search for a mixture as one HTML file: what it found, what that is worth on held-out samples, how it went."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from merganser.adaptation.strategies import MixtureFound
from merganser.evaluation import Interval
from merganser.report._adaptive_charts import kinds_of, search_chart, weights_chart
from merganser.report._html import Html, element, table
from merganser.report._interval_chart import interval_chart
from merganser.report._page import chart_place, page
from merganser.report._sections import Section, section
from merganser.report._words import counted, duration, listed, percent, percent_interval
from merganser.weights import atomic_write_text


class _Tested(NamedTuple):
    name: str
    test: Interval | None


def write_mixture_report(found: MixtureFound, path: str | Path) -> Path:
    """Write what a search for a mixture found as one HTML file that needs nothing else, not even a network.

    Args:
        found: What it found.
        path: Where; a file that is there is replaced.

    Returns:
        The file.

    Raises:
        OutputError: If the file cannot be written, or a library that draws is missing.
    """
    sections = [_standings(found), _weights(found), _search(found)]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    target = Path(path)
    body = [_headline(found), *(each.html for each in sections)]
    atomic_write_text(target, page("A mixture of experts", body, charts))
    return target


def _headline(found: MixtureFound) -> Html:
    best = found.standings[0]
    title = f"The mixture scores {percent(best.shots)} on {counted(found.shots, 'shot')}"
    lead = "Nothing was held out: what it is worth on other samples is not known."
    if best.held_out is not None:
        title = f"The mixture scores {percent(best.held_out.value)} on held-out samples"
        lead = (
            f"{percent_interval(best.held_out)} on {counted(found.held_out, 'sample')} that the search did not see; "
            f"{percent(best.shots)} on the {counted(found.shots, 'shot')} that it saw."
        )
    kicker = element("p", "Few-shot search", class_="kicker")
    return element("header", kicker, element("h1", title), element("p", lead, class_="lead"))


def _standings(found: MixtureFound) -> Section:
    rows = [[s.name, percent(s.shots), percent_interval(s.held_out)] for s in found.standings]
    parts = [table(["", f"on {found.shots} shots", "held out (95 %)"], rows)]
    charts = {}
    if found.held_out:
        words = "Mean score on held-out samples, scored once, with its 95 % interval."
        tested = [_Tested(s.name, s.held_out) for s in found.standings]
        charts["standings"] = interval_chart(tested, description=words)
        parts.insert(0, element("figure", chart_place("standings"), element("figcaption", words)))
    return section("standings", "Beside experts, uniform mix and base", *parts, charts=charts)


def _weights(found: MixtureFound) -> Section:
    mixture = found.mixture
    words = "Weight of each expert; what the weights lack to 1 is the base."
    if kinds := kinds_of(mixture):
        words = (
            f"Weight of each expert, matrix by matrix; rows from the top: {listed(kinds, most=len(kinds))}. The fuller "
            "the colour, the larger; orange is negative. Point at a cell for the number."
        )
    means = mixture.mean_weights()
    rows = [[name, f"{weight:.3f}"] for name, weight in means.items()]
    chart = weights_chart(mixture, description=words)
    figure = element("figure", chart_place("weights"), element("figcaption", words))
    return section(
        "weights", "Weights", figure, table(["expert", "mean weight"], rows), charts={"weights": chart}
    )


def _search(found: MixtureFound) -> Section:
    last = found.history[-1]
    words = (
        f"{counted(last.evaluations, 'mixture')} in {counted(len(found.history), 'generation')}, "
        f"{duration(found.seconds)}; stopped: {found.stopped}."
    )
    caption = (
        "Scores on the shots; the diamond is what the mixture scores on held-out samples, with its interval."
    )
    chart = search_chart(found, description=f"{words} {caption}")
    figure = element("figure", chart_place("search"), element("figcaption", caption))
    return section("search", "The search", element("p", words), figure, charts={"search": chart})
