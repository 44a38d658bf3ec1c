"""Merge models by rule: the function behind `merganser merge`.

A merge to disk goes shard by shard into a hidden folder beside the target, which gets its name when everything is
there. Stopped or killed, the same merge goes on after the last whole shard; a shard in the making is made again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from merganser._errors import CheckpointError
from merganser.merging._execute import Engine, MemorySink, Progress
from merganser.merging._merge_recipe import RECIPE_NAME, Ingredient, MergeRecipe
from merganser.merging._plan import MergePlan, plan_merge
from merganser.weights import (
    Checkpoint,
    Execution,
    PartialFolder,
    ShardWriter,
    TensorSpec,
    file_metadata,
    open_checkpoint,
    refuse_foreign,
    shard_files,
    write_config,
    write_index,
)

Model: TypeAlias = "str | Path | Checkpoint | Mapping[str, Any] | Any"
"""A reference (path, hub id, base+adapter), a checkpoint, a state dict, or a torch module."""

SHARD_BYTES = 5_000_000_000

_COPIED = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
"""Files beside the weights that a model needs, and that the donor's are taken of."""


def merge(
    models: Sequence[Model],
    method: str = "linear",
    *,
    base: Model | None = None,
    out: str | Path | None = None,
    donor: Model | None = None,
    dtype: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    shard_size: int | None = SHARD_BYTES,
    overwrite: bool = False,
    digests: bool = False,
    progress: Callable[[Progress], None] | None = None,
    **parameters: Any,
) -> Checkpoint:
    """Merge models by rule.

    Args:
        models: The models: paths or hub ids, checkpoints, state dicts, or torch modules.
        method: A method of `METHODS`, such as ``"linear"``, ``"slerp"`` or ``"ties"``.
        base: The model they were tuned from, for methods that work on differences from it.
        out: Folder (or ``.safetensors`` file) to write; None to keep the result in memory.
        donor: Which of the models gives configuration, tokenizer, names and element types; by default the base, or
            else the first.
        dtype: Element type of all merged tensors, as torch names it; by default the donor's, tensor by tensor.
        seed: Key of random numbers.
        workers: Threads; by default one for each processor.
        device: Where to compute, as torch names it.
        shard_size: Bytes a file may have, unless a single tensor has more; None for no limit.
        overwrite: Whether `out` may be replaced.
        digests: Whether the recipe names the models by their digests too, which reads them once more.
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
        opened, method, base=base_opened, donor=donor_opened, dtype=dtype, seed=seed, parameters=parameters
    )
    engine = Engine(plan, Execution(workers or default_workers(), device=device), progress)
    if out is None:
        sink = MemorySink(plan.targets)
        engine.run(plan.targets, sink)
        merged = Checkpoint.from_tensors(sink.tensors, config=merged_config(plan), copy=False)
        tied = {name: kept for name, kept in plan.donor.tied.items() if name not in merged}
        return dataclasses.replace(merged, tied=tied)
    recipe = recipe_of(plan, dtype=dtype, digests=digests)
    return write_merge(engine, recipe, Path(out), shard_size=shard_size, overwrite=overwrite)


def open_models(
    models: Sequence[Model], base: Model | None, donor: Model | None
) -> tuple[list[Checkpoint], Checkpoint | None, Checkpoint | None]:
    """Open models, base and donor; what is named twice is opened once.

    Raises:
        ValueError: If the donor is none of them, or the base is among the models.
        CheckpointError: If one cannot be opened.
    """
    opened = [_open(model, f"model {i}") for i, model in enumerate(models, start=1)]
    base_opened = None if base is None else _open(base, "the base")
    if base_opened is not None:
        for model, checkpoint in zip(models, opened, strict=True):
            if model is base or _is_same(checkpoint, base_opened):
                raise ValueError(
                    f"{checkpoint.source} is the base and among the models too; its difference from itself is nothing. "
                    "Name it as the base only."
                )
    if donor is None:
        return opened, base_opened, None
    candidates = [*zip(models, opened, strict=True), (base, base_opened)]
    wanted = _open(donor, "the donor")
    for model, checkpoint in candidates:
        if checkpoint is not None and (model is donor or _is_same(checkpoint, wanted)):
            return opened, base_opened, checkpoint
    raise ValueError(f"The donor must be one of the models or the base, but {wanted.source} is none of them.")


def write_merge(
    engine: Engine, recipe: MergeRecipe, out: Path, *, shard_size: int | None, overwrite: bool
) -> Checkpoint:
    """Carry out a merge to disk, or go on with one that was interrupted.

    Raises:
        CheckpointError: If a model is damaged; what was written so far is removed.
        OutputError: If `out` exists and may not be replaced, or cannot be written; what was written stays, for the
            next attempt.
    """
    place, plan = out.expanduser().absolute(), engine.plan
    specs = [target.spec for target in plan.targets]
    written = {spec.name for spec in specs}  # a name that the donor ties may be written apart
    metadata = {key: value for key, value in file_metadata(plan.donor).items() if key not in written}
    if place.suffix == ".safetensors":
        [ordered] = shard_files(specs, None).values()
        with ShardWriter(place, ordered, metadata=metadata, overwrite=overwrite, reserve=True) as writer:
            engine.run(plan.targets, writer)
        return open_checkpoint(place)
    refuse_foreign(place, overwrite=overwrite)
    files = shard_files(specs, shard_size)
    with PartialFolder(place, _identity(recipe, plan, files), overwrite=overwrite) as partial:
        try:
            _write_shards(engine, partial.folder, files, metadata)
            write_index(partial.folder, files)
            write_config(partial.folder, merged_config(plan))
            _copy_companions(plan.donor, partial.folder)
            recipe.write(partial.folder / RECIPE_NAME)
        except (CheckpointError, ValueError):
            partial.discard()
            raise
        partial.publish()
    return open_checkpoint(place)


def recipe_of(plan: MergePlan, *, dtype: str | None, digests: bool = False) -> MergeRecipe:
    """The recipe that leads to the same plan again."""
    parameters = {field.name.rstrip("_"): getattr(plan.method, field.name) for field in _fields(plan)}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
    return MergeRecipe(
        plan.method_name,
        tuple(Ingredient.of(model, digest=digests) for model in plan.models),
        None if plan.base is None else Ingredient.of(plan.base, digest=digests),
        listed,
        next(i for i, checkpoint in enumerate(plan.inputs) if checkpoint is plan.donor),
        dtype,
        plan.seed,
    )


def merged_config(plan: MergePlan) -> dict[str, Any]:
    """The donor's configuration, true to what is written: element type, and whether the head is tied."""
    config = dict(plan.donor.config)
    types = {target.spec.dtype for target in plan.targets if target.is_merged}
    if len(types) == 1:
        name = _library_name(types.pop())
        for key in ("dtype", "torch_dtype"):
            if key in config:
                config[key] = name
    if config.get("tie_word_embeddings") and any(t.spec.name not in plan.donor for t in plan.targets):
        config["tie_word_embeddings"] = False
    return config


def default_workers() -> int:
    """One worker for each processor that this process may use, up to eight."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 8)


def _is_same(first: Checkpoint, second: Checkpoint) -> bool:
    return first is second or (bool(first.tensors.stamps) and first.source == second.source)


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


def _write_shards(
    engine: Engine, folder: Path, files: Mapping[str, Sequence[TensorSpec]], metadata: Mapping[str, str]
) -> None:
    targets = {target.spec.name: target for target in engine.plan.targets}
    for file, specs in files.items():
        here = [targets[spec.name] for spec in specs]
        if (folder / file).exists():
            engine.skip(here)
            continue
        with ShardWriter(folder / file, specs, metadata=metadata, reserve=True) as writer:
            engine.run(here, writer)


def _identity(recipe: MergeRecipe, plan: MergePlan, files: Mapping[str, Sequence[TensorSpec]]) -> str:
    """Everything that the shards depend on; input files by their state, which also a subtle change gives away."""
    return json.dumps(
        {
            "recipe": recipe.to_json(),
            "inputs": [[str(part) for part in stamp] for c in plan.inputs for stamp in c.tensors.stamps],
            "files": {file: [spec.name for spec in specs] for file, specs in files.items()},
        },
        sort_keys=True,
    )


def _copy_companions(donor: Checkpoint, folder: Path) -> None:
    if donor.home is None:
        return
    for name in _COPIED:
        if (donor.home / name).is_file():
            shutil.copyfile(donor.home / name, folder / name)


def _fields(plan: MergePlan) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(plan.method)  # pyright: ignore[reportArgumentType]


def _library_name(dtype: str) -> str:
    from merganser.weights import DTYPES

    return DTYPES[dtype].library
