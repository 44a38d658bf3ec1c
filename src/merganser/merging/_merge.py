"""Merge models by rule: the function behind `merganser merge`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from merganser.merging._adapters import WantedSpace, check_declared, is_same
from merganser.merging._execute import Engine, Progress
from merganser.merging._merge_recipe import Ingredient, MergeRecipe
from merganser.merging._plan import MergePlan
from merganser.merging._planning import plan_merge
from merganser.merging._statistics import StatisticsLike, opened_statistics
from merganser.merging._write import SHARD_BYTES, default_workers, merged_config, write_merge
from merganser.merging.vocabulary import VocabularyRules
from merganser.weights import Checkpoint, Execution, is_adapter, open_adapter, open_checkpoint

if TYPE_CHECKING:
    import torch

Model: TypeAlias = "str | Path | Checkpoint | Mapping[str, Any] | Any"
"""A reference (path, hub id, base+adapter), a checkpoint, a state dict, or a torch module."""


def merge(
    models: Sequence[Model],
    method: str = "linear",
    *,
    base: Model | None = None,
    out: str | Path | None = None,
    donor: Model | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    shard_size: int | None = SHARD_BYTES,
    overwrite: bool = False,
    digests: bool = False,
    tokenizer: Model | VocabularyRules | None = None,
    chat_template: str | None = None,
    licence: str | None = None,
    statistics: Sequence[StatisticsLike] = (),
    space: WantedSpace = "auto",
    rank: int | None = None,
    as_adapter: bool = False,
    progress: Callable[[Progress], None] | None = None,
    **parameters: Any,
) -> Checkpoint:
    """Merge models by rule.

    Args:
        models: The models: paths or hub ids, checkpoints, state dicts, or torch modules; with a base also adapters
            (LoRA) of it.
        method: A method of `METHODS`, such as ``"linear"``, ``"slerp"`` or ``"ties"``.
        base: The model they were tuned from, for methods that work on differences from it.
        out: Folder (or ``.safetensors`` file) to write; None to keep the result in memory.
        donor: Which of the models gives configuration, tokenizer, names and element types; by default the base, or
            else the first.
        dtype: Element type of all merged tensors, torch's or its name; by default the donor's, tensor by tensor.
        seed: Key of random numbers.
        workers: Threads; by default one for each processor.
        device: Where to compute, as torch names it.
        shard_size: Bytes a file may have, unless a single tensor has more; None for no limit.
        overwrite: Whether `out` may be replaced.
        digests: Whether the recipe names the models by their digests too, which reads them once more.
        tokenizer: Whose tokens the result has where the models' differ: ``"union"``, ``"base"``, one of the models,
            or rules for single tokens; by default all must have the same number of rows, and the donor's is taken.
        chat_template: ``"auto"`` for the commonest among the models, a name such as ``"chatml"``, or a Jinja text;
            by default the donor's.
        licence: Under which licence the result is; by default the strictest of the models'.
        statistics: What was measured on the models, one for each in their order, for methods that use it.
        space: Where adapters of one base are merged: ``"full"`` as whole tensors, ``"core"`` in the directions that
            they use, ``"auto"`` there if the method gives the same there.
        rank: Most directions that the merged change of a tensor keeps, the largest; None for all. Adapters only.
        as_adapter: Whether the result is an adapter of their base instead of a whole model. Adapters only.
        progress: Called now and then with how far it is.
        **parameters: The method's parameters: see ``merganser methods NAME``, or the method's class.

    Returns:
        The merged checkpoint, in memory or on disk.

    Raises:
        ValueError: If method and parameters do not fit.
        CheckpointError: If a model cannot be read, holds NaN, or does not fit the others.
        OutputError: If `out` exists and may not be replaced, or cannot be written.

    Examples:
        >>> import torch
        >>> first, second = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([4.0, 2.0])}
        >>> merge([first, second], "linear", weight=[3, 1]).read("w")
        tensor([1., 2.])
    """
    opened, base_opened, donor_opened = open_models(models, base, donor)
    plan = plan_merge(
        opened,
        method,
        base=base_opened,
        donor=donor_opened,
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        seed=seed,
        vocabulary=vocabulary_rules(tokenizer, [*models, base], [*opened, base_opened]),
        chat_template=chat_template,
        parameters=parameters,
        statistics=[opened_statistics(each) for each in statistics],
        space=space,
        rank=rank,
        as_adapter=as_adapter,
    )
    engine = Engine(plan, Execution(workers or default_workers(), device=device), progress)
    if out is None:
        return engine.in_memory(merged_config(plan))
    recipe = recipe_of(plan, digests=digests, licence=licence)
    return write_merge(engine, recipe, Path(out), shard_size=shard_size, overwrite=overwrite)


def open_models(
    models: Sequence[Model], base: Model | None, donor: Model | None
) -> tuple[list[Checkpoint], Checkpoint | None, Checkpoint | None]:
    """Open models, base and donor; the donor is found among the others.

    Raises:
        ValueError: If the donor is none of them, or the base is among the models.
        TypeError: If there is one model in the place of several, or something that is no model.
        CheckpointError: If one cannot be opened, or adapters without a base name different ones.
    """
    if isinstance(models, str | Path | Checkpoint | Mapping) or hasattr(models, "state_dict"):
        raise TypeError(
            f"Expected a sequence of models, found a single {type(models).__name__}. Put it into a list."
        )
    base_opened = None if base is None else _open(base, "the base")
    alone = [base is not None and isinstance(model, str | Path) and is_adapter(model) for model in models]
    opened = [
        open_adapter(base_opened, model)
        if is_alone and base_opened is not None and isinstance(model, str | Path)
        else _open(model, f"model {i}")
        for i, (model, is_alone) in enumerate(zip(models, alone, strict=True), start=1)
    ]
    check_declared([model for model, is_alone in zip(opened, alone, strict=True) if is_alone])
    if base_opened is not None:
        for model, checkpoint in zip(models, opened, strict=True):
            if model is base or is_same(checkpoint, base_opened):
                raise ValueError(
                    f"{checkpoint.source} is the base and among the models too; its difference from itself is nothing. "
                    "Name it as the base only."
                )
    if donor is None:
        return opened, base_opened, None
    found = _found("donor", donor, [*models, base], [*opened, base_opened])
    return opened, base_opened, found


def vocabulary_rules(
    tokenizer: Model | VocabularyRules | None,
    models: Sequence[Model | None],
    opened: Sequence[Checkpoint | None],
) -> VocabularyRules | None:
    """What a merge's vocabulary is to be.

    Args:
        tokenizer: As `merge` takes it.
        models: Models and, last, the base (None for none).
        opened: The same, opened.

    Raises:
        ValueError: If it is a model that is not among them, or the base and there is none.
    """
    if tokenizer is None or isinstance(tokenizer, VocabularyRules):
        return tokenizer
    if tokenizer == "base" and opened[-1] is None:
        raise ValueError(
            'The tokenizer cannot be the base\'s: there is no base. Say "union", or name a model.'
        )
    if tokenizer in ("union", "base"):
        return VocabularyRules("union" if tokenizer == "union" else "base")
    found = _found("tokenizer", tokenizer, models, opened)
    inputs = [c for c in (opened[-1], *opened[:-1]) if c is not None]  # as plans number them
    return VocabularyRules(next(i for i, checkpoint in enumerate(inputs) if checkpoint is found))


def _found(
    what: str, wanted: Model, models: Sequence[Model | None], opened: Sequence[Checkpoint | None]
) -> Checkpoint:
    """The one of the models that is meant.

    Raises:
        ValueError: If it is none of them.
    """
    meant = _open(wanted, f"the {what}")
    for model, checkpoint in zip(models, opened, strict=True):
        if checkpoint is not None and (model is wanted or is_same(checkpoint, meant)):
            return checkpoint
    raise ValueError(f"The {what} must be one of the models or the base, but {meant.source} is none of them.")


def recipe_of(
    plan: MergePlan,
    *,
    digests: bool = False,
    licence: str | None = None,
    made_by: Mapping[Checkpoint, MergeRecipe] | None = None,
) -> MergeRecipe:
    """The recipe that leads to the same plan again.

    Args:
        plan: The plan of a merge by rule.
        digests: Whether to name the models by their digests too, which reads every byte.
        licence: Under which licence the result is, if the user says so.
        made_by: Recipes of those models that were made on the way and will not stay.

    Raises:
        ValueError: If the plan is that of a combination.
    """
    if plan.blueprint is None:
        raise ValueError("Expected the plan of a merge by rule, but this is one of a combination of seeds.")
    ways = made_by or {}
    measured = plan.statistics or (None,) * len(plan.inputs)
    ingredients = (
        Ingredient.of(
            model,
            digest=digests,
            recipe=ways.get(model),
            statistics=None if statistics is None else statistics.tensors,
        )
        for model, statistics in zip(plan.inputs, measured, strict=True)
    )
    return MergeRecipe(plan.blueprint, tuple(ingredients), licence)


def _open(model: Model, name: str) -> Checkpoint:
    """Open a model, which messages call by its name if it is in memory."""
    if isinstance(model, Checkpoint):
        return model
    if isinstance(model, str | Path):
        return open_checkpoint(model)
    if isinstance(model, Mapping):
        return dataclasses.replace(Checkpoint.from_tensors(model, copy=False), source=name)
    if hasattr(model, "state_dict"):
        source = f"{name} ({type(model).__name__})"
        return dataclasses.replace(Checkpoint.from_module(model, copy=False), source=source)
    raise TypeError(
        "A model must be a path or hub id, a checkpoint, a state dict or a torch module, but is "
        f"{type(model).__name__}."
    )
