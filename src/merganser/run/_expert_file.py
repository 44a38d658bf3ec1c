"""The winner of a run of experts: an expert's file, or the base with the expert in its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merganser.adaptation import Fact, fold, save_expert
from merganser.run._experts import Adapted
from merganser.weights import Checkpoint, open_checkpoint, save

EXPERT_SUFFIX = ".safetensors"


def write_expert(
    scales: Checkpoint,
    adapted: Adapted,
    out: str | Path,
    *,
    facts: Mapping[str, Fact] | None = None,
    overwrite: bool = False,
) -> Checkpoint:
    """Write what scales describe.

    Args:
        scales: The scales of a final member.
        adapted: The base.
        out: A file that ends in ``.safetensors``, for an expert; any other name is a folder, for a model.
        facts: What is known of it.
        overwrite: Whether it may be replaced.

    Raises:
        OutputError: If it exists and may not be replaced, or cannot be written.
    """
    expert = adapted.expert(scales, facts)
    if Path(out).suffix != EXPERT_SUFFIX:
        return save(fold(adapted.base, expert), out, overwrite=overwrite)
    return open_checkpoint(save_expert(expert, out, overwrite=overwrite))


def facts_of(run: Path, outcome: Mapping[str, Any]) -> dict[str, Fact]:
    """What an expert's file notes of the run that found it.

    Args:
        run: The run directory.
        outcome: The run's outcome in plain form.
    """
    test = outcome["test"]
    return {
        "run": run.resolve().name,
        "recipe": outcome["winner"],
        "evaluations": outcome["evaluations"],
        "search": outcome["search"],
        "validation": outcome["validation"],
        "test": None if test is None else test["value"],
    }
