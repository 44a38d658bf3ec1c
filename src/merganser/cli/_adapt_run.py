"""`merganser adapt run`: answer requests, each as the expert that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from merganser._errors import ConfigError
from merganser._text_file import read_text
from merganser.adaptation.strategies import (
    OTHER,
    AdaptiveModel,
    Confusion,
    Trace,
    confusion_of,
    save_adaptive,
)
from merganser.cli._adapt_model import (
    Cache,
    Device,
    Dtype,
    Experts,
    Model,
    adaptive_model,
    chosen_strategy,
)
from merganser.cli._output import (
    FAILED,
    OUTPUT_PANEL,
    TASK_FORMS,
    Json,
    Quiet,
    clear_errors,
    percent,
    plain_table,
    print_json,
    tables,
    with_interval,
    words,
)
from merganser.cli._stage_bar import stage_bar
from merganser.evaluation import Chosen, Evaluation, SplitRule, choose, evaluate, open_task
from merganser.models import GenerationRequest
from merganser.weights import refuse_existing

_LONGEST = 60


def run(
    model: Model,
    prompt: Annotated[
        list[str] | None, typer.Argument(help="Requests.", metavar="[PROMPT]...", show_default=False)
    ] = None,
    expert: Experts = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Who chooses: the base that is asked, an expert that was trained to tell, or nobody.",
            metavar="prompt|expert|base|fixed:NAME",
            show_default="that of the file or folder, else prompt",
        ),
    ] = None,
    dispatcher: Annotated[
        str | None, typer.Option(help="The expert that is asked, for `expert`.", metavar="NAME")
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            help="Text of the question that is asked, with {request} and {experts}.", metavar="FILE"
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A text file with one request a line.", dir_okay=False)
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            help=f"Score the model on the test samples of a task, and count who answers; NAME is the expert that "
            f"they are for: {TASK_FORMS}; repeatable.",
            metavar="[NAME=]TASK",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most samples of each task.", min=1, metavar="N")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits and of the limit.", metavar="N")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 64,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put requests into the model's chat template, as a user's words.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Keep the model as a folder that other commands open.",
            metavar="DIR",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with pictures.", metavar="FILE.html", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a saved model.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    cache: Cache = None,
    dtype: Dtype = None,
    device: Device = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Answer requests in two passes: the first finds the expert of each, the second answers as these experts."""
    with clear_errors():
        requests = _requests(prompt or [], file)
        if not (requests or task or save):
            raise ConfigError("Expected requests, --file, --task or --save, found none of them.")
        if report is not None and not (requests or task):
            raise ConfigError("--report shows what became of requests: give some, or --task.")
        if save is not None:
            refuse_existing(save, overwrite=overwrite)
        opened = adaptive_model(model, expert, cache=cache, dtype=dtype, device=device)
        opened.strategy = chosen_strategy(opened, strategy, dispatcher, template)
        tasks = [_named(each, opened, limit, seed) for each in task or []]
        answers, traces = _answers(opened, requests, max_tokens, chat=chat)
        found, by_task = _scores(opened, tasks, quiet=quiet)
        everything = [*traces, *(trace for _, each in by_task for trace in each)]
        known: dict[str, list[Trace]] = {}
        for name, each in by_task:
            if name is not None:
                known.setdefault(name, []).extend(each)
        confusion = confusion_of(known, list(opened.descriptions)) if known else None
        if save is not None:
            save_adaptive(opened, save, overwrite=overwrite)
        if report is not None:
            from merganser.report import write_adaptive_report

            write_adaptive_report(everything, report, confusion=confusion, evaluation=found)
    for text, trace in zip(answers, traces, strict=True):
        tables.print(trace.request, style="bold", markup=False)
        tables.print(text, markup=False)
    if traces:
        words.print(_trace_table(traces))
    if found is not None:
        tables.print(_score_table(found))
    if confusion is not None:
        tables.print(_confusion_table(confusion))
        words.print(f"came to whom they were for: {with_interval(confusion.accuracy)}")
    if as_json:
        print_json(_json(opened, answers, traces, found, confusion))
    if found is not None and any(result.failed for result in found.results):
        raise typer.Exit(FAILED)


def _requests(prompts: list[str], file: Path | None) -> list[str]:
    if prompts and file is not None:
        raise ConfigError("Expected requests or --file, found both. Leave one out.")
    if file is None:
        return prompts
    found = [line for line in read_text(file).splitlines() if line.strip()]
    if not found:
        raise ConfigError(f"Expected a request a line in {file}, found none.")
    return found


def _named(given: str, model: AdaptiveModel, limit: int | None, seed: int) -> tuple[str | None, Chosen]:
    """A task, and the expert that it is for if that is said."""
    name, equals, reference = given.partition("=")
    if not equals:
        name, reference = None, given
    elif name not in (*model.descriptions, OTHER):
        known = ", ".join((*model.descriptions, OTHER))
        raise ConfigError(f"There is no expert {name!r} for --task {given}; there are: {known}.")
    return name, choose(open_task(reference, SplitRule(seed=seed)), "test", limit=limit, seed=seed)


def _answers(
    model: AdaptiveModel, requests: Sequence[str], max_tokens: int, *, chat: bool
) -> tuple[list[str], list[Trace]]:
    said = [model.render([{"role": "user", "content": r}]) if chat else r for r in requests]
    with model.traced() as traces:
        found = model.generate([GenerationRequest(each, (), max_tokens) for each in said]) if said else []
    return [each.text for each in found], traces


def _scores(
    model: AdaptiveModel, tasks: Sequence[tuple[str | None, Chosen]], *, quiet: bool
) -> tuple[Evaluation | None, list[tuple[str | None, list[Trace]]]]:
    """Scores on tasks, and what became of the requests of each."""
    if not tasks:
        return None, []
    results, by_task = [], []
    for name, chosen in tasks:
        with model.traced() as traces, stage_bar(quiet=quiet) as watch:
            found = evaluate(["adaptive"], [chosen], lambda _, __: model, watch=watch)
        results += found.results
        by_task.append((name, list(traces)))
    return Evaluation(tuple(results), ()), by_task


def _trace_table(traces: Sequence[Trace]) -> Table:
    figures = ("sure", "tokens", "seconds")
    table = plain_table("request", "expert", *figures, "why the base", right=figures)
    for trace in traces:
        first, second = trace.first, trace.second
        table.add_row(
            escape(trace.request[:_LONGEST]),
            escape(trace.decision.expert or "base"),
            percent(trace.decision.sure),
            f"{first.read + first.written} + {second.read + second.written}",
            f"{first.seconds:.2f} + {second.seconds:.2f}",
            escape(trace.decision.reason),
        )
    return table


def _score_table(found: Evaluation) -> Table:
    table = plain_table("task", "samples", "score (95 %)", right=("samples", "score (95 %)"))
    for result in found.results:
        score = f"failed: {result.failed}" if result.failed else with_interval(result.interval)
        table.add_row(escape(result.task), f"{len(result.hashes):,}", score)
    return table


def _confusion_table(found: Confusion) -> Table:
    table = plain_table("for \\ answered by", *map(escape, found.answered), right=found.answered)
    for name, row in zip(found.truths, found.counts.tolist(), strict=True):
        table.add_row(escape(name), *map(str, row))
    return table


def _json(
    model: AdaptiveModel,
    answers: Sequence[str],
    traces: Sequence[Trace],
    found: Evaluation | None,
    confusion: Confusion | None,
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "strategy": model.strategy.to_json(),
        "requests": [{**t.to_json(), "text": text} for t, text in zip(traces, answers, strict=True)],
    }
    if found is not None:
        facts["evaluation"] = found.to_json()
    if confusion is not None:
        facts["confusion"] = {
            "for": list(confusion.truths),
            "answered": list(confusion.answered),
            "counts": confusion.counts.tolist(),
            "accuracy": confusion.accuracy._asdict(),
        }
    return facts
