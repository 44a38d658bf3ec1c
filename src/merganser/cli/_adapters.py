"""What `merganser merge` says of adapters that are merged in core space."""

from __future__ import annotations

from typing import Any

from merganser.cli._output import plain_table, tables, words
from merganser.merging import MergePlan, share_lost

_SHOWN = 20
"""Tensors listed, those that lose most."""


def adapter_facts(plan: MergePlan) -> dict[str, Any] | None:
    """Where it is merged, and what a chosen rank costs, as shares of the energy; None for other merges."""
    if plan.cores is None:
        return None
    facts: dict[str, Any] = {"space": "core", "core_tensors": len(plan.cores.layers), "rank": _rank(plan)}
    if _is_cut(plan):
        lost = {name: cut.share for name, cut in plan.cores.truncations().items()}
        facts["lost"] = {"total": share_lost(plan), "tensors": lost}
    return facts


def say_core_space(plan: MergePlan) -> None:
    """Say how many tensors are merged in core space."""
    if plan.cores is not None:
        words.print(
            f"in core space: {len(plan.cores.layers):,} tensors that the adapters change, to a rank of at most "
            f"{_rank(plan)}",
            soft_wrap=True,
        )


def say_truncation(plan: MergePlan) -> None:
    """Say what a chosen rank costs, if one was chosen, tensor by tensor and in total."""
    if plan.cores is None or not _is_cut(plan):
        return
    table = plain_table("tensor", "rank", "energy lost", right=("rank", "energy lost"))
    cut = sorted(plan.cores.truncations().items(), key=lambda item: -item[1].share)
    for name, truncation in cut[:_SHOWN]:
        table.add_row(name, str(plan.cores.rank_of(name)), f"{truncation.share:.2%}")
    tables.print(table)
    beside = f" (the {_SHOWN} of {len(cut):,} tensors that lose most are listed)" if len(cut) > _SHOWN else ""
    words.print(f"energy lost in total: {share_lost(plan):.2%}{beside}", soft_wrap=True)


def _rank(plan: MergePlan) -> int:
    assert plan.cores is not None
    return max(map(plan.cores.rank_of, plan.cores.layers), default=0)


def _is_cut(plan: MergePlan) -> bool:
    return plan.blueprint is not None and plan.blueprint.rank is not None
