"""The page of a series: when to stop specialising."""

from __future__ import annotations

from merganser.report._comparison_page import caveat_list, in_points, similarity_words
from merganser.report._found import SeriesFound
from merganser.report._html import Html, element, table
from merganser.report._page import chart_place
from merganser.report._sections import Section, section
from merganser.report._series_chart import likeness_chart, score_chart
from merganser.report._words import count, counted, percent, percent_interval


def series_title(found: SeriesFound) -> str:
    """Title of the page."""
    return "When to stop specialising" + (f": {found.task}" if found.task else "")


def series_header(found: SeriesFound) -> Html:
    """The answer, in a sentence, and what it rests on."""
    if found.best is None:
        claim = f"{counted(len(found.steps), 'step')} of two trainings, not scored"
    elif found.falls:
        claim = f"Stop specialising after {count(found.best)} steps"
    else:
        claim = f"A merge scores best after {count(found.best)} steps, but a fall is not shown"
    return element(
        "header",
        element("p", "Series report", class_="kicker"),
        element("h1", claim),
        element("p", " ".join(found.words), class_="lead"),
    )


def series_sections(found: SeriesFound) -> list[Section]:
    """The sections, in the order of the page."""
    sections = [_scores(found), _likeness(found), _table(found)]
    return [each for each in sections if each is not None]


def _scores(found: SeriesFound) -> Section | None:
    if found.best is None:
        return None
    words = (
        f"Two models, A and B, are trained apart. At each step they are averaged, and all three are scored on "
        f"{found.task or 'the task'}. While the average still rises, training on pays for both together."
    )
    caption = (
        "Scores against training steps; the band is the 95 % interval of the average. Dashed: the critical point, "
        "where the average scores best. Pale bars: steps that these samples cannot tell from it."
    )
    figure = element("figure", chart_place("scores"), element("figcaption", caption))
    charts = {"scores": score_chart(found, description=f"{words} {' '.join(found.words)}")}
    return section("scores", "Scores", element("p", words), figure, charts=charts)


def _likeness(found: SeriesFound) -> Section | None:
    if all(step.cka is None for step in found.steps):
        return None
    words = (
        "How alike A and B represent the same inputs (CKA, mean over layers at the same depth): 1 for the same up to "
        "rotation and scale, 0 for no relation. It falls as they specialise, and does not say by itself where to stop."
    )
    figure = element(
        "figure",
        chart_place("likeness"),
        element(
            "figcaption",
            "CKA against training steps, with its 95 % interval; the marks are those of the scores.",
        ),
    )
    charts = {"likeness": likeness_chart(found, description=words)}
    parts = (element("p", words), figure, caveat_list(found.caveats))
    return section("likeness", "Likeness", *parts, charts=charts)


def _table(found: SeriesFound) -> Section:
    head = ["step"]
    head += ["A / base", "B / base", "task cosine"] if found.base else ["cosine"]
    head += ["CKA (95 %)", "A", "B", "their average", "gain, points"]
    rows = []
    for step in found.steps:
        lengths = [] if step.lengths is None else [f"{length:.3g}" for length in step.lengths]
        cosine = "–" if step.cosine is None else f"{step.cosine:.3f}"
        ends = [percent(None if end is None else end.value) for end in (step.first, step.second)]
        likeness, merged = similarity_words(step.cka), percent_interval(step.merged)
        rows.append([count(step.step), *lengths, cosine, likeness, *ends, merged, in_points(step.gain)])
    words = "Every step, with 95 % intervals. Gain: what the average scores beyond the better of A and B."
    if found.base:
        words += (
            " A / base and B / base: how long their differences from the base are, beside the base itself."
        )
    return section("steps", "Steps", element("p", words), table(head, rows))
