"""Compare models, do what the verdicts say, and measure what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from merganser._errors import RunError
from merganser.comparison import Comparison, Data, View, Watch, compare, data_of
from merganser.decision._decision import Decision
from merganser.decision._scores import Asked, Split, asked_of
from merganser.decision._ways import Ways
from merganser.evaluation import Splits, together
from merganser.merging import default_workers
from merganser.routing import Opener
from merganser.routing.requests import RouterSettings
from merganser.weights import Execution, atomic_write_text, fingerprint, open_checkpoint, short_names

ASKED, DECISION = "asked.json", "decision.json"
_VERSION = 1


class Decided(NamedTuple):
    """What was compared, and what to do.

    Attributes:
        comparison: How the models stand to each other.
        decision: What to do.
    """

    comparison: Comparison
    decision: Decision


def decide(
    models: Sequence[str | Path],
    tasks: Sequence[Splits],
    folder: str | Path,
    *,
    base: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    with_spectra: bool = False,
    data: Data | None = None,
    view: View | None = None,
    cache: str | Path | None = None,
    router: RouterSettings | None = None,
    execution: Execution | None = None,
    dtype: str | None = None,
    watch: Watch | None = None,
) -> Decided:
    """Compare models, carry out what the verdicts say, and say what to take.

    Work that was interrupted goes on when the same is asked for in the same folder.

    Args:
        models: References of two or more models.
        tasks: What they are for; each with validation and test samples, and counting as much as its weight says.
        folder: Where everything is written.
        base: The model they were tuned from, if it is known.
        limit: At most so many samples of each split of each task.
        seed: Seed of the limit, of methods that draw, and of the router.
        with_spectra: As `compare` takes it.
        data: Texts or arrays on which to compare representations; by default what the tasks ask.
        view: How they are looked at.
        cache: As `compare` takes it.
        router: How the router is fitted; by default over hashed n-grams, by what predicts validation scores best.
        execution: How to read and compute.
        dtype: Element type to run language models in; by default theirs.
        watch: Told how far the work is.

    Raises:
        ValueError: If there are fewer than two models, two have one name, or there is no task.
        RunError: If the folder holds a decision about something else, or no model could be scored.
        CheckpointError: If a model cannot be read.
        TaskError: If a task has no validation or test samples.
        OutputError: If the folder cannot be written.
    """
    if not tasks:
        raise ValueError("A decision needs a task that models can be scored on; none was given.")
    references = _named([str(model) for model in models])
    base, execution = None if base is None else str(base), execution or Execution(default_workers())
    asked, folder = asked_of(tasks, limit=limit, seed=seed), Path(folder)
    looks = [fingerprint(open_checkpoint(each)) for each in (*references.values(), *([base] if base else []))]
    facts = {"models": list(references.values()), "base": base, "look": looks, "seed": seed, "dtype": dtype}
    _claim(folder, facts, asked)
    chosen = together(asked["search"].parts)
    comparison = compare(
        list(references.values()),
        base,
        with_spectra=with_spectra,
        chosen=chosen,
        data=data_of(chosen) if data is None else data,
        view=view,
        cache=cache,
        execution=execution,
        dtype=dtype,
        watch=watch,
    )
    comparison.save(folder)
    opener = Opener(device=execution.device, dtype=dtype)
    ways = Ways(references, base, asked, folder, seed, execution, opener, watch)
    decision = ways.decision(comparison, router or RouterSettings(seed=seed))
    atomic_write_text(folder / DECISION, json.dumps(decision.to_json(), indent=1) + "\n")
    return Decided(comparison, decision)


def _named(references: Sequence[str]) -> dict[str, str]:
    """References by what people call them.

    Raises:
        ValueError: If there are fewer than two, or one is there twice.
    """
    if len(set(references)) < max(2, len(references)):
        raise ValueError(f"Expected two or more models, each once, found {', '.join(references) or 'none'}.")
    return {name: reference for reference, name in short_names(references).items()}


def _claim(folder: Path, facts: Mapping[str, Any], asked: Mapping[Split, Asked]) -> None:
    """Make a folder that of this decision, or make sure that it is."""
    tasks = {s: [t.digest for part in each.parts for t, _ in part.parts] for s, each in asked.items()}
    facts = {
        "version": _VERSION,
        **facts,
        "tasks": tasks,
        "samples": {split: len(each) for split, each in asked.items()},
    }
    path = folder / ASKED
    if path.is_file():
        if json.loads(path.read_text()) != facts:
            raise RunError(
                f"{folder} holds a decision about other models, tasks or samples. Name another folder, or ask for the "
                "same."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"Expected an empty folder, or one of a decision that goes on, but {folder} is neither."
        )
    atomic_write_text(path, json.dumps(facts, indent=1) + "\n")
