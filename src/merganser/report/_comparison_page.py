"""The page of a comparison: verdicts first, then what they rest on."""

from __future__ import annotations

import math
from collections import Counter

from merganser.evaluation import Interval
from merganser.report._found import ComparisonFound, PairFound
from merganser.report._gain_chart import Foretold, gain_chart, spearman
from merganser.report._html import Html, element, joined, table
from merganser.report._line_chart import MOST_LINES, line_chart
from merganser.report._page import chart_place
from merganser.report._sections import Section, section
from merganser.report._similarity_chart import shown_sites, similarity_chart
from merganser.report._words import counted, listed, percent_interval, points

_MEANING = {
    "merge": "Their weights can be combined into one model.",
    "align first": "Their weights do not lie beside each other; bring them into one order before anything else.",
    "route": "Keep both, and choose between them request by request.",
    "keep apart": "Nothing is to be won by combining them.",
}
_FEWEST_POINTS = 6
"""Pairs from which on a correlation is worth a picture: those of four models."""


def comparison_title(found: ComparisonFound) -> str:
    """Title of the page."""
    return f"{listed(found.models)}: do they fit together?"


def comparison_header(found: ComparisonFound) -> Html:
    """What the verdicts come to, in a sentence."""
    base = f", seen from their base {found.base}" if found.base else ""
    lead = f"{counted(len(found.models), 'model')}, every two of them beside each other{base}."
    return element(
        "header",
        element("p", "Comparison report", class_="kicker"),
        element("h1", _claim(found)),
        element("p", lead, class_="lead"),
    )


def comparison_sections(found: ComparisonFound) -> list[Section]:
    """The sections, in the order of the page."""
    sections = [
        _verdicts(found),
        _figures(found),
        _lengths(found),
        _representations(found),
        _line(found),
        _gains(found),
        _ranks(found),
        _thresholds(found),
    ]
    return [each for each in sections if each is not None]


def caveat_list(caveats: tuple[str, ...]) -> Html:
    """What to know about CKA."""
    heading = element("h3", "What to know about these figures", class_="sub")
    return joined([heading, element("ul", *(element("li", line) for line in caveats))])


def similarity_words(value: Interval | None) -> str:
    """A similarity with its interval.

    Examples:
        >>> similarity_words(Interval(0.91, 0.9, 0.92)), similarity_words(None)
        ('0.910 (0.900 to 0.920)', '–')
    """
    if value is None:
        return "–"
    return f"{value.value:.3f}" + ("" if math.isnan(value.low) else f" ({value.low:.3f} to {value.high:.3f})")


def _claim(found: ComparisonFound) -> str:
    if len(found.pairs) == 1:
        [pair] = found.pairs
        return f"{pair.label}: {pair.action}"
    counts = Counter(pair.action for pair in found.pairs)
    return f"Of {counted(len(found.pairs), 'pair')}: {listed([f'{n} {a}' for a, n in counts.most_common()])}"


def _verdicts(found: ComparisonFound) -> Section:
    words = (
        "For every two models what to do with them, how sure that is, and what it rests on. “Sure” takes a measurement "
        "on a task, or an identity; “likely” and “a guess” rest on weights alone."
    )
    return section("verdicts", "Verdicts", element("p", words), *map(_verdict, found.pairs))


def _verdict(pair: PairFound) -> Html:
    return joined(
        [
            element("h3", f"{pair.label}: {pair.words} ({pair.confidence})", class_="sub"),
            element("p", _MEANING.get(pair.action, "")),
            element("ul", *(element("li", line) for line in pair.evidence)),
        ]
    )


def _figures(found: ComparisonFound) -> Section:
    columns = ["models", "weights", "cosine"]
    columns += ["task cosine"] if found.base else []
    columns += ["CKA (95 %)"] if found.similarity else []
    measured = any(pair.height for pair in found.pairs)
    columns += ["lost between them", "average gains, points"] if measured else []
    rows = []
    for pair in found.pairs:
        cells = [pair.label, pair.kinship or "do not fit", _number(pair.cosine)]
        cells += [_number(pair.task_cosine)] if found.base else []
        cells += [similarity_words(pair.cka)] if found.similarity else []
        cells += [percent_interval(pair.height), in_points(pair.gain)] if measured else []
        rows.append(cells)
    words = "Cosine: between the weights, 0 for independent models and near 1 for relatives."
    if found.base:
        words += " Task cosine: between what two models changed in their base, 0 for unrelated changes."
    if found.similarity:
        words += (
            " CKA: how alike they represent the same inputs, mean over layers at the same depth, 0 for no relation and "
            "1 for the same up to rotation and scale."
        )
    return section("figures", "Figures", element("p", words), table(columns, rows))


def _lengths(found: ComparisonFound) -> Section | None:
    if not found.lengths:
        return None
    parts = list(dict.fromkeys(part for row in found.lengths.values() for part in row))
    rows = [
        [model, *(_number(row.get(part), ".3g") for part in parts)] for model, row in found.lengths.items()
    ]
    words = (
        "Length of each model's difference from the base, beside the length of the base itself, in all weights and by "
        "component. Above 0.7 the base is hardly the ancestor."
    )
    return section("lengths", "How far from the base", element("p", words), table(["model", *parts], rows))


def _representations(found: ComparisonFound) -> Section | None:
    if found.similarity is None:
        return None
    lowest = min((pair for pair in found.pairs if pair.cka), key=_likeness, default=None)
    words = "CKA of every layer of every model with every other, on the same data."
    if lowest is not None:
        words += f" Least alike are {lowest.label}: {similarity_words(lowest.cka)}."
    caption = (
        "The fuller the colour, the more alike; the scale is always that from 0 to 1. Each block is one model beside "
        "another, its layers from first to last; outlined are layers at the same depth. Point at a cell for its value "
        "and interval. High CKA does not mean that a merge will work: a task measures that."
    )
    hidden = len(found.similarity.sites) - len(shown_sites(found.similarity))
    if hidden:
        caption += f" {counted(hidden, 'layer')} between those shown are left out of the picture."
    figure = element("figure", chart_place("similarity"), element("figcaption", caption))
    charts = {"similarity": similarity_chart(found.similarity, description=words)}
    return section(
        "representations",
        "Representations",
        element("p", words),
        figure,
        caveat_list(found.similarity.caveats),
        charts=charts,
    )


def _line(found: ComparisonFound) -> Section | None:
    scored = sorted((p for p in found.pairs if p.height), key=lambda p: -p.height.value if p.height else 0.0)
    if not scored:
        return None
    shown = scored[:MOST_LINES]
    words = (
        f"Scores of both models and of three merges on the way between them. Most is lost between {scored[0].label}: "
        f"{percent_interval(scored[0].height)}."
    )
    caption = (
        "At the ends the models themselves, between them their weighted averages with 95 % intervals. Dotted: the "
        "straight line between the ends. Where the curve dips below it, merging costs; where it rises above, it pays."
    )
    if len(shown) < len(scored):
        caption += f" Of {len(scored)} pairs those {len(shown)} are drawn between which most is lost."
    figure = element("figure", chart_place("line"), element("figcaption", caption))
    charts = {"line": line_chart(shown, description=words)}
    return section("line", "Between the models", element("p", words), figure, charts=charts)


def _gains(found: ComparisonFound) -> Section | None:
    foretold = [Foretold(p.label, p.cka, p.gain) for p in found.pairs if p.cka and p.gain]
    if len(foretold) < _FEWEST_POINTS:
        return None
    rho = spearman([p.predictor.value for p in foretold], [p.gain.value for p in foretold])
    said = "no order can be told" if math.isnan(rho) else f"Spearman's ρ = {rho:+.2f}".replace("-", "−")
    title = f"CKA and the gain of a merge: {said} over {counted(len(foretold), 'pair')}"
    caption = (
        "Each point is a pair: how alike its models are, and what their average scores beyond the better of them. ρ is "
        "1 where more alike always means more gain, 0 where they have nothing to do with each other. Pairs share "
        "models, and they are few: take it for a hint, not for a law."
    )
    figure = element("figure", chart_place("gain"), element("figcaption", caption))
    charts = {"gain": gain_chart(foretold, "CKA, mean over depths", description=title)}
    return section("gain", title, figure, charts=charts)


def _ranks(found: ComparisonFound) -> Section | None:
    if not found.ranks:
        return None
    models = list(dict.fromkeys(model for row in found.ranks.values() for model in row))
    rows = [
        [layer, *(_number(row.get(model), ".3g") for model in models)] for layer, row in found.ranks.items()
    ]
    words = (
        "How many directions each model's difference from the base really uses (stable rank, mean over the matrices of "
        "a layer): few where training was narrow."
    )
    return section("ranks", "Directions", element("p", words), table(["layer", *models], rows))


def _thresholds(found: ComparisonFound) -> Section:
    rows = [[name, f"{value:.3g}", source] for name, (value, source) in found.thresholds.items()]
    words = "The numbers that verdicts turn on, each with what it rests on."
    inner = element(
        "details",
        element("summary", counted(len(rows), "threshold")),
        table(["name", "value", "rests on"], rows, numbers=False),
    )
    return section("thresholds", "What verdicts turn on", element("p", words), inner)


def _likeness(pair: PairFound) -> float:
    return math.inf if pair.cka is None else pair.cka.value


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def in_points(value: Interval | None) -> str:
    """A difference of scores with its interval, in points of a hundred."""
    if value is None:
        return "–"
    return f"{points(value.value)} ({points(value.low)} to {points(value.high)})"
