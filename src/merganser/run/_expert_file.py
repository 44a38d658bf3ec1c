"""The winner of a run of experts: an expert's file, or the base with the expert in its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merganser.adaptation import Fact, fold, save_expert
from merganser.merging import plan_merge, write_companions
from merganser.run._experts import Adapted
from merganser.weights import Checkpoint, atomic_directory, open_checkpoint, save

_EXPERT = ".safetensors"


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
    if Path(out).suffix == _EXPERT:
        return open_checkpoint(save_expert(expert, out, overwrite=overwrite))
    model = fold(adapted.base, expert)
    with atomic_directory(out, overwrite=overwrite) as folder:
        save(model, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(dict(model.config), indent=2))
        write_companions(plan_merge([adapted.base], "passthrough"), folder)
    return open_checkpoint(out)


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
