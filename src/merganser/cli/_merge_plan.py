"""`merganser merge --dry-run`: what would be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merganser.cli._adapters import adapter_facts, say_core_space, say_truncation
from merganser.cli._output import plain_table, print_json, tables, words
from merganser.cli._sizes import size_of
from merganser.merging import MergePlan
from merganser.weights import Execution


def show_plans(plans: Sequence[MergePlan], execution: Execution, *, as_json: bool) -> None:
    """What would be done: of a file with several documents, each in its turn."""
    if as_json:
        listed = [_plan_facts(plan, execution) for plan in plans]
        print_json(listed[0] if len(listed) == 1 else {"stages": listed})
        return
    for plan in plans:
        _show_plan(plan, execution)


def _plan_facts(plan: MergePlan, execution: Execution) -> dict[str, Any]:
    return {
        "method": plan.method_name,
        "models": [model.source for model in plan.models],
        "base": None if plan.base is None else plan.base.source,
        "donor": plan.donor.source,
        "passes": plan.passes,
        "bytes_in": plan.bytes_in,
        "bytes_out": plan.bytes_out,
        "memory": plan.memory(execution),
        "workers": execution.workers,
        "notes": [] if plan.vocabulary is None else list(plan.vocabulary.notes),
        "groups": plan.groups(),
        **({} if (adapters := adapter_facts(plan)) is None else adapters),
    }


def _show_plan(plan: MergePlan, execution: Execution) -> None:
    facts = _plan_facts(plan, execution)
    counts = ("tensors", "parameters", "bytes")
    table = plain_table("part", "method", "type", *counts, right=counts)
    for row in facts["groups"]:
        figures = (f"{row['tensors']:,}", f"{row['parameters']:,}", size_of(row["bytes"]))
        table.add_row(row["part"], row["method"], row["dtype"], *figures)
    tables.print(table)
    passes = "once" if plan.passes == 1 else "twice, to measure first"
    taken = "an adapter" if plan.is_adapter else "configuration and tokenizer"
    words.print(
        f"reads {size_of(plan.bytes_in)} ({passes}), writes {size_of(plan.bytes_out)}; buffers of "
        f"{size_of(facts['memory'])} for {execution.workers} workers; {taken} of {plan.donor.source}",
        soft_wrap=True,
    )
    say_core_space(plan)
    say_truncation(plan)
    for note in facts["notes"]:
        words.print(note, soft_wrap=True)
