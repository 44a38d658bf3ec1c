"""`merganser merge --tune`: parameters that score best on a task, before the merge is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser.cli._output import plain_table, tables

if TYPE_CHECKING:
    from merganser.run import Tuned

_BUDGET = "100"
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
_ASKED = re.compile(
    rf"(?P<name>[a-z][a-z_-]*)(?P<each>:each)?(=(?P<low>{_NUMBER}):(?P<high>{_NUMBER}))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command was asked to tune.

    Attributes:
        text: The parameters: `lambda,density`, `lambda=0:3`, `weight:each`.
        task: The task.
        budget: Evaluations or a time.
        run: The run directory.
    """

    text: str
    task: str
    budget: str
    run: Path | None


def wish_of(text: str | None, task: str | None, budget: str | None, run: Path | None) -> Wish | None:
    """What is to be tuned; None if nothing is.

    Raises:
        ValueError: If there is no task to tune for, or options of tuning without it.
    """
    if text is None:
        given = {"task": task, "budget": budget, "run": run}
        idle = next((name for name, value in given.items() if value is not None), None)
        if idle is not None:
            raise ValueError(f"--{idle} is for tuning. Say which parameters: --tune lambda,density.")
        return None
    if task is None:
        raise ValueError("Tuning needs a task to score merges on: --task digits, or a file of your own.")
    return Wish(text, task, budget or _BUDGET, run)


def tuned(
    wish: Wish,
    models: Sequence[str],
    method: str,
    *,
    base: str | None,
    parameters: Mapping[str, Any],
    seed: int,
    quiet: bool,
) -> Tuned:
    """Tune, and say what was found; a run that was stopped ends the command.

    Raises:
        ValueError: If what is asked for cannot be tuned.
        MerganserError: As `merganser.run.tune`.
    """
    from merganser.cli._outcome import conclude  # a merge without tuning does not wait for what runs need
    from merganser.cli._progress import Watch
    from merganser.run import tune

    genes, each = wanted(wish.text)
    with Watch(quiet=quiet) as watch:
        found = tune(
            models,
            method,
            genes,
            wish.task,
            base=base,
            each=each,
            parameters=parameters,
            budget=wish.budget,
            seed=seed,
            run=wish.run,
            progress=watch,
        )
    conclude(found.outcome, out=None, report=True, as_json=False)
    return found


def wanted(text: str) -> tuple[dict[str, tuple[float, float] | None], tuple[str, ...]]:
    """Parameters with their bounds, and those with a gene for each model.

    Raises:
        ValueError: If the text is no list of parameters.

    Examples:
        >>> wanted("lambda=0:3,weight:each")
        ({'lambda': (0.0, 3.0), 'weight': None}, ('weight',))
    """
    genes: dict[str, tuple[float, float] | None] = {}
    each: list[str] = []
    for part in text.split(","):
        match = _ASKED.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                "Expected parameters such as lambda, lambda=0:3 or weight:each, with commas between, but found "
                f"{part!r}."
            )
        name = match["name"].replace("-", "_")
        genes[name] = None if match["low"] is None else (float(match["low"]), float(match["high"]))
        each += [name] if match["each"] else []
    return genes, tuple(each)


def show(found: Tuned) -> None:
    """A table of tuned values beside the defaults."""
    table = plain_table("parameter", "default", "tuned", right=("default", "tuned"))
    for name, value in found.values.items():
        table.add_row(name, _shown(found.defaults[name]), _shown(value))
    tables.print(table)


def facts(found: Tuned) -> dict[str, Any]:
    """The same for machines, with the scores."""
    values, defaults = dict(found.values), dict(found.defaults)
    return {"tuned": values, "defaults": defaults, "tuning": found.outcome.to_json()}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value).lower()
