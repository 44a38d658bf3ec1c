"""A model that chooses its experts as one HTML file: scores, who answered whom, what the two passes cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from merganser.adaptation.strategies import Confusion, Trace
from merganser.evaluation import Evaluation
from merganser.report._adaptive_charts import confusion_chart, seconds_chart, tokens_chart
from merganser.report._html import Html, element, table
from merganser.report._page import chart_place, page
from merganser.report._sections import Section, section
from merganser.report._words import counted, percent, percent_interval, shortened
from merganser.weights import atomic_write_text

_MOST_TRACES, _LONGEST = 50, 90


def write_adaptive_report(
    traces: Sequence[Trace],
    path: str | Path,
    *,
    confusion: Confusion | None = None,
    evaluation: Evaluation | None = None,
) -> Path:
    """Write what an adaptive model did as one HTML file that needs nothing else, not even a network.

    Args:
        traces: What became of requests; the last fifty are shown.
        path: Where; a file that is there is replaced.
        confusion: Whom requests were for, and who answered, where that is known.
        evaluation: Scores on tasks.

    Returns:
        The file.

    Raises:
        ValueError: If there are no traces.
        OutputError: If the file cannot be written, or a library that draws is missing.
    """
    if not traces:
        raise ValueError("Expected what became of at least one request, found nothing.")
    found = [_scores(evaluation), _confusion(confusion), _costs(traces), _requests(traces)]
    sections = [each for each in found if each is not None]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    target = Path(path)
    body = [_headline(traces, confusion), *(each.html for each in sections)]
    atomic_write_text(target, page("A model that chooses its experts", body, charts))
    return target


def _headline(traces: Sequence[Trace], confusion: Confusion | None) -> Html:
    names = {trace.decision.name for trace in traces}
    title = f"{counted(len(traces), 'request')}, answered by {counted(len(names), 'expert')}"
    lead = "The first pass finds who answers a request, the second answers it."
    if confusion is not None:
        title = f"{percent(confusion.accuracy.value)} of requests came to whom they were for"
        lead = f"{percent_interval(confusion.accuracy)} of {counted(int(confusion.counts.sum()), 'request')}. {lead}"
    kicker = element("p", "Adaptive model", class_="kicker")
    return element("header", kicker, element("h1", title), element("p", lead, class_="lead"))


def _scores(found: Evaluation | None) -> Section | None:
    if found is None:
        return None
    rows = [[r.task, f"{len(r.hashes):,}", r.failed or percent_interval(r.interval)] for r in found.results]
    return section("scores", "Scores", table(["task", "samples", "score (95 %)"], rows))


def _confusion(found: Confusion | None) -> Section | None:
    if found is None:
        return None
    words = "Whom requests were for, row by row, and who answered them; `other` is the base."
    chart = confusion_chart(found, description=words)
    figure = element("figure", chart_place("confusion"), element("figcaption", words))
    rows = [[name, *map(str, row)] for name, row in zip(found.truths, found.counts.tolist(), strict=True)]
    return section(
        "confusion",
        "Who answers what",
        figure,
        table(["for", *found.answered], rows),
        charts={"confusion": chart},
    )


def _costs(traces: Sequence[Trace]) -> Section:
    first = sum(trace.first.seconds for trace in traces)
    second = sum(trace.second.seconds for trace in traces)
    words = f"Deciding took {first:.2f} s, answering {second:.2f} s, for {counted(len(traces), 'request')}."
    if second > 0:
        words += f" The first pass is {percent(first / second)} of the second."
    charts = {
        "tokens": tokens_chart(traces, description="Mean tokens of each pass for a request."),
        "seconds": seconds_chart(traces, description="Mean seconds of each pass for a request."),
    }
    figures = element(
        "div",
        element("figure", chart_place("tokens"), element("figcaption", "Mean tokens for a request.")),
        element("figure", chart_place("seconds"), element("figcaption", "Mean time for a request.")),
        class_="pair",
    )
    return section("cost", "What the two passes cost", element("p", words), figures, charts=charts)


def _requests(traces: Sequence[Trace]) -> Section:
    rows = [
        [
            shortened(trace.request, _LONGEST),
            trace.decision.expert or "base",
            percent(trace.decision.sure),
            trace.decision.reason,
        ]
        for trace in traces[-_MOST_TRACES:]
    ]
    head = ["request", "answered by", "sure", "why the base"]
    return section("requests", "Requests", table(head, rows, numbers=False))
