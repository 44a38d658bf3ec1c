"""Writing what a plan makes: shard by shard into a hidden folder, which gets its name when everything is there.

Stopped or killed, the same merge goes on after the last whole shard; a shard in the making is made again.
"""

from __future__ import annotations

import copy
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merganser._errors import CheckpointError
from merganser.merging._execute import Engine
from merganser.merging._facts import card_facts, with_truncation
from merganser.merging._plan import MergePlan
from merganser.merging._recipe import RECIPE_NAME, Recipe, write_recipe
from merganser.merging.card import model_card
from merganser.merging.vocabulary import TOKENIZER_FILES, write_chat_template
from merganser.weights import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_NAMES,
    CONFIG_NAME,
    DTYPES,
    Checkpoint,
    PartialFolder,
    ShardWriter,
    TensorSpec,
    atomic_write_bytes,
    atomic_write_text,
    file_metadata,
    is_adapter,
    open_checkpoint,
    refuse_foreign,
    shard_files,
    tied_to,
    write_config,
    write_index,
)

SHARD_BYTES = 5_000_000_000

CARD_NAME = "README.md"

_COPIED = (
    *TOKENIZER_FILES,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
"""Files beside the weights that a model needs, and that the donor's are taken of."""


def write_merge(
    engine: Engine,
    recipe: Recipe,
    out: Path,
    *,
    shard_size: int | None = SHARD_BYTES,
    overwrite: bool = False,
    licence: str | None = None,
) -> Checkpoint:
    """Carry out a merge to disk, or go on with one that was interrupted.

    Args:
        engine: What to carry out.
        recipe: Its recipe.
        out: Folder, or ``.safetensors`` file.
        shard_size: Bytes a file may have, unless a single tensor has more; None for no limit.
        overwrite: Whether `out` may be replaced.
        licence: Under which licence the result is; by default what the recipe says, or what follows from the models'.

    Raises:
        ValueError: If the models' licences clash, and none is given.
        CheckpointError: If a model is damaged; what was written so far is removed.
        OutputError: If `out` exists and may not be replaced, or cannot be written; what was written stays, for the
            next attempt.
    """
    place, plan = out.expanduser().absolute(), engine.plan
    facts = card_facts(plan, recipe, place.name, licence=licence)
    specs = [target.spec for target in plan.targets]
    written = {spec.name for spec in specs}  # a name that the donor ties may be written apart
    metadata = {key: value for key, value in file_metadata(plan.donor).items() if key not in written}
    if place.suffix == ".safetensors" and plan.is_adapter:
        raise ValueError(
            f"An adapter is a folder, with its configuration, but {place} is a file. Name a folder."
        )
    if place.suffix == ".safetensors":
        [ordered] = shard_files(specs, None).values()
        with ShardWriter(place, ordered, metadata=metadata, overwrite=overwrite, reserve=True) as writer:
            engine.run(plan.targets, writer)
        return open_checkpoint(place)
    refuse_foreign(place, overwrite=overwrite)
    files = {ADAPTER_NAMES[0]: specs} if plan.is_adapter else shard_files(specs, shard_size)
    with PartialFolder(place, identity_of(recipe, plan, files), overwrite=overwrite) as partial:
        try:
            write_companions(plan, partial.folder)
            _write_shards(engine, partial.folder, files, metadata)
            write_index(partial.folder, files)
            write_config(
                partial.folder, merged_config(plan), ADAPTER_CONFIG_NAME if plan.is_adapter else CONFIG_NAME
            )
            write_recipe(recipe, partial.folder / RECIPE_NAME)
            atomic_write_text(partial.folder / CARD_NAME, model_card(with_truncation(facts, plan)))
        except (CheckpointError, ValueError):
            partial.discard()
            raise
        partial.publish()
    return open_result(place)


def open_result(folder: Path) -> Checkpoint:
    """What was written to a folder: a model, or an adapter's own tensors.

    Raises:
        CheckpointError: If it cannot be opened.
    """
    return open_checkpoint(folder / ADAPTER_NAMES[0] if is_adapter(folder) else folder)


def merged_config(plan: MergePlan) -> dict[str, Any]:
    """The donor's configuration, true to what is written: element type, and whether the head is tied.

    Of an adapter, the adapter's.
    """
    config = copy.deepcopy(dict(plan.config))
    if plan.is_adapter:
        return config
    parts = [config, *(part for key, part in config.items() if _is_part(key, part))]
    types = {target.spec.dtype for target in plan.targets if target.is_merged}
    if len(types) == 1:
        name = DTYPES[types.pop()].library
        for part in parts:
            part.update({key: name for key in ("dtype", "torch_dtype") if key in part})
    names = (target.spec.name for target in plan.targets if target.spec.name not in plan.donor)
    if config and any(tied_to(name, plan.donor) for name in names):
        for part in parts:
            if part is config or "tie_word_embeddings" in part:
                part["tie_word_embeddings"] = False
    return config


def _is_part(key: str, value: Any) -> bool:
    """Whether a setting is the configuration of a part, such as the text model of one that sees too."""
    return key.endswith("_config") and isinstance(value, dict)


def default_workers() -> int:
    """One worker for each processor that this process may use, up to eight."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 8)


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


def identity_of(recipe: Recipe, plan: MergePlan, files: Mapping[str, Sequence[TensorSpec]]) -> str:
    """Everything that what is written depends on; input files by their state, which also a subtle change gives away.

    Models in memory have no such state, and to hash them may take longer than to merge them: a merge with one of them
    is never gone on with.
    """
    measured = [each.tensors for each in plan.statistics if each is not None]
    stamps = [c.tensors.stamps for c in (*plan.inputs, *measured)]
    return json.dumps(
        {
            "recipe": recipe.to_json(),
            "inputs": [[str(part) for part in stamp] for model in stamps for stamp in model],
            "once": None if all(stamps) else secrets.token_hex(8),
            "files": {file: [spec.name for spec in specs] for file, specs in files.items()},
        },
        sort_keys=True,
    )


def write_companions(plan: MergePlan, folder: Path) -> None:
    """Tokenizer, generation settings and the like: the donor's, or what a vocabulary of its own asks for."""
    own = () if plan.vocabulary is None else TOKENIZER_FILES
    for name in _COPIED:
        file = None if plan.donor.home is None else plan.donor.home / name
        if file is not None and file.is_file() and name not in own:
            atomic_write_bytes(folder / name, _patched(name, _content(file), plan))
    if plan.vocabulary is not None:
        plan.vocabulary.write(folder)
    if plan.chat_template is not None:
        write_chat_template(folder, plan.chat_template)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}.") from error


def _patched(name: str, content: bytes, plan: MergePlan) -> bytes:
    """Generation settings with the numbers that tokens have in the result's vocabulary."""
    if name != "generation_config.json" or plan.vocabulary is None or plan.blueprint is None:
        return content
    try:
        settings = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{name} of {plan.donor.source} is no JSON: {error}.") from error
    return json.dumps(plan.vocabulary.patched(settings, plan.blueprint.donor), indent=2).encode()
