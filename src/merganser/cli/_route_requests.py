"""`merganser route fit | run | evaluate | grade | refit`: which expert answers which request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast, get_args

import typer
from rich.markup import escape
from rich.table import Table

from merganser._errors import ConfigError
from merganser._text_file import read_text
from merganser.cli._output import (
    FAILED,
    TASK_FORMS,
    Json,
    clear_errors,
    percent,
    plain_table,
    print_json,
    tables,
    with_interval,
    words,
)
from merganser.cli._stage_bar import stage_bar
from merganser.evaluation import Interval, SplitName, SplitRule, open_task
from merganser.routing.requests import (
    Dispatcher,
    Expert,
    ExpertsFile,
    OutcomeLog,
    Predicted,
    RequestRouter,
    RouterComparison,
    RouterEvaluation,
    RoutingData,
    Trace,
    compare_routers,
    evaluate_router,
    fit_router,
    make_experts,
    open_router,
    read_experts_file,
    read_rows,
    refit_router,
    save_router,
    score_experts,
)

Folder = Annotated[Path, typer.Argument(help="The router's folder.", metavar="ROUTER", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder of the new router; must not be there.", show_default=False)]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        help=f"Answers in writing: {TASK_FORMS}; repeatable.",
        metavar="TASK",
        show_default="none",
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        help="Scores that are there already, as `merganser evaluate --samples` writes them, in place of tasks.",
        metavar="FILE.jsonl",
    ),
]
Limit = Annotated[
    int | None, typer.Option(help="Ask at most so many samples of each split.", min=1, metavar="N")
]
Log = Annotated[Path | None, typer.Option(help="The log of outcomes.", metavar="LOG.jsonl")]


def fit(
    experts: Annotated[
        Path, typer.Option("--experts", "-e", help="The experts file.", metavar="FILE", show_default=False)
    ],
    out: Out,
    task: Tasks = None,
    scores: Scores = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="What predicts scores.",
            metavar="|".join(get_args(Predicted)),
            show_default="as the file says",
        ),
    ] = None,
    limit: Limit = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the split.", metavar="N", show_default="the file's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn which expert is good at what, from tasks' search samples; thresholds are chosen on validation."""
    with clear_errors():
        file = read_experts_file(experts)
        settings = file.router
        if kind is not None:
            if kind not in get_args(Predicted):
                raise ConfigError(f"Expected --kind {', '.join(get_args(Predicted))}, found {kind!r}.")
            settings = replace(settings, kind=cast("Predicted", kind))
        if seed is not None:
            settings = replace(settings, seed=seed)
        made = make_experts(file)
        found = _data(file, made, task, scores, ("search", "validation"), limit, settings.seed)
        router = fit_router(found.data, settings, costs=found.costs)
        save_router(router, out, experts=file)
    for note in (*found.notes, *router.notes):
        words.print(f"note: {note}", soft_wrap=True, markup=False)
    facts = _fitted(router)
    tables.print(_experts_table(facts))
    words.print(f"router  {out}", soft_wrap=True, markup=False)
    if as_json:
        print_json({"router": str(out), **facts})


def run(
    folder: Folder,
    text: Annotated[str | None, typer.Argument(help="The request.", show_default=False)] = None,
    file: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Requests, one a line: text, or a JSON object of fields."),
    ] = None,
    log: Log = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Longest time of a request altogether.", show_default="its experts' limits"),
    ] = None,
    explore: Annotated[
        float,
        typer.Option(
            help="Share of requests that try another expert first, for the log to learn from.", max=1, min=0
        ),
    ] = 0.0,
    show_trace: Annotated[bool, typer.Option("--trace", help="Show who was asked, and what came.")] = False,
    as_json: Json = False,
) -> None:
    """Answer requests: the expert that is likely to solve it is asked, then the next, then the fallback."""
    with clear_errors():
        if (text is None) == (file is None):
            raise ConfigError("Expected a request or --input FILE, one of them.")
        if seconds is not None and seconds <= 0:
            raise ConfigError(f"--seconds must be positive, but is {seconds:g}.")
        router, experts_file, experts = _opened(folder)
        dispatcher = Dispatcher(
            router,
            experts,
            fallback=experts_file.fallback,
            most_experts=experts_file.most_experts,
            seconds=seconds,
            explore=explore,
            log=None if log is None else OutcomeLog(log),
        )
        traces = []
        for request in [text] if text is not None else _requests(file):
            trace = dispatcher.ask(request)
            traces.append(trace)
            _show(trace, with_trace=show_trace)
    if as_json:
        print_json({"requests": [trace.to_json() for trace in traces]})
    if any(trace.error for trace in traces):
        raise typer.Exit(FAILED)


def evaluate_route(
    folder: Folder,
    task: Tasks = None,
    scores: Scores = None,
    limit: Limit = None,
    run: Annotated[Path | None, typer.Option("--run", help="Write report.html there.", metavar="DIR")] = None,
    log: Log = None,
    as_json: Json = False,
) -> None:
    """Score a router on test samples, beside every expert, chance and an oracle that always knows who is best."""
    with clear_errors():
        router, file, experts = _opened(folder)
        found = _data(file, experts, task, scores, ("test",), limit, router.settings.seed)
        evaluation = evaluate_router(
            router, found.data.part("test"), fallback=file.fallback, most_experts=file.most_experts
        )
        page = None if run is None else _report(evaluation, run, log)
    for note in found.notes:
        words.print(f"note: {note}", soft_wrap=True, markup=False)
    tables.print(_standings(evaluation))
    words.print(_conclusion(evaluation), soft_wrap=True)
    if page is not None:
        words.print(f"report  {page}", soft_wrap=True, markup=False)
    if as_json:
        print_json(evaluation.to_json())


def grade(
    log: Annotated[Path, typer.Argument(help="The log of outcomes.", metavar="LOG", show_default=False)],
    trace: Annotated[
        str, typer.Argument(help="Id of the request, as --trace shows it.", metavar="ID", show_default=False)
    ],
    score: Annotated[float, typer.Argument(help="How good the answer was, from 0 to 1.", show_default=False)],
) -> None:
    """Say how good an answer was, for `route refit` to learn from."""
    with clear_errors():
        found = OutcomeLog(log)
        known = [each.id for each in found.read().traces]
        if trace not in known:
            raise ConfigError(f"{log} has no request {trace!r}; it has {len(known)} others.")
        found.grade(trace, score)


def refit(
    folder: Folder,
    log: Annotated[Path, typer.Option(help="The log of outcomes.", metavar="LOG.jsonl", show_default=False)],
    out: Out,
    task: Tasks = None,
    scores: Scores = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Learn from a log of outcomes, and say whether it helped: on test samples, or else on validation."""
    with clear_errors():
        router, file, experts = _opened(folder)
        if task or scores:
            data = _data(file, experts, task, scores, ("test",), limit, router.settings.seed).data.part(
                "test"
            )
        else:
            data = router.data.part("validation")
        found = refit_router(router, OutcomeLog(log).read(), held_out=data.matrix.samples)
        compared = compare_routers(
            router, found.router, data, fallback=file.fallback, most_experts=file.most_experts
        )
        save_router(found.router, out, experts=file)
    words.print(
        f"{found.added} outcomes learnt; {found.ungraded} answers nobody graded, {found.held_out} outcomes on held-out "
        f"requests and {found.torn} torn lines left out.",
        soft_wrap=True,
    )
    if not (task or scores):
        words.print(
            "Compared on validation samples, on which thresholds are chosen: give --task for test samples.",
            soft_wrap=True,
        )
    tables.print(_comparison(compared))
    words.print(f"router  {out}", soft_wrap=True, markup=False)
    if as_json:
        facts = {n: v._asdict() if isinstance(v, Interval) else v for n, v in compared._asdict().items()}
        counts = {name: getattr(found, name) for name in ("added", "ungraded", "held_out", "torn")}
        print_json({"router": str(out), **counts, "comparison": facts})


class _Found(NamedTuple):
    """Who solves what, what asking costs, and what to say about it."""

    data: RoutingData
    costs: dict[str, float]
    notes: Sequence[str]


class _Opened(NamedTuple):
    """A router with its experts."""

    router: RequestRouter
    file: ExpertsFile
    experts: tuple[Expert, ...]


def _opened(folder: Path) -> _Opened:
    saved = open_router(folder)
    if saved.experts is None:
        raise ConfigError(f"{folder} was saved without its experts file. Fit it with `merganser route fit`.")
    return _Opened(saved.router, saved.experts, make_experts(saved.experts))


def _data(
    file: ExpertsFile,
    experts: Sequence[Expert],
    task: list[str] | None,
    scores: Path | None,
    splits: tuple[SplitName, ...],
    limit: int | None,
    seed: int,
) -> _Found:
    if bool(task) == (scores is not None):
        raise ConfigError("Expected --task or --scores, one of them.")
    if scores is None:
        opened = [open_task(each, SplitRule(seed=seed)) for each in task or ()]
        with stage_bar(quiet=False) as watch:
            found = score_experts(experts, opened, splits, limit=limit, seed=seed, watch=watch)
        notes = [note for each in opened for note in each.notes]
        return _Found(found.data, found.costs, [*notes, *found.notes])
    names = {each.model: each.name for each in file.experts if each.model is not None}
    data = RoutingData.of(read_rows(scores, names), [each.name for each in experts])
    missing = [n for n, row in zip(data.matrix.models, data.matrix.measured, strict=True) if not row.any()]
    if missing:
        raise ConfigError(f"{scores} has no scores of {', '.join(missing)}.")
    usable = splits if "test" in splits else (*splits, "all")
    if not any(split in usable for split in data.splits):
        raise ConfigError(
            f"{scores} has no {' or '.join(splits)} samples, only {', '.join(set(data.splits))}."
        )
    costs = {each.name: each.price(each.contract.limits.max_tokens) for each in experts}
    return _Found(data, costs, [])


def _report(evaluation: RouterEvaluation, run: Path, log: Path | None) -> Path:
    from merganser.report import write_routing_report

    traces = () if log is None else OutcomeLog(log).read().traces
    return write_routing_report(evaluation, run / "report.html", traces=traces)


def _requests(file: Path | None) -> list[str | dict[str, Any]]:
    lines = [line.strip() for line in read_text(file or "").splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"Expected a request a line in {file}, found none.")
    return [_fields(line) or line for line in lines]


def _fields(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _show(trace: Trace, *, with_trace: bool) -> None:
    if trace.text is not None:
        tables.print(trace.text, markup=False)
    else:
        words.print("[bold red]error:[/] ", end="")
        words.print(trace.error, markup=False, soft_wrap=True)
    if with_trace:
        words.print(_trace_table(trace))
        words.print(f"{trace.id}  {trace.seconds:.2f} s, cost {trace.cost:g}")


def _trace_table(trace: Trace) -> Table:
    table = plain_table(
        "expert", "predicted", "outcome", "seconds", "cost", "reason", right=("predicted", "seconds", "cost")
    )
    for each in trace.attempts:
        predicted = trace.decision.predicted.get(each.expert, 0.0)
        figures = (f"{each.seconds:.2f}", f"{each.cost:g}")
        table.add_row(escape(each.expert), f"{predicted:.2f}", each.outcome, *figures, escape(each.reason))
    return table


def _fitted(router: RequestRouter) -> dict[str, Any]:
    """What was learnt, for table and JSON."""
    search = router.data.part("search")
    rows = zip(router.experts, search.matrix.scores, search.matrix.measured, router.costs, strict=True)
    return {
        "kind": router.settings.kind,
        "search": len(search),
        "validation": len(router.data) - len(search),
        "price": router.rule.price,
        "threshold": router.rule.threshold,
        "experts": [
            {"name": name, "search_score": float(s[m].mean()) if m.any() else None, "cost": float(cost)}
            for name, s, m, cost in rows
        ],
    }


def _experts_table(facts: dict[str, Any]) -> Table:
    table = plain_table("expert", "search", "cost", right=("search", "cost"))
    for each in facts["experts"]:
        table.add_row(escape(each["name"]), percent(each["search_score"]), f"{each['cost']:g}")
    return table


def _standings(found: RouterEvaluation) -> Table:
    figures = ("score (95 %)", "cost", "asked first")
    table = plain_table("", *figures, right=figures)
    for each in (found.router, found.first, *found.experts, found.chance, found.oracle):
        style = "bold" if each is found.router else ""
        asked = percent(found.chosen.get(each.name)) if each.name in found.chosen else ""
        table.add_row(escape(each.name), with_interval(each.score), f"{each.cost:.4g}", asked, style=style)
    return table


def _conclusion(found: RouterEvaluation) -> str:
    captured = "the oracle gains nothing over it"
    if found.captured is not None:
        captured = f"{with_interval(found.captured)} of the oracle's gain"
    parts = [
        f"{found.samples:,} samples",
        f"gain over {escape(found.best)} {with_interval(found.gain)}: {captured}",
        f"abstained {percent(found.abstained)}",
        f"calibration error {percent(found.calibration.error)}",
    ]
    return " · ".join(parts)


def _comparison(found: RouterComparison) -> Table:
    table = plain_table("", "score (95 %)", right=("score (95 %)",))
    table.add_row("before", with_interval(found.before))
    table.add_row("after", with_interval(found.after))
    table.add_row("difference", with_interval(found.difference))
    table.add_row(f"better on {found.better}, worse on {found.worse}", f"p = {found.p:.3g}")
    return table
