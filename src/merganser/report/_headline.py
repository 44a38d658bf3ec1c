"""The head of the page: what was evolved, and what came of it, in words."""

from __future__ import annotations

from merganser.report._html import Html, element, joined
from merganser.report._run_info import RunInfo
from merganser.report._words import METHOD_NAMES, count, counted, duration, listed, percent, points

_MODELS = {
    "scratch": "from small random networks",
    "specialists": "from specialists trained on the spot",
}


def page_title(info: RunInfo) -> str:
    """Title of the page."""
    return f"{_task(info)}: evolved with {_method(info)}"


def headline(info: RunInfo) -> Html:
    """The headline, the story in two sentences, and the figures that matter."""
    kicker = element("p", f"Evolution report · {_task(info)} · {_method(info)}", class_="kicker")
    parts = [kicker, element("h1", _claim(info)), element("p", _story(info), class_="lead")]
    if not info.finished:
        parts.append(_unfinished(info))
    parts.append(element("dl", *_tiles(info), class_="tiles"))
    return element("header", *parts)


def _claim(info: RunInfo) -> str:
    if info.winner is None:
        if not info.progress:
            return f"{_task(info)}: a run that has only begun"
        rests = "" if info.estimate is None else f" ({info.estimate})"
        return f"{_task(info)}: {percent(info.progress[-1].best)} on the search samples so far{rests}"
    if info.winner.test is None:
        return f"{_task(info)}: {percent(info.winner.search)} on the search samples"
    claim = f"{_task(info)}: {percent(info.winner.test.value)} on samples it never saw"
    if info.gain is None:
        return claim
    if info.gain.low > 0:
        return f"{claim}, {points(info.gain.value).removeprefix('+')} points above the best parent"
    if info.gain.high < 0:
        return f"{claim}, {points(info.gain.value).removeprefix('−')} points below the best parent"
    return f"{claim}, no clear gain over the best parent"


def _story(info: RunInfo) -> str:
    names = [parent.name for parent in info.parents]
    models = info.settings.models
    origin = _MODELS[models] if isinstance(models, str) else f"from {counted(len(names), 'model')}"
    who = f" ({listed(names)})" if names else ""
    return (
        f"Evolved with {_method(info)} {origin}{who}, {count(info.size)} parameters each, "
        f"seed {info.settings.seed}: {counted(info.evaluations, 'evaluation')} in {duration(info.seconds)}."
    )


def _unfinished(info: RunInfo) -> Html:
    budget = info.settings.budget.evaluations
    done = counted(info.evaluations, "evaluation") + ("" if budget is None else f" of {count(budget)}")
    return element(
        "p",
        f"This run is not finished: {done} so far, and the test samples are still untouched. Go on with it: ",
        element("code", f"merganser runs resume {info.path}"),
        class_="alert",
        role="note",
    )


def _tiles(info: RunInfo) -> list[Html]:
    tiles = [_test_tile(info), _gain_tile(info), _overfit_tile(info), _cost_tile(info)]
    return [tile for tile in tiles if tile is not None]


def _test_tile(info: RunInfo) -> Html | None:
    if info.winner is None or info.winner.test is None:
        return None
    test, split = info.winner.test, info.split("test")
    over = "" if split is None else f", {counted(split.samples, 'sample')}"
    name = "Test accuracy" if info.search.binary else "Test score"
    return _tile(
        name, percent(test.value), f"95 % interval {100 * test.low:.1f} to {percent(test.high)}{over}"
    )


def _gain_tile(info: RunInfo) -> Html | None:
    gain = info.gain
    if gain is None:
        return None
    half = 100 * (gain.high - gain.low) / 2
    verdict = f"95 % interval {points(gain.low)} to {points(gain.high)}, over “{info.best_parent.name}”"
    if gain.low <= 0 <= gain.high:
        verdict += "; it may be chance"
    return _tile("Points above the best parent", f"{points(gain.value)} ± {half:.1f}", verdict)


def _overfit_tile(info: RunInfo) -> Html | None:
    overfit = info.overfit
    if overfit is None:
        return None
    if info.winner is not None:
        search, validation = info.winner.search, info.winner.validation
    else:
        search, validation = info.progress[-1].best, info.progress[-1].validation
    gap = (
        f"Gap {points(overfit)} points: the overfit"
        if overfit > 0
        else f"Gap {points(overfit)} points: no overfit seen"
    )
    if info.estimate is not None:
        gap += f"; the first is an {info.estimate}"
    return _tile("Search beside validation", f"{100 * search:.1f} / {percent(validation)}", gap)


def _cost_tile(info: RunInfo) -> Html:
    full = info.measured + info.saved
    saved = f"{counted(info.measured, 'sample score')}"
    if full and info.saved > 0:
        causes = [f"{name} {percent(number / full)}" for name, number in info.savings.causes.items()]
        saved += f", {percent(info.saved / full)} fewer than scoring every candidate in full"
        saved += f" ({', '.join(causes)})" if causes else ""
    return _tile("Evaluations", count(info.evaluations), saved)


def _tile(name: str, figure: str, small: str) -> Html:
    return element(
        "div",
        element("dt", name),
        joined([element("dd", figure, class_="figure"), element("dd", small, class_="small")]),
        class_="tile",
    )


def _task(info: RunInfo) -> str:
    return info.search.name


def _method(info: RunInfo) -> str:
    return METHOD_NAMES.get(info.settings.search.method, info.settings.search.method)
