"""The page of a decision: what to take, every way that was tried, who answers what."""

from __future__ import annotations

from merganser.report._decision_found import DecisionFound, OptionFound
from merganser.report._html import Html, element, joined, table
from merganser.report._interval_chart import interval_chart
from merganser.report._page import chart_place
from merganser.report._sections import Section, section
from merganser.report._words import counted, percent, percent_interval, points


def decision_header(found: DecisionFound) -> Html:
    """What to take, in a sentence."""
    first, *rest = found.words
    return element(
        "header",
        element("p", "Decision report", class_="kicker"),
        element("h1", first),
        element("p", " ".join(rest), class_="lead"),
    )


def decision_sections(found: DecisionFound) -> list[Section]:
    """The sections that come before those of the comparison."""
    sections = [_options(found), _contract(found), _router(found), _notes(found)]
    return [each for each in sections if each is not None]


def _options(found: DecisionFound) -> Section:
    taken = next(option for option in found.options if option.name == found.taken)
    others = sorted((o for o in found.options if o is not taken), key=lambda option: -option.test.value)
    samples = " and ".join(
        f"{count:,} {split}" for split, count in found.samples.items() if split != "search"
    )
    words = (
        f"Options are chosen by their score on validation, and scored on test samples that nothing has seen ({samples} "
        f"samples). A router that always knew the best model of a request would have {percent_interval(found.oracle)}."
    )
    caption = (
        "Test scores with 95 % intervals, the option to take first. Intervals of two options may overlap although the "
        "difference is beyond chance: the table has it, paired sample by sample."
    )
    tasks = list(taken.by_task)
    head = ["option", "kind", "validation", "test (95 %)", "beside the best model, points"]
    rows = [
        [
            option.name + (" (take)" if option is taken else ""),
            option.kind,
            percent(option.validation.value),
            percent_interval(option.test),
            _beside(option),
            *([percent(option.by_task[task]) for task in tasks] if len(tasks) > 1 else []),
            counted(len(option.members), "model") if option.kind != "merge" else "1 merge",
        ]
        for option in (taken, *others)
    ]
    figure = element("figure", chart_place("options"), element("figcaption", caption))
    return section(
        "options",
        "Ways to answer",
        element("p", words),
        figure,
        table([*head, *(tasks if len(tasks) > 1 else []), "to keep"], rows),
        charts={"options": interval_chart((taken, *others), description=words)},
    )


def _contract(found: DecisionFound) -> Section | None:
    option = next((o for o in found.options if o.kind == "contract"), None)
    if option is None:
        return None
    words = (
        "Who knows which task a request belongs to needs no router: these models are best on each task's search "
        "samples."
    )
    rows = [[task, str(model), percent(option.by_task[task])] for task, model in option.uses.items()]
    return section("contract", "By contract", element("p", words), table(["task", "model", "test"], rows))


def _router(found: DecisionFound) -> Section | None:
    option = next((o for o in found.options if o.kind == "router"), None)
    if option is None:
        return None
    words = joined(
        [
            "The router reads the request alone. It lies in ",
            element("code", "router/"),
            ": ask it with ",
            element("code", "merganser route run"),
            "; ",
            element("code", "merganser route evaluate"),
            " says how far its predictions can be believed.",
        ]
    )
    rows = [[model, percent(float(share))] for model, share in option.uses.items()]
    head = ["model", "share of test requests"]
    return section("router", "By request", element("p", words), table(head, rows))


def _notes(found: DecisionFound) -> Section | None:
    if not found.notes:
        return None
    return section(
        "notes", "What to know", element("ul", joined(element("li", note) for note in found.notes))
    )


def _beside(option: OptionFound) -> str:
    if option.beside is None:
        return "is it"
    value, low, high = option.beside
    return f"{points(value)} ({points(low)} to {points(high)})"
