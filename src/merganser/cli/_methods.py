"""`merganser methods`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from merganser.cli._output import Json, clear_errors, plain_table, print_json, tables, words
from merganser.merging import METHODS, bind, method_named, parameters_of


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to see its parameters.")] = None,
    as_json: Json = False,
) -> None:
    """List the merge methods, or tell one's parameters, source and laws."""
    with clear_errors():
        shown = METHODS if name is None else {name: method_named(name)}
    if as_json:
        print_json({"methods": [_facts(each) for each in shown]})
    elif name is None:
        table = plain_table("method", "base", "models", "reads", "statistics", "")
        for each, method in METHODS.items():
            rule = method.rule
            needs = rule.statistics or "–"
            table.add_row(each, rule.base, _count(*rule.models), _cost(each), needs, rule.summary)
        tables.print(table)
    else:
        _show_method(name)


def _show_method(name: str) -> None:
    facts = _facts(name)
    words.print(f"[bold]{name}[/]: {facts['summary']}", soft_wrap=True)
    words.print(
        f"base: {facts['base']} · models: {facts['models']} · reads: {facts['reads']} · source: {facts['source']}",
        soft_wrap=True,
    )
    if facts["statistics"] is not None:
        words.print(
            f"statistics: {facts['statistics']}, of every model (`merganser statistics --help`)",
            soft_wrap=True,
        )
    table = plain_table("parameter", "default", "range", "")
    for row in facts["parameters"]:
        table.add_row(row["name"], _shown(row["default"]), row["range"], row["help"])
    tables.print(table)


def _facts(name: str) -> dict[str, Any]:
    rule = METHODS[name].rule
    source = rule.paper if rule.paper.startswith("http") else f"https://arxiv.org/abs/{rule.paper}"
    parameters = [
        {
            "name": p.name,
            "help": p.help,
            "default": None if p.is_required else p.default,
            "range": " | ".join(p.choices) or _range(p.low, p.high),
        }
        for p in parameters_of(METHODS[name])
    ]
    return {
        "name": name,
        "summary": rule.summary,
        "base": rule.base,
        "models": _count(*rule.models),
        "source": source,
        "reads": _cost(name),
        "laws": sorted(rule.laws),
        "statistics": rule.statistics,
        "parameters": parameters,
    }


def _cost(name: str) -> str:
    """What a method costs, in passes over the models, with its defaults."""
    method = METHODS[name]
    least, most = method.rule.models
    models = max(least, 2 if most is None else min(2, most))
    bound = bind(name, method, models, {p.name: 0.5 for p in parameters_of(method) if p.is_required})
    if bound.whole_tensors(models):
        return "whole matrices"
    return "once" if bound.scope == "none" else "twice"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"{'−∞' if low is None else f'{low:g}'} … {'∞' if high is None else f'{high:g}'}"


def _shown(default: Any) -> str:
    return "must be given" if default is None else str(default).lower()


def _count(least: int, most: int | None) -> str:
    return f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
