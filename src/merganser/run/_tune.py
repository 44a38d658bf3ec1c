"""Tuning a merge: a small genome over a method's parameters, in an ordinary run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import RunError
from merganser.evaluation import Splits, Task
from merganser.merging import (
    Blueprint,
    MergeRecipe,
    Parameter,
    method_named,
    parameters_of,
    read_recipe,
    unknown_parameter,
)
from merganser.run._directory import RunDirectory
from merganser.run._evolve import Watcher, evolve
from merganser.run._outcome import Outcome
from merganser.run._settings import Budget
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn

_EVALUATIONS = 100
_FLAG_VALUES = 2


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Attributes:
        values: The tuned parameters; a list has one value for each model. Empty if the run was stopped.
        defaults: The method's defaults for them; None for one that has none.
        parameters: All parameters to merge with: the tuned and the fixed ones.
        outcome: The run: the best merge is its winner, the merge with the defaults is `untuned`.
    """

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]
    parameters: Mapping[str, Any]
    outcome: Outcome


def tune(
    models: Sequence[str | Path | Checkpoint | nn.Module],
    method: str,
    genes: Mapping[str, tuple[float, float] | None],
    task: str | Task | Splits,
    *,
    base: str | Path | None = None,
    each: Collection[str] = (),
    parameters: Mapping[str, Any] | None = None,
    budget: int | str | Budget | None = _EVALUATIONS,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Watcher | None = None,
) -> Tuned:
    """Find the parameters with which a merge scores best on a task.

    A single number is tried on a grid over its bounds that takes the whole budget, words and flags with every value
    they may have; two numbers and more are searched by CMA-ES. The best is chosen on validation samples; test samples
    are scored once, at the end.

    Args:
        models: The models, without the base.
        method: The merge method.
        genes: The parameters to tune, with their bounds, or None for the usual ones.
        task: As [`evolve`][] takes it.
        base: The model they were tuned from, if the method needs one.
        each: Those of the parameters with a gene for each model; others have one for all.
        parameters: Fixed parameters.
        budget: Evaluations, or a time; the models and the untuned merge count.
        seed: Seed of the search and of the method's random numbers.
        run: The run directory; an interrupted run in it is resumed.
        progress: Called about twice a second with the run in progress.

    Returns:
        What was found; of a run that was stopped the outcome only, which is not finished.

    Raises:
        ValueError: If the method does not have such parameters, or does not fit the models.
        ConfigError: If settings are wrong.
        TaskError: If the data cannot be used.
        CheckpointError: If a model cannot be read.
        RunError: If `run` is another run, or no merge could be scored.
        OutputError: If something cannot be written.
    """
    limit = Budget.parse(budget)
    known = {p.name: p for p in parameters_of(method_named(method))}
    _check(method, genes, each, known)
    per_model = {name for name in genes if known[name].kind == "numbers"}
    genome = {
        "kind": "recipe",
        "method": method,
        "base": None if base is None else str(base),
        "genes": dict(genes),
        "shared": sorted(per_model.difference(each)),
        "parameters": dict(parameters or {}),
    }
    all_genes = [known[name] for name in genes for _ in range(len(models) if name in each else 1)]
    search = _search(all_genes, limit, len(models) + 1)
    outcome = evolve(
        models, task, search=search, budget=limit, genome=genome, seed=seed, run=run, progress=progress
    )
    if outcome.winner is None:
        return Tuned({}, {}, {}, outcome)
    recipe = read_recipe(RunDirectory(outcome.run).recipe_path(outcome.winner.digest))
    if not isinstance(recipe, MergeRecipe):
        raise RunError(f"No merge of {outcome.run} could be scored: its best candidate is one of the models.")
    found = _parameters(recipe.blueprint)
    defaults = {name: None if known[name].is_required else known[name].default for name in genes}
    values = {name: found.get(name, defaults[name]) for name in genes}
    return Tuned(values, defaults, found, outcome)


def _check(
    method: str, genes: Collection[str], each: Collection[str], known: Mapping[str, Parameter]
) -> None:
    unknown = next((name for name in (*genes, *each) if name not in known), None)
    if unknown is not None:
        raise ValueError(unknown_parameter(method, unknown, known))
    single = next((name for name in each if known[name].kind != "numbers"), None)
    if single is not None:
        raise ValueError(f"`{single}` of `{method}` has one value for all models, so there is none for each.")


def _search(genes: Sequence[Parameter], budget: Budget, seeds: int) -> dict[str, Any]:
    """The search for these genes, and its settings; `seeds` is the number of candidates that come first."""
    choices = [len(p.choices) or _FLAG_VALUES for p in genes if p.kind in ("word", "flag")]
    if len(genes) - len(choices) > 1:
        return {"method": "cma-es"}
    points = _EVALUATIONS if budget.evaluations is None else budget.evaluations - seeds
    return {"method": "brute-force", "steps": max(points // math.prod(choices), 2)}


def _parameters(blueprint: Blueprint) -> dict[str, Any]:
    """The parameters of a merge whose settings hold everywhere; those of single models as lists."""
    shared = {name: setting.cases[0].value for name, setting in blueprint.settings.items()}
    sources = [source.settings for source in blueprint.slices[0].sources]
    listed = {name: [settings[name].cases[0].value for settings in sources] for name in sources[0]}
    return shared | listed
