"""A router as one HTML file: what it gains, whether its predictions can be believed, what became of requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from merganser.report._html import Html, element, joined, table
from merganser.report._page import chart_place, page
from merganser.report._router_charts import calibration_chart, cost_chart
from merganser.report._sections import Section, section
from merganser.report._words import counted, percent, percent_interval, points, shortened
from merganser.routing.requests import Attempt, RouterEvaluation, Trace
from merganser.weights import atomic_write_text

_MOST_TRACES, _LONGEST = 50, 90
_OUTCOMES = {"kept": "answered", "broken": "broke its contract", "failed": "failed", "late": "late"}


def write_routing_report(
    evaluation: RouterEvaluation, path: str | Path, *, traces: Sequence[Trace] = ()
) -> Path:
    """Write how good a router is as one HTML file that needs nothing else, not even a network.

    Args:
        evaluation: The router on test samples.
        path: Where; a file that is there is replaced.
        traces: What became of requests; the last fifty are shown.

    Returns:
        The file.

    Raises:
        OutputError: If the file cannot be written, or a library that draws is missing.
    """
    found = [_scores(evaluation), _calibration(evaluation), _costs(evaluation), _traces(traces)]
    sections = [each for each in found if each is not None]
    charts = {name: spec for each in sections for name, spec in each.charts.items()}
    target = Path(path)
    body = [_headline(evaluation), *(each.html for each in sections)]
    atomic_write_text(target, page("A router on test samples", body, charts))
    return target


def _headline(found: RouterEvaluation) -> Html:
    gain = f"{points(found.gain.value)} points ({points(found.gain.low)} to {points(found.gain.high)})"
    said = f"On {counted(found.samples, 'request')} it has not seen, beside {found.best}: {gain}."
    if found.captured is not None:
        said += f" That is {percent_interval(found.captured)} of what an oracle would gain."
    title = element("h1", f"The router scores {percent(found.router.score.value)}")
    kicker = element("p", "Routing report", class_="kicker")
    return element("header", kicker, title, element("p", said, class_="lead"))


def _scores(found: RouterEvaluation) -> Section:
    ways = (found.router, found.first, *found.experts, found.chance, found.oracle)
    rows = [
        [
            way.name,
            percent_interval(way.score),
            f"{way.cost:.4g}",
            percent(found.chosen[way.name]) if way.name in found.chosen else "",
        ]
        for way in ways
    ]
    by_task = [[name or "all", *map(percent, scores)] for name, scores in found.by_task.items()]
    note = element(
        "p",
        "The best single expert is the best on these same samples, which flatters it. The router abstained on "
        f"{percent(found.abstained)} of them.",
    )
    parts = [table(["way to answer", "score (95 %)", "cost", "asked first"], rows), note]
    if len(by_task) > 1:
        parts.append(table(["task", "router", found.best, "oracle"], by_task))
    return section("scores", "Scores", *parts)


def _calibration(found: RouterEvaluation) -> Section:
    error, brier = found.calibration.error, found.calibration.brier
    words = f"The expected calibration error is {percent(error)}, the Brier score {brier:.3f}."
    caption = (
        "Mean observed against mean predicted score, of all experts, in ten bins; larger dots hold more."
    )
    figure = element("figure", chart_place("calibration"), element("figcaption", caption))
    rows = [[name, percent(each.error), f"{each.brier:.3f}"] for name, each in found.by_expert.items()]
    chart = calibration_chart(found, description=f"{words} {caption}")
    parts = (element("p", words), figure, table(["expert", "calibration error", "Brier score"], rows))
    return section("calibration", "Can its predictions be believed?", *parts, charts={"calibration": chart})


def _costs(found: RouterEvaluation) -> Section | None:
    if not found.curve:
        return None
    caption = "The line is the router as the price of a unit of cost rises; its mark is the price it was fitted with."
    figure = element("figure", chart_place("cost"), element("figcaption", caption))
    chart = cost_chart(found, description=f"Score against mean cost of a request. {caption}")
    return section("cost", "What cost buys", figure, charts={"cost": chart})


def _traces(traces: Sequence[Trace]) -> Section | None:
    if not traces:
        return None
    shown = traces[-_MOST_TRACES:]
    rows = [
        [
            shortened(trace.request, _LONGEST),
            joined(_step(each, trace) for each in trace.attempts),
            trace.expert or "nobody",
            f"{trace.seconds:.2f} s",
            f"{trace.cost:.3g}",
        ]
        for trace in shown
    ]
    unanswered = sum(trace.expert is None for trace in traces)
    words = f"{counted(len(traces), 'request')} in the log, {unanswered} without an answer; the last {len(shown)}:"
    head = ["request", "who was asked", "answered by", "time", "cost"]
    return section("requests", "Requests", element("p", words), table(head, rows, numbers=False))


def _step(attempt: Attempt, trace: Trace) -> Html:
    predicted = percent(trace.decision.predicted.get(attempt.expert))
    reason = f": {shortened(attempt.reason, _LONGEST)}" if attempt.reason else ""
    said = f"{attempt.expert} ({predicted} likely) {_OUTCOMES[attempt.outcome]} in {attempt.seconds:.2f} s{reason}"
    return element("div", said)
